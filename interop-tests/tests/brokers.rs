//! Runs the suite for brokers with the adapters, on brokers that listen on free ports of the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use socketio::testing::check_broker;
use socketio_nats::{JetStream, Nats};
use socketio_postgres::Postgres;
use socketio_redis::{Classic, Sharded, Streams, SubscriptionMode};

/// How often a broker is asked whether it listens, and the time between.
const ATTEMPTS: usize = 1000;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(20);
/// The size of the queue to the broker, which a check fills.
const MAX_QUEUED: usize = 1024 * 1024;

/// A broker in a process of its own, which ends with the test.
struct Process {
    child: Child,
    port: u16,
    folder: Option<PathBuf>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a broker, and waits until it listens.
fn start(command: &mut Command, port: u16, folder: Option<PathBuf>) -> Process {
    let child =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; test.sh installs it"));
    let mut process = Process { child, port, folder };
    for _ in 0..ATTEMPTS {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return process;
        }
        let ended = process.child.try_wait().unwrap();
        assert!(ended.is_none(), "{command:?} has ended: {ended:?}");
        sleep(ATTEMPT_INTERVAL);
    }
    panic!("{command:?} does not listen");
}

fn redis() -> Process {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"]);
    start(command.args(["--port", &port.to_string()]), port, None)
}

fn nats() -> Process {
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("nats-suite-{}-{port}", std::process::id()));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nats-server");
    command.env("PATH", format!("{path}:/usr/sbin")).args([
        "--addr",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--jetstream",
        "--store_dir",
    ]);
    start(command.arg(&folder), port, Some(folder))
}

/// Returns a program of the newest version of Postgres.
fn postgres_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("test.sh installs Postgres");
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(version).unwrap();
    newest.join("bin").join(name)
}

fn postgres() -> Process {
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("postgres-suite-{}-{port}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let owner = owner(&folder);
    let command = |name: &str| {
        let mut command = Command::new(postgres_program(name));
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        command
    };
    let data = folder.join("data");
    let mut init = command("initdb");
    init.current_dir("/").arg("--pgdata").arg(&data);
    init.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
    let created = init.stdout(Stdio::null()).status().unwrap();
    assert!(created.success(), "{init:?}: {created}");
    let mut server = command("postgres");
    server.arg("-D").arg(&data);
    for setting in
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "synchronous_commit=off"]
    {
        server.args(["-c", setting]);
    }
    start(server.args(["-c", &format!("port={port}")]), port, Some(folder))
}

/// Returns the user that Postgres runs as, to whom the folder is given. Postgres refuses to run as root.
fn owner(folder: &Path) -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:")).expect("the user of Postgres");
    let mut fields = line.split(':').skip(1).map(|field| field.parse::<u32>().unwrap());
    let (user, group) = (fields.next().unwrap(), fields.next().unwrap());
    chown(folder, Some(user), Some(group)).unwrap();
    Some((user, group))
}

#[tokio::test]
async fn classic() {
    let redis = redis();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    check_broker(async || Classic::new(&url).unwrap().max_queued_bytes(MAX_QUEUED)).await;
}

#[tokio::test]
async fn sharded() {
    let redis = redis();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    for mode in [SubscriptionMode::Static, SubscriptionMode::Dynamic, SubscriptionMode::DynamicPrivate] {
        let broker = Sharded::new(&url).unwrap().max_queued_bytes(MAX_QUEUED).subscription_mode(mode);
        check_broker(async || broker.clone()).await;
    }
}

#[tokio::test]
async fn streams() {
    let redis = redis();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    check_broker(async || Streams::new(&url).unwrap().max_queued_bytes(MAX_QUEUED)).await;
}

#[tokio::test]
async fn nats_adapter() {
    let nats = nats();
    let url = format!("nats://127.0.0.1:{}", nats.port);
    check_broker(async || Nats::new(&url).unwrap().max_queued_bytes(MAX_QUEUED)).await;
}

#[tokio::test]
async fn jetstream() {
    let nats = nats();
    let url = format!("nats://127.0.0.1:{}", nats.port);
    let adapter = || Nats::new(&url).unwrap().jetstream(JetStream::default());
    check_broker(async || adapter().max_queued_bytes(MAX_QUEUED)).await;
}

#[tokio::test]
async fn postgres_adapter() {
    let postgres = postgres();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port);
    check_broker(async || Postgres::new(&url).unwrap().max_queued_bytes(MAX_QUEUED)).await;
}
