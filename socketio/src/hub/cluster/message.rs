//! The messages between the servers of a cluster.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use engineio::{Frame, Sid};

use crate::{
    event::{EventName, error::EmitError},
    hub::{
        ack_collector::Outcome,
        acks::AckArgs,
        rooms::{Room, Target},
        sending::encode_event,
    },
    proto::{
        args::ToArgs,
        elements::Elements,
        encode::{Encoder, Frames},
    },
};

/// The id of a server in a cluster. Each server gets a new random id when it joins the cluster. Equivalent to
/// the `uid` of an adapter in Node.js.
///
/// # Examples
///
/// ```
/// use socketio::FetchError;
///
/// fn complain(error: &FetchError) {
///     for server in &error.missing {
///         println!("{server} did not answer");
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Generates a new id.
    pub(crate) fn random() -> Self {
        Self(Sid::random().as_str().into())
    }

    /// Returns the id of a server that the protocol of the broker does not name.
    pub fn unknown() -> Self {
        Self(Arc::default())
    }

    /// Returns `true` if the protocol of the broker does not name the server.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ServerId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_unknown() { "(unknown)" } else { self.as_str() })
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

/// The id of a request to the other servers, which their responses repeat. Unique in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Returns the text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for RequestId {
    fn from(id: T) -> Self {
        Self(id.as_ref().into())
    }
}

/// A message to all other servers.
#[derive(Debug, Clone)]
pub struct Message {
    /// The server that sent the message.
    pub from: ServerId,
    /// The path of the namespace.
    pub namespace: Arc<str>,
    /// The operation to execute.
    pub operation: Operation,
}

/// An operation that all servers execute. Equivalent to the message types of the cluster adapter in Node.js.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operation {
    /// Sends an event to sockets.
    Broadcast {
        /// The sockets.
        target: Target,
        /// The event.
        packet: EventPacket,
        /// The delivery options.
        flags: BroadcastFlags,
    },
    /// Sends an event to sockets, and collects their acknowledgements. Each server assigns its own
    /// acknowledgement id. Each server responds with [`ReplyBody::Recipients`] or
    /// [`ReplyBody::RecipientCount`], and then with the acknowledgements.
    BroadcastWithAck {
        /// The id of the request.
        request: RequestId,
        /// The sockets.
        target: Target,
        /// The event.
        packet: EventPacket,
        /// The delivery options.
        flags: BroadcastFlags,
        /// How long the requesting server waits for acknowledgements.
        timeout: Duration,
    },
    /// Stops collecting the acknowledgements of a request.
    CancelAcks {
        /// The id of the request.
        request: RequestId,
    },
    /// Adds sockets to rooms.
    Join {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Removes sockets from rooms.
    Leave {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Disconnects sockets.
    Disconnect {
        /// The sockets.
        target: Target,
        /// Closes the connections too.
        close: bool,
    },
    /// Requests the descriptions of sockets, which each server sends as [`ReplyBody::Sockets`].
    Fetch {
        /// The id of the request.
        request: RequestId,
        /// The sockets.
        target: Target,
    },
    /// Calls the server-event handlers of the namespace.
    ServerEvent {
        /// The id of the request, if the sender waits for [`ReplyBody::Answer`].
        request: Option<RequestId>,
        /// The event.
        packet: EventPacket,
    },
}

impl Operation {
    /// Returns the id of the request, if the other servers respond to the operation.
    pub fn request(&self) -> Option<&RequestId> {
        match self {
            Self::BroadcastWithAck { request, .. } | Self::Fetch { request, .. } => Some(request),
            Self::ServerEvent { request, .. } => request.as_ref(),
            _ => None,
        }
    }
}

/// The delivery options of a broadcast.
#[derive(Debug, Clone, Copy, Default)]
pub struct BroadcastFlags {
    /// The event may be dropped for clients that are not ready.
    pub volatile: bool,
    /// The event is sent without compression.
    pub uncompressed: bool,
}

/// An event, in the encoding of the protocol and independent of the parsers of the servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventPacket(pub(crate) Frames);

impl EventPacket {
    /// Creates an event from the JSON text of the array of its name and arguments. Binary data in the
    /// arguments is replaced by placeholders for `attachments`.
    ///
    /// Returns `None` if the array does not start with a name. `data` must be valid JSON.
    pub fn new(namespace: &str, data: &str, attachments: Vec<Bytes>) -> Option<Self> {
        let name = data.starts_with('[').then(|| Elements::new(data).next()).flatten()?;
        // JavaScript allows numbers as names.
        let is_name = name.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        is_name
            .then(|| Self(Frames::event(namespace, None, data, attachments.into_iter().map(Frame::binary))))
    }

    /// Encodes an event, for programs that send events into a cluster without being a server.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded, or if the name of the event is reserved.
    pub fn encode<T: ToArgs + ?Sized>(
        namespace: &str,
        event: impl EventName<T>,
        args: &T,
    ) -> Result<Self, EmitError> {
        encode_event(Encoder::plain(namespace), event.name(), None, args).map(Self)
    }

    /// Returns the number of bytes of the event.
    pub fn payload_len(&self) -> usize {
        self.0.payload_len()
    }

    /// Returns the JSON text of the array of the name and the arguments, and the attachments.
    pub fn parts(&self, namespace: &str) -> (&str, Vec<Bytes>) {
        self.0.parts(namespace)
    }
}

impl AckArgs {
    /// Creates an acknowledgement from the JSON text of the array of its arguments. `json` must be valid
    /// JSON.
    pub fn new(json: &str, attachments: Vec<Bytes>) -> Self {
        Self { payload: json.into(), attachments }
    }

    /// Returns the JSON text of the first argument, or `None` if there are no arguments. Adapters of Node.js
    /// pass on only the first argument.
    pub fn first(&self) -> Option<&str> {
        Elements::new(&self.payload).next()
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.payload.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Returns the attachments that the placeholders in the arguments refer to.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }
}

impl Target {
    /// Selects the sockets that are in one of `rooms`, or all sockets if `rooms` is empty, and in none of
    /// `except`.
    pub fn new(rooms: Vec<Room>, except: Vec<Room>) -> Self {
        Self { rooms, except, except_socket: None }
    }

    /// Returns the rooms. An empty slice means all sockets.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// Returns the excluded rooms, among them the room of an excluded socket.
    pub fn except(&self) -> Cow<'_, [Room]> {
        match &self.except_socket {
            None => Cow::Borrowed(&self.except),
            Some(sid) => {
                let mut except = self.except.clone();
                except.push(Room::from(sid.as_str()));
                Cow::Owned(except)
            }
        }
    }
}

/// A response to the requesting server.
#[derive(Debug)]
pub struct Reply {
    /// The responding server.
    pub from: ServerId,
    /// The path of the namespace.
    pub namespace: Arc<str>,
    /// The id of the request.
    pub request: RequestId,
    /// The content.
    pub body: ReplyBody,
}

impl Reply {
    /// Returns the approximate number of bytes of the response.
    pub fn payload_len(&self) -> usize {
        match &self.body {
            ReplyBody::Ack(args) | ReplyBody::Answer(Some(args)) => args.payload_len(),
            ReplyBody::Outcomes(outcomes) => outcomes.iter().map(|(_, outcome)| outcome.payload_len()).sum(),
            ReplyBody::Sockets(sockets) => sockets.iter().map(SocketSummary::payload_len).sum(),
            ReplyBody::Recipients(_) | ReplyBody::RecipientCount(_) | ReplyBody::Answer(None) => 0,
        }
    }
}

/// The content of a response.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplyBody {
    /// The first response to [`Operation::BroadcastWithAck`]: the sockets that the event was sent to.
    Recipients(Vec<Sid>),
    /// A further response to [`Operation::BroadcastWithAck`]: outcomes, with the indices of their sockets in
    /// the recipients.
    Outcomes(Vec<(u32, Outcome)>),
    /// Like [`Recipients`](Self::Recipients), if the protocol of the broker has only the number of sockets.
    RecipientCount(usize),
    /// An acknowledgement of a socket that the protocol of the broker does not name.
    Ack(AckArgs),
    /// The response to [`Operation::Fetch`].
    Sockets(Vec<SocketSummary>),
    /// The response to [`Operation::ServerEvent`]. `None` if the server has no handler, or if the handler
    /// sends no acknowledgement.
    Answer(Option<AckArgs>),
}

use crate::hub::summary::Summary as SocketSummary;

/// The error that the queue to the other servers is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterFull;

impl fmt::Display for ClusterFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue to the other servers is full")
    }
}

impl std::error::Error for ClusterFull {}

impl From<ClusterFull> for EmitError {
    fn from(_: ClusterFull) -> Self {
        Self::ClusterFull
    }
}

impl From<ClusterFull> for crate::event::error::JoinError {
    fn from(_: ClusterFull) -> Self {
        Self::ClusterFull
    }
}
