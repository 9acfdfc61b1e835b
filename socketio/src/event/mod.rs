//! Names of events, their arguments, handshakes, return values of handlers, errors and disconnect reasons.
//! May import `proto` only; not `config` or any folder above it.

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
/// A string names any event; a [`TypedEvent`] names an event with known argument types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name an event that carries `{T}`",
    label = "this event carries other arguments"
)]
pub trait EventName<T: ?Sized> {
    /// Returns the name on the wire.
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

/// The name of an event whose arguments have one type in both directions: the contract with the frontend.
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

/// An acknowledgement returned by a handler: its arguments, by the rules of [`ToArgs`].
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

/// Sends no acknowledgement, even if the client requested one.
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

/// The return value of a handler.
///
/// `()` acknowledges without arguments, [`Ack`] with arguments, [`NoAck`] and `None` not at all. An error of
/// any type that `?` converts into an [`EventError`] is logged and acknowledged with the argument
/// `{"error": <its public message>}`. Nothing is sent if the client did not request an acknowledgement.
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

/// The return value of a hook: nothing, or a `Result` whose error is logged.
///
/// The error is of any type that `?` converts into an [`EventError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a hook",
    label = "this hook must return `()` or `Result<(), E>`",
    note = "`E` must implement `std::error::Error`, or be a text, a boxed error or an `EventError`"
)]
pub trait HookResult {
    /// Returns the error, if there is one.
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

/// The type `!`, which a function that ends in `todo!()` returns. It cannot be named on stable Rust here.
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

/// The destination of an acknowledgement.
#[derive(Debug, Clone, Copy)]
#[doc(hidden)]
pub struct Reply<'a> {
    pub(crate) encoder: Encoder<'a>,
    /// `None` if the client did not request an acknowledgement.
    pub(crate) id: Option<u64>,
}

/// The result of a handler as [middleware](crate::Namespace::wrap) sees it: nothing, or the encoded arguments
/// of an acknowledgement.
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
