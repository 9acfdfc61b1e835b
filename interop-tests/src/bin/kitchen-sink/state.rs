//! What the server keeps for all its sockets, and for each.

use std::sync::Arc;

use parking_lot::Mutex;
use socketio::Server;

use crate::{records::Records, value::Value};

/// What all sockets share.
pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) records: Records,
}

/// The data of one socket.
pub(crate) struct State {
    pub(crate) app: Arc<App>,
    /// The names of the events that came.
    pub(crate) heard: Mutex<Vec<String>>,
    pub(crate) log: Mutex<Vec<Value>>,
    pub(crate) data: Mutex<Value>,
}

impl State {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, heard: Mutex::default(), log: Mutex::default(), data: Mutex::default() }
    }
}
