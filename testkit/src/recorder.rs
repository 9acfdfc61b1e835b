//! A metrics recorder that reports changes since the last call.

#![allow(clippy::cast_precision_loss, reason = "counts are small")]

use std::{collections::BTreeMap, fmt};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Records the metrics of a server.
pub struct Recorder {
    snapshotter: Snapshotter,
    totals: BTreeMap<String, f64>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Calls `build` with a new recorder installed, so that the handles created by `build` belong to the
    /// recorder.
    pub fn new<T>(build: impl FnOnce() -> T) -> (Self, T) {
        let recorder = DebuggingRecorder::new();
        let made = metrics::with_local_recorder(&recorder, build);
        (Self { snapshotter: recorder.snapshotter(), totals: BTreeMap::new() }, made)
    }

    /// Returns the changes since the last call as `name{label=value}` with the difference. For a histogram,
    /// the difference is the number of values.
    pub fn changes(&mut self) -> Vec<(String, f64)> {
        let mut changes = Vec::new();
        // A snapshot resets the recorder.
        for (key, _, description, value) in self.snapshotter.snapshot().into_vec() {
            let key = key.key();
            let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
            let name = format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","));
            assert!(description.is_some(), "{name} is not described");
            let change = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => *value,
                DebugValue::Histogram(values) => {
                    *self.totals.entry(format!("sum of {name}")).or_default() +=
                        values.iter().map(|value| **value).sum::<f64>();
                    values.len() as f64
                }
            };
            *self.totals.entry(name.clone()).or_default() += change;
            if change != 0.0 {
                changes.push((name, change));
            }
        }
        changes
    }

    /// Checks the changes of all metrics whose names begin with `prefix`, in any order.
    #[track_caller]
    pub fn assert_changes(&mut self, prefix: &str, expected: &[(&str, f64)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|&(name, change)| (name.to_owned(), change)).collect();
        let mut changes = BTreeMap::from_iter(self.changes());
        changes.retain(|name, _| name.starts_with(prefix));
        assert_eq!(changes, expected);
    }

    /// Returns the sum of all changes of a metric so far. `sum of <name>` returns the sum of the values of a
    /// histogram.
    pub fn total(&mut self, name: &str) -> f64 {
        self.changes();
        self.totals.get(name).copied().unwrap_or_else(|| panic!("no {name} among {:?}", self.totals.keys()))
    }

    /// Returns the names of all metrics.
    pub fn names(&mut self) -> Vec<String> {
        self.changes();
        let mut names: Vec<_> = self.totals.keys().filter_map(|name| name.split_once('{')).collect();
        names.retain(|(name, _)| !name.starts_with("sum of "));
        names.dedup_by_key(|(name, _)| *name);
        names.into_iter().map(|(name, _)| name.to_owned()).collect()
    }
}
