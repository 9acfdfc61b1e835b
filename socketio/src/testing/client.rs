//! Implements a client of the server under test.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

use super::wire::{Message, Wire};
use crate::{
    event::{
        EventName,
        args::Args,
        error::{AckError, EmitError},
        handshake::ConnectError,
    },
    proto::{
        args::{FromArgs, RawArgs, ToArgs},
        attachments::Attachments,
        encode::Carrier,
        packet::{Kind, TextPacket, event_name},
        parser::Decoder,
    },
};

/// The timeout for events that should arrive immediately.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of queued events. When the limit is reached, the client stops polling.
const MAX_WAITING: usize = 1024;

/// A client that has joined a namespace. Dropping a `TestClient` drops its connection, as when a browser is
/// closed.
///
/// # Examples
///
/// See the [module](crate::testing).
pub struct TestClient {
    wire: Wire,
    namespace: Box<str>,
    id: Box<str>,
    claim: Claim,
    recovered: bool,
    next_ack: AtomicU64,
    acks: Acks,
    events: mpsc::Receiver<TestEvent>,
    reader: AbortHandle,
}

type Acks = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Payload>>>>>;

/// An event from the server.
///
/// # Examples
///
/// ```
/// # use socketio::{Namespace, Server, testing::TestServer};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let greet = Namespace::new("/").on_connect(async |socket| drop(socket.emit("hello", &("world", 1))));
/// let mut client = TestServer::new(Server::new().namespace(greet)).connect("/").await;
/// let event = client.event().await;
/// assert_eq!((event.name.as_str(), event.args.json()), ("hello", r#"["world",1]"#));
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TestEvent {
    /// The name of the event.
    pub name: String,
    /// The arguments, without the offset of connection state recovery.
    pub args: Args,
    /// The acknowledgement id if the server expects an acknowledgement. Use [`TestClient::answer`] to
    /// acknowledge the event.
    pub ack: Option<u64>,
    offset: Option<String>,
}

impl TestEvent {
    /// Decodes the arguments. Panics if they do not match `T`.
    fn read<T: FromArgs>(&self) -> T {
        let payload =
            Payload { json: self.args.json().to_owned(), attachments: self.args.attachments().to_vec() };
        payload.read(1).unwrap_or_else(|_| panic!("arguments of another type: {self:?}"))
    }
}

/// The claim of a reconnecting client to its old socket, for connection state recovery.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub(super) pid: Option<Box<str>>,
    /// The offset of the last event that the test has read.
    pub(super) offset: Option<String>,
}

/// The CONNECT response of a namespace that has accepted the client.
struct Joined {
    sid: Box<str>,
    pid: Option<Box<str>>,
}

/// The JSON array of a packet and the attachments of the packet.
struct Payload {
    json: String,
    attachments: Vec<Bytes>,
}

impl Payload {
    /// Decodes the elements after the byte offset `args_offset`.
    fn read<T: FromArgs>(&self, args_offset: usize) -> Result<T, crate::proto::args::ArgsError> {
        let attachments = Attachments::Shared(&self.attachments);
        T::from_args(RawArgs { payload: &self.json, args_offset, attachments, wants_ack: false })
    }
}

impl TestClient {
    pub(super) async fn join(
        wire: Wire,
        namespace: &str,
        auth: &str,
        claim: Claim,
    ) -> Result<Self, ConnectError> {
        if let Ok(frames) = wire.encoder(namespace).ask(auth) {
            wire.send(frames.as_slice()).await;
        }
        let (sender, events) = mpsc::channel(MAX_WAITING);
        let (answered, answer) = oneshot::channel();
        let acks: Acks = Arc::new(Mutex::new(Some(HashMap::new())));
        let decoder = wire.decoder();
        let reader = Reader {
            wire: wire.clone(),
            decoder,
            has_offsets: false,
            acks: acks.clone(),
            events: sender,
            answered: Some(answered),
        };
        let reader = tokio::spawn(reader.run()).abort_handle();
        let Joined { sid, pid } = match answer.await {
            Ok(answer) => answer?,
            Err(_) => return Err(ConnectError::new("the server has closed the connection")),
        };
        let namespace = namespace.into();
        let recovered = pid.is_some() && pid == claim.pid;
        let claim = Claim { pid, ..claim };
        let next_ack = AtomicU64::new(0);
        Ok(Self { wire, namespace, id: sid, claim, recovered, next_ack, acks, events, reader })
    }

    /// Returns the id of the socket, which is equal to [`Socket::id`](crate::Socket::id) on the server.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns `true` if the client has recovered the socket of the client passed to
    /// [`recover`](super::Connect::recover). Equivalent to `socket.recovered` of the official client.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    /// Drops the connection and returns the claim to the socket of the client.
    pub(super) fn leave_claim(mut self) -> Claim {
        std::mem::take(&mut self.claim)
    }

    /// Sends an event. When this method returns, the server has received the event, but the handler may still
    /// be running.
    ///
    /// # Errors
    ///
    /// Returns [`EmitError::Disconnected`] if the client is disconnected, or [`EmitError::Encode`] if the
    /// arguments cannot be encoded.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection may be dropped.
    pub async fn emit<T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<(), EmitError> {
        self.send(Carrier::Event { name: event.name(), id: None }, args).await
    }

    /// Sends an event and waits at most 5 seconds for its acknowledgement.
    ///
    /// # Errors
    ///
    /// Returns [`AckError::Timeout`] if the acknowledgement does not arrive in time,
    /// [`AckError::Disconnected`] if the client is disconnected, [`AckError::Decode`] if the acknowledgement
    /// does not match `A` (for example, because it is `{"error": ...}`), or [`AckError::Emit`] if the event
    /// cannot be sent.
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn emit_with_ack<A: FromArgs, T: ToArgs + ?Sized>(
        &self,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<A, AckError> {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match &mut *self.acks.lock() {
            Some(acks) => acks.insert(id, sender),
            None => return Err(AckError::Disconnected),
        };
        let sent = self.send(Carrier::Event { name: event.name(), id: Some(id) }, args).await;
        sent.map_err(AckError::Emit)?;
        let answer = timeout(TIMEOUT, answer).await.map_err(|_| AckError::Timeout)?;
        let payload = answer.map_err(|_| AckError::Disconnected)?;
        payload.read(1).map_err(|error| AckError::Decode(error.into()))
    }

    /// Acknowledges an event.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`emit`](Self::emit).
    ///
    /// # Panics
    ///
    /// Panics if the server does not expect an acknowledgement.
    ///
    /// # Cancel safety
    ///
    /// See [`emit`](Self::emit).
    pub async fn answer<T: ToArgs + ?Sized>(&self, event: &TestEvent, args: &T) -> Result<(), EmitError> {
        let Some(id) = event.ack else { panic!("`{}` wants no acknowledgement", event.name) };
        self.send(Carrier::Ack { id }, args).await
    }

    async fn send<T: ToArgs + ?Sized>(&self, carrier: Carrier<'_>, args: &T) -> Result<(), EmitError> {
        let frames = self.wire.encoder(&self.namespace).args(carrier, args).map_err(EmitError::encode)?;
        if self.wire.send(frames.as_slice()).await { Ok(()) } else { Err(EmitError::Disconnected) }
    }

    /// Waits for the next event. Events are returned in the order in which the server sent them.
    ///
    /// # Panics
    ///
    /// Panics if no event arrives within 5 seconds, or if the client is disconnected.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no event is lost.
    pub async fn event(&mut self) -> TestEvent {
        match timeout(TIMEOUT, self.next_event()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("no event, the client is disconnected"),
            Err(elapsed) => panic!("no event within {TIMEOUT:?}: {elapsed}"),
        }
    }

    /// Waits for the next event, without a timeout. Returns `None` when the client is disconnected, after all
    /// events that arrived before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no event is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, Server, testing::TestServer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let farewell = Namespace::new("/").on_connect(async |socket| {
    ///     let _ = socket.emit("full", &());
    ///     socket.disconnect();
    /// });
    /// let mut client = TestServer::new(Server::new().namespace(farewell)).connect("/").await;
    /// assert_eq!(client.next_event().await.unwrap().name, "full");
    /// assert!(client.next_event().await.is_none());
    /// # }
    /// ```
    pub async fn next_event(&mut self) -> Option<TestEvent> {
        let event = self.events.recv().await?;
        self.claim.offset = event.offset.clone().or(self.claim.offset.take());
        Some(event)
    }

    /// Waits for the next event, which must have the name of `event`, and returns its arguments.
    ///
    /// # Panics
    ///
    /// Panics if the next event has another name, if its arguments do not match `T`, if no event arrives
    /// within 5 seconds, or if the client is disconnected.
    ///
    /// # Cancel safety
    ///
    /// See [`event`](Self::event).
    pub async fn expect<T: FromArgs>(&mut self, event: impl EventName<T>) -> T {
        let received = self.event().await;
        assert!(received.name == event.name(), "not `{}` but {received:?}", event.name());
        received.read()
    }

    /// Waits for the next event with the name of `event` and returns its arguments. Discards other events.
    ///
    /// # Panics
    ///
    /// Panics if the event does not arrive within 5 seconds, if its arguments do not match `T`, or if the
    /// client is disconnected.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the events discarded so far are lost. The expected event is not lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::{Namespace, Server, testing::TestServer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let game = Namespace::new("/").on_unit("start", async |socket| {
    ///     socket.emit("board", &[0; 9])?;
    ///     socket.emit("turn", "x")
    /// });
    /// let server = TestServer::new(Server::new().namespace(game));
    /// let mut client = server.connect("/").await;
    /// client.emit("start", &()).await.unwrap();
    /// assert_eq!(client.wait_for::<String>("turn").await, "x");
    /// # }
    /// ```
    pub async fn wait_for<T: FromArgs>(&mut self, event: impl EventName<T>) -> T {
        let found = timeout(TIMEOUT, async {
            loop {
                let received = self.event().await;
                if received.name == event.name() {
                    return received;
                }
            }
        });
        match found.await {
            Ok(received) => received.read(),
            Err(elapsed) => panic!("no `{}` within {TIMEOUT:?}: {elapsed}", event.name()),
        }
    }

    /// Waits for the given duration, during which no event may arrive. Takes no real time if the clock is
    /// paused.
    ///
    /// # Panics
    ///
    /// Panics if an event arrives.
    ///
    /// # Cancel safety
    ///
    /// See [`event`](Self::event).
    pub async fn expect_nothing(&mut self, during: Duration) {
        if let Ok(Some(event)) = timeout(during, self.events.recv()).await {
            panic!("an event came: {event:?}");
        }
    }

    /// Waits until the server disconnects the client or the connection is closed.
    ///
    /// # Panics
    ///
    /// Panics if an event arrives first, or if the client is still connected after 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// See [`event`](Self::event).
    pub async fn disconnected(&mut self) {
        match timeout(TIMEOUT, self.events.recv()).await {
            Ok(None) => {}
            Ok(Some(event)) => panic!("an event came: {event:?}"),
            Err(elapsed) => panic!("still connected after {TIMEOUT:?}: {elapsed}"),
        }
    }

    /// Disconnects from the namespace and closes the connection, like `socket.disconnect()` of the official
    /// client.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is dropped.
    pub async fn disconnect(self) {
        if let Ok(frames) = self.wire.encoder(&self.namespace).disconnect() {
            self.wire.send(frames.as_slice()).await;
        }
        self.wire.close().await;
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("namespace", &self.namespace)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The task of a client that polls the server continuously.
struct Reader {
    wire: Wire,
    /// The decoder of a custom parser. `None` selects the encoding of the protocol.
    decoder: Option<Box<dyn Decoder>>,
    /// `true` if the last argument of an event is its offset.
    has_offsets: bool,
    acks: Acks,
    events: mpsc::Sender<TestEvent>,
    answered: Option<oneshot::Sender<Result<Joined, ConnectError>>>,
}

impl Reader {
    async fn run(mut self) {
        while let Some(messages) = self.wire.poll().await {
            let mut messages = messages.into_iter();
            // All messages of a packet are in the same response.
            while let Some(message) = messages.next()
                && self.message(message, &mut messages).await
            {}
            if self.acks.lock().is_none() {
                return;
            }
        }
        *self.acks.lock() = None;
    }

    /// Handles a message and the attachments that follow it. Returns `false` if the client is no longer in
    /// the namespace.
    async fn message(&mut self, message: Message, more: &mut impl Iterator<Item = Message>) -> bool {
        let Some(decoder) = &mut self.decoder else {
            return match message {
                Message::Text(text) => self.packet(text, more).await,
                Message::Binary(_) => false,
            };
        };
        let packet = match &message {
            Message::Text(text) => decoder.decode(engineio::Message::Text(text)),
            Message::Binary(bytes) => decoder.decode(engineio::Message::Binary((&**bytes).into())),
        };
        let Ok(packet) = packet else { return false };
        let Some(packet) = packet else { return true };
        let json = packet.payload.into_owned();
        self.take(packet.kind, packet.id, Payload { json, attachments: packet.attachments.into() }).await
    }

    async fn packet(&mut self, text: String, messages: &mut impl Iterator<Item = Message>) -> bool {
        if let Some(refusal) = text.strip_prefix('4') {
            return self.refused(refusal);
        }
        let Ok(packet) = TextPacket::decode(&text, self.wire.config().packet_limits()) else { return false };
        let attachments = messages.take(packet.attachments).filter_map(|message| match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Text(_) => None,
        });
        let payload = Payload { json: packet.payload.to_owned(), attachments: attachments.collect() };
        self.take(packet.kind, packet.id, payload).await
    }

    async fn take(&mut self, kind: Kind, id: Option<u64>, payload: Payload) -> bool {
        match kind {
            Kind::ConnectError => self.refused(&payload.json),
            Kind::Connect => self.joined(&payload.json),
            Kind::Disconnect => {
                *self.acks.lock() = None;
                false
            }
            Kind::Ack => {
                let waits = id.and_then(|id| self.acks.lock().as_mut()?.remove(&id));
                // An error means that the caller no longer waits.
                waits.map(|answer| answer.send(payload));
                true
            }
            Kind::Event => self.event(&payload, id).await,
        }
    }

    async fn event(&mut self, payload: &Payload, ack: Option<u64>) -> bool {
        let Ok((name, args_offset)) = event_name(&payload.json, self.wire.config().max_name_length) else {
            return false;
        };
        let Ok(mut args) = payload.read::<Args>(args_offset) else { return false };
        // Events that request an acknowledgement have no offset.
        let offset = (self.has_offsets && ack.is_none()).then(|| args.pop_str()).flatten();
        self.events.send(TestEvent { name: name.into_owned(), args, ack, offset }).await.is_ok()
    }

    fn joined(&mut self, json: &str) -> bool {
        let answer: Value = serde_json::from_str(json).unwrap_or_default();
        let text = |key| answer[key].as_str().map(Into::into);
        let joined = Joined { sid: text("sid").unwrap_or_default(), pid: text("pid") };
        self.has_offsets = joined.pid.is_some();
        self.tell(Ok(joined))
    }

    /// Reports a refusal to the caller of `join`. `text` may begin with the namespace.
    fn refused(&mut self, text: &str) -> bool {
        let json = text.find('{').map_or("", |at| &text[at..]);
        let mut error: Value = serde_json::from_str(json).unwrap_or_default();
        let mut refuse = ConnectError::new(error["message"].as_str().unwrap_or_default());
        if let Some(data) = error.get_mut("data") {
            refuse = refuse.data(data.take());
        }
        self.tell(Err(refuse));
        *self.acks.lock() = None;
        false
    }

    fn tell(&mut self, answer: Result<Joined, ConnectError>) -> bool {
        self.answered.take().is_some_and(|answered| answered.send(answer).is_ok())
    }
}
