//! The servers under comparison.

use std::{fs, path::Path, process::Command};

use anyhow::bail;

use crate::{
    cluster::{self, Fleet},
    options::Options,
    scenarios::Scenario,
};

/// The name of the server of this repository, which is the baseline of all ratios.
pub(crate) const OURS: &str = "socketio";
/// The name of the minimal server, which serves as a lower bound.
pub(crate) const FLOOR: &str = "floor";

/// The names of the peers that are left out if their runtime is not installed.
const JAVASCRIPT: [&str; 2] = ["node", "bun"];

/// A server under test.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// The exact version.
    pub(crate) version: String,
    /// The program and its arguments. The program must be the server itself, not a launcher.
    pub(crate) command: Vec<String>,
    /// The servers of this peer in cluster scenarios.
    pub(crate) fleet: Option<Fleet>,
    /// `true` if the peer takes part in cluster scenarios only.
    pub(crate) only_clusters: bool,
}

impl Peer {
    fn new(name: &str, version: String, program: &Path) -> Self {
        let command = vec![program.to_string_lossy().into()];
        Self { name: name.into(), version, command, fleet: None, only_clusters: false }
    }

    /// Returns `true` if the scenario is meaningful for this peer.
    pub(crate) fn plays(&self, scenario: &Scenario) -> bool {
        if scenario.is_cluster() {
            return self.fleet.is_some_and(|fleet| fleet.plays(scenario));
        }
        if self.only_clusters {
            return false;
        }
        // The floor has one thread and one room.
        self.name != FLOOR || !(scenario.on_all_cores || scenario.job.rooms > 0)
    }
}

/// Returns all selected peers that can be started.
pub(crate) fn all(options: &Options) -> anyhow::Result<Vec<Peer>> {
    let own =
        Peer::new(OURS, format!("this repository, {}", revision(options)), &options.bin.join("bench-server"));
    let other = Peer::new(
        "socketioxide",
        format!("socketioxide {}", locked_version("socketioxide")),
        &options.bin.join("socketioxide"),
    );
    let floor = Peer::new(FLOOR, "the least that is possible, no server".into(), &options.bin.join(FLOOR));
    let mut peers = vec![own, other];
    peers.extend(javascript(options, "node", "Node.js", Some("node".into())));
    peers.extend(javascript(options, "bun", "Bun", installed_bun(options)));
    peers.push(floor);
    cluster::add_peers(&mut peers);
    if !options.peers.is_empty() {
        for name in &options.peers {
            if !JAVASCRIPT.contains(&&**name) && !peers.iter().any(|peer| peer.name == *name) {
                bail!("there is no peer {name}");
            }
        }
        peers.retain(|peer| options.peers.contains(&peer.name));
    }
    for (name, command) in &options.more_peers {
        let command = command.split_whitespace().map(str::to_owned).collect();
        peers.push(Peer {
            name: name.clone(),
            version: "yours".into(),
            command,
            fleet: None,
            only_clusters: false,
        });
    }
    for peer in peers.iter().filter(|peer| peer.fleet != Some(Fleet::NoServer)) {
        if peer.command.is_empty() || peer.command[0].contains('/') && !Path::new(&peer.command[0]).exists() {
            bail!("{}: there is no {:?}; run.sh builds all", peer.name, peer.command);
        }
    }
    Ok(peers)
}

/// Returns the peer whose server is in the folder `name`, unless its runtime or its packages are not installed.
fn javascript(options: &Options, name: &str, runtime: &str, program: Option<String>) -> Option<Peer> {
    let home = options.home.join(name);
    let running = program.and_then(|program| Some((output(&program, &["--version"])?, program)));
    let Some((runtime_version, program)) = running else {
        eprintln!("{runtime} is not there: the peer `{name}` is left out.");
        return None;
    };
    let Ok(package) = fs::read_to_string(home.join("node_modules/socket.io/package.json")) else {
        eprintln!("bench/{name} is not installed (npm ci): the peer `{name}` is left out.");
        return None;
    };
    let package: serde_json::Value = serde_json::from_str(&package).ok()?;
    let version = format!("socket.io {} on {runtime} {runtime_version}", package["version"].as_str()?);
    let command = vec![program, home.join("server.js").to_string_lossy().into()];
    Some(Peer { name: name.into(), version, command, fleet: None, only_clusters: false })
}

/// Returns the program that npm has installed. Its folder has the name of the platform.
fn installed_bun(options: &Options) -> Option<String> {
    let platforms = fs::read_dir(options.home.join("bun/node_modules/@oven")).ok()?;
    let mut programs = platforms.flatten().map(|platform| platform.path().join("bin/bun"));
    programs.find(|program| program.exists()).map(|program| program.to_string_lossy().into())
}

fn revision(options: &Options) -> String {
    let home = options.home.to_string_lossy();
    output("git", &["-C", &home, "rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "no revision".into())
}

/// Returns the standard output of a program that succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn locked_version(name: &str) -> &'static str {
    include_str!("../../../Cargo.lock")
        .split("[[package]]")
        .find(|package| package.contains(&format!("name = \"{name}\"\n")))
        .and_then(|package| package.split("version = \"").nth(1)?.split('"').next())
        .unwrap_or("of unknown version")
}
