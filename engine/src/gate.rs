//! What happens to every request before the engine looks at it, and to every response after.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use crate::{
    RequestError,
    cors::{Cors, Grant},
    engine::Shared,
    rate_limit::RateLimit,
    request::Intent,
};

/// The bytes of a header that are logged.
const LOGGED: usize = 256;

/// What the answer to a request is to carry. It keeps nothing of the request itself, because polls wait for long.
pub(crate) struct Gate<'a> {
    cors: &'a Cors,
    grant: Grant,
}

/// A request that goes no further.
pub(crate) enum Turned {
    /// The browser asked whether the page may ask.
    Preflight(Response<Full<Bytes>>),
    Refused(RequestError),
}

impl<'a> Gate<'a> {
    /// Checks a request: first its origin, then what it asks for.
    pub(crate) fn pass<A, B>(shared: &'a Shared<A>, request: &Request<B>) -> (Self, Result<Intent, Turned>) {
        let cors = &shared.config.cors;
        let Ok(grant) = cors.check(request) else {
            warn(request, &shared.warnings);
            let gate = Self { cors, grant: Grant::Vary };
            return (gate, Err(Turned::Refused(RequestError::OriginNotAllowed)));
        };
        let intent = if cors.is_preflight(request) {
            Err(Turned::Preflight(preflight(cors, request)))
        } else {
            Intent::of(request, &shared.config, &shared.registry).map_err(Turned::Refused)
        };
        (Self { cors, grant }, intent)
    }

    /// Adds to a response what belongs to it.
    pub(crate) fn leave(self, mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        self.grant.write(self.cors, response.headers_mut());
        response
    }
}

impl Turned {
    pub(crate) fn response(self) -> Response<Full<Bytes>> {
        match self {
            Self::Preflight(response) => response,
            Self::Refused(error) => error.response(),
        }
    }
}

fn preflight<B>(cors: &Cors, request: &Request<B>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    // As Node, for clients that wait for a body otherwise.
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    cors.write_preflight(request, response.headers_mut());
    response
}

/// Tells the operator, who may have forgotten the setting.
fn warn<B>(request: &Request<B>, limit: &RateLimit) {
    if !limit.allows() {
        return;
    }
    let shown = |name| {
        let value: &[u8] = request.headers().get(name).map_or(b"", HeaderValue::as_bytes);
        value[..value.len().min(LOGGED)].escape_ascii()
    };
    tracing::warn!(
        origin = %shown(header::ORIGIN),
        host = %shown(header::HOST),
        "origin refused; if its pages are yours, name it in `EngineConfig::cors`: `Cors::origins([...])`"
    );
}
