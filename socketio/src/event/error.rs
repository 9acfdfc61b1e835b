//! Errors, one type for each operation.

use std::{any::Any, error::Error, fmt};

use engineio::SendError;

use crate::proto::args::ArgsError;

const CLUSTER_FULL: &str = "the queue to another server is full";

/// An event was not sent.
///
/// # Examples
///
/// ```
/// assert_eq!(socketio::EmitError::Disconnected.to_string(), "the socket is disconnected");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// The arguments cannot be written as JSON.
    Encode(serde_json::Error),
    /// The socket has left its namespace.
    Disconnected,
    /// The queue of the client is full: the event was not sent. A broadcast may also disconnect the client,
    /// by the [policy](crate::Namespace::slow_consumer) of the namespace.
    Full,
    /// The name is reserved by the protocol, such as `disconnect`.
    ReservedEvent,
    /// The server has no namespace with this path.
    UnknownNamespace,
    /// Too many acknowledgements of this socket are outstanding.
    TooManyAcks,
    /// The queue to another server of the cluster is full. The event was sent to the sockets on this server.
    ClusterFull,
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

/// Arguments are not of the requested type.
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

/// An acknowledgement did not arrive.
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
    /// The acknowledgement is of another type.
    Decode(DecodeError),
    /// The event was not sent.
    Emit(EmitError),
    /// The other server has no handler for this event, or its handler gives no answer.
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

/// A socket did not join a room.
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
    /// The socket has reached the limit of rooms.
    TooManyRooms,
    /// The name of the room is too long.
    NameTooLong,
    /// The server has no namespace with this path.
    UnknownNamespace,
    /// The queue to another server of the cluster is full. The sockets on this server have joined.
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

/// The error of an event. Only the public message is sent to the client.
///
/// `?` converts errors as follows:
///
/// - A string, `&'static str` or `String`, is a public message.
/// - A [`JoinError`] is public too: it names the limit that the client has reached.
/// - Any other error, including a boxed one or one of `anyhow`, is internal: the cause is logged, and the
///   client receives `internal error`.
///
/// A handler may also return such errors directly, see [`IntoAck`](crate::IntoAck).
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
    /// Makes an error with a message for the client.
    pub fn public(message: impl Into<String>) -> Self {
        Self { public: message.into(), source: None }
    }

    /// Makes an error whose cause is not sent to the client.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { public: "internal error".into(), source: Some(source.into()) }
    }

    /// Makes the error of user code that panicked.
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

    /// Returns the cause, for the log.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// The user code that panicked.
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

/// Returns the message for the client if an error that `?` converts is a string or a [`JoinError`].
pub(crate) fn public_message<E: 'static>(error: &E) -> Option<String> {
    // A single generic `From` covers all errors, so they can only be told apart by downcasting.
    let error: &dyn Any = error;
    let text = error.downcast_ref::<&'static str>().map(ToString::to_string);
    let text = text.or_else(|| error.downcast_ref::<String>().cloned());
    text.or_else(|| error.downcast_ref::<JoinError>().map(ToString::to_string))
}

/// Displays an error and its sources in one line.
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
