//! The results as Markdown.

use std::fmt::Write as _;

use bench::job::{Latency, Report};

use crate::{
    cluster,
    peers::OURS,
    results::Results,
    scenarios::{Group, Scenario},
    statistics::short,
};

/// The figures that the load generator reports, and the state in which each was measured.
const MEMORY: [(&str, &str); 5] = [
    ("idle", "connected"),
    ("echoed", "after an echo on each"),
    ("broadcast", "a while after a broadcast of 128 KiB to all"),
    ("closed", "after all have gone"),
    ("poll", "pending"),
];

/// Returns all tables for which there are figures.
pub(crate) fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut out = format!(
        "# Results\n\n{}, {} cores, {:.0} GiB, Linux {}. {}, {:.1} s in each run, medians of all rounds. In brackets how \
         many times ours it is.\n\n",
        machine.cpu, machine.cores, machine.memory_gib, machine.kernel, results.when, results.seconds
    );
    for (name, version) in &results.peers {
        let _ = writeln!(out, "- **{name}**: {version}");
    }
    let cost =
        |scenario: &Scenario, peer: &str| with_ratio(results, scenario, peer, |report| Some(report.cpu_us));
    table(&mut out, results, Group::Cost, "CPU time of the server for one operation, in µs", &cost);
    table(&mut out, results, Group::Cost, "Operations in a second, server on one core", &|scenario, peer| {
        let rate = results.figure(&scenario.name, peer, |report| Some(report.rate()))?;
        let busy = results.figure(&scenario.name, peer, |report| Some(report.server_cores))?;
        // The bottleneck is then the load generator, or the client that waits for the response.
        let idle = if busy < 0.8 { format!(" [{:.0} %]", busy * 100.0) } else { String::new() };
        Some(format!("{}{idle}", short(rate)))
    });
    let title = "Latency at a fixed rate, p50 / p99 / p99.9 in µs";
    table(&mut out, results, Group::Latency, title, &|scenario, peer| {
        let percentile = |get: fn(Latency) -> f64| {
            results.figure(&scenario.name, peer, |report| report.latency.map(get)).map(short)
        };
        let (p50, p99) = (percentile(|latency| latency.p50)?, percentile(|latency| latency.p99)?);
        Some(format!("{p50} / {p99} / {}", percentile(|latency| latency.p999)?))
    });
    table(&mut out, results, Group::FanOut, "CPU time of the server for one delivery, in µs", &cost);
    table(&mut out, results, Group::Crowd, "CPU time among many others, in µs", &cost);
    let title = "One core and two: operations in a second, for one CPU second of the server, and CPU of server + clients";
    table(&mut out, results, Group::Cores, title, &|scenario, peer| {
        let figure =
            |metric: fn(&Report) -> f64| results.figure(&scenario.name, peer, |report| Some(metric(report)));
        let (rate, server) = (figure(Report::rate)?, figure(|report| report.server_cores)?);
        let clients = figure(|report| report.load_cores)?;
        Some(format!("{}, {}, {server:.2} + {clients:.2}", short(rate), short(rate / server)))
    });
    memory(&mut out, results);
    cluster::tables(&mut out, results);
    overtaken(&mut out, results);
    failures(&mut out, results);
    out
}

/// Returns a figure and its ratio to ours.
pub(crate) fn with_ratio(
    results: &Results,
    scenario: &Scenario,
    peer: &str,
    metric: impl Fn(&Report) -> Option<f64>,
) -> Option<String> {
    let figure = short(results.figure(&scenario.name, peer, &metric)?);
    match results.ratio(&scenario.name, peer, &metric) {
        Some(ratio) if peer != OURS => Some(format!("{figure} ({ratio:.2}×)")),
        _ => Some(figure),
    }
}

/// Writes a table with one row per scenario of a group.
fn table(
    out: &mut String,
    results: &Results,
    group: Group,
    title: &str,
    cell: &dyn Fn(&Scenario, &str) -> Option<String>,
) {
    let row = |scenario: &Scenario| {
        let cells = results.peers.iter().map(|(peer, _)| cell(scenario, peer).unwrap_or_default()).collect();
        [vec![scenario.name.clone(), scenario.what.clone()], cells].concat()
    };
    write_table(out, results, title, results.of_group(group).map(row).collect());
}

/// Writes a table with one row per memory measurement.
fn memory(out: &mut String, results: &Results) {
    let mut rows = Vec::new();
    for scenario in results.of_group(Group::Memory) {
        for (name, when) in MEMORY {
            let bytes = |report: &Report| report.extra.get(name).copied();
            let cell = |peer: &str| with_ratio(results, scenario, peer, bytes).unwrap_or_default();
            let cells = results.peers.iter().map(|(peer, _)| cell(peer)).collect();
            rows.push([vec![scenario.what.clone(), when.into()], cells].concat());
        }
    }
    write_table(out, results, "Memory of the server for one client, in bytes", rows);
}

/// Writes a table whose rows have two labels and a cell per peer. Rows and peers without any figure are
/// omitted.
pub(crate) fn write_table(out: &mut String, results: &Results, title: &str, mut rows: Vec<Vec<String>>) {
    rows.retain(|row| row.iter().skip(2).any(|cell| !cell.is_empty()));
    if rows.is_empty() {
        return;
    }
    let has_figures = |column: usize| column < 2 || rows.iter().any(|row| !row[column].is_empty());
    let columns: Vec<usize> = (0..results.peers.len() + 2).filter(|column| has_figures(*column)).collect();
    let names: Vec<_> = columns.iter().skip(2).map(|column| results.peers[column - 2].0.as_str()).collect();
    let _ = writeln!(
        out,
        "\n## {title}\n\n| | | {} |\n|---|---|{}",
        names.join(" | "),
        "---:|".repeat(names.len())
    );
    for row in rows {
        let cells: Vec<_> = columns.iter().map(|column| row[*column].as_str()).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// Reports deliveries out of order. Not all servers guarantee the order of publications.
fn overtaken(out: &mut String, results: &Results) {
    for scenario in &results.scenarios {
        for (peer, _) in &results.peers {
            if let Some(part) =
                results.figure(&scenario.name, peer, |report| report.extra.get("overtaken").copied())
            {
                let _ = writeln!(
                    out,
                    "\n{}: with {peer}, {:.1} % of the deliveries came after one that was published later.",
                    scenario.name,
                    part * 100.0
                );
            }
        }
    }
}

fn failures(out: &mut String, results: &Results) {
    let failed: Vec<_> = results.runs.iter().filter(|run| run.error.is_some()).collect();
    if !failed.is_empty() {
        let _ = writeln!(out, "\n## Failed runs\n");
        for run in failed {
            let _ = writeln!(out, "- {}", run.line());
        }
    }
}
