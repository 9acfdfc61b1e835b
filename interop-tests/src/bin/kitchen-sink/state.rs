//! The shared state of the server, and the data of each socket.

use std::sync::Arc;

use interop_tests::value::Value;
use parking_lot::Mutex;
use socketio::Server;

use crate::records::Records;

/// The state that all sockets share.
pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) records: Records,
}

/// The data of one socket.
pub(crate) struct State {
    pub(crate) app: Arc<App>,
    /// The names of the received events.
    pub(crate) heard: Mutex<Vec<String>>,
    pub(crate) log: Mutex<Vec<Value>>,
    pub(crate) data: Mutex<Value>,
}

impl State {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, heard: Mutex::default(), log: Mutex::default(), data: Mutex::default() }
    }
}
