//! The namespaces of a server, by path and by pattern, and the admission of clients to namespaces. This
//! module may import `namespace` and the folders below it (`handles`, `hub`, `metrics`, `event`, `config`,
//! `proto`), but not `connection`, `server`, `testing` or `typescript`.

pub(crate) mod dynamic;
pub(crate) mod heavy_events;

use std::{
    any::TypeId,
    collections::{HashMap, hash_map},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use engineio::{__Shrink as Shrink, SessionHandle};
use parking_lot::RwLock;

use crate::{
    config::ServerConfig,
    event::{
        handshake::{ConnectError, Handshake},
        legacy::unknown_namespace,
    },
    hub::{Adapter, hooks::Hooks, observation::Observation, socket_core::ConnectionSignals},
    metrics::{NamespaceMetrics, log::Limit},
    namespace::dispatch::{ConnectFuture, Endpoint},
    registry::{
        dynamic::{ChildRef, Dynamic},
        heavy_events::HeavyEvents,
    },
};

/// All namespaces of a server.
pub(crate) struct Namespaces {
    config: Arc<ServerConfig>,
    /// Records the metrics and warnings of unknown namespaces and of the server as a whole.
    pub(crate) unknown: Hooks,
    connect_errors: AtomicU64,
    pub(crate) heavy_events: HeavyEvents,
    /// The observers of events, which all adapters share.
    pub(crate) observation: Arc<Observation>,
    registered: RwLock<Registered>,
}

#[derive(Default)]
struct Registered {
    /// The static namespaces and the child namespaces, by path.
    entries: HashMap<Box<str>, Entry>,
    /// The dynamic namespaces, in the order of registration.
    dynamic: Vec<Arc<Dynamic>>,
    /// The number of child namespaces in `entries`.
    children: usize,
}

struct Entry {
    endpoint: Arc<dyn Endpoint>,
    /// The index of the dynamic namespace that created this child namespace. `None` for a static namespace.
    parent: Option<usize>,
    refs: usize,
}

impl Namespaces {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        let unknown = Hooks { metrics: NamespaceMetrics::unknown(), ..Hooks::default() };
        Self {
            config,
            unknown,
            connect_errors: AtomicU64::new(0),
            heavy_events: HeavyEvents::new(),
            observation: Arc::default(),
            registered: RwLock::default(),
        }
    }

    /// Returns the number of rejected connections to namespaces.
    pub(crate) fn connect_errors(&self) -> u64 {
        self.connect_errors.load(Ordering::Relaxed)
    }

    /// Counts and logs a rejected connection to a namespace.
    pub(crate) fn record_refused(&self, path: &str, error: &ConnectError) {
        self.connect_errors.fetch_add(1, Ordering::Relaxed);
        let registered = self.registered.read();
        let entry = registered.entries.get(path).map(|entry| &entry.endpoint.adapter().hooks);
        let pattern = || registered.dynamic.iter().find(|dynamic| dynamic.match_path(path).is_some());
        let hooks = entry.cloned().or_else(|| pattern().map(|dynamic| dynamic.hooks.clone()));
        drop(registered);
        let hooks = hooks.as_deref().unwrap_or(&self.unknown);
        hooks.metrics.connect_refused();
        hooks.warnings.connect_refused(path, error.message());
    }

    pub(crate) fn adapter(&self, path: &str) -> Option<Arc<Adapter>> {
        self.registered.read().entries.get(path).map(|entry| entry.endpoint.adapter().clone())
    }

    /// Returns the adapters of all namespaces.
    pub(crate) fn adapters(&self) -> Vec<Arc<Adapter>> {
        self.registered.read().entries.values().map(|entry| entry.endpoint.adapter().clone()).collect()
    }

    /// Returns the adapter of a namespace. Returns `None` if the namespace does not exist or the data of its
    /// sockets is not a `D`.
    pub(crate) fn typed_adapter<D: 'static>(&self, path: &str) -> Option<Arc<Adapter>> {
        let registered = self.registered.read();
        let endpoint = &registered.entries.get(path)?.endpoint;
        (endpoint.data_type() == TypeId::of::<D>()).then(|| endpoint.adapter().clone())
    }

    /// Returns the adapters of the child namespaces of the dynamic namespaces with this pattern.
    pub(crate) fn children(&self, pattern: &str) -> Vec<Arc<Adapter>> {
        let registered = self.registered.read();
        let is_child = |entry: &&Entry| {
            let parent = entry.parent.and_then(|parent| registered.dynamic.get(parent));
            parent.is_some_and(|parent| parent.has_pattern(pattern))
        };
        registered.entries.values().filter(is_child).map(|entry| entry.endpoint.adapter().clone()).collect()
    }

    /// Adds a namespace. Returns `false` if a namespace with the same path exists.
    pub(crate) fn insert(&self, endpoint: Arc<dyn Endpoint>) -> bool {
        match self.registered.write().entries.entry(endpoint.adapter().path().into()) {
            hash_map::Entry::Occupied(_) => false,
            hash_map::Entry::Vacant(slot) => {
                slot.insert(Entry { endpoint, parent: None, refs: 0 });
                true
            }
        }
    }

    pub(crate) fn insert_dynamic(&self, dynamic: Dynamic) {
        self.registered.write().dynamic.push(Arc::new(dynamic));
    }

    /// Starts the admission of a client to the namespace with a path. Returns `None` if no namespace has this
    /// path and no dynamic namespace matches it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        path: &str,
        handshake: Handshake,
        session: SessionHandle,
        signals: Arc<ConnectionSignals>,
    ) -> Option<ConnectFuture> {
        let registered = self.registered.read();
        if let Some(Entry { endpoint, parent: None, .. }) = registered.entries.get(path) {
            return Some(endpoint.clone().admit(handshake, session, signals, None));
        }
        let candidates = registered.dynamic.iter().enumerate();
        let candidates: Vec<_> = candidates
            .filter_map(|(parent, dynamic)| Some((parent, dynamic.clone(), dynamic.match_path(path)?)))
            .collect();
        drop(registered);
        if candidates.is_empty() {
            return None;
        }
        let (namespaces, path) = (self.clone(), Box::<str>::from(path));
        Some(Box::pin(async move {
            let too_many =
                |_: &ConnectError| namespaces.unknown.warnings.limit_hit(&path, Limit::MaxDynamicNamespaces);
            for (parent, dynamic, params) in candidates {
                let handshake = handshake.with_params(params);
                if dynamic.accepts(&path, &handshake).await
                    && let Some(child) = namespaces.acquire(parent, &dynamic, &path).inspect_err(too_many)?
                {
                    let guard = ChildRef { namespaces: namespaces.clone(), adapter: child.adapter().clone() };
                    return child.admit(handshake, session, signals, Some(Box::new(guard))).await;
                }
            }
            Err(unknown_namespace(&session))
        }))
    }

    /// Returns the child namespace with a path and adds a reference to it. Creates the child namespace if no
    /// namespace has this path. Returns `None` if a namespace has this path but is not a child of the dynamic
    /// namespace at index `parent`. Fails if there are too many child namespaces.
    fn acquire(
        &self,
        parent: usize,
        dynamic: &Dynamic,
        path: &str,
    ) -> Result<Option<Arc<dyn Endpoint>>, ConnectError> {
        let registered = &mut *self.registered.write();
        if let Some(entry) = registered.entries.get_mut(path) {
            if entry.parent != Some(parent) {
                return Ok(None);
            }
            entry.refs += 1;
            return Ok(Some(entry.endpoint.clone()));
        }
        if registered.children >= self.config.max_dynamic_namespaces {
            return Err(ConnectError::new("too many dynamic namespaces"));
        }
        registered.children += 1;
        let endpoint = dynamic.make(path);
        let entry = Entry { endpoint: endpoint.clone(), parent: Some(parent), refs: 1 };
        registered.entries.insert(path.into(), entry);
        Ok(Some(endpoint))
    }

    /// Drops a reference to a child namespace. If no reference remains and `cleanup_empty_child_namespaces`
    /// is set, removes the namespace. The lock makes this method atomic with respect to `acquire`.
    pub(crate) fn release(&self, path: &str) {
        let registered = &mut *self.registered.write();
        let Some(entry) = registered.entries.get_mut(path) else { return };
        entry.refs -= 1;
        if entry.refs == 0 && self.config.cleanup_empty_child_namespaces {
            registered.entries.remove(path);
            registered.entries.shrink();
            registered.children -= 1;
        }
    }
}
