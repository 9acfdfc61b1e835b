//! The numbers of a server, which are sent every two seconds.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use socketio::{Server, Traffic};
use tokio::time::Instant;

/// The maximum number of namespaces that are reported. The sockets of further ones are not counted.
const MAX_NAMESPACES: usize = 200;

/// The argument of `server_stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerStats {
    server_id: String,
    hostname: String,
    pid: u32,
    /// In seconds.
    uptime: f64,
    clients_count: usize,
    polling_clients_count: usize,
    aggregated_events: Vec<AggregatedEvent>,
    namespaces: Vec<NamespaceStats>,
    not_shown: NotShown,
}

/// Counts of what is not sent to the UI. The UI ignores them; they are for people who look at the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NotShown {
    /// Sockets of this server at present.
    pub(crate) sockets: usize,
    /// Events so far.
    pub(crate) events: u64,
    pub(crate) namespaces: usize,
}

/// What happened since the last report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedEvent {
    /// A second, in milliseconds since 1970.
    timestamp: u64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'static str>,
    count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceStats {
    name: String,
    sockets_count: usize,
}

/// The reports of a server.
#[derive(Debug)]
pub(crate) struct Reports {
    server_id: String,
    hostname: String,
    started: Instant,
    reported: Traffic,
    namespaces: Rows,
}

impl Reports {
    pub(crate) fn new(server_id: Option<String>, io: &Server) -> Self {
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        // Several servers may run in a process.
        let default = || match io.server_id() {
            Some(id) => format!("{hostname}#{}", id.as_str()),
            None => format!("{hostname}#{}", std::process::id()),
        };
        let server_id = server_id.unwrap_or_else(default);
        Self {
            server_id,
            hostname,
            started: Instant::now(),
            reported: io.traffic(),
            namespaces: Rows::default(),
        }
    }

    pub(crate) fn server_id(&self) -> &str {
        &self.server_id
    }

    /// Leaves out what has happened until now.
    pub(crate) fn skip(&mut self, io: &Server) {
        self.reported = io.traffic();
    }

    pub(crate) fn next(&mut self, io: &Server, not_shown: NotShown) -> ServerStats {
        let traffic = io.traffic();
        let before = std::mem::replace(&mut self.reported, traffic.clone());
        let namespaces = io.namespaces();
        let total = namespaces.len();
        self.namespaces.update(namespaces, |path| io.socket_count(path));
        ServerStats {
            server_id: self.server_id.clone(),
            hostname: self.hostname.clone(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs_f64(),
            clients_count: io.session_count(),
            polling_clients_count: traffic.polling_sessions,
            aggregated_events: aggregate(&before, &traffic),
            namespaces: self.namespaces.0.clone(),
            not_shown: NotShown { namespaces: total.saturating_sub(MAX_NAMESPACES), ..not_shown },
        }
    }
}

fn aggregate(before: &Traffic, now: &Traffic) -> Vec<AggregatedEvent> {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let event =
        |r#type, sub_type, count| AggregatedEvent { timestamp: second * 1000, r#type, sub_type, count };
    let closed = now.closed().zip(before.closed()).map(|((reason, now), (_, before))| {
        event("rawDisconnection", Some(reason.as_str()), now.saturating_sub(before))
    });
    let counts = [
        ("rawConnection", now.opened, before.opened),
        ("packetsIn", now.messages_received, before.messages_received),
        ("bytesIn", now.bytes_received, before.bytes_received),
        ("packetsOut", now.messages_sent, before.messages_sent),
        ("bytesOut", now.bytes_sent, before.bytes_sent),
    ];
    let counts = counts.map(|(kind, now, before)| event(kind, None, now.saturating_sub(before)));
    counts.into_iter().chain(closed).filter(|event| event.count > 0).collect()
}

/// The rows of the namespaces. The UI merges the rows of reports by their index, so a row stays where it is. The row of
/// a namespace that is gone has no sockets, and is given to the next new namespace.
#[derive(Debug, Default)]
struct Rows(Vec<NamespaceStats>);

impl Rows {
    fn update(&mut self, namespaces: Vec<String>, count: impl Fn(&str) -> usize) {
        let mut namespaces = BTreeSet::from_iter(namespaces);
        let mut free = Vec::new();
        for (at, row) in self.0.iter_mut().enumerate() {
            row.sockets_count = 0;
            if namespaces.remove(&row.name) {
                row.sockets_count = count(&row.name);
            } else {
                free.push(at);
            }
        }
        let mut free = free.into_iter();
        for name in namespaces {
            let row = NamespaceStats { sockets_count: count(&name), name };
            match free.next() {
                Some(at) => self.0[at] = row,
                None if self.0.len() < MAX_NAMESPACES => self.0.push(row),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_its_row() {
        let mut rows = Rows::default();
        let mut update = |names: &[&str]| {
            rows.update(names.iter().map(|&name| name.into()).collect(), str::len);
            let rows = rows.0.iter();
            rows.map(|row| format!("{}:{}", row.name, row.sockets_count)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(update(&["/a", "/bb"]), "/a:2 /bb:3");
        assert_eq!(update(&["/a", "/aaa", "/bb"]), "/a:2 /bb:3 /aaa:4");
        assert_eq!(update(&["/aaa", "/bb"]), "/a:0 /bb:3 /aaa:4");
        assert_eq!(update(&["/0", "/aaa", "/bb"]), "/0:2 /bb:3 /aaa:4");
        let many: Vec<String> = (0..=MAX_NAMESPACES).map(|at| at.to_string()).collect();
        rows.update(many, str::len);
        assert_eq!(rows.0.len(), MAX_NAMESPACES);
    }
}
