//! The namespaces of a server, and the sessions that ask for them.

pub(crate) mod dynamic;

use std::{
    any::TypeId,
    collections::{HashMap, hash_map::Entry},
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
        handshake::{Handshake, Refuse},
        legacy::unknown_namespace,
    },
    hub::{Adapter, Hooks, socket_core::Ending},
    metrics::{NamespaceMetrics, log::Limit},
    namespace::dispatch::{Admission, Endpoint},
    registry::dynamic::{Dynamic, Guest},
};

/// All namespaces.
pub(crate) struct Namespaces {
    config: Arc<ServerConfig>,
    /// What stands for namespaces that there are not, and for the server as a whole.
    pub(crate) others: Hooks,
    connect_errors: AtomicU64,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// By path.
    live: HashMap<Box<str>, Live>,
    /// In the order of their registration.
    dynamic: Vec<Arc<Dynamic>>,
    /// How many of the living were made by a dynamic one.
    children: usize,
}

struct Live {
    endpoint: Arc<dyn Endpoint>,
    /// The dynamic namespace that has made it.
    parent: Option<usize>,
    guests: usize,
}

impl Namespaces {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        let others = Hooks { metrics: NamespaceMetrics::unknown(), ..Hooks::default() };
        Self { config, others, connect_errors: AtomicU64::new(0), known: RwLock::default() }
    }

    /// How many requests to join a namespace were refused.
    pub(crate) fn connect_errors(&self) -> u64 {
        self.connect_errors.load(Ordering::Relaxed)
    }

    /// A client is told that it may not join a namespace.
    pub(crate) fn refused(&self, path: &str, refuse: &Refuse) {
        self.connect_errors.fetch_add(1, Ordering::Relaxed);
        let known = self.known.read();
        let live = known.live.get(path).map(|live| &live.endpoint.adapter().hooks);
        let pattern = || known.dynamic.iter().find(|dynamic| dynamic.read(path).is_some());
        let hooks = live.cloned().or_else(|| pattern().map(|dynamic| dynamic.hooks.clone()));
        drop(known);
        let hooks = hooks.as_deref().unwrap_or(&self.others);
        hooks.metrics.connect_refused();
        hooks.warnings.connect_refused(path, refuse.message());
    }

    pub(crate) fn adapter(&self, path: &str) -> Option<Arc<Adapter>> {
        self.known.read().live.get(path).map(|live| live.endpoint.adapter().clone())
    }

    /// As [`adapter`](Self::adapter), if the data of its sockets is of this type.
    pub(crate) fn adapter_of<D: 'static>(&self, path: &str) -> Option<Arc<Adapter>> {
        let known = self.known.read();
        let endpoint = &known.live.get(path)?.endpoint;
        (endpoint.data_type() == TypeId::of::<D>()).then(|| endpoint.adapter().clone())
    }

    /// The living namespaces that the dynamic ones of a pattern have made.
    pub(crate) fn children(&self, pattern: &str) -> Vec<Arc<Adapter>> {
        let known = self.known.read();
        let is_child = |live: &&Live| {
            let parent = live.parent.and_then(|parent| known.dynamic.get(parent));
            parent.is_some_and(|parent| parent.is_of(pattern))
        };
        known.live.values().filter(is_child).map(|live| live.endpoint.adapter().clone()).collect()
    }

    /// Adds a namespace; says whether its path was free.
    pub(crate) fn insert(&self, endpoint: Arc<dyn Endpoint>) -> bool {
        match self.known.write().live.entry(endpoint.adapter().path().into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(Live { endpoint, parent: None, guests: 0 });
                true
            }
        }
    }

    pub(crate) fn insert_dynamic(&self, dynamic: Dynamic) {
        self.known.write().dynamic.push(Arc::new(dynamic));
    }

    /// Asks the namespace of this path whether a client may come in; `None` if there is none.
    pub(crate) fn admit(
        self: &Arc<Self>,
        path: &str,
        handshake: Handshake,
        session: SessionHandle,
        ending: Arc<Ending>,
    ) -> Option<Admission> {
        let known = self.known.read();
        if let Some(Live { endpoint, parent: None, .. }) = known.live.get(path) {
            return Some(endpoint.clone().admit(handshake, session, ending, None));
        }
        let candidates = known.dynamic.iter().enumerate();
        let candidates: Vec<_> = candidates
            .filter_map(|(parent, dynamic)| Some((parent, dynamic.clone(), dynamic.read(path)?)))
            .collect();
        drop(known);
        if candidates.is_empty() {
            return None;
        }
        let (namespaces, path) = (self.clone(), Box::<str>::from(path));
        Some(Box::pin(async move {
            let too_many =
                |_: &Refuse| namespaces.others.warnings.limit_hit(&path, Limit::MaxDynamicNamespaces);
            for (parent, dynamic, params) in candidates {
                let handshake = handshake.with_params(params);
                if dynamic.accepts(&path, &handshake).await
                    && let Some(child) = namespaces.visit(parent, &dynamic, &path).inspect_err(too_many)?
                {
                    let guest = Guest { namespaces: namespaces.clone(), adapter: child.adapter().clone() };
                    return child.admit(handshake, session, ending, Some(Box::new(guest))).await;
                }
            }
            Err(unknown_namespace(&session))
        }))
    }

    /// The namespace of a path, made if there is none, with one more guest. While one lives, its path belongs to the
    /// dynamic namespace that has made it, and to no other.
    fn visit(
        &self,
        parent: usize,
        dynamic: &Dynamic,
        path: &str,
    ) -> Result<Option<Arc<dyn Endpoint>>, Refuse> {
        let known = &mut *self.known.write();
        if let Some(live) = known.live.get_mut(path) {
            if live.parent != Some(parent) {
                return Ok(None);
            }
            live.guests += 1;
            return Ok(Some(live.endpoint.clone()));
        }
        if known.children >= self.config.max_dynamic_namespaces {
            return Err(Refuse::new("too many dynamic namespaces"));
        }
        known.children += 1;
        let endpoint = dynamic.make(path);
        let live = Live { endpoint: endpoint.clone(), parent: Some(parent), guests: 1 };
        known.live.insert(path.into(), live);
        Ok(Some(endpoint))
    }

    /// A guest goes. Whoever comes at the same time finds the namespace with a guest, or finds none and makes another.
    pub(crate) fn part(&self, path: &str) {
        let known = &mut *self.known.write();
        let Some(live) = known.live.get_mut(path) else { return };
        live.guests -= 1;
        if live.guests == 0 && self.config.cleanup_empty_child_namespaces {
            known.live.remove(path);
            known.live.shrink();
            known.children -= 1;
        }
    }
}
