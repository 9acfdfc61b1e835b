//! Options for emitting to one socket.

use crate::{
    event::{EventName, error::EmitError},
    handles::socket::Socket,
    hub::{Flags, sending::encode_event},
    proto::args::ToArgs,
};

/// Emits an event to one socket with options. Returned by [`Socket::volatile`] and [`Socket::compress`].
///
/// # Examples
///
/// ```
/// use socketio::{EmitError, Socket};
///
/// fn show_cursor(socket: &Socket, x: u32, y: u32) -> Result<(), EmitError> {
///     socket.volatile().compress(false).emit("cursor", &(x, y))
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `emit`"]
pub struct EmitOperator<'a, D = ()> {
    socket: &'a Socket<D>,
    flags: Flags,
}

impl<'a, D> EmitOperator<'a, D> {
    pub(crate) fn new(socket: &'a Socket<D>) -> Self {
        Self { socket, flags: Flags::default() }
    }

    /// Drops the event if it cannot be written immediately. See [`Socket::volatile`].
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether the event may be compressed. See [`Socket::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sends the event.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Socket::emit`]. Dropping a volatile event is not an error.
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let packet = encode_event(self.socket.0.encoder(), event.name(), None, args)?;
        self.socket.0.send_event(packet, self.flags)
    }
}
