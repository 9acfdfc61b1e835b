//! What the bytes of a client cost, by their kind.
//!
//! * `attack-costs check`: prints a table, and ends with status 1 if a byte of any kind costs over 10 times as many
//!   instructions as one of an echo. With a word behind it, only of the kinds whose names it is in.
//! * `attack-costs NAME N`: sends so many units; this is what is counted, under valgrind.
#![expect(clippy::print_stdout, reason = "the report is for people")]
#![expect(clippy::cast_precision_loss, reason = "counts of instructions are far below 2^52")]

use std::{env, process::ExitCode};

use interop_tests::{
    attacks::{Attack, all},
    valgrind::{Failure, per_operation},
};

/// What so many bytes cost more than a third of them is counted. A third is more than the server reads at once.
const BYTES: usize = 300_000;

fn main() -> Result<ExitCode, Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => Ok(if check("")? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        ["check", word] => Ok(if check(word)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        [name, units] => {
            Attack::find(name).ok_or_else(|| format!("no attack {name}"))?.run(units.parse()?);
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("usage: attack-costs check [WORD] | NAME N".into()),
    }
}

/// Prints the table; says whether all is cheap enough.
fn check(word: &str) -> Result<bool, Failure> {
    println!("| what is sent | bytes | instructions | for a byte | of an echo |");
    println!("|---|---|---|---|---|");
    let (mut echo, mut holds) = (None, true);
    for attack in all() {
        if echo.is_some() && !attack.name.contains(word) {
            continue;
        }
        let least = attack.units(BYTES / 3);
        let count = per_operation(&attack.name, least as u64, attack.units(BYTES).max(least + 1) as u64)?;
        let len = attack.unit_len();
        let each = count as f64 / len as f64;
        let times = each / *echo.get_or_insert(each);
        let verdict = if times > attack.most() { " FAILED" } else { "" };
        holds &= times <= attack.most();
        println!("| {} | {len} | {count} | {each:.0} | {times:.1}{verdict} |", attack.name);
    }
    Ok(holds)
}
