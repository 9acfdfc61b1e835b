//! The namespaces of a server, and the sessions that ask for them.

use std::{collections::HashMap, collections::hash_map::Entry, fmt, sync::Arc};

use engineio::{Application, OpenRequest, SessionHandle};
use parking_lot::RwLock;

use crate::{adapter::Adapter, config::ServerConfig, connection::Connection, dispatch::Endpoint};

/// All namespaces by path.
#[derive(Default)]
pub(crate) struct Namespaces(RwLock<HashMap<Box<str>, Arc<dyn Endpoint>>>);

impl Namespaces {
    pub(crate) fn find(&self, path: &str) -> Option<Arc<dyn Endpoint>> {
        self.0.read().get(path).cloned()
    }

    pub(crate) fn adapter(&self, path: &str) -> Option<Arc<Adapter>> {
        self.0.read().get(path).map(|endpoint| endpoint.adapter().clone())
    }

    /// Adds a namespace; says whether its path was free.
    pub(crate) fn insert(&self, endpoint: Arc<dyn Endpoint>) -> bool {
        match self.0.write().entry(endpoint.adapter().path().into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(endpoint);
                true
            }
        }
    }
}

/// What the engine's sessions talk to.
pub(crate) struct Sessions {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) config: Arc<ServerConfig>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Application for Sessions {
    type Connection = Connection;

    fn connect(&self, session: SessionHandle, request: Arc<OpenRequest>) -> Connection {
        Connection::new(self.namespaces.clone(), self.config.clone(), session, request)
    }
}
