//! Counts the instructions that servers execute per event that is sent through Redis.
//!
//! * `cluster-costs`: counts those of the server of the benchmark, which must be built in the same profile.
//! * `cluster-costs COMMAND...`: counts those of another server, which behaves as `bench/README.md` says.
//!
//! The variable `ADAPTER` selects the adapter, `redis` by default, and `ROLE` one of the roles. With `KEEP`, the
//! profiles of callgrind are left in the folder for temporary files.
#![expect(clippy::print_stdout, reason = "the report is for people")]

use std::env;

use instruction_counts::{
    cluster::{ROLES, per_event},
    valgrind::Failure,
};

fn main() -> Result<(), Failure> {
    let mut command: Vec<String> = env::args().skip(1).collect();
    if command.is_empty() {
        let server = env::current_exe()?.with_file_name("bench-server");
        command.push(server.to_str().ok_or("the path is not text")?.to_owned());
    }
    let variable = |name: &str| env::var(name).ok();
    let adapter = variable("ADAPTER").unwrap_or_else(|| "redis".to_owned());
    for (name, role) in ROLES {
        if variable("ROLE").is_none_or(|only| only == name) {
            println!("{name:<10}{:>10}", per_event(&command, &adapter, role)?);
        }
    }
    Ok(())
}
