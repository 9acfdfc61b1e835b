//! Who may read the client's bundles that are served beside the path.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use socketio::{Cors, EngineConfig, ResponseBody, Server, ServerConfig};
use tower_service::Service;

async fn ask(server: &Server, method: &str, origin: &str) -> Result<Response<ResponseBody>, Infallible> {
    let request = Request::builder()
        .method(method)
        .uri("/socket.io/socket.io.min.js")
        .header("host", "server.example")
        .header("origin", origin);
    server.clone().call(request.body(Full::<Bytes>::default()).unwrap_or_default()).await
}

#[tokio::test]
async fn every_page_gets_them_and_allowed_ones_may_read_them() {
    let folder = std::env::temp_dir().join(format!("socketio-client-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("socket.io.min.js"), "io").unwrap();
    let server = |cors: Cors| {
        let config = ServerConfig::default().serve_client(folder.clone());
        Server::with_config(config.engine(EngineConfig::default().cors(cors)))
    };
    let allowed = "http://allowed.example";
    let open = server(Cors::origins([allowed]).credentials(true));
    for (server, origin, expected) in [
        (&open, allowed, Some(allowed)),
        (&open, "http://evil.example", None),
        (&server(Cors::any()), "http://evil.example", Some("*")),
        (&server(Cors::same_origin()), allowed, None),
    ] {
        let response = ask(server, "GET", origin).await.unwrap();
        assert_eq!(response.status(), 200);
        let told = response.headers().get("access-control-allow-origin");
        assert_eq!(told.map(|value| value.to_str().unwrap()), expected);
    }
    let preflight = ask(&open, "OPTIONS", allowed).await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET,POST");
    std::fs::remove_dir_all(folder).unwrap();
}
