//! Reads the body of a POST, of a size and at a speed that are limited.

use std::{pin::pin, time::Duration};

use bytes::Buf;
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::{EngineConfig, Limit, SessionHandle};

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It went beyond a limit.
    Limit(Limit),
    /// The client went away, or does not speak HTTP.
    Broken,
}

impl BodyError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Limit(Limit::MaxHttpBufferSize) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Limit(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a body. If the client goes away, hyper drops the request with this future.
pub(crate) async fn collect<B: Body>(
    body: B,
    config: &EngineConfig,
    session: &SessionHandle,
) -> Result<Vec<u8>, BodyError> {
    let mut body = pin!(body);
    let mut collected = Vec::new();
    let start = Instant::now();
    let mut now = start;
    loop {
        let (by, limit) = deadline(config, start, now, collected.len());
        // Costs no timer if the bytes are there already.
        let Ok(frame) = timeout_at(by, body.frame()).await else { return Err(BodyError::Limit(limit)) };
        let Some(frame) = frame else { return Ok(collected) };
        let Ok(frame) = frame else { return Err(BodyError::Broken) };
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > config.max_http_buffer_size - collected.len() {
            return Err(BodyError::Limit(Limit::MaxHttpBufferSize));
        }
        now = Instant::now();
        session.heard(now.into_std());
        while data.has_remaining() {
            let chunk = data.chunk();
            collected.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
}

/// When more must have come, and the limit that says so.
fn deadline(config: &EngineConfig, start: Instant, last: Instant, len: usize) -> (Instant, Limit) {
    let pause = (last + config.body_timeout, Limit::BodyTimeout);
    let Some(millis) = (len as u64 * 1000).checked_div(config.min_body_rate.into()) else { return pause };
    let rate = (start + config.body_timeout + Duration::from_millis(millis), Limit::MinBodyRate);
    if rate.0 < pause.0 { rate } else { pause }
}
