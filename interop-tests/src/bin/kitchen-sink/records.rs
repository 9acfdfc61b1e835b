//! Records of the disconnect reasons of sockets, by a key that the client chooses.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{DisconnectReason, Handshake, Namespace, Socket};

use crate::state::App;

#[derive(Clone, Serialize)]
pub(crate) struct Record {
    sid: String,
    nsp: String,
    reason: &'static str,
    rooms: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<String, Vec<Record>>>);

impl Records {
    pub(crate) fn under(&self, key: &str) -> Vec<Record> {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    fn keep<D>(&self, socket: &Socket<D>, reason: DisconnectReason) {
        let Some(key) = key(socket.handshake()) else { return };
        let record = Record {
            sid: socket.id().to_owned(),
            nsp: socket.path().to_owned(),
            reason: reason.as_str(),
            rooms: socket.rooms().iter().map(ToString::to_string).collect(),
        };
        self.0.lock().entry(key).or_default().push(record);
    }
}

/// Returns the `key` of the auth object, or of the query.
fn key(handshake: &Handshake) -> Option<String> {
    #[derive(Deserialize)]
    struct Auth {
        key: String,
    }
    match handshake.auth() {
        Ok(Auth { key }) => Some(key),
        Err(_) => handshake.query("key").map(String::from),
    }
}

/// Records each disconnect, with the rooms that the socket is in while it is disconnecting.
pub(crate) fn kept<D: Send + Sync + 'static>(namespace: Namespace<D>, app: &Arc<App>) -> Namespace<D> {
    let app = Arc::clone(app);
    namespace.on_disconnecting(move |socket, reason| app.records.keep(socket, reason))
}
