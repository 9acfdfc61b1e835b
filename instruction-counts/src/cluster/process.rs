//! The processes of the servers and of Redis.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::valgrind::Failure;

/// How often it is tried whether a process listens on its port. Under valgrind, the start takes seconds.
const ATTEMPTS: usize = 3_000;
const PAUSE: Duration = Duration::from_millis(20);

/// A running process, which is killed on drop.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts a process, and waits until it listens on its port.
    pub(super) fn start(
        command: &[String],
        environment: &[(&str, &str)],
        port: u16,
    ) -> Result<Self, Failure> {
        let (program, args) = command.split_first().ok_or("no command")?;
        let child = Command::new(program)
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let mut running = Self { child };
        for _ in 0..ATTEMPTS {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(running);
            }
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("{program} ended with {status}").into());
            }
            thread::sleep(PAUSE);
        }
        Err(format!("{program} does not listen on port {port}").into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process whose instructions are counted.
pub(super) struct Counted;

impl Counted {
    /// Returns the command that runs another one under valgrind.
    pub(super) fn command(command: &[String]) -> Vec<String> {
        let file = format!("--callgrind-out-file={}", Self::file("%p").display());
        let valgrind = ["valgrind", "--quiet", "--tool=callgrind", &file].map(str::to_owned);
        valgrind.iter().chain(command).cloned().collect()
    }

    /// Ends the process. Returns the number of its instructions.
    pub(super) fn finish(mut running: Running) -> Result<u64, Failure> {
        let id = running.child.id().to_string();
        // Valgrind writes the profile when the process ends by this signal.
        Command::new("kill").args(["-TERM", &id]).status()?;
        running.child.wait()?;
        let file = Self::file(&id);
        let profile = fs::read_to_string(&file)?;
        if env::var_os("KEEP").is_none() {
            fs::remove_file(&file)?;
        }
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("no profile")?;
        Ok(total.trim().parse()?)
    }

    fn file(id: &str) -> PathBuf {
        env::temp_dir().join(format!("cluster-costs-{id}.callgrind"))
    }
}

/// Returns a port that was free a moment ago.
pub(super) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
