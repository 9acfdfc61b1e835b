//! The traits that an application implements: [`Application`] and [`Connection`].

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use crate::{CloseReason, HandshakeRequest, Message, SessionHandle};

/// The application of an [`Engine`](crate::Engine), which implements this trait and [`Connection`]. It creates one
/// [`Connection`] for each session.
///
/// # Examples
///
/// The following application is an echo server:
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
///     fn on_connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
///         EchoConnection(session)
///     }
/// }
///
/// impl Connection for EchoConnection {
///     fn on_message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
///         let frame = match message {
///             Message::Text(text) => Frame::text(text),
///             Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
///         };
///         // A session that has ended needs no echo.
///         let _ = self.0.send(&[frame]);
///     }
///     fn on_close(&mut self, _: CloseReason) {}
/// }
/// ```
pub trait Application: Send + Sync + 'static {
    /// The application's state for one session.
    type Connection: Connection;

    /// Called when a session opens. The open packet is sent before any message that is queued from now on.
    fn on_connect(&self, session: SessionHandle, request: Arc<HandshakeRequest>) -> Self::Connection;
}

/// The application's side of one session. All calls come from the session's task, in order.
pub trait Connection: Send + 'static {
    /// Handles a message. Messages sent by the handler are written once all messages of the same read are
    /// handled.
    fn on_message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// Returns `true` if another message may be delivered. While this method returns `false`, the session
    /// does not read, and TCP applies backpressure to the client.
    fn is_ready(&self) -> bool {
        true
    }

    /// Returns `true` once the application recognizes the client, for example after a login. While this
    /// method returns `false`, it is called each time the session's task has run, and the session is
    /// [pending](crate::EngineConfig::max_pending_sessions).
    fn is_established(&self) -> bool {
        true
    }

    /// Drives the work of the connection. Called whenever the session's task runs. Returns `Ready` if no work
    /// is left. After [`on_close`](Self::on_close) was called, the session's task completes as soon as this
    /// method returns `Ready`.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Called once when the session is closed. No further message is delivered.
    fn on_close(&mut self, reason: CloseReason);

    /// Returns the instant at which [`on_timeout`](Self::on_timeout) must be called, if any.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Called when the deadline may have passed.
    fn on_timeout(&mut self, now: Instant) {
        let _ = now;
    }
}
