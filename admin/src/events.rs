//! A sample of the events from and to clients, for the page "Events".

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::{Args, ObservedEvent};

/// The arguments of larger events are left out.
const MAX_ARGS_BYTES: usize = 8 * 1024;
/// The maximum number of recipients of one event that are shown.
const MAX_RECIPIENTS: usize = 4;

/// An event from or to a socket.
#[derive(Debug)]
pub(crate) struct SampledEvent {
    pub(crate) is_incoming: bool,
    pub(crate) nsp: String,
    pub(crate) id: String,
    /// The name and the arguments.
    pub(crate) values: Vec<Value>,
    pub(crate) time: SystemTime,
}

/// The events since they were taken last, up to a maximum. Further events are counted.
#[derive(Debug)]
pub(crate) struct Events {
    /// The namespace of the UI, whose own events are not shown.
    admin_namespace: String,
    max: usize,
    queue: Mutex<VecDeque<SampledEvent>>,
    hidden: AtomicU64,
}

impl Events {
    pub(crate) fn new(admin_namespace: &str, max: usize) -> Self {
        let admin_namespace = admin_namespace.to_owned();
        Self { admin_namespace, max, queue: Mutex::default(), hidden: AtomicU64::new(0) }
    }

    /// Returns the number of events that were not shown.
    pub(crate) fn hidden(&self) -> u64 {
        self.hidden.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> VecDeque<SampledEvent> {
        std::mem::take(&mut self.queue.lock())
    }

    pub(crate) fn observe(&self, event: &ObservedEvent<'_>) {
        if event.namespace() != self.admin_namespace {
            let shown = self.push(event).unwrap_or_default();
            self.hidden.fetch_add((event.recipients() - shown) as u64, Ordering::Relaxed);
        }
    }

    /// Returns the number of recipients for which the event was added.
    fn push(&self, event: &ObservedEvent<'_>) -> Option<usize> {
        // Checked before the arguments are read, which takes longer.
        let room = self.max.saturating_sub(self.queue.lock().len());
        if room == 0 {
            return None;
        }
        let (name, args) = event.read()?;
        let values = values(name, &args);
        let time = SystemTime::now();
        let mut queue = self.queue.lock();
        let room = self.max.saturating_sub(queue.len()).min(MAX_RECIPIENTS);
        let sampled = event.socket_ids().take(room).map(|id| SampledEvent {
            is_incoming: event.is_incoming(),
            nsp: event.namespace().to_owned(),
            id: id.to_owned(),
            values: values.clone(),
            time,
        });
        let before = queue.len();
        queue.extend(sampled);
        Some(queue.len() - before)
    }
}

/// Returns the name and the arguments. Attachments are replaced by their sizes.
fn values(name: String, args: &Args) -> Vec<Value> {
    let mut values = vec![Value::String(name)];
    if args.json().len() > MAX_ARGS_BYTES {
        values.push(json!(format!("[{} bytes]", args.json().len())));
        return values;
    }
    let Ok(arguments) = serde_json::from_str::<Vec<Value>>(args.json()) else { return values };
    let sizes: Vec<usize> = args.attachments().iter().map(Bytes::len).collect();
    values.extend(arguments.into_iter().map(|argument| without_attachments(argument, &sizes)));
    values
}

fn without_attachments(value: Value, sizes: &[usize]) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| without_attachments(value, sizes)).collect(),
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let at = object.get("num").and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            let size = at.and_then(|at| sizes.get(at));
            json!(size.map_or_else(|| "[binary]".to_owned(), |size| format!("[binary, {size} bytes]")))
        }
        Value::Object(object) => {
            let entries = object.into_iter();
            Value::Object(entries.map(|(key, value)| (key, without_attachments(value, sizes))).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_and_large_arguments_are_replaced_by_their_sizes() {
        let placeholder = json!({ "file": [{ "_placeholder": true, "num": 0 }], "name": "a" });
        let shown = without_attachments(placeholder, &[12]);
        assert_eq!(shown, json!({ "file": ["[binary, 12 bytes]"], "name": "a" }));
        let fits = Args::from_values(["x".repeat(MAX_ARGS_BYTES - 4)]).unwrap();
        assert_eq!(fits.json().len(), MAX_ARGS_BYTES);
        assert_eq!(values("e".into(), &fits)[1].as_str().unwrap().len(), MAX_ARGS_BYTES - 4);
        let large = Args::from_values(["x".repeat(MAX_ARGS_BYTES - 3)]).unwrap();
        assert_eq!(values("e".into(), &large), ["e", "[8193 bytes]"]);
    }
}
