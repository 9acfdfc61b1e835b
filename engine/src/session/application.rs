//! What is built on top of Engine.IO.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use crate::{CloseReason, HandshakeRequest, Message, SessionHandle};

/// The application of an [`Engine`](crate::Engine): makes one [`Connection`] for each session.
///
/// # Examples
///
/// An echo server:
///
/// ```
/// use std::{sync::Arc, task::{Context, Poll}};
/// use engineio::{Application, CloseReason, Connection, Frame, Message, HandshakeRequest, SessionHandle};
///
/// struct Echo;
/// struct EchoConnection(SessionHandle);
///
/// impl Application for Echo {
///     type Connection = EchoConnection;
///     fn connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
///         EchoConnection(session)
///     }
/// }
///
/// impl Connection for EchoConnection {
///     fn message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
///         let frame = match message {
///             Message::Text(text) => Frame::text(text),
///             Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
///         };
///         // A session that has ended needs no echo.
///         let _ = self.0.send(&[frame]);
///     }
///     fn closed(&mut self, _: CloseReason) {}
/// }
/// ```
pub trait Application: Send + Sync + 'static {
    /// What one session is to the application.
    type Connection: Connection;

    /// A session has opened; the open packet is already on its way to the client.
    fn connect(&self, session: SessionHandle, request: Arc<HandshakeRequest>) -> Self::Connection;
}

/// One session, as the application sees it. All calls come from the one task of the session, in order.
pub trait Connection: Send + 'static {
    /// Takes a message. What is sent meanwhile leaves after all messages of one read have been taken.
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// Whether another message may be taken. While it may not, the session stops reading, and the client's
    /// kernel holds back what it sends.
    fn ready(&self) -> bool {
        true
    }

    /// Whether the client is one that the application knows, such as one that has logged in. It is asked until it says
    /// yes, whenever the task of the session has run; until then, the session is
    /// [pending](field@crate::EngineConfig::max_pending_sessions).
    fn is_established(&self) -> bool {
        true
    }

    /// Goes on with whatever the connection is doing; called whenever the task of the session runs. `Ready`
    /// when nothing is left to do: after [`closed`](Self::closed), the task then ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The session has ended. Called once; no message comes after it.
    fn closed(&mut self, reason: CloseReason);

    /// When [`timeout`](Self::timeout) is to be called, if ever.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline may have passed.
    fn timeout(&mut self, now: Instant) {
        let _ = now;
    }
}
