//! Counts the instructions of the hot paths, and compares the counts with those of `hot-paths.txt`.
//!
//! * `hot-paths check`: exits with status 1 if an operation executes over 3 % more instructions than
//!   recorded.
//! * `hot-paths record`: overwrites the file.
//! * `hot-paths count`: only prints the counts, for other profiles than `counted`, which is that of the file.
//! * `hot-paths NAME N`: plays a scenario. The other commands run this under valgrind and count its
//!   instructions.
#![expect(clippy::print_stdout, reason = "the report is for people")]

use std::{
    env,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
};

use instruction_counts::{
    hot_paths::{SCENARIOS, Stage},
    valgrind::{Failure, per_operation},
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hot-paths.txt");
/// The permitted growth of an operation, in percent.
const TOLERANCE: u64 = 3;
/// The permitted growth if the file was recorded with another compiler.
const TOLERANCE_FOR_COMPILERS: u64 = 10;

/// The instructions per operation of each scenario, when built with one compiler.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    compiler: String,
    operations: Vec<(String, u64)>,
}

fn main() -> Result<ExitCode, Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => {
            let recorded =
                Counts::parse(&fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?)?;
            let (report, holds) = compare(&recorded, &Counts::take()?);
            println!("{report}");
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ["record"] => {
            let counts = Counts::take()?.to_string();
            fs::write(FILE, &counts)?;
            print!("{counts}");
            Ok(ExitCode::SUCCESS)
        }
        ["count"] => {
            print!("{}", Counts::take()?);
            Ok(ExitCode::SUCCESS)
        }
        [name, operations] => {
            let operations = operations.parse()?;
            let done = Stage::new(name).ok_or_else(|| format!("no scenario {name}"))?.run(operations);
            if done == operations {
                Ok(ExitCode::SUCCESS)
            } else {
                Err("not a number of whole rounds".into())
            }
        }
        _ => Err("usage: hot-paths check | record | count | NAME N".into()),
    }
}

impl Counts {
    /// Counts all scenarios.
    fn take() -> Result<Self, Failure> {
        let rustc = Command::new("rustc").arg("--version").output()?;
        let compiler = String::from_utf8(rustc.stdout)?.trim().to_owned();
        let mut operations = Vec::new();
        for (name, most) in SCENARIOS {
            operations.push((name.to_owned(), per_operation(name, most / 4, most)?));
        }
        Ok(Self { compiler, operations })
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().to_owned();
        let parse = |line: &str| {
            let (name, count) = line.split_once(' ').ok_or_else(|| format!("no count: {line}"))?;
            Ok((name.to_owned(), count.parse()?))
        };
        let operations = lines.map(parse).collect::<Result<_, Failure>>()?;
        Ok(Self { compiler, operations })
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.compiler)?;
        self.operations.iter().try_for_each(|(name, count)| writeln!(f, "{name} {count}"))
    }
}

/// Returns a table of both counts, and `true` if no operation has grown too much.
fn compare(recorded: &Counts, now: &Counts) -> (String, bool) {
    let mut report = String::new();
    let mut tolerance = TOLERANCE;
    if recorded.compiler != now.compiler {
        tolerance = TOLERANCE_FOR_COMPILERS;
        let (then, now) = (&recorded.compiler, &now.compiler);
        let _ = writeln!(report, "recorded with {then}, this is {now}: {tolerance} % are allowed");
    }
    let _ = writeln!(report, "{:<14}{:>10}{:>10}{:>10}", "instructions", "recorded", "now", "change");
    let mut holds = recorded.operations.len() == now.operations.len();
    for (name, count) in &now.operations {
        let before = recorded.operations.iter().find(|(recorded, _)| recorded == name);
        let Some(&(_, before)) = before else {
            holds = false;
            let _ = writeln!(report, "{name:<14}{:>10}{count:>10}  FAILED: not recorded", "-");
            continue;
        };
        let grown = count * 100 > before * (100 + tolerance);
        holds &= !grown;
        let verdict = if grown { "  FAILED" } else { "" };
        let _ = writeln!(report, "{name:<14}{before:>10}{count:>10}{:>10}{verdict}", change(before, *count));
    }
    report.push_str(if holds {
        "nothing has grown too much"
    } else {
        "if that is meant to be, write the file anew: hot-paths record"
    });
    (report, holds)
}

/// Returns the change to a tenth of a percent.
fn change(before: u64, now: u64) -> String {
    let (sign, by) = if now < before { ('-', before - now) } else { ('+', now - before) };
    let tenths = by * 1000 / before.max(1);
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, echo: u64) -> Counts {
        Counts { compiler: compiler.into(), operations: vec![("echo".into(), echo)] }
    }

    #[test]
    fn a_file_is_read_as_it_is_written() {
        let counts = counts("rustc 1", 5000);
        assert_eq!(counts.to_string(), "rustc 1\necho 5000\n");
        assert_eq!(Counts::parse(&counts.to_string()).unwrap(), counts);
        assert!(Counts::parse("rustc 1\necho").is_err());
        assert!(Counts::parse("rustc 1\necho many").is_err());
    }

    #[test]
    fn three_percent_are_allowed_and_no_more() {
        let recorded = counts("rustc 1", 5000);
        for (now, holds) in [(2000, true), (5000, true), (5150, true), (5151, false)] {
            let (report, verdict) = compare(&recorded, &counts("rustc 1", now));
            assert_eq!(verdict, holds, "{report}");
            assert_eq!(report.contains("FAILED"), !holds, "{report}");
        }
        assert_eq!((change(5000, 5151), change(5000, 4995)), ("+3.0 %".into(), "-0.1 %".into()));
    }

    #[test]
    fn ten_percent_are_allowed_to_another_compiler() {
        let recorded = counts("rustc 1", 5000);
        for (now, holds) in [(5500, true), (5501, false)] {
            let (report, verdict) = compare(&recorded, &counts("rustc 2", now));
            assert_eq!(verdict, holds, "{report}");
            assert!(report.contains("recorded with rustc 1, this is rustc 2"), "{report}");
        }
    }

    #[test]
    fn what_is_not_recorded_or_not_counted_fails() {
        let none = Counts { compiler: "rustc 1".into(), operations: vec![] };
        assert!(!compare(&none, &counts("rustc 1", 1)).1);
        assert!(!compare(&counts("rustc 1", 1), &none).1);
    }
}
