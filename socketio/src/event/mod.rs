//! Names of events, and what a handler answers.

pub(crate) mod args;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod legacy;
pub(crate) mod reason;

use std::{fmt, marker::PhantomData};

use crate::{
    event::error::EventError,
    proto::{
        args::ToArgs,
        encode::{Carrier, Encoder, Frames},
    },
};

/// The name of an event that carries `T`.
///
/// A string names any event; a [`TypedEvent`] names one whose arguments are known.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an event that carries `{T}`",
    label = "this event carries other arguments"
)]
pub trait EventName<T: ?Sized> {
    /// The name on the wire.
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

/// An event whose arguments are of one type, in both directions: the contract with the frontend.
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
/// // The types of both arguments are known from the event.
/// let chat = Namespace::new("/").on(SAID, async |socket, said| socket.broadcast().emit(SAID, &said));
/// ```
pub struct TypedEvent<T: ?Sized> {
    name: &'static str,
    carries: PhantomData<fn(&T)>,
}

impl<T: ?Sized> TypedEvent<T> {
    /// Binds a name to a type.
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

/// The answer of a handler: the arguments of the acknowledgement, by the rule of [`ToArgs`].
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

/// Leaves the client without an acknowledgement, even if it waits for one.
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

/// What a handler may return.
///
/// `()` acknowledges without arguments, [`Ack`] with some, [`NoAck`] and `None` not at all. An error, of any type that
/// becomes an [`EventError`] by `?`, is answered with one argument, `{"error": <its public message>}`, and logged.
/// Nothing is sent if the client does not wait for an acknowledgement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as an acknowledgement",
    label = "this handler must return `()`, `Ack<T>`, `NoAck`, `Option<Ack<T>>`, or a `Result` of one of these",
    note = "`T` must implement `serde::Serialize`, an error must implement `std::error::Error`, or be a text, a boxed error or an `EventError`"
)]
pub trait IntoAck {
    /// Encodes the answer.
    #[doc(hidden)]
    fn into_ack(self, reply: Reply<'_>) -> Result<AckResponse, EventError>;
}

/// What a hook may return: nothing, or a `Result`, of which an error is logged.
///
/// The error is of any type that becomes an [`EventError`] by `?`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a hook",
    label = "this hook must return `()` or `Result<(), E>`",
    note = "`E` must implement `std::error::Error`, or be a text, a boxed error or an `EventError`"
)]
pub trait HookResult {
    /// The error, if there is one.
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

/// What a function returns that ends in `todo!()`: `!`, which has no stable name in this place yet.
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

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Reply<'a> {
    pub(crate) encoder: Encoder<'a>,
    /// `None`: the client does not wait for an answer.
    pub(crate) id: Option<u64>,
}

/// What a handler has answered, as [middleware](crate::Namespace::wrap) sees it: nothing, or the encoded arguments of an
/// acknowledgement.
#[derive(Debug)]
pub struct AckResponse(pub(crate) Option<Frames>);

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
