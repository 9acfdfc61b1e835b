//! Statistics over the rounds.

/// Returns the median, which is the mean of the two middle values for an even count. Returns `None` for no
/// values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// Formats a value with three significant digits and a suffix for thousands and above.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        1e7.. => format!("{:.1}M", value / 1e6),
        1e6.. => format!("{:.2}M", value / 1e6),
        1e4.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 9.0, 1.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, 2.0, 8.0]), Some(3.0));
    }

    #[test]
    fn figures_are_short() {
        let written = [0.4567, 4.567, 45.67, 456.7, 4567.0, 45_670.0, 4_567_000.0, 45_670_000.0].map(short);
        assert_eq!(written, ["0.46", "4.57", "45.7", "457", "4567", "45.7k", "4.57M", "45.7M"]);
    }
}
