//! The results as Markdown.

use std::fmt::Write as _;

use bench::job::Report;

use crate::{
    peers::OURS,
    results::Results,
    scenarios::{Group, Scenario},
    statistics::short,
};

/// All tables that there are figures for.
pub(crate) fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut out = format!(
        "# Results\n\n{}, {} cores, {:.0} GiB, Linux {}. {}, {:.1} s in each run, medians of all rounds.\n\n",
        machine.cpu, machine.cores, machine.memory_gib, machine.kernel, results.when, results.seconds
    );
    for (name, version) in &results.peers {
        let _ = writeln!(out, "- **{name}**: {version}");
    }
    let cost = |report: &Report| Some(report.cpu_us);
    table(
        &mut out,
        results,
        Group::Cost,
        "CPU time of the server for one operation, in µs",
        &|scenario, peer| with_ratio(results, scenario, peer, cost),
    );
    table(&mut out, results, Group::Cost, "Operations in a second, server on one core", &|scenario, peer| {
        let rate = results.figure(&scenario.name, peer, |report| Some(report.rate()))?;
        let busy = results.figure(&scenario.name, peer, |report| Some(report.server_cores))?;
        // The load generator is the limit then, or the client that waits for its answer.
        let idle = if busy < 0.9 { format!(" [{:.0} %]", busy * 100.0) } else { String::new() };
        Some(format!("{}{idle}", short(rate)))
    });
    failures(&mut out, results);
    out
}

fn with_ratio(
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

fn table(
    out: &mut String,
    results: &Results,
    group: Group,
    title: &str,
    cell: &dyn Fn(&Scenario, &str) -> Option<String>,
) {
    let rows: Vec<_> = results.of_group(group).collect();
    if rows.is_empty() {
        return;
    }
    let names: Vec<_> = results.peers.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(
        out,
        "\n## {title}\n\n| | | {} |\n|---|---|{}",
        names.join(" | "),
        "---:|".repeat(names.len())
    );
    for scenario in rows {
        let cells: Vec<_> = names.iter().map(|peer| cell(scenario, peer).unwrap_or_default()).collect();
        let _ = writeln!(out, "| {} | {} | {} |", scenario.name, scenario.what, cells.join(" | "));
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
