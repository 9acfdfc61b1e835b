//! What happens to every request before the engine looks at it, and to every response after.

use std::{fmt::Display, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
};
use http_body_util::Full;

use crate::{
    EngineConfig, RequestError, RequestKind,
    config::{
        cors::{Cors, Grant, SEC_FETCH_SITE, setting_for},
        hooks::Hooks,
        origin::{Origin, visible},
    },
    error::ConnectionError,
    http::{
        reply::{LOGGED, Reply, refused},
        request::{Intent, RequestView},
    },
    metrics::{Metrics, rate_limit::RateLimit},
    session::shared::Shared,
};

/// What the answer to a request is to carry. It keeps nothing of the request itself, because polls wait for long.
pub(crate) struct RequestFilter {
    config: Arc<EngineConfig>,
    grant: Grant,
    /// What the hooks add if the request succeeds.
    headers: Option<Box<HeaderMap>>,
}

/// A request that goes no further.
pub(crate) enum Rejection {
    /// The browser asked whether the page may ask.
    Preflight(Response<Full<Bytes>>),
    Refused(ConnectionError),
}

impl RequestFilter {
    /// Checks a request: its origin, then what it asks for, then what the hooks say. Without hooks,
    /// [`check`](Self::check) does.
    pub(crate) async fn pass<A, B>(
        shared: &Shared<A>,
        request: Request<B>,
    ) -> (Self, Request<B>, Result<Intent, Rejection>) {
        let (mut gate, mut intent) = Self::check(shared, &request);
        let hooks = &shared.config.hooks;
        let (parts, body) = request.into_parts();
        if let Ok(wanted) = &intent
            && wanted.lets_in()
            && let Some(allow) = &hooks.allow_request
        {
            let mut asked = parts.clone();
            let kind = if wanted.opens() { RequestKind::Handshake } else { RequestKind::Upgrade };
            asked.extensions.insert(kind);
            if let Err(message) = allow(asked).await {
                intent = Err(Rejection::Refused(ConnectionError::forbidden(message)));
            }
        }
        match &intent {
            Ok(wanted) => gate.call_header_hooks(hooks, wanted, &parts),
            Err(Rejection::Preflight(_)) => {}
            Err(Rejection::Refused(error)) => {
                if let Some(hook) = &hooks.connection_error {
                    hook(error, &parts);
                }
            }
        }
        (gate, Request::from_parts(parts, body), intent)
    }

    /// Checks a request: its origin, then what it asks for.
    pub(crate) fn check<A, B>(shared: &Shared<A>, request: &Request<B>) -> (Self, Result<Intent, Rejection>) {
        let cors = &shared.config.cors;
        let gate = |grant| Self { config: shared.config.clone(), grant, headers: None };
        let Ok(grant) = cors.check(request) else {
            warn(request, &shared.warnings);
            return (gate(Grant::Vary), Err(Rejection::Refused(RequestError::OriginNotAllowed.into())));
        };
        let intent = if cors.is_preflight(request) {
            Err(Rejection::Preflight(preflight(cors, request)))
        } else {
            match Intent::of(request, &shared.config, &shared.registry) {
                Ok(intent) if intent.opens() && cors.forbids_load(request) => {
                    warn_of_load(request, &shared.warnings);
                    Err(Rejection::Refused(RequestError::OriginNotAllowed.into()))
                }
                intent => intent.map_err(|error| Rejection::Refused(error.into())),
            }
        };
        (gate(grant), intent)
    }

    /// Checks a request that may be answered without being made one: it polls, or posts to, a session that is there.
    /// `None` says nothing about it but that the other way is to be taken.
    pub(crate) fn check_view<A>(
        shared: &Shared<A>,
        request: &RequestView<'_>,
        query: &str,
    ) -> Option<(Self, Intent)> {
        let config = &shared.config;
        let method = match request.method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => return None,
        };
        if !config.hooks.are_unset() || config.http_compression.is_some() {
            return None;
        }
        let intent = Intent::asked(&method, query, None, config, &shared.registry).ok()?;
        let is_own = |origin: Origin<'_>| {
            let mut hosts = request.header("host");
            let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(visible);
            host.is_some_and(|host| origin.matches(host))
        };
        let grant = config.cors.decide(request.header("origin"), is_own).ok()?;
        Some((Self { config: config.clone(), grant, headers: None }, intent))
    }

    fn call_header_hooks(&mut self, hooks: &Hooks, intent: &Intent, request: &Parts) {
        if let Some(hook) = &hooks.initial_headers
            && intent.opens()
        {
            hook(self.headers.get_or_insert_default(), request);
        }
        if let Some(hook) = &hooks.headers {
            hook(self.headers.get_or_insert_default(), request);
        }
    }

    /// Adds to a response what belongs to it.
    pub(crate) fn leave(self, mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        let succeeds = response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(headers) = self.headers.filter(|_| succeeds) {
            merge(response.headers_mut(), *headers);
        }
        self.grant.write(&self.config.cors, response.headers_mut());
        response
    }

    /// Adds to the reply to a request that [`check_view`](Self::check_view) let pass what belongs to it.
    pub(crate) fn reply(self, mut reply: Reply) -> Reply {
        if !matches!(self.grant, Grant::Silent) {
            self.grant.write(&self.config.cors, reply.headers.get_or_insert_default());
        }
        reply
    }
}

impl Intent {
    /// Whether a session is to begin.
    fn opens(&self) -> bool {
        matches!(self, Self::Open(_) | Self::OpenWebSocket(..))
    }

    /// Whether a client is let in by it: the later requests of a polling session bring a secret instead.
    fn lets_in(&self) -> bool {
        self.opens() || matches!(self, Self::Upgrade(..))
    }
}

impl Rejection {
    pub(crate) fn response(self, metrics: &Metrics) -> Response<Full<Bytes>> {
        match self {
            Self::Preflight(response) => response,
            Self::Refused(error) => {
                metrics.refused(error.error);
                refused(&error)
            }
        }
    }
}

/// Puts headers into a response, in place of those of the same name, but for headers of which each value counts.
fn merge(headers: &mut HeaderMap, added: HeaderMap) {
    let mut last = None;
    for (name, value) in added {
        let is_first = name.is_some();
        // A name comes once, with the first of its values.
        last = name.or(last);
        let Some(name) = &last else { continue };
        if is_first && *name != header::SET_COOKIE && *name != header::VARY {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}

fn preflight<B>(cors: &Cors, request: &Request<B>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors.write_preflight(request, response.headers_mut());
    response
}

/// Tells the operator, who may have forgotten the setting.
fn warn<B>(request: &Request<B>, limit: &RateLimit) {
    let Some(left_out) = limit.allows() else { return };
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none());
    let origin = origin.and_then(|origin| str::from_utf8(origin.as_bytes()).ok());
    let setting = origin.filter(|origin| origin.len() <= LOGGED).map(setting_for);
    tracing::warn!(
        left_out,
        origin = %shown(request, header::ORIGIN),
        host = %shown(request, header::HOST),
        cors = %setting.as_deref().unwrap_or("none for a header that is too long or no single text"),
        "origin refused; if its pages are yours, this value of `EngineConfig::cors` lets them in"
    );
}

/// Tells the operator of a page that loads the server as if it were an image or a script.
fn warn_of_load<B>(request: &Request<B>, limit: &RateLimit) {
    if let Some(left_out) = limit.allows() {
        tracing::warn!(
            left_out,
            site = %shown(request, SEC_FETCH_SITE),
            host = %shown(request, header::HOST),
            "refused to a page of another origin, which its browser does not name"
        );
    }
}

/// A header as it may be logged.
fn shown<B>(request: &Request<B>, name: HeaderName) -> impl Display + '_ {
    let value: &[u8] = request.headers().get(name).map_or(b"", HeaderValue::as_bytes);
    value[..value.len().min(LOGGED)].escape_ascii()
}
