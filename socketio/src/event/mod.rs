//! Event names, arguments, handshakes, return values of handlers, errors and disconnect reasons. This module
//! may import `proto`, but not `config` or any folder above it.

pub(crate) mod args;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod legacy;
pub(crate) mod reason;

use std::{fmt, marker::PhantomData};

use crate::{
    event::{args::Args, error::EventError},
    proto::{
        args::ToArgs,
        encode::{Carrier, Encoder, Frames},
    },
};

/// The name of an event with arguments of type `T`.
///
/// A string can name any event. A [`TypedEvent`] names an event with a known argument type. Applications may implement
/// this trait for types of their own.
///
/// # Examples
///
/// ```
/// use socketio::{EventName, Namespace, Server};
///
/// enum Topic {
///     News,
///     Weather,
/// }
///
/// impl EventName<String> for Topic {
///     fn name(&self) -> &str {
///         match self {
///             Self::News => "news",
///             Self::Weather => "weather",
///         }
///     }
/// }
///
/// let io = Server::new().namespace(Namespace::new("/"));
/// io.emit(Topic::Weather, &"Rain.".to_owned())?;
/// # Ok::<(), socketio::EmitError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an event that carries `{T}`",
    label = "this event carries other arguments"
)]
pub trait EventName<T: ?Sized> {
    /// Returns the name of the event as sent in packets.
    fn name(&self) -> &str;
}

impl<T: ?Sized> EventName<T> for &str {
    fn name(&self) -> &str {
        self
    }
}

impl<T: ?Sized> EventName<T> for String {
    fn name(&self) -> &str {
        self
    }
}

impl<T: ?Sized> EventName<T> for &String {
    fn name(&self) -> &str {
        self
    }
}

/// The name of an event, bound to one argument type for both directions. Typed events define the contract
/// with the frontend.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use socketio::{Namespace, TypedEvent};
///
/// #[derive(Serialize, Deserialize)]
/// struct Said { text: String }
/// const SAID: TypedEvent<Said> = TypedEvent::new("said");
///
/// // Both argument types are inferred from the event.
/// let chat = Namespace::new("/").on(SAID, async |socket, said| socket.broadcast().emit(SAID, &said));
/// ```
pub struct TypedEvent<T: ?Sized> {
    name: &'static str,
    carries: PhantomData<fn(&T)>,
}

impl<T: ?Sized> TypedEvent<T> {
    /// Creates a typed event with a name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, carries: PhantomData }
    }
}

impl<T: ?Sized> Clone for TypedEvent<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for TypedEvent<T> {}

impl<T: ?Sized> fmt::Debug for TypedEvent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedEvent").field(&self.name).finish()
    }
}

impl<T: ?Sized> EventName<T> for TypedEvent<T> {
    fn name(&self) -> &str {
        self.name
    }
}

/// The return value of a handler that acknowledges an event with arguments. The arguments are encoded by the
/// rules of [`ToArgs`].
///
/// # Examples
///
/// ```
/// use socketio::{Ack, Namespace};
///
/// let chat = Namespace::new("/").on("sum", async |_, (a, b): (i32, i32)| Ack(a + b));
/// ```
#[derive(Debug, Clone)]
pub struct Ack<T>(pub T);

/// The return value of a handler that sends no acknowledgement, even if the client requested an
/// acknowledgement.
///
/// # Examples
///
/// ```
/// use socketio::{Namespace, NoAck};
///
/// let chat = Namespace::new("/").on("hint", async |_, ()| NoAck);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NoAck;

/// A value that a handler can return.
///
/// `()` acknowledges the event without arguments, and [`Ack`] acknowledges it with arguments. [`NoAck`] and
/// `None` send no acknowledgement. An error of any type that `?` converts into an [`EventError`] is logged,
/// and the event is acknowledged with the argument `{"error": <its public message>}`. Nothing is sent if the
/// client did not request an acknowledgement.
///
/// This trait is sealed. A type of your own is sent in an [`Ack`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as an acknowledgement",
    label = "this handler must return `()`, `Ack<T>`, `NoAck`, `Option<Ack<T>>`, or a `Result` of one of these",
    note = "`T` must implement `serde::Serialize`, an error must implement `std::error::Error`, or be a text, a boxed error or an `EventError`"
)]
pub trait IntoAck {
    /// Encodes the acknowledgement.
    #[doc(hidden)]
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError>;
}

/// A value that a hook can return, which is `()` or a `Result` whose error is logged.
///
/// The error can be of any type that `?` converts into an [`EventError`]. This trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a hook",
    label = "this hook must return `()` or `Result<(), E>`",
    note = "`E` must implement `std::error::Error`, or be a text, a boxed error or an `EventError`"
)]
pub trait HookResult {
    /// Converts the value into a `Result`.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), EventError>;
}

impl HookResult for () {
    fn into_result(self) -> Result<(), EventError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<EventError>> HookResult for Result<(), E> {
    fn into_result(self) -> Result<(), EventError> {
        self.map_err(Into::into)
    }
}

/// The type `!`, which a function that ends in `todo!()` returns. Stable Rust does not allow `!` to be named
/// here directly.
type Never = <fn() -> ! as Returns>::Output;

trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

#[allow(private_interfaces, reason = "it is `!`, and public")]
impl HookResult for Never {
    fn into_result(self) -> Result<(), EventError> {
        self
    }
}

#[allow(private_interfaces, reason = "it is `!`, and public")]
impl IntoAck for Never {
    fn into_ack(self, _: Reply<'_>) -> Result<AckResponse, EventError> {
        self
    }
}

/// The encoder and the id for the acknowledgement of an event.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Reply<'a> {
    pub(crate) encoder: Encoder<'a>,
    /// The acknowledgement id. `None` if the client did not request an acknowledgement.
    pub(crate) id: Option<u64>,
}

/// The response of a handler, as [middleware](crate::Namespace::wrap) receives it. The response is either
/// empty or an encoded acknowledgement.
#[derive(Debug)]
pub struct AckResponse(pub(crate) Option<Frames>);

impl AckResponse {
    /// Returns the arguments of the acknowledgement. `encoder` must be the one that has encoded it.
    pub(crate) fn args(&self, encoder: Encoder<'_>) -> Option<Args> {
        Args::from_ack(encoder, self.0.as_ref()?)
    }
}

impl IntoAck for () {
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError> {
        Ack(()).into_ack(reply)
    }
}

impl IntoAck for AckResponse {
    fn into_ack(self, _: Reply<'_>) -> Result<AckResponse, EventError> {
        Ok(self)
    }
}

impl IntoAck for NoAck {
    fn into_ack(self, _: Reply<'_>) -> Result<AckResponse, EventError> {
        Ok(AckResponse(None))
    }
}

impl<T: ToArgs> IntoAck for Ack<T> {
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError> {
        let Some(id) = reply.id else { return Ok(AckResponse(None)) };
        Ok(AckResponse(Some(reply.encoder.args(Carrier::Ack { id }, &self.0)?)))
    }
}

impl<A: IntoAck> IntoAck for Option<A> {
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError> {
        self.map_or(Ok(AckResponse(None)), |answer| answer.into_ack(reply))
    }
}

#[diagnostic::do_not_recommend]
impl<A: IntoAck, E: Into<EventError>> IntoAck for Result<A, E> {
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError> {
        self.map_err(Into::into)?.into_ack(reply)
    }
}
