//! Closing of a redundant WebSocket, whose session already has another WebSocket.

use std::{future::poll_fn, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::websocket::{PeerState, WebSocket};
use crate::{
    proto::{dialect::Dialect, frame::Frame, websocket::close_code},
    transport::{
        thread_buffers::with_read_buffer,
        upgrade::{SessionTask, UpgradedParts},
    },
};

/// Sends a close frame, and waits up to `timeout` for the client to close the connection.
pub(crate) fn close(parts: UpgradedParts, dialect: Dialect, timeout: Duration) -> SessionTask {
    let mut websocket = WebSocket::new(parts, dialect, None);
    let by = Instant::now() + timeout;
    websocket.close(Frame::close(close_code(None), ""), by.into_std(), PeerState::Open);
    Box::pin(async move {
        let closed = poll_fn(|cx| {
            let now = Instant::now().into_std();
            with_read_buffer(|buffer| websocket.poll_close(cx, now, buffer))
        });
        // On timeout, the stream is dropped.
        let _ = timeout_at(by, closed).await;
    })
}
