//! Requests for sessions of other servers, and requests of other servers.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, Response, StatusCode, header, header::HeaderValue};
use http_body::Body;

use super::{Engine, is_binary};
use crate::{
    Application, BoxFuture, RequestError, ResponseBody,
    forward::{self, Forwarder, Unreachable},
    http::{
        coding::AcceptedCoding,
        filter::RequestFilter,
        reply::{Reply, status},
        view::{RequestHead as _, RequestView},
        websocket_handshake::WebSocketKey,
    },
    proto::forward::ForwardFrame,
    session::shared::Shared,
    transport::upgrade::on_upgrade,
};

impl<A: Application> Engine<A> {
    /// Counts a request that is forwarded.
    fn forwarder(&self) -> Arc<Forwarder> {
        self.shared.limits.metrics.forwarded();
        let Some(forwarder) = &self.forwarder else { unreachable!("the option has set the intent") };
        forwarder.clone()
    }

    /// Forwards a request to the server of its session.
    pub(super) fn forward<B>(
        &self,
        filter: RequestFilter,
        request: Request<B>,
        address: SocketAddr,
        key: Option<WebSocketKey>,
    ) -> BoxFuture<Response<ResponseBody>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let (forwarder, shared) = (self.forwarder(), self.shared.clone());
        if let Some(key) = key {
            return Box::pin(async move {
                let response = forwarder.upgrade(address, key, request).await;
                filter.finish_response(
                    response.unwrap_or_else(|error| unknown_session(&shared, address, &error).into()),
                )
            });
        }
        let coding = AcceptedCoding::from_headers(request.headers(), &shared.config);
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let is_binary = is_binary(&parts.headers);
        let method = parts.method;
        Box::pin(async move {
            let reply = match method.as_str() {
                "GET" => forwarder.request(address, ForwardFrame::Poll { query: &query }).await,
                "POST" => forwarder.post_streaming(address, &query, is_binary, body).await,
                _ => Ok(Reply::refused(StatusCode::INTERNAL_SERVER_ERROR)),
            };
            let response = reply.unwrap_or_else(|error| unknown_session(&shared, address, &error)).into();
            filter.finish_response(match coding {
                Some(coding) if method == "GET" => Box::pin(coding.apply(response)).await,
                _ => response,
            })
        })
    }

    /// Forwards an ordinary poll or POST to the server of its session.
    pub(super) fn forward_view(
        &self,
        filter: RequestFilter,
        request: &RequestView<'_>,
        address: SocketAddr,
    ) -> BoxFuture<Reply> {
        let (forwarder, shared) = (self.forwarder(), self.shared.clone());
        let &RequestView { method, query, body, .. } = request;
        let frame = match method {
            "POST" => ForwardFrame::Post { query, is_binary: false, body },
            _ => ForwardFrame::Poll { query },
        };
        let reply = forwarder.request(address, frame);
        Box::pin(async move {
            filter.finish_reply(reply.await.unwrap_or_else(|error| unknown_session(&shared, address, &error)))
        })
    }

    /// Handles a request of another server: a link, or a WebSocket that a client opens through that server.
    pub(crate) fn handle_forwarded<B>(&self, mut request: Request<B>) -> BoxFuture<Response<ResponseBody>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        if !request.has_token(&header::UPGRADE, forward::PROTOCOL) {
            let (filter, intent) = RequestFilter::check_forwarded(&self.shared, &request);
            return self.proceed(filter, request, intent);
        }
        let shared = self.shared.clone();
        on_upgrade(request.extensions_mut(), move |parts| {
            Some(Box::pin(forward::server::serve(parts, shared)))
        });
        let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(forward::PROTOCOL));
        Box::pin(std::future::ready(response))
    }
}

/// Logs that the server of a session cannot be reached, and returns the response with which the client opens another
/// session.
fn unknown_session<A>(shared: &Shared<A>, address: SocketAddr, error: &Unreachable) -> Reply {
    if let Some(permit) = shared.warnings.try_acquire() {
        tracing::warn!(
            suppressed = permit.suppressed,
            %address,
            %error,
            "cannot reach the server of a session"
        );
    }
    let error = RequestError::UnknownSession;
    shared.limits.metrics.forwarding_failed();
    shared.limits.metrics.refused(error);
    Reply::error(error)
}
