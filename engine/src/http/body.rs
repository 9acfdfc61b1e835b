//! Reads the body of a POST and enforces limits on its size, pauses and rate.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use bytes::Buf;
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use crate::{EngineConfig, Limit};

/// An error while reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The body exceeded a limit.
    Limit(Limit),
    /// The client disconnected or sent invalid HTTP.
    Broken,
}

/// Reads a body, and calls `on_activity` when bytes arrive after the head. If the client disconnects, the HTTP server drops the request and this future.
///
/// A body that arrived together with its head, the usual case, is not copied and needs no timer.
pub(crate) async fn collect<B: Body>(
    body: B,
    config: &EngineConfig,
    mut on_activity: impl FnMut(std::time::Instant),
) -> Result<Vec<u8>, BodyError> {
    let mut body = pin!(body);
    let mut collected = Vec::new();
    let mut timing: Option<BodyDeadline> = None;
    loop {
        let mut next =
            poll_fn(|cx| body.as_mut().poll_frame(cx).map_err(|_| BodyError::Broken).map(Option::transpose));
        let frame = match poll_fn(|cx| Poll::Ready(Pin::new(&mut next).poll(cx))).await {
            Poll::Ready(frame) => frame?,
            Poll::Pending => {
                let (by, limit) = timing.get_or_insert_with(BodyDeadline::new).until(
                    config,
                    &mut on_activity,
                    collected.len(),
                );
                timeout_at(by, next).await.map_err(|_| BodyError::Limit(limit))??
            }
        };
        let Some(frame) = frame else { return Ok(collected) };
        let Ok(mut data) = frame.into_data() else { continue };
        let len = data.remaining();
        if len > config.max_http_buffer_size - collected.len() {
            return Err(BodyError::Limit(Limit::MaxHttpBufferSize));
        }
        if collected.is_empty() && body.is_end_stream() {
            return Ok(data.copy_to_bytes(len).into());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            collected.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
}

/// The timing of a body that did not arrive together with its head.
struct BodyDeadline {
    start: Instant,
    /// The time when data last arrived.
    last: Instant,
    len: usize,
}

impl BodyDeadline {
    fn new() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, len: 0 }
    }

    /// Records progress. Returns the time by which more data must arrive, and the limit that sets this time.
    fn until(
        &mut self,
        config: &EngineConfig,
        on_activity: &mut impl FnMut(std::time::Instant),
        len: usize,
    ) -> (Instant, Limit) {
        if len > self.len {
            self.len = len;
            self.last = Instant::now();
            on_activity(self.last.into_std());
        }
        deadline(config, self.start, self.last, len)
    }
}

/// Returns the time by which more data must arrive, and the limit that sets this time.
fn deadline(config: &EngineConfig, start: Instant, last: Instant, len: usize) -> (Instant, Limit) {
    let pause = (last + config.body_timeout, Limit::BodyTimeout);
    let Some(millis) = (len as u64 * 1000).checked_div(config.min_body_rate.into()) else { return pause };
    let rate = (start + config.body_timeout + Duration::from_millis(millis), Limit::MinBodyRate);
    if rate.0 < pause.0 { rate } else { pause }
}
