//! The health service, which tells a load balancer or an orchestrator the state of a [`Server`].

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use tower_service::Service;

use crate::{
    hub::cluster::ClusterStatus,
    server::{Server, service::ResponseBody, status},
};

/// A tower service that reports the state of a [`Server`] as JSON. Created by [`Server::health`].
///
/// The last segment of the path selects the check, so the service can be mounted under any prefix:
///
/// | path | status 200 | status 503 |
/// |---|---|---|
/// | `/live` | whenever the service responds | never |
/// | `/ready` | the server accepts new sessions | after [`drain`](Server::drain) or [`close`](Server::close) |
///
/// Both have the same body, such as
/// `{"live":true,"ready":true,"draining":false,"sessions":12,"cluster":{"connected":true,"disconnections":0,"queued_bytes":0}}`.
/// `cluster` is `null` if the server has no cluster. Other paths are answered with 404, and methods other than GET and
/// HEAD with 405.
///
/// A server that is not connected to the broker of its cluster is ready by default, because it serves its own clients.
/// Otherwise a broker that is away would take all servers out of the load balancer at the same time. See
/// [`require_cluster`](Self::require_cluster).
#[derive(Debug, Clone)]
pub struct HealthService {
    server: Server,
    requires_cluster: bool,
}

impl Server {
    /// Returns a service that reports the state of this server as JSON, for the probes of a load balancer or of
    /// Kubernetes. Node.js has no such method.
    ///
    /// # Examples
    ///
    /// Beside the routes of an axum application, at `/health/live` and `/health/ready`:
    ///
    /// ```
    /// use socketio::{Namespace, Server};
    ///
    /// let io = Server::new().namespace(Namespace::new("/"));
    /// let app: axum::Router = axum::Router::new()
    ///     .nest_service("/health", io.health())
    ///     .route_service("/socket.io/", io);
    /// ```
    ///
    /// For all paths that a standalone server does not serve:
    ///
    /// ```no_run
    /// # async fn run(io: socketio::Server) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// io.clone().serve(listener).with_fallback(io.health()).await
    /// # }
    /// ```
    pub fn health(&self) -> HealthService {
        HealthService { server: self.clone(), requires_cluster: false }
    }
}

impl HealthService {
    /// Sets whether the server is ready only while it is connected to the broker of its cluster. The default is `false`.
    /// Has no effect without a cluster.
    ///
    /// Use it for servers whose clients depend on those of other servers, if the load balancer has somewhere else to
    /// send new clients while the broker is away.
    ///
    /// # Examples
    ///
    /// ```
    /// let io = socketio::Server::new();
    /// let app: axum::Router = axum::Router::new().nest_service("/health", io.health().require_cluster(true));
    /// ```
    #[must_use]
    pub fn require_cluster(mut self, value: bool) -> Self {
        self.requires_cluster = value;
        self
    }

    fn report(&self) -> Report {
        let draining = self.server.is_closing();
        let cluster = self.server.cluster_status();
        let is_alone = cluster.as_ref().is_some_and(|status| !status.is_connected);
        Report {
            live: true,
            ready: !(draining || self.requires_cluster && is_alone),
            draining,
            sessions: self.server.session_count(),
            cluster: cluster.map(ClusterReport::from),
        }
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<ResponseBody> {
        let Some(check) = Check::of(request.uri().path()) else { return plain(StatusCode::NOT_FOUND) };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let report = self.report();
        let is_passed = match check {
            Check::Live => report.live,
            Check::Ready => report.ready,
        };
        // Numbers and booleans always have a JSON form.
        let body = serde_json::to_vec(&report).unwrap_or_default();
        let mut response = Response::new(ResponseBody::full(body));
        if !is_passed {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<B> Service<Request<B>> for HealthService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

enum Check {
    Live,
    Ready,
}

impl Check {
    fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('/')?.1 {
            "live" => Some(Self::Live),
            "ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// The body of a response.
#[derive(Serialize)]
struct Report {
    live: bool,
    ready: bool,
    draining: bool,
    sessions: usize,
    cluster: Option<ClusterReport>,
}

#[derive(Serialize)]
struct ClusterReport {
    connected: bool,
    disconnections: u64,
    queued_bytes: usize,
}

impl From<ClusterStatus> for ClusterReport {
    fn from(status: ClusterStatus) -> Self {
        let ClusterStatus { is_connected, disconnections, queued_bytes, .. } = status;
        Self { connected: is_connected, disconnections, queued_bytes }
    }
}

fn plain(code: StatusCode) -> Response<ResponseBody> {
    status(code).map(ResponseBody::own)
}
