//! Counting instructions, which do not depend on what else the machine does.

use std::{env, error::Error, process::Command, thread};

/// What went wrong, for people.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The instructions of one operation, if this program plays so many of them with the arguments `name` and their number:
/// what `most` take more than `least`, so that the start of all counts nothing.
///
/// # Errors
///
/// Returns an error if there is no valgrind, or if the program fails.
///
/// # Panics
///
/// Panics if a thread cannot be started.
pub fn per_operation(name: &str, least: u64, most: u64) -> Result<u64, Failure> {
    // Two at once are as exact as one.
    let (few, many) = thread::scope(|scope| {
        let few = scope.spawn(|| instructions(name, least));
        let many = instructions(name, most);
        (few.join(), many)
    });
    let few = few.map_err(|_| "the count of few operations panicked")??;
    let added = many?.checked_sub(few).ok_or("more operations took fewer instructions")?;
    Ok((added + (most - least) / 2) / (most - least))
}

/// The instructions of a process.
fn instructions(name: &str, operations: u64) -> Result<u64, Failure> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([name, &operations.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&run.stderr);
    let count = report.lines().find_map(|line| line.split_once("Collected :"));
    match count {
        Some((_, count)) if run.status.success() => Ok(count.trim().parse()?),
        _ => Err(format!("{name}: {report}").into()),
    }
}
