//! The public view of an Engine.IO session.

use std::fmt;

use engineio::{SessionHandle, Sid, TransportKind};

/// The Engine.IO session of a client, which all its sockets share. Returned by
/// [`Socket::session`](crate::Socket::session). Equivalent to `socket.conn` in Node.js.
///
/// # Examples
///
/// ```
/// use socketio::{Namespace, TransportKind};
///
/// let files = Namespace::new("/files").on("preview", async |socket, name: String| {
///     // Long-polling clients get no previews.
///     if socket.session().transport() == TransportKind::WebSocket {
///         socket.volatile().emit("preview", &name)?;
///     }
///     Ok::<_, socketio::EmitError>(())
/// });
/// ```
#[derive(Clone, Copy)]
pub struct Session<'a>(&'a SessionHandle);

impl<'a> Session<'a> {
    pub(crate) fn new(session: &'a SessionHandle) -> Self {
        Self(session)
    }

    /// Returns the id of the session. The id is a secret of the client, see [`Sid`]. Equivalent to
    /// `socket.conn.id` in Node.js.
    pub fn id(&self) -> &'a Sid {
        self.0.id()
    }

    /// Returns the current transport. Equivalent to `socket.conn.transport.name` in Node.js.
    pub fn transport(&self) -> TransportKind {
        self.0.transport()
    }

    /// Returns the revision of the Engine.IO protocol that the client uses: 4, or 3 if
    /// [`allow_eio3`](crate::EngineConfig::allow_eio3) is set. Equivalent to `socket.conn.protocol` in Node.js.
    pub fn protocol(&self) -> u8 {
        self.0.protocol()
    }

    /// Returns the number of bytes that are queued for the client, including a small overhead for each message.
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// Returns `true` if a volatile event would be sent now. Equivalent to `socket.conn.transport.writable` in
    /// Node.js.
    pub fn is_writable(&self) -> bool {
        self.0.send_volatile(&[])
    }

    /// Closes the connection after all packets that were sent before the call, and with it all sockets of the client.
    /// Equivalent to `socket.conn.close()` in Node.js.
    pub fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("transport", &self.transport()).finish_non_exhaustive()
    }
}
