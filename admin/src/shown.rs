//! The sockets of this server that the UI shows, and their changes since the last update.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use socketio::{LocalSocket, Server};

use crate::record::{Recording, SocketRecord, data_value, rooms, shown_data};

/// The maximum number of changes that are sent at a time. Further changes are found the next time.
pub(crate) const MAX_UPDATES: usize = 500;

/// A change that is sent to the UI. Each is one event.
#[derive(Debug)]
pub(crate) enum Update {
    Connected(Box<SocketRecord>),
    Changed(Changes),
    Disconnected { nsp: String, id: String, reason: &'static str },
    RoomJoined { nsp: String, room: String, id: String },
    RoomLeft { nsp: String, room: String, id: String },
}

/// The argument of `socket_updated`.
#[derive(Debug, Serialize)]
pub(crate) struct Changes {
    id: String,
    nsp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// The sockets that are shown: up to a maximum, and each until it disconnects. The state of a socket is compared
/// with what was sent to the UI, so changes are never lost, and a change that is undone in the meantime is not sent.
#[derive(Debug)]
pub(crate) struct Shown {
    max: usize,
    sockets: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    socket: LocalSocket,
    transport: &'static str,
    data: Option<Box<str>>,
    rooms: BTreeSet<String>,
}

impl Shown {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, sockets: BTreeMap::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Returns the sockets as they were sent to the UI.
    pub(crate) fn records(&self, recording: &Recording) -> Vec<SocketRecord> {
        let record = |entry: &Entry| {
            let mut record = recording.record(&entry.socket);
            record.rooms = entry.rooms.iter().cloned().collect();
            record
        };
        self.sockets.values().map(record).collect()
    }

    /// Returns the changes since the last call, at most about [`MAX_UPDATES`].
    pub(crate) fn update(&mut self, io: &Server, recording: &Recording) -> Vec<Update> {
        let mut updates = Vec::new();
        self.sockets.retain(|id, entry| {
            if updates.len() >= MAX_UPDATES {
                return true;
            }
            let Some(reason) = entry.socket.disconnect_reason() else {
                entry.update(id, &mut updates);
                return true;
            };
            let nsp = entry.socket.path();
            updates.push(Update::Disconnected { nsp: nsp.into(), id: id.clone(), reason: reason.as_str() });
            let rooms = std::mem::take(&mut entry.rooms).into_iter();
            updates.extend(rooms.map(|room| Update::RoomLeft { nsp: nsp.into(), room, id: id.clone() }));
            false
        });
        self.fill(io, recording, &mut updates);
        updates
    }

    /// Adds sockets that are not shown yet, until the maximum is reached.
    fn fill(&mut self, io: &Server, recording: &Recording, updates: &mut Vec<Update>) {
        for path in io.namespaces() {
            if self.sockets.len() >= self.max || updates.len() >= MAX_UPDATES {
                return;
            }
            // At most `max` of these are shown already.
            for socket in io.local_sockets(&path, 2 * self.max) {
                if self.sockets.len() >= self.max || updates.len() >= MAX_UPDATES {
                    return;
                }
                if self.sockets.contains_key(socket.id()) {
                    continue;
                }
                // Read before the record, so that a change in between is found the next time.
                let (transport, data) = (socket.session().transport().as_str(), shown_data(&socket));
                let record = recording.record(&socket);
                let rooms = record.rooms.iter().cloned().collect();
                updates.push(Update::Connected(Box::new(record)));
                self.sockets.insert(socket.id().to_owned(), Entry { socket, transport, data, rooms });
            }
        }
    }
}

impl Entry {
    fn update(&mut self, id: &str, updates: &mut Vec<Update>) {
        let (nsp, id) = (|| self.socket.path().to_owned(), || id.to_owned());
        let (transport, data) = (self.socket.session().transport().as_str(), shown_data(&self.socket));
        if transport != self.transport || data != self.data {
            updates.push(Update::Changed(Changes {
                id: id(),
                nsp: nsp(),
                transport: (transport != self.transport).then_some(transport),
                data: (data != self.data).then(|| data_value(data.as_deref())),
            }));
            (self.transport, self.data) = (transport, data);
        }
        let rooms = rooms(&self.socket);
        for room in rooms.difference(&self.rooms) {
            updates.push(Update::RoomJoined { nsp: nsp(), room: room.clone(), id: id() });
        }
        for room in self.rooms.difference(&rooms) {
            updates.push(Update::RoomLeft { nsp: nsp(), room: room.clone(), id: id() });
        }
        self.rooms = rooms;
    }
}
