//! A bar chart of the results, with one bar per scenario and peer.

use std::fmt::Write as _;

use crate::{results::Results, scenarios::Group, statistics::short};

const WIDTH: f64 = 760.0;
/// The left edge of the bars. The labels are to the left of it.
const LEFT: f64 = 290.0;
/// The length of the longest bar, which leaves room for its figure.
const LONGEST: f64 = 400.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
/// Colors that are distinguishable on white and on black, including for people with red-green color
/// blindness.
const COLOURS: [&str; 6] = ["#1f8fd6", "#e08214", "#7f9c3b", "#9a9a9a", "#b565a7", "#c8503c"];

/// The bars of one scenario.
struct Rows {
    title: String,
    subtitle: String,
    /// One value per peer.
    values: Vec<Option<f64>>,
}

/// Returns the chart of the CPU costs as SVG.
pub(crate) fn svg(results: &Results) -> String {
    let names: Vec<&str> = results.peers.iter().map(|(name, _)| name.as_str()).collect();
    let rows: Vec<Rows> = results
        .of_group(Group::Cost)
        .map(|scenario| Rows {
            title: scenario.name.clone(),
            subtitle: scenario.what.clone(),
            values: names
                .iter()
                .map(|peer| results.figure(&scenario.name, peer, |report| Some(report.cpu_us)))
                .collect(),
        })
        .filter(|row: &Rows| row.values.iter().any(Option::is_some))
        .collect();
    let machine = &results.machine;
    let footer = format!("{}, Linux {}, {}", machine.cpu, machine.kernel, results.when);
    draw("CPU time of the server for one operation, in µs (shorter is better)", &names, &rows, &footer)
}

/// Draws the bars. Lengths are relative to the longest bar of the same scenario.
fn draw(title: &str, names: &[&str], rows: &[Rows], footer: &str) -> String {
    let mut body = String::new();
    text(&mut body, 0.0, 20.0, "title", title);
    let mut x = 0.0;
    for (name, colour) in names.iter().zip(COLOURS.iter().cycle()) {
        let _ = writeln!(body, r#"<rect x="{x}" y="34" width="12" height="12" rx="2" fill="{colour}"/>"#);
        text(&mut body, x + 17.0, 44.5, "label", name);
        x += 17.0 + 8.0 * name.chars().count() as f64 + 18.0;
    }
    let mut y = 64.0;
    for row in rows {
        let longest = row.values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        text(&mut body, 0.0, y + 11.0, "label", &row.title);
        text(&mut body, 0.0, y + 26.0, "small", &row.subtitle);
        for (value, colour) in row.values.iter().zip(COLOURS.iter().cycle()) {
            let Some(value) = value else { continue };
            let width = (value / longest * LONGEST).max(1.0);
            let height = BAR - 2.0;
            let _ = writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y:.0}" width="{width:.1}" height="{height}" rx="2" fill="{colour}"/>"#
            );
            text(&mut body, LEFT + width + 5.0, y + 9.5, "small", &short(*value));
            y += BAR;
        }
        y += GAP;
    }
    text(&mut body, 0.0, y + 6.0, "small", footer);
    let height = y + 14.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n\
         text {{ font-family: system-ui, sans-serif; fill: #24292f; }}\n\
         .title {{ font-size: 15px; font-weight: 600; }} .label {{ font-size: 13px; }} .small {{ font-size: 11px; }}\n\
         .small {{ opacity: 0.75; }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3; }} }}\n</style>\n{body}</svg>\n",
        escape(title)
    )
}

fn text(out: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escape(words));
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let row = |values| Rows { title: "a<b".into(), subtitle: "c & d".into(), values };
        let svg = draw("t", &["x", "y"], &[row(vec![Some(2.0), Some(1.0)]), row(vec![None, Some(7.0)])], "f");
        let widths: Vec<_> = svg.matches(r#"width="400.0""#).collect();
        assert_eq!(widths.len(), 2, "the longest of each scenario");
        assert_eq!(svg.matches(r#"width="200.0""#).count(), 1);
        assert!(svg.contains("a&lt;b") && svg.contains("c &amp; d"));
    }
}
