//! Tests the server as a service and as a layer, in axum and under a separate accept loop.

use std::{convert::Infallible, future::Ready, net::SocketAddr};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use socketio::{Ack, Namespace, Server, ServerConfig};
use tokio::net::TcpListener;
use tower_layer::Layer;

use crate::support::{Client, Host, Http, Polling, serve};

pub(super) fn io() -> Server {
    io_with(ServerConfig::default())
}

pub(super) fn io_with(config: ServerConfig) -> Server {
    let namespace = Namespace::new("/")
        .on("address", async |socket, ()| Ack(socket.handshake().address()))
        .on("echo", async |_, text: String| Ack(text));
    Server::with_config(config).namespace(namespace)
}

/// Serves an axum application.
async fn axum(io: Server, app: Router) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Host { io, address, serving }
}

/// Checks all transports, and a route outside the server's path.
pub(super) async fn works(host: &Host, home: u16) {
    let mut client = Client::join(host).await;
    assert_eq!(client.ask(r#"421["echo","a"]"#).await, r#"431["a"]"#);
    let mut polling = Polling::join(host).await;
    polling.send(r#"421["echo","b"]"#).await;
    assert_eq!(polling.poll().await, r#"431["b"]"#);
    let mut upgraded = Client::connect(host, &polling.upgrade_query()).await;
    assert_eq!(upgraded.ask("2probe").await, "3probe");
    upgraded.send("5").await;
    assert_eq!(upgraded.ask(r#"421["echo","c"]"#).await, r#"431["c"]"#);
    assert_eq!(host.io.session_count(), 2);

    let home_page = Http::connect(host).await.get("/").await;
    assert_eq!((home_page.status, home_page.body.as_str()), (home, if home == 200 { "home" } else { "" }));
    host.io.emit("news", &1).unwrap();
    assert_eq!(client.text().await, r#"42["news",1]"#);
    client.close().await;
    upgraded.close().await;
    host.deserted("/").await;
}

#[tokio::test]
async fn as_a_route_of_axum() {
    let io = io();
    let app = Router::new().route("/", get(async || "home")).route_service("/socket.io/", io.clone());
    works(&axum(io, app).await, 200).await;
}

#[tokio::test]
async fn as_a_layer_of_axum() {
    let io = io();
    let app = Router::new().route("/", get(async || "home")).layer(io.clone());
    let host = axum(io, app).await;
    works(&host, 200).await;
    assert_eq!(Http::connect(&host).await.get("/elsewhere").await.status, 404);
}

#[tokio::test]
async fn as_a_layer_around_a_router() {
    let io = io();
    let router = Router::new().route("/", get(async || "home"));
    let app = Router::new().fallback_service(io.layer(router));
    works(&axum(io, app).await, 200).await;
}

#[derive(Clone)]
struct Home;

impl tower_service::Service<Request<socketio::RequestBody>> for Home {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<socketio::RequestBody>) -> Self::Future {
        let body = if request.uri().path() == "/" { "home" } else { "somewhere" };
        std::future::ready(Ok(Response::new(Full::from(body))))
    }
}

#[tokio::test]
async fn on_its_own_loop_with_and_without_another_service() {
    works(&serve(io()).await, 404).await;

    let io = io();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(io.clone().serve(listener).with_fallback(Home).into_future());
    let host = Host { io, address, serving };
    works(&host, 200).await;
    assert_eq!(Http::connect(&host).await.get("/x").await.body, "somewhere");
    host.io.close().await;
    host.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_application_emits_from_its_routes() {
    let io = io();
    let announce = {
        let io = io.clone();
        async move || io.emit("news", "Tea is ready.").map_err(|error| error.to_string())
    };
    let app = Router::new().route("/announce", get(announce)).route_service("/socket.io/", io.clone());
    let host = axum(io, app).await;
    let mut client = Client::join(&host).await;
    assert_eq!(Http::connect(&host).await.get("/announce").await.status, 200);
    assert_eq!(client.text().await, r#"42["news","Tea is ready."]"#);
}

#[tokio::test]
async fn a_layer_can_tell_the_address_that_the_loop_of_another_does_not() {
    let known: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let io = io();
    let tell = axum::Extension(engineio::RemoteAddr(known));
    let app = Router::new().route_service("/socket.io/", io.clone()).layer(tell);
    let mut client = Client::join(&axum(io.clone(), app).await).await;
    assert_eq!(client.ask(r#"421["address"]"#).await, r#"431["192.0.2.7:4711"]"#);

    let app = Router::new().route_service("/socket.io/", io.clone());
    let mut client = Client::join(&axum(io, app).await).await;
    assert_eq!(client.ask(r#"421["address"]"#).await, "431[null]");
}
