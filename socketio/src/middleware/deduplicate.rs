//! Handles an event that a client sends again only once.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

use super::MiddlewareFuture;
use crate::{
    event::{Ack, AckResponse, IntoAck, Reply, args::Args, error::EventError},
    handles::socket::Socket,
    namespace::middleware::{Event, Next},
};

/// Middleware that handles an event only once if a client sends it again with the same key.
///
/// A client that loses its connection before the acknowledgement arrives does not know whether the server has
/// handled the event. The official client with the option `retries` sends it again (at least once delivery).
/// With this middleware, the second event is not handled, and gets the acknowledgement of the first one
/// (exactly once handling). If the first one is still being handled, the second one waits for its result.
///
/// The key identifies an event among those of all sockets of the namespace, so it must contain who sent the
/// event: a client that knows the key of another one would get its acknowledgement. The id of a socket changes
/// when the client reconnects without [recovery](crate::ServerConfig::connection_state_recovery), so use a
/// user id, or an id that the client sends when it connects. An event without a key is always handled.
///
/// An event whose handler returns an error, panics or is cancelled is handled again. So is an event whose key
/// is forgotten, after [`ttl`](Self::ttl), or earlier if there are more keys or bytes than the limits allow;
/// the oldest are forgotten first. Keys are kept in memory, so a server does not know those of other servers,
/// and a restart forgets all. The type corresponds to the deduplication that the
/// [tutorial of Socket.IO](https://socket.io/docs/v4/tutorial/step-8) builds on a database.
///
/// # Examples
///
/// ```
/// use socketio::{Ack, Event, Namespace, Socket, middleware::Deduplicate};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// // The client sends a text and an id of the message, which stays the same when it sends the message again.
/// let chat = Namespace::with_data("/", User { id: 7 })
///     .wrap(Deduplicate::new().by_key(|socket: &Socket<User>, event: &Event| {
///         let message: String = event.args.get(1).ok()?;
///         Some((socket.data().id, message))
///     }))
///     .on("say", async |socket, (text, _): (String, String)| {
///         socket.broadcast().emit("said", &text)?;
///         Ok::<_, socketio::EmitError>(Ack(text.len()))
///     });
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "it applies to the namespace whose `wrap` gets it"]
pub struct Deduplicate {
    ttl: Duration,
    max_keys: usize,
    max_bytes: usize,
}

impl Default for Deduplicate {
    fn default() -> Self {
        Self { ttl: Duration::from_mins(5), max_keys: 100_000, max_bytes: 16 << 20 }
    }
}

impl Deduplicate {
    /// Creates middleware with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time for which a key and its acknowledgement are kept. Default: 5 minutes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the maximum number of keys. Default: 100,000.
    pub fn max_keys(mut self, max: usize) -> Self {
        self.max_keys = max;
        self
    }

    /// Sets the maximum size in bytes of all acknowledgements that are kept. Default: 16 MiB.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    /// Returns the middleware. `key` returns what is equal only for events that are the same one, or `None`
    /// for an event that is always handled.
    pub fn by_key<D, K>(
        self,
        key: impl Fn(&Socket<D>, &Event) -> Option<K> + Send + Sync + 'static,
    ) -> impl Fn(Socket<D>, Event, Next<D>) -> MiddlewareFuture + Clone + Send + Sync + 'static
    where
        D: Send + Sync + 'static,
        K: Hash + Eq + Clone + Send + Sync + 'static,
    {
        let (key, store) = (Arc::new(key), Arc::new(Store { limits: self, state: Mutex::default() }));
        move |socket: Socket<D>, event: Event, next: Next<D>| match key(&socket, &event) {
            Some(key) => Box::pin(store.clone().run(key, socket, event, next)),
            None => Box::pin(next.run(event)),
        }
    }
}

/// The acknowledgement of an event, which is set when its handler has returned. `None` if the handler sends no
/// acknowledgement.
type Cell = Arc<OnceCell<Option<Args>>>;

#[derive(Debug)]
struct Store<K> {
    limits: Deduplicate,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    entries: HashMap<K, Entry>,
    /// The keys of all entries, from the oldest on.
    order: VecDeque<(Instant, K)>,
    /// The size of all acknowledgements.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    cell: Cell,
    bytes: usize,
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Store<K> {
    async fn run<D: Send + Sync + 'static>(
        self: Arc<Self>,
        key: K,
        socket: Socket<D>,
        event: Event,
        next: Next<D>,
    ) -> Result<AckResponse, EventError> {
        let cell = self.cell(&key);
        let reply = Reply { encoder: socket.0.encoder(), id: next.id() };
        let mut first = None;
        let handle = async {
            let response = next.run(event).await?;
            let args = response.args(reply.encoder);
            first = Some(response);
            Ok::<_, EventError>(args)
        };
        let args = cell.get_or_try_init(|| handle).await?;
        match first {
            Some(response) => {
                self.charge(&key, &cell, args.as_ref().map_or(0, Args::size));
                Ok(response)
            }
            None => args.clone().map(Ack).into_ack(reply),
        }
    }

    /// Returns the cell of a key, which is new if the key is unknown or forgotten.
    fn cell(&self, key: &K) -> Cell {
        let now = Instant::now();
        let mut state = self.state.lock();
        while state.order.front().is_some_and(|(since, _)| now - *since >= self.limits.ttl) {
            state.forget_oldest();
        }
        if let Some(entry) = state.entries.get(key) {
            return entry.cell.clone();
        }
        while !state.order.is_empty() && state.order.len() >= self.limits.max_keys {
            state.forget_oldest();
        }
        state.order.push_back((now, key.clone()));
        state.entries.entry(key.clone()).or_default().cell.clone()
    }

    /// Counts the size of an acknowledgement.
    fn charge(&self, key: &K, cell: &Cell, bytes: usize) {
        let mut state = self.state.lock();
        // The key may have been forgotten, and may be in use again, while the handler ran.
        let entry = state.entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.cell, cell));
        let Some(entry) = entry else { return };
        entry.bytes = bytes;
        state.bytes += bytes;
        while state.bytes > self.limits.max_bytes {
            state.forget_oldest();
        }
    }
}

impl<K: Hash + Eq> State<K> {
    fn forget_oldest(&mut self) {
        let oldest = self.order.pop_front().and_then(|(_, key)| self.entries.remove(&key));
        self.bytes -= oldest.map_or(0, |entry| entry.bytes);
    }
}
