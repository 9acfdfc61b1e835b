//! A WebSocket for a session that has one already.

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

/// Closes it, and waits so long for the client's side to close.
pub(crate) fn close(handed: UpgradedParts, dialect: Dialect, timeout: Duration) -> SessionTask {
    let mut websocket = WebSocket::new(handed, dialect, None);
    let by = Instant::now() + timeout;
    websocket.close(Frame::close(close_code(None), ""), by.into_std(), PeerState::Open);
    Box::pin(async move {
        let closed = poll_fn(|cx| {
            let now = Instant::now().into_std();
            with_read_buffer(|scratch| websocket.poll_close(cx, now, scratch))
        });
        // What is left of it is dropped then.
        let _ = timeout_at(by, closed).await;
    })
}
