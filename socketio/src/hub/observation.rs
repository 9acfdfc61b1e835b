//! What tools for operators register at a server, for all its namespaces: the observers of events, which come and go
//! while the server runs, and the data of sockets for the Admin UI.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use engineio::Sid;
use parking_lot::RwLock;

use crate::{
    event::args::Args,
    hub::socket_core::AnySocket,
    proto::{args::RawArgs, encode::Frames},
};

/// The maximum number of recipients of a broadcast whose ids observers get.
const MAX_NAMED: usize = 16;

type ObserverFn = Arc<dyn Fn(&ObservedEvent<'_>) + Send + Sync>;
/// Returns the data of a socket for the Admin UI as JSON text. `None` if the data cannot be serialized.
pub(crate) type AdminDataFn = Arc<dyn Fn(AnySocket) -> Option<Box<str>> + Send + Sync>;

/// The observers of a server. While there are none, an event pays one relaxed load.
#[derive(Default)]
pub(crate) struct Observation {
    is_active: AtomicBool,
    observers: RwLock<Vec<ObserverFn>>,
    admin_data: RwLock<Option<AdminDataFn>>,
}

impl Observation {
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    pub(crate) fn add(self: &Arc<Self>, observer: ObserverFn) -> Observer {
        let mut observers = self.observers.write();
        observers.push(observer.clone());
        self.is_active.store(true, Ordering::Relaxed);
        Observer { observation: self.clone(), observer }
    }

    pub(crate) fn share_admin_data(&self, describe: AdminDataFn) {
        *self.admin_data.write() = Some(describe);
    }

    /// Returns the data of a socket for the Admin UI, if the server shares such data.
    pub(crate) fn admin_data(&self, socket: &AnySocket) -> Option<Box<str>> {
        // Cloned, because the function is called without a lock.
        let describe = self.admin_data.read().clone()?;
        let described = catch_unwind(AssertUnwindSafe(|| describe(socket.clone())));
        described.unwrap_or_else(|_| {
            engineio::__log!(error, namespace = socket.path(), "the data for the Admin UI panicked");
            None
        })
    }

    fn notify(&self, event: &ObservedEvent<'_>) {
        // Cloned, because an observer may be dropped while it runs.
        let observers = self.observers.read().clone();
        for observer in observers {
            if catch_unwind(AssertUnwindSafe(|| observer(event))).is_err() {
                engineio::__log!(error, namespace = event.namespace, "an observer of events panicked");
            }
        }
    }

    /// Notifies the observers of an event of a client.
    #[cold]
    pub(crate) fn received(&self, namespace: &str, socket: Sid, name: &str, raw: RawArgs<'_>) {
        let content = Content::Received { name, raw };
        self.notify(&ObservedEvent { namespace, sockets: &[socket], recipients: 1, content });
    }

    /// Notifies the observers of an event that was sent to `recipients` sockets, of which `sockets` are the first.
    #[cold]
    pub(crate) fn sent(&self, namespace: &str, sockets: &[Sid], recipients: usize, packet: &Frames) {
        if recipients > 0 {
            self.notify(&ObservedEvent { namespace, sockets, recipients, content: Content::Sent(packet) });
        }
    }
}

/// Observes the events of a server until it is dropped. Returned by [`Server::observe`](crate::Server::observe).
#[must_use = "the observer is removed when this is dropped"]
pub struct Observer {
    observation: Arc<Observation>,
    observer: ObserverFn,
}

impl Drop for Observer {
    fn drop(&mut self) {
        let mut observers = self.observation.observers.write();
        observers.retain(|observer| !Arc::ptr_eq(observer, &self.observer));
        self.observation.is_active.store(!observers.is_empty(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

/// An event from or to sockets of any namespace, see [`Server::observe`](crate::Server::observe).
pub struct ObservedEvent<'a> {
    namespace: &'a str,
    sockets: &'a [Sid],
    recipients: usize,
    content: Content<'a>,
}

enum Content<'a> {
    Received { name: &'a str, raw: RawArgs<'a> },
    Sent(&'a Frames),
}

impl ObservedEvent<'_> {
    /// Returns the path of the namespace.
    pub fn namespace(&self) -> &str {
        self.namespace
    }

    /// Returns `true` if a client sent the event, and `false` if it was sent to clients.
    pub fn is_incoming(&self) -> bool {
        matches!(self.content, Content::Received { .. })
    }

    /// Returns the ids of the sockets: the sender, or the first 16 recipients on this server.
    pub fn socket_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.sockets.iter().map(Sid::as_str)
    }

    /// Returns the number of recipients on this server, or 1 if a client sent the event.
    pub fn recipients(&self) -> usize {
        self.recipients
    }

    /// Returns the name and the arguments of the event. They are decoded by this call. Returns `None` if the
    /// arguments are malformed.
    pub fn read(&self) -> Option<(String, Args)> {
        match &self.content {
            Content::Received { name, raw } => Some(((*name).to_owned(), Args::share(*raw).ok()?)),
            Content::Sent(packet) => Args::from_event(self.namespace, packet),
        }
    }
}

impl fmt::Debug for ObservedEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedEvent")
            .field("namespace", &self.namespace)
            .field("is_incoming", &self.is_incoming())
            .field("recipients", &self.recipients)
            .finish_non_exhaustive()
    }
}

/// The recipients of a broadcast, as far as they are needed for observers.
pub(crate) struct Recipients {
    /// `true` if the namespace has an observer of outgoing events, which gets each recipient.
    pub(crate) wants_all: bool,
    /// `true` if the server has an observer.
    pub(crate) is_observed: bool,
    pub(crate) all: Vec<AnySocket>,
    named: Vec<Sid>,
    count: usize,
}

impl Recipients {
    /// Returns `None` if nobody observes the broadcast.
    pub(crate) fn new(wants_all: bool, is_observed: bool) -> Option<Box<Self>> {
        let recipients = || Self { wants_all, is_observed, all: Vec::new(), named: Vec::new(), count: 0 };
        (wants_all || is_observed).then(|| Box::new(recipients()))
    }

    #[cold]
    pub(crate) fn add(&mut self, socket: &AnySocket) {
        if self.wants_all {
            self.all.push(socket.clone());
        }
        if self.is_observed {
            self.count += 1;
            if self.named.len() < MAX_NAMED {
                self.named.push(socket.id());
            }
        }
    }

    pub(crate) fn notify(&self, observation: &Observation, namespace: &str, packet: &Frames) {
        if self.is_observed {
            observation.sent(namespace, &self.named, self.count, packet);
        }
    }
}
