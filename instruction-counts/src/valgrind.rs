//! Counts instructions, which do not depend on the load of the machine.

use std::{
    env,
    error::Error,
    hint,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
};

/// An error for the report.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Counts the instructions of one operation. This program must play a number of operations if its arguments
/// are `name` and that number. The result is the difference between `most` and `least` operations, which
/// excludes the start of the program.
///
/// # Errors
///
/// Returns an error if valgrind is missing, or if the program fails.
///
/// # Panics
///
/// Panics if a thread cannot be started.
pub fn per_operation(name: &str, least: u64, most: u64) -> Result<u64, Failure> {
    // Concurrent runs are as exact as sequential ones.
    let (few, many) = thread::scope(|scope| {
        let few = scope.spawn(|| instructions(name, least));
        let many = instructions(name, most);
        (few.join(), many)
    });
    let few = few.map_err(|_| "the count of few operations panicked")??;
    let added = many?.checked_sub(few).ok_or("more operations took fewer instructions")?;
    Ok((added + (most - least) / 2) / (most - least))
}

/// Counts the instructions of each part of one run of this program with these arguments.
///
/// A part ends where the program calls [`end_part`]. The last part ends with the program.
///
/// # Errors
///
/// Returns an error if valgrind is missing, or if the program fails.
pub fn per_part(args: &[&str]) -> Result<Vec<u64>, Failure> {
    let mut run = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--callgrind-out-file=/dev/stdout"])
        .args(["--combine-dumps=yes", "--dump-after=*::end_part"])
        .arg(env::current_exe()?)
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("valgrind: {error}"))?;
    let mut parts = Vec::new();
    // Valgrind writes a profile for each part. Profiles are large, so only their totals are kept.
    for line in run.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        if let Some(total) = line?.strip_prefix("totals: ") {
            parts.push(total.trim().parse()?);
        }
    }
    if run.wait()?.success() { Ok(parts) } else { Err(format!("failed: {}", args.join(" ")).into()) }
}

/// Ends a part of the instructions that [`per_part`] counts.
#[inline(never)]
pub fn end_part() {
    // The compiler could merge an empty function with others.
    hint::black_box("the end of a part");
}

/// Counts the instructions of a process.
fn instructions(name: &str, operations: u64) -> Result<u64, Failure> {
    Ok(per_part(&[name, &operations.to_string()])?.into_iter().sum())
}
