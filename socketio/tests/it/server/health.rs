//! Tests the health service, mounted in axum and behind the accept loop of the server.

use std::{sync::Arc, time::Duration};

use axum::Router;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use socketio::{EngineConfig, Namespace, Server, ServerConfig, Socket};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt;

use crate::support::{Client, Host, Http, eventually, within};

/// Requests a path of the service. Returns the status and the body.
pub(crate) async fn get(service: socketio::HealthService, path: &str) -> (u16, String) {
    let response = service.oneshot(Request::get(path).body(String::new()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

const READY: &str = r#"{"live":true,"ready":true,"draining":false,"sessions":0,"cluster":null}"#;
const DRAINING: &str = r#"{"live":true,"ready":false,"draining":true,"sessions":0,"cluster":null}"#;

#[tokio::test]
async fn a_server_is_live_and_ready_until_it_drains() {
    let io = Server::new();
    assert_eq!(get(io.health(), "/live").await, (200, READY.into()));
    assert_eq!(get(io.health(), "/ready").await, (200, READY.into()));
    io.drain();
    assert_eq!(get(io.health(), "/live").await, (200, DRAINING.into()));
    assert_eq!(get(io.health(), "/ready").await, (503, DRAINING.into()));
    // Without a cluster, there is none to be connected to.
    let io = Server::new();
    assert_eq!(get(io.health().require_cluster(true), "/ready").await, (200, READY.into()));
}

#[tokio::test]
async fn a_server_is_not_ready_while_it_closes_and_afterwards() {
    let [started, finished] = [0; 2].map(|permits| Arc::new(Semaphore::new(permits)));
    let [starting, finishing] = [started.clone(), finished.clone()];
    let engine = EngineConfig::default()
        .shutdown_timeout(Duration::from_mins(1))
        .close_timeout(Duration::from_millis(50));
    let namespace = Namespace::new("/").on("work", async move |_: Socket, ()| {
        starting.add_permits(1);
        finishing.acquire().await.unwrap().forget();
    });
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace);
    let app = Router::new().nest_service("/health", io.health()).route_service("/socket.io/", io.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = Host { io, address, serving: tokio::spawn(async move { axum::serve(listener, app).await }) };

    let mut client = Client::join(&host).await;
    client.send(r#"42["work"]"#).await;
    within(started.acquire()).await.unwrap().forget();
    let ready = Http::connect(&host).await.get("/health/ready").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, r#"{"live":true,"ready":true,"draining":false,"sessions":1,"cluster":null}"#)
    );
    let closing = tokio::spawn({
        let io = host.io.clone();
        async move { io.close().await }
    });
    eventually(|| host.io.is_closing()).await;
    // A handler still runs.
    assert_eq!(Http::connect(&host).await.get("/health/ready").await.status, 503);
    assert_eq!(Http::connect(&host).await.get("/health/live").await.status, 200);
    assert!(!closing.is_finished());
    finished.add_permits(1);
    within(closing).await.unwrap();
    let ready = Http::connect(&host).await.get("/health/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, DRAINING));
    host.serving.abort();
}

#[tokio::test]
async fn it_is_the_fallback_of_a_server() {
    let io = Server::new().namespace(Namespace::new("/"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(io.clone().serve(listener).with_fallback(io.health()).into_future());
    let host = Host { io, address, serving };
    let mut http = Http::connect(&host).await;
    let response = http.get("/ready").await;
    assert_eq!((response.status, response.body.as_str()), (200, READY));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    host.io.drain();
    assert_eq!(http.get("/ready").await.status, 503);
    assert_eq!(http.get("/live").await.status, 200);
    host.io.close().await;
    within(host.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let io = Server::new();
    for path in ["/", "/health", "/live/", "/ready/x", "/Live", "/healthlive"] {
        assert_eq!(get(io.health(), path).await, (404, String::new()), "{path}");
    }
    for path in ["/health/live", "/a/b/ready", "/ready?verbose=1"] {
        assert_eq!(get(io.health(), path).await.0, 200, "{path}");
    }
    for (method, status) in [(Method::HEAD, StatusCode::OK), (Method::POST, StatusCode::METHOD_NOT_ALLOWED)] {
        let request = Request::builder().method(method).uri("/ready").body(String::new()).unwrap();
        let response = io.health().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key(header::ALLOW), status == StatusCode::METHOD_NOT_ALLOWED);
    }
}
