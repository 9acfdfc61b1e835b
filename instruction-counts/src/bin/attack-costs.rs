//! Counts the instructions that the server executes per byte of each kind of input.
//!
//! * `attack-costs check [WORD]`: prints a table. Exits with status 1 if a byte of any kind costs more than
//!   its limit. With a word, only the kinds whose names contain the word are counted.
//! * `attack-costs play PART [WORD]`: sends every second kind, from kind number PART on. `check` runs this
//!   under valgrind.
#![expect(clippy::print_stdout, reason = "the report is for people")]
#![expect(clippy::cast_precision_loss, reason = "counts of instructions are far below 2^52")]

use std::{array, env, process::ExitCode, thread};

use instruction_counts::{
    attacks::{Attack, all},
    valgrind::{Failure, end_part, per_part},
};

/// The bytes of the shorter and of the longer flood of a kind. The difference of their instructions is the
/// result, which excludes the start of the server and the connection setup. Both are longer than the 64 KiB
/// that a connection buffers.
const FLOODS: [usize; 2] = [70_000, 120_000];
/// The number of processes that share the kinds. They run concurrently.
const PARTS: usize = 2;

fn main() -> Result<ExitCode, Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check"] => check(""),
        ["check", word] => check(word),
        ["play", part] => Ok(play(part.parse()?, "")),
        ["play", part, word] => Ok(play(part.parse()?, word)),
        _ => Err("usage: attack-costs check [WORD] | play PART [WORD]".into()),
    }
}

/// Returns the echo, which is the baseline, and then the kinds whose names contain the word.
fn kinds(word: &str) -> impl Iterator<Item = Attack> {
    let all = all().into_iter().enumerate();
    all.filter(move |(at, attack)| *at == 0 || attack.name.contains(word)).map(|(_, attack)| attack)
}

/// Returns the units of the shorter and of the longer flood.
fn floods(attack: &Attack) -> [usize; 2] {
    let [least, most] = FLOODS.map(|bytes| attack.units(bytes));
    [least, most.max(least + 1)]
}

/// Sends the floods of one part of the kinds.
fn play(part: usize, word: &str) -> ExitCode {
    let kinds: Vec<_> = kinds(word).skip(part).step_by(PARTS).collect();
    // The first part is the start of the program.
    end_part();
    for attack in kinds {
        for units in floods(&attack) {
            attack.run(units);
            end_part();
        }
    }
    ExitCode::SUCCESS
}

/// Prints the table. The status is a success if no kind exceeds its limit.
fn check(word: &str) -> Result<ExitCode, Failure> {
    let counts: [_; PARTS] = thread::scope(|scope| {
        let count = |part: usize| scope.spawn(move || per_part(&["play", &part.to_string(), word]));
        array::from_fn(count).map(|counts| counts.join().expect("counting does not panic"))
    });
    let mut parts = Vec::new();
    for counts in counts {
        parts.push(counts?.into_iter().skip(1));
    }
    println!("| what is sent | bytes | instructions | for a byte | of an echo |");
    println!("|---|---|---|---|---|");
    let (mut echo, mut status) = (None, ExitCode::SUCCESS);
    for (at, attack) in kinds(word).enumerate() {
        let part = &mut parts[at % PARTS];
        let (few, many) = part.next().zip(part.next()).ok_or("fewer parts were counted than played")?;
        let [least, most] = floods(&attack);
        let count = many.saturating_sub(few) / (most - least) as u64;
        let len = attack.unit_len();
        let each = count as f64 / len as f64;
        let times = each / *echo.get_or_insert(each);
        let mut verdict = "";
        if times > attack.most() {
            (verdict, status) = (" FAILED", ExitCode::FAILURE);
        }
        println!("| {} | {len} | {count} | {each:.0} | {times:.1}{verdict} |", attack.name);
    }
    Ok(status)
}
