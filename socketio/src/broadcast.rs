//! Emitting to many sockets.

use std::{fmt, sync::Arc};

use engineio::Sid;

use crate::{
    adapter::{Adapter, Flags},
    error::EmitError,
    event::EventName,
    proto::args::ToArgs,
    rooms::{Room, Target},
    socket::encode_event,
};

/// Chooses the sockets that an event goes to. Each gets it once, however many of the rooms it is in.
///
/// # Examples
///
/// ```
/// use socketio::{EmitError, Server};
///
/// fn announce(io: &Server) -> Result<(), EmitError> {
///     io.of("/chat").to("lobby").to("garden").except("muted").emit("news", "Tea is ready.")
/// }
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent before `emit`"]
pub struct BroadcastOperator {
    adapter: Option<Arc<Adapter>>,
    target: Target,
    flags: Flags,
}

impl BroadcastOperator {
    pub(crate) fn new(adapter: Option<Arc<Adapter>>) -> Self {
        Self { adapter, target: Target::default(), flags: Flags::default() }
    }

    pub(crate) fn except_socket(mut self, sid: Sid) -> Self {
        self.target.except_socket = Some(sid);
        self
    }

    /// Adds a room: the event goes to the sockets in any of the rooms, or to all if no room is named. The id of a
    /// socket is a room too.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.target.rooms.push(room.into());
        self
    }

    /// Leaves out the sockets in a room.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.target.except.push(room.into());
        self
    }

    /// Lets the event be lost for clients that cannot take it at once: whose earlier messages still wait, or who
    /// have no poll parked.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Keeps the event on this server, in a cluster.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Sends the event. It is encoded once, and never waits for any of the clients.
    ///
    /// All members of a room on this server get its broadcasts in the same order. A client that does not take its
    /// messages is disconnected and disturbs nobody else.
    ///
    /// # Errors
    ///
    /// [`EmitError::Encode`] if the arguments cannot be written, [`EmitError::ReservedEvent`],
    /// [`EmitError::UnknownNamespace`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a literal or a small constant: a reference at each call would be noise"
    )]
    pub fn emit<T: ToArgs + ?Sized>(self, event: impl EventName<T>, args: &T) -> Result<(), EmitError> {
        let adapter = self.adapter.ok_or(EmitError::UnknownNamespace)?;
        let packet = encode_event(adapter.encoder(), event.name(), None, args)?;
        adapter.broadcast(&self.target, &packet, self.flags);
        Ok(())
    }
}

impl fmt::Debug for BroadcastOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOperator")
            .field("target", &self.target)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}
