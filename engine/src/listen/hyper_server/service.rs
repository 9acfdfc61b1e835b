//! The service that hyper calls, which checks each request and passes it to the service of the user.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    sync::Arc,
};

use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::{
    activity::Activity,
    incoming_body::{IncomingBody, Leftover},
    response_body::ResponseBody,
};
use crate::{
    BoxFuture, RequestError,
    http::reply::json_error,
    listen::{accept::HttpService, host::is_host, request_body::RequestBody},
    session::admission::Pipelined,
    transport::upgrade::Tunnel,
};

/// The service of one connection.
pub(super) struct ConnectionService<S> {
    pub(super) service: S,
    /// The extensions that describe the connection.
    pub(super) extensions: Extensions,
    pub(super) max_headers: usize,
    pub(super) activity: Arc<Activity>,
    pub(super) pipelined: Pipelined,
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for ConnectionService<S> {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // A request that was received together with an earlier one.
        let is_pipelined = self.activity.requests() > 0 && !self.activity.has_received();
        let is_http2 = request.version() == Version::HTTP_2;
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut exchange = self.activity.start(is_safe);
        if let Some(status) = self.check(&request) {
            exchange.answer();
            let response = refused(status);
            return Box::pin(ready(Ok(response.map(|body| ResponseBody::new(body, exchange, is_http2)))));
        }
        let waits_for_leave = request.headers().contains_key(header::EXPECT);
        let (reading, leftover) = (self.activity.read(), Leftover::default());
        let mut request =
            request.map(|body| RequestBody::incoming(IncomingBody::new(body, reading, leftover.clone())));
        request.extensions_mut().extend(self.extensions.clone());
        if is_pipelined && !is_http2 {
            request.extensions_mut().insert(self.pipelined.clone());
        }
        let is_connect = request.method() == Method::CONNECT;
        let tunnel = (is_connect && is_http2).then(|| Arc::new(self.activity.open_tunnel()));
        if let Some(tunnel) = &tunnel {
            request.extensions_mut().insert(Tunnel(tunnel.clone()));
        }
        let (mut service, activity) = (self.service.clone(), self.activity.clone());
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(mut response) = service.call(request).await;
            exchange.answer();
            let status = response.status();
            let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success());
            if is_upgrade && !is_http2 {
                activity.set_upgraded();
            }
            if is_upgrade && let Some(tunnel) = tunnel.and_then(Arc::into_inner) {
                // Nothing tells when a tunnel of another service ends, so the connection never becomes idle.
                std::mem::forget(tunnel);
            }
            // hyper closes the connection after the response if a part of the body has not arrived, and does not
            // say so. Reading the body would send a `100 Continue`.
            let has_leftover = !is_http2 && !is_upgrade && leftover.is_some();
            if has_leftover && (waits_for_leave || !leftover.discard().await) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| ResponseBody::new(body, exchange, is_http2)))
        })
    }
}

impl<S> ConnectionService<S> {
    /// Returns the status of the response to a request that hyper has accepted, and that could be understood
    /// differently by a proxy in front of the server.
    fn check(&self, request: &Request<Incoming>) -> Option<StatusCode> {
        let headers = request.headers();
        if headers.len() > self.max_headers {
            return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        let has_one_host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => {
                // Both name the host in HTTP/2 (RFC 9113, section 8.3.1).
                let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
                is_host(host.as_bytes()) && authority.is_none_or(|authority| authority.as_str() == host)
            }
            (None, _) => request.version() != Version::HTTP_11,
            _ => false,
        };
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        let has_one_coding = codings.next().is_none_or(is_chunked) && codings.next().is_none();
        (!has_one_host || !has_one_coding).then_some(StatusCode::BAD_REQUEST)
    }
}

/// Returns the response to an invalid request.
fn refused(status: StatusCode) -> Response<crate::ResponseBody> {
    tracing::debug!(%status, "request refused");
    let message = match status {
        StatusCode::BAD_REQUEST => "Bad request",
        _ => "Request header fields too large",
    };
    let mut response = json_error(status, RequestError::BadRequest.code(), message);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
