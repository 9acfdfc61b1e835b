//! Checks every request before the engine executes it, and adds headers to the response.

use std::{fmt::Display, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};

#[cfg(feature = "forwarding")]
use crate::session::registry::Registry;
use crate::{
    EngineConfig, RequestError, RequestKind, ResponseBody,
    config::{
        cors::{Cors, suggested_setting},
        hooks::Hooks,
    },
    error::ConnectionError,
    http::{
        coding,
        origin::{Grant, OriginRefused, SEC_FETCH_SITE},
        reply::{MAX_LOGGED_LEN, Reply, rejection},
        request::Intent,
        view::{RequestHead, RequestView},
    },
    metrics::{Metrics, rate_limit::RateLimit},
    session::shared::Shared,
};

/// The headers to add to the response. Keeps no part of the request, because a poll may wait for a long time.
pub(crate) struct RequestFilter {
    config: Arc<EngineConfig>,
    grant: Grant,
    /// The headers that the hooks add to a successful response.
    headers: Option<Box<HeaderMap>>,
}

/// A request that the engine does not execute, with the reason.
pub(crate) enum Rejection {
    /// A CORS preflight, with the response to send.
    Preflight(Response<ResponseBody>),
    Error(ConnectionError),
}

impl RequestFilter {
    /// Checks the origin and the intent of a request, and calls the hooks. Use [`check`](Self::check) if no
    /// hook is set.
    pub(crate) async fn check_with_hooks<A, B>(
        shared: &Shared<A>,
        request: Request<B>,
    ) -> (Self, Request<B>, Result<Intent, Rejection>) {
        let (mut filter, mut intent) = Self::check(shared, &request);
        let hooks = &shared.config.hooks;
        let (parts, body) = request.into_parts();
        if let Ok(checked) = &intent
            && checked.needs_permission()
            && let Some(allow) = &hooks.allow_request
        {
            let mut hook_request = parts.clone();
            let kind = if checked.opens_session() { RequestKind::Handshake } else { RequestKind::Upgrade };
            hook_request.extensions.insert(kind);
            if let Err(message) = allow(hook_request).await {
                intent = Err(Rejection::Error(ConnectionError::forbidden(message)));
            }
        }
        match &intent {
            Ok(checked) => filter.call_header_hooks(hooks, checked, &parts),
            Err(Rejection::Preflight(_)) => {}
            Err(Rejection::Error(error)) => {
                if let Some(hook) = &hooks.connection_error {
                    hook(error, &parts);
                }
            }
        }
        (filter, Request::from_parts(parts, body), intent)
    }

    /// Checks the origin and the intent of a request.
    pub(crate) fn check<A, B>(shared: &Shared<A>, request: &Request<B>) -> (Self, Result<Intent, Rejection>) {
        let not_allowed = || Rejection::Error(RequestError::OriginNotAllowed.into());
        let Ok(filter) = Self::new(shared, request) else {
            warn(request, &shared.warnings);
            return (
                Self { config: shared.config.clone(), grant: Grant::Vary, headers: None },
                Err(not_allowed()),
            );
        };
        let cors = &shared.config.cors;
        let intent = if cors.is_preflight(request) {
            Err(Rejection::Preflight(preflight(cors, request)))
        } else {
            match Intent::from_request(request, &shared.config, &shared.registry) {
                Ok(_) if cors.forbids_subresource(request) => {
                    warn_subresource(request, &shared.warnings);
                    Err(not_allowed())
                }
                intent => intent.map_err(|error| Rejection::Error(error.into())),
            }
        };
        (filter, intent)
    }

    /// Checks the intent of a request that another server has forwarded. That server has checked the origin, has
    /// called the hooks, and adds the headers.
    #[cfg(feature = "forwarding")]
    pub(crate) fn check_forwarded<A, B>(
        shared: &Shared<A>,
        request: &Request<B>,
    ) -> (Self, Result<Intent, Rejection>) {
        let filter = Self { config: shared.config.clone(), grant: Grant::None, headers: None };
        let intent = Intent::from_forwarded(request, &shared.config, &shared.registry);
        (filter, intent.map_err(|error| Rejection::Error(error.into())))
    }

    /// Checks a poll or POST of an open session without constructing a [`Request`]. Returns `None` if the
    /// request requires the general path. [`check`](Self::check) then decides whether to reject the request.
    pub(crate) fn check_view<A>(shared: &Shared<A>, request: &RequestView<'_>) -> Option<(Self, Intent)> {
        let config = &shared.config;
        let is_plain = matches!(request.method, "GET" | "POST");
        let is_hooked = !config.hooks.are_unset() || coding::compresses_responses(config);
        if !is_plain || is_hooked || config.cors.forbids_subresource(request) {
            return None;
        }
        let intent = Intent::from_request(request, config, &shared.registry).ok()?;
        Some((Self::new(shared, request).ok()?, intent))
    }

    /// Checks the origin of a request.
    fn new<A>(shared: &Shared<A>, request: &impl RequestHead) -> Result<Self, OriginRefused> {
        let grant = shared.config.cors.check(request)?;
        Ok(Self { config: shared.config.clone(), grant, headers: None })
    }

    fn call_header_hooks(&mut self, hooks: &Hooks, intent: &Intent, request: &Parts) {
        if let Some(hook) = &hooks.initial_headers
            && intent.opens_session()
        {
            hook(self.headers.get_or_insert_default(), request);
        }
        if let Some(hook) = &hooks.headers {
            hook(self.headers.get_or_insert_default(), request);
        }
    }

    /// Adds the CORS headers and, if the request succeeded, the headers of the hooks.
    pub(crate) fn finish_response(self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        let succeeds = response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(headers) = self.headers.filter(|_| succeeds) {
            merge(response.headers_mut(), *headers);
        }
        self.grant.write(&self.config.cors, response.headers_mut());
        response
    }

    /// Adds the CORS headers to the reply to a request that [`check_view`](Self::check_view) accepted.
    pub(crate) fn finish_reply(self, mut reply: Reply) -> Reply {
        if !matches!(self.grant, Grant::None) {
            self.grant.write(&self.config.cors, reply.headers.get_or_insert_default());
        }
        reply
    }
}

impl Intent {
    /// Checks a request that another server has forwarded. It belongs to a session of this server.
    #[cfg(feature = "forwarding")]
    pub(crate) fn from_forwarded(
        request: &impl RequestHead,
        config: &EngineConfig,
        sessions: &Registry,
    ) -> Result<Self, RequestError> {
        match Self::from_request(request, config, sessions)? {
            // A request is forwarded only once.
            Self::Forward(..) => Err(RequestError::UnknownSession),
            intent if intent.opens_session() => Err(RequestError::UnknownSession),
            intent => Ok(intent),
        }
    }

    /// Returns `true` if the request opens a session.
    fn opens_session(&self) -> bool {
        matches!(self, Self::Open(_) | Self::OpenWebSocket(..))
    }

    /// Returns `true` if the request must pass `allow_request`. Later requests of a polling session are
    /// authenticated by the session id instead.
    fn needs_permission(&self) -> bool {
        #[cfg(feature = "forwarding")]
        if matches!(self, Self::Forward(_, Some(_))) {
            return true;
        }
        self.opens_session() || matches!(self, Self::Upgrade(..))
    }
}

impl Rejection {
    pub(crate) fn response(self, metrics: &Metrics) -> Response<ResponseBody> {
        match self {
            Self::Preflight(response) => response,
            Self::Error(error) => {
                metrics.refused(error.error);
                rejection(&error)
            }
        }
    }
}

/// Adds headers to a response. They replace headers of the same name, except `Set-Cookie` and `Vary`, which
/// are appended.
fn merge(headers: &mut HeaderMap, added: HeaderMap) {
    let mut last = None;
    for (name, value) in added {
        let is_first = name.is_some();
        // The iterator yields a name only with the first value of a header.
        last = name.or(last);
        let Some(name) = &last else { continue };
        if is_first && *name != header::SET_COOKIE && *name != header::VARY {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
}

fn preflight<B>(cors: &Cors, request: &Request<B>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors.write_preflight(request, response.headers_mut());
    response
}

/// Warns the operator that the origin of a request was rejected, because `cors` may be misconfigured.
fn warn<B>(request: &Request<B>, limit: &RateLimit) {
    let Some(permit) = limit.try_acquire() else { return };
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none());
    let origin = origin.and_then(|origin| str::from_utf8(origin.as_bytes()).ok());
    let setting = origin.filter(|origin| origin.len() <= MAX_LOGGED_LEN).map(suggested_setting);
    tracing::warn!(
        suppressed = permit.suppressed,
        origin = %loggable(request, header::ORIGIN),
        host = %loggable(request, header::HOST),
        cors = %setting.as_deref().unwrap_or("none for a header that is too long or no single text"),
        "origin refused; if its pages are yours, this value of `EngineConfig::cors` lets them in"
    );
}

/// Warns the operator that a page of another origin loads the URL of the server as an image or a script.
fn warn_subresource<B>(request: &Request<B>, limit: &RateLimit) {
    if let Some(permit) = limit.try_acquire() {
        tracing::warn!(
            suppressed = permit.suppressed,
            site = %loggable(request, SEC_FETCH_SITE),
            host = %loggable(request, header::HOST),
            "refused to a page of another origin, which its browser does not name"
        );
    }
}

/// Returns a header value in a form that is safe to log.
fn loggable<B>(request: &Request<B>, name: HeaderName) -> impl Display + '_ {
    let value: &[u8] = request.headers().get(name).map_or(b"", HeaderValue::as_bytes);
    value[..value.len().min(MAX_LOGGED_LEN)].escape_ascii()
}
