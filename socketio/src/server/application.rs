//! Implements the [`Application`] of the engine, which creates a connection for each session.

use std::{fmt, sync::Arc};

use engineio::{Application, HandshakeRequest, SessionHandle};

use crate::{config::ServerConfig, connection::Connection, registry::Namespaces};

/// An [`Application`] that creates the [`Connection`] of each engine session.
pub(crate) struct SocketIoApplication {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) config: Arc<ServerConfig>,
}

impl fmt::Debug for SocketIoApplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoApplication").finish_non_exhaustive()
    }
}

impl Application for SocketIoApplication {
    type Connection = Connection;

    fn on_connect(&self, session: SessionHandle, request: Arc<HandshakeRequest>) -> Connection {
        Connection::new(self.namespaces.clone(), self.config.clone(), session, request)
    }
}
