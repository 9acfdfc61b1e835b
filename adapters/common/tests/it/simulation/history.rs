//! What has happened: who was where, what was sent, and what was received.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::requests::Request;

/// The time since the start, and a number that also orders what happens at the same time.
pub(crate) type Stamp = (Duration, u64);

/// Everything that is known of a run.
pub(crate) struct History(pub(crate) Mutex<Log>);

pub(crate) struct Log {
    start: Instant,
    sequence: u64,
    pub(crate) servers: Vec<ServerLog>,
    /// The sockets by their ids.
    pub(crate) sockets: HashMap<String, SocketLog>,
    pub(crate) emits: Vec<Emit>,
    pub(crate) requests: Vec<Request>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) violations: Vec<String>,
}

#[derive(Default)]
pub(crate) struct ServerLog {
    /// The id in the cluster.
    pub(crate) id: String,
    /// When the server did not reach the broker. The end is `None` as long as it does not.
    pub(crate) troubles: Vec<(Duration, Option<Duration>)>,
    /// When the server was killed, or began to close.
    pub(crate) gone: Option<Duration>,
    pub(crate) is_killed: bool,
    /// The server events that were received, by their numbers in `emits`.
    pub(crate) received: Vec<(Stamp, usize)>,
}

/// A socket and its client.
#[derive(Default)]
pub(crate) struct SocketLog {
    pub(crate) server: usize,
    /// When the socket has joined (`true`) and left each room. That of its own id tells whether it is connected.
    pub(crate) rooms: HashMap<String, Vec<(Stamp, bool)>>,
    /// When the client began to disconnect, or was disconnected.
    pub(crate) ended: Option<Duration>,
    /// The numbers of the events in `emits`.
    pub(crate) received: Vec<(Stamp, usize)>,
}

/// Some sockets.
#[derive(Clone, Default, Debug)]
pub(crate) struct Selection {
    pub(crate) rooms: Vec<String>,
    pub(crate) except: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Event,
    /// A broadcast with acknowledgements.
    Question,
    ServerEvent,
}

/// An event that a server has emitted. Its number is its index.
#[derive(Clone, Debug)]
pub(crate) struct Emit {
    pub(crate) at: Stamp,
    pub(crate) server: usize,
    pub(crate) kind: Kind,
    pub(crate) selection: Selection,
    /// The sockets that were made to join the room of the selection just before.
    pub(crate) joined: Option<Selection>,
    /// The client whose event was passed on, and the number of that event.
    pub(crate) said: Option<(String, u32)>,
    /// The queue to the other servers was full.
    pub(crate) is_refused: bool,
}

/// A time during which some servers did not reach the others.
pub(crate) struct Partition {
    pub(crate) servers: HashSet<usize>,
    pub(crate) since: Duration,
    pub(crate) until: Option<Duration>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Log {
            start: Instant::now(),
            sequence: 0,
            servers: Vec::new(),
            sockets: HashMap::new(),
            emits: Vec::new(),
            requests: Vec::new(),
            partitions: Vec::new(),
            violations: Vec::new(),
        }))
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.0.lock().stamp()
    }

    pub(crate) fn violation(&self, what: String) {
        self.0.lock().violations.push(what);
    }

    /// Adds a server that is not connected yet.
    pub(crate) fn server(&self) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        log.servers.push(ServerLog { troubles: vec![(now, None)], ..ServerLog::default() });
    }

    /// A server is killed or begins to close.
    pub(crate) fn gone(&self, server: usize, is_killed: bool) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        log.trouble_begins(server, now);
        log.servers[server].gone = Some(now);
        log.servers[server].is_killed = is_killed;
    }

    pub(crate) fn trouble_begins(&self, server: usize) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        log.trouble_begins(server, now);
    }

    pub(crate) fn trouble_ends(&self, server: usize) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        if log.servers[server].gone.is_some() {
            return;
        }
        if let Some((_, until @ None)) = log.servers[server].troubles.last_mut() {
            *until = Some(now);
        }
    }

    pub(crate) fn partition(&self, servers: &HashSet<usize>) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        if let Some(last) = log.partitions.last_mut() {
            last.until.get_or_insert(now);
        }
        if !servers.is_empty() {
            log.partitions.push(Partition { servers: servers.clone(), since: now, until: None });
        }
    }

    pub(crate) fn moved(&self, server: usize, socket: &str, room: &str, has_joined: bool) {
        let mut log = self.0.lock();
        let at = log.stamp();
        let socket = log.socket(socket);
        socket.server = server;
        socket.rooms.entry(room.to_owned()).or_default().push((at, has_joined));
    }

    /// A client begins to disconnect, or learns that it is disconnected.
    pub(crate) fn ended(&self, socket: &str) {
        let mut log = self.0.lock();
        let (now, _) = log.stamp();
        log.socket(socket).ended.get_or_insert(now);
    }

    pub(crate) fn received(&self, socket: &str, number: usize) {
        let mut log = self.0.lock();
        let at = log.stamp();
        log.socket(socket).received.push((at, number));
    }

    pub(crate) fn received_by_server(&self, server: usize, number: usize) {
        let mut log = self.0.lock();
        let at = log.stamp();
        log.servers[server].received.push((at, number));
    }

    /// Adds an event, and returns its number.
    pub(crate) fn emit(
        &self,
        server: usize,
        kind: Kind,
        selection: &Selection,
        joined: Option<&Selection>,
        said: Option<(String, u32)>,
    ) -> usize {
        let mut log = self.0.lock();
        let at = log.stamp();
        let (selection, joined) = (selection.clone(), joined.cloned());
        log.emits.push(Emit { at, server, kind, selection, joined, said, is_refused: false });
        log.emits.len() - 1
    }

    pub(crate) fn refused(&self, number: usize) {
        self.0.lock().emits[number].is_refused = true;
    }
}

impl Log {
    fn stamp(&mut self) -> Stamp {
        self.sequence += 1;
        (self.start.elapsed(), self.sequence)
    }

    fn socket(&mut self, id: &str) -> &mut SocketLog {
        self.sockets.entry(id.to_owned()).or_default()
    }

    fn trouble_begins(&mut self, server: usize, now: Duration) {
        let troubles = &mut self.servers[server].troubles;
        if troubles.last().is_none_or(|(_, until)| until.is_some()) {
            troubles.push((now, None));
        }
    }

    /// Returns `true` if a server reached the broker during the whole time.
    pub(crate) fn is_connected(&self, server: usize, from: Duration, to: Duration) -> bool {
        let overlaps = |(since, until): &(Duration, Option<Duration>)| {
            *since <= to && until.is_none_or(|until| until >= from)
        };
        let troubles = &self.servers[server].troubles;
        // The first one begins with the server.
        troubles.first().is_some_and(|(start, _)| *start < from) && !troubles.iter().any(overlaps)
    }

    /// Returns `true` if two servers reached each other during the whole time.
    pub(crate) fn are_connected(&self, one: usize, other: usize, from: Duration, to: Duration) -> bool {
        let separates = |partition: &Partition| {
            partition.servers.contains(&one) != partition.servers.contains(&other)
                && partition.since <= to
                && partition.until.is_none_or(|until| until >= from)
        };
        self.is_connected(one, from, to)
            && self.is_connected(other, from, to)
            && !self.partitions.iter().any(separates)
    }
}

impl SocketLog {
    fn is_in(&self, room: &str, at: Stamp) -> bool {
        let changes = self.rooms.get(room).map_or(&[][..], Vec::as_slice);
        changes.iter().rev().find(|(since, _)| *since <= at).is_some_and(|(_, has_joined)| *has_joined)
    }

    fn matches(&self, id: &str, selection: &Selection, at: Stamp) -> bool {
        self.is_in(id, at)
            && (selection.rooms.is_empty() || selection.rooms.iter().any(|room| self.is_in(room, at)))
            && !selection.except.iter().any(|room| self.is_in(room, at))
    }

    /// Returns the times from `from` to `to` at which the rooms may differ from those before.
    fn times(&self, from: Stamp, to: Stamp) -> impl Iterator<Item = Stamp> {
        let changes = self.rooms.values().flatten().map(|(at, _)| *at);
        std::iter::once(from).chain(changes.filter(move |at| (from..=to).contains(at)))
    }

    /// Returns `true` if the socket was selected at some time.
    pub(crate) fn ever_matches(&self, id: &str, selection: &Selection, from: Stamp, to: Stamp) -> bool {
        self.times(from, to).any(|at| self.matches(id, selection, at))
    }

    /// Returns `true` if the socket was selected and its client connected all the time.
    pub(crate) fn always_matches(&self, id: &str, selection: &Selection, from: Stamp, to: Stamp) -> bool {
        self.ended.is_none_or(|ended| ended > to.0)
            && self.times(from, to).all(|at| self.matches(id, selection, at))
    }
}
