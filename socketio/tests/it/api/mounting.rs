//! The server inside other frameworks, as in `docs/frameworks.md`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use socketio::{Ack, Cors, EngineConfig, Namespace, RemoteAddr, Server, ServerConfig, testing::TestServer};
use tokio::{net::TcpListener, sync::oneshot};
use tower_http::cors::CorsLayer;

use crate::support::{Client, Host, Http, within};

const POLLING: &str = "?EIO=4&transport=polling";

async fn serve(io: &Server, app: Router) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Host { io: io.clone(), address, serving }
}

async fn opens(host: &Host, path: &str) -> bool {
    let answer = Http::connect(host).await.get(&format!("{path}{POLLING}")).await;
    answer.status == 200 && answer.body.starts_with("0{")
}

#[tokio::test]
async fn nested_in_another_router() {
    let io = Server::new().namespace(Namespace::new("/"));
    let api = Router::new().route_service("/socket.io/", io.clone());
    let host = serve(&io, Router::new().nest("/api", api)).await;
    assert!(opens(&host, "/api/socket.io/").await);
    assert!(!opens(&host, "/socket.io/").await);

    let io = Server::with_config(ServerConfig::default().path("/")).namespace(Namespace::new("/"));
    let host = serve(&io, Router::new().nest_service("/socket.io", io.clone())).await;
    assert!(opens(&host, "/socket.io/").await);
}

fn bundles() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mounting");
    let dist = package.join("dist");
    fs::create_dir_all(&dist).unwrap();
    fs::write(dist.join("socket.io.js"), "// the client").unwrap();
    fs::write(package.join("package.json"), r#"{"version":"4.8.3"}"#).unwrap();
    dist
}

#[tokio::test]
async fn the_bundles_of_the_client_are_routes_too() {
    let config = ServerConfig::default().serve_client(bundles());
    let io = Server::with_config(config).namespace(Namespace::new("/"));
    let routes =
        Router::new().route_service("/socket.io/", io.clone()).route_service("/socket.io/{file}", io.clone());
    for app in
        [routes, Router::new().layer(io.clone()), Router::new().route("/", get("home")).layer(io.clone())]
    {
        let host = serve(&io, app).await;
        let answer = Http::connect(&host).await.get("/socket.io/socket.io.js").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "// the client"));
        assert_eq!(Http::connect(&host).await.get("/socket.io/secret.js").await.status, 404);
        assert!(opens(&host, "/socket.io/").await);
    }
}

#[tokio::test]
async fn a_layer_tells_the_address() {
    async fn tell_address(
        ConnectInfo(address): ConnectInfo<SocketAddr>,
        mut request: Request,
        next: Next,
    ) -> Response {
        request.extensions_mut().insert(RemoteAddr(address));
        next.run(request).await
    }
    let namespace = Namespace::new("/").on_unit("address", async |socket| Ack(socket.handshake().address()));
    let io = Server::new().namespace(namespace);
    let app = Router::new().route_service("/socket.io/", io.clone()).layer(from_fn(tell_address));
    let host = serve(&io, app).await;
    let mut client = Client::join(&host).await;
    let local = client.stream().local_addr().unwrap();
    assert_eq!(client.ask(r#"421["address"]"#).await, format!(r#"431["{local}"]"#));
}

#[tokio::test]
async fn a_cors_layer_stands_beside_the_check_of_origins() {
    const ORIGIN: &str = "access-control-allow-origin";
    let engine = EngineConfig::default().cors(Cors::origins(["https://app.example"]));
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(Namespace::new("/"));
    let app = Router::new()
        .route("/orders", get("[]"))
        .layer(CorsLayer::permissive())
        .route_service("/socket.io/", io.clone());
    let host = serve(&io, app).await;
    let ask = async |path: &str, origin: &str| {
        let headers = format!("Origin: {origin}\r\n");
        Http::connect(&host).await.request("GET", path, &headers, "").await
    };
    let orders = ask("/orders", "https://any.example").await;
    assert_eq!((orders.status, orders.header(ORIGIN)), (200, Some("*")));
    let path = format!("/socket.io/{POLLING}");
    let own = ask(&path, "https://app.example").await;
    assert_eq!((own.status, own.header(ORIGIN)), (200, Some("https://app.example")));
    assert_eq!(ask(&path, "https://any.example").await.status, 403);
}

#[tokio::test]
async fn it_ends_gracefully_with_axum() {
    let io = Server::new().namespace(Namespace::new("/"));
    let app = Router::new().route_service("/socket.io/", io.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (signal, signalled) = oneshot::channel::<()>();
    let closing = io.clone();
    let serving = tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(async move {
                let _ = signalled.await;
                closing.close().await;
            })
            .await
    });
    let host = Host { io, address, serving };
    let mut client = Client::join(&host).await;
    signal.send(()).unwrap();
    assert_eq!(client.ended().await.1, "server shutting down");
    drop(client);
    within(host.serving).await.unwrap().unwrap();
    assert!(host.io.is_closing());
}

#[tokio::test(start_paused = true)]
async fn a_server_is_used_in_handlers_of_its_own_namespaces() {
    let io = Server::new();
    let desk = {
        let io = io.clone();
        Namespace::new("/desk").on("publish", async move |_, text: String| io.of("/news").emit("news", &text))
    };
    let server = TestServer::new(io.namespace(desk).namespace(Namespace::new("/news")));
    let (author, mut reader) = (server.connect("/desk").await, server.connect("/news").await);
    author.emit("publish", "Tea is ready.").await.unwrap();
    assert_eq!(reader.wait_for::<String>("news").await, "Tea is ready.");
}
