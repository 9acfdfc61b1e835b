//! The errors of emitting, decoding, acknowledging, joining rooms and handling events.

use std::{any::Any, error::Error, fmt};

use engineio::SendError;

use crate::proto::args::ArgsError;

const CLUSTER_FULL: &str = "the queue to another server is full";

/// The error returned if an event could not be emitted.
///
/// # Examples
///
/// ```
/// assert_eq!(socketio::EmitError::Disconnected.to_string(), "the socket is disconnected");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// The arguments could not be encoded.
    Encode(EncodeError),
    /// The socket has left its namespace.
    Disconnected,
    /// The queue of the client is full, and the event was not sent. A broadcast may also have disconnected
    /// the client, depending on the [policy](crate::Namespace::slow_consumer) of the namespace. Also reported
    /// for a volatile event that a broadcast with acknowledgements dropped.
    Full,
    /// The name of the event is reserved by the protocol, for example `disconnect`.
    ReservedEvent,
    /// The server has no namespace with this path.
    UnknownNamespace,
    /// The socket has reached [`max_pending_acks`](crate::ServerConfig::max_pending_acks).
    TooManyAcks,
    /// The queue to another server of the cluster is full. The event was sent to the sockets on this server,
    /// but is lost for the sockets of the other server.
    ClusterFull,
}

impl EmitError {
    pub(crate) fn encode(error: serde_json::Error) -> Self {
        Self::Encode(EncodeError(error))
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encode(_) => "the arguments cannot be encoded",
            Self::Disconnected => "the socket is disconnected",
            Self::Full => "the client does not take its messages",
            Self::ReservedEvent => "the name of the event is reserved",
            Self::UnknownNamespace => "there is no such namespace",
            Self::TooManyAcks => "too many acknowledgements are outstanding",
            Self::ClusterFull => CLUSTER_FULL,
        })
    }
}

impl Error for EmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SendError> for EmitError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            _ => Self::Disconnected,
        }
    }
}

/// The error returned if arguments cannot be encoded, for example because their implementation of `Serialize` failed.
#[derive(Debug)]
pub struct EncodeError(serde_json::Error);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for EncodeError {}

/// The error returned if arguments are not of the requested type.
#[derive(Debug)]
pub struct DecodeError(Option<serde_json::Error>);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments are not of the expected type")
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|error| error as _)
    }
}

impl From<ArgsError> for DecodeError {
    fn from(error: ArgsError) -> Self {
        match error {
            ArgsError::Mismatch(error) => Self(Some(error)),
            ArgsError::Malformed => Self(None),
        }
    }
}

/// The error returned if an acknowledgement was not received or could not be decoded.
///
/// # Examples
///
/// ```
/// assert_eq!(socketio::AckError::Timeout.to_string(), "operation has timed out");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AckError {
    /// No acknowledgement arrived before the timeout.
    Timeout,
    /// The socket left its namespace before the acknowledgement arrived.
    Disconnected,
    /// The acknowledgement is not of the requested type.
    Decode(DecodeError),
    /// The event was not sent.
    Emit(EmitError),
    /// The other server has no handler for the event, or the handler returned no acknowledgement.
    Unanswered,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "operation has timed out",
            Self::Disconnected => "the socket disconnected before it answered",
            Self::Decode(_) => "the answer is not of the expected type",
            Self::Emit(_) => "the event was not sent",
            Self::Unanswered => "the server does not answer this event",
        })
    }
}

impl Error for AckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::Emit(error) => Some(error),
            _ => None,
        }
    }
}

/// The error returned if a socket could not join a room.
///
/// # Examples
///
/// ```
/// assert_eq!(socketio::JoinError::Disconnected.to_string(), "the socket is disconnected");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The socket has left its namespace.
    Disconnected,
    /// The socket has reached [`max_rooms`](crate::ServerConfig::max_rooms).
    TooManyRooms,
    /// The name of the room exceeds [`max_name_length`](crate::ServerConfig::max_name_length).
    NameTooLong,
    /// The server has no namespace with this path.
    UnknownNamespace,
    /// The queue to another server of the cluster is full. The sockets on this server joined, but the sockets
    /// of the other server did not.
    ClusterFull,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "the socket is disconnected",
            Self::TooManyRooms => "the socket is in too many rooms",
            Self::NameTooLong => "the name of the room is too long",
            Self::UnknownNamespace => "there is no such namespace",
            Self::ClusterFull => CLUSTER_FULL,
        })
    }
}

impl Error for JoinError {}

/// The error of an event handler. Only the public message is sent to the client.
///
/// `?` converts errors as follows:
///
/// - A `&'static str` or a `String` becomes the public message.
/// - A [`JoinError`] is displayed as the public message, because it names the limit that the client has
///   reached.
/// - Any other error, including a boxed error or an error of `anyhow`, is internal. The cause is logged, and
///   the client receives `internal error`.
///
/// A handler may also return any of these errors directly; see [`IntoAck`](crate::IntoAck).
///
/// # Examples
///
/// ```
/// use socketio::EventError;
///
/// fn check(text: &str) -> Result<u32, EventError> {
///     if text.is_empty() {
///         Err("say something")?;
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(check("").unwrap_err().message(), "say something");
/// assert_eq!(check("x").unwrap_err().message(), "internal error");
/// ```
#[derive(Debug)]
pub struct EventError {
    public: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl EventError {
    /// Creates an error with a message that is sent to the client.
    pub fn public(message: impl Into<String>) -> Self {
        Self { public: message.into(), source: None }
    }

    /// Creates an error whose cause is logged and not sent to the client.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { public: "internal error".into(), source: Some(source.into()) }
    }

    /// Replaces the message that is sent to the client. A cause remains.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::EventError;
    ///
    /// let error = EventError::internal("the database is full").with_message("try again later");
    /// assert_eq!(error.message(), "try again later");
    /// assert!(error.cause().is_some());
    /// ```
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.public = message.into();
        self
    }

    /// Creates the error for user code that panicked.
    pub(crate) fn panicked(what: &'static str) -> Self {
        Self::internal(Panicked(what))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn is_panic(&self) -> bool {
        self.source.as_deref().is_some_and(<dyn Error + Send + Sync>::is::<Panicked>)
    }

    /// Returns the message that the client receives.
    pub fn message(&self) -> &str {
        &self.public
    }

    /// Returns the cause of an internal error, which is logged and not sent to the client.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// The cause of an error for user code that panicked. Contains a description of the code.
#[derive(Debug)]
struct Panicked(&'static str);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked", self.0)
    }
}

impl Error for Panicked {}

impl From<ArgsError> for EventError {
    fn from(error: ArgsError) -> Self {
        match error {
            ArgsError::Mismatch(error) => Self::public(format!("invalid arguments: {error}")),
            ArgsError::Malformed => Self::public("invalid arguments"),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>> + 'static> From<E> for EventError {
    fn from(error: E) -> Self {
        match public_message(&error) {
            Some(message) => Self::public(message),
            None => Self::internal(error),
        }
    }
}

/// Returns the public message for an error that `?` converts. Returns `None` unless the error is a string or
/// a [`JoinError`].
pub(crate) fn public_message<E: 'static>(error: &E) -> Option<String> {
    // One generic `From` covers all error types, so they can be distinguished only by downcasting.
    let error: &dyn Any = error;
    let text = error.downcast_ref::<&'static str>().map(ToString::to_string);
    let text = text.or_else(|| error.downcast_ref::<String>().cloned());
    text.or_else(|| error.downcast_ref::<JoinError>().map(ToString::to_string))
}

/// Displays an error and its sources on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
