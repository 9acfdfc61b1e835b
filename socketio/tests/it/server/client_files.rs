//! Tests serving the bundles of the official client, and which origins may read them.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use socketio::{Cors, EngineConfig, Namespace, ResponseBody, Server, ServerConfig};
use tower_service::Service;

use crate::support::{Client, Host, Http, HttpResponse, serve};

/// Creates a package folder with the layout that npm uses.
fn package(name: &str, package_json: Option<&str>) -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client_files").join(name);
    let dist = package.join("dist");
    fs::create_dir_all(&dist).unwrap();
    for file in ["socket.io.js", "socket.io.min.js.map", "secret.js"] {
        fs::write(dist.join(file), format!("// {file}")).unwrap();
    }
    if let Some(text) = package_json {
        fs::write(package.join("package.json"), text).unwrap();
    }
    dist
}

async fn host(config: ServerConfig) -> Host {
    serve(Server::with_config(config).namespace(Namespace::new("/"))).await
}

async fn get(host: &Host, target: &str, headers: &str) -> HttpResponse {
    Http::connect(host).await.request("GET", target, headers, "").await
}

#[tokio::test]
async fn bundles_are_served_with_the_version_as_their_tag() {
    let dist = package("whole", Some(r#"{"name":"socket.io-client","version":"4.8.3"}"#));
    let host = host(ServerConfig::default().serve_client(dist)).await;
    for (file, content_type) in [
        ("socket.io.js", "application/javascript; charset=utf-8"),
        ("socket.io.min.js.map", "application/json; charset=utf-8"),
    ] {
        for target in [format!("/socket.io/{file}"), format!("/socket.io/{file}?v=1")] {
            let answer = get(&host, &target, "").await;
            assert_eq!((answer.status, answer.body), (200, format!("// {file}")));
            assert_eq!(get(&host, &target, "").await.header("content-type"), Some(content_type));
            assert_eq!(get(&host, &target, "").await.header("etag"), Some(r#""4.8.3""#));
            assert_eq!(get(&host, &target, "").await.header("cache-control"), Some("public, max-age=0"));
        }
    }
    // Sessions at the same path still work.
    Client::join(&host).await;
}

#[tokio::test]
async fn who_has_the_bundle_already_does_not_get_it_again() {
    let dist = package("known", Some(r#"{"version":"4.8.3"}"#));
    let host = host(ServerConfig::default().serve_client(dist)).await;
    for (known, status) in [
        (r#""4.8.3""#, 304),
        (r#"W/"4.8.3""#, 304),
        (r#""4.8.2", W/"4.8.3""#, 304),
        (r#""4.8.2""#, 200),
        ("4.8.3", 200),
        ("", 200),
    ] {
        let answer = get(&host, "/socket.io/socket.io.js", &format!("If-None-Match: {known}\r\n")).await;
        assert_eq!(answer.status, status, "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn nothing_else_in_the_folder_is_served() {
    let dist = package("closed", Some(r#"{"version":"1.0.0"}"#));
    let host = host(ServerConfig::default().serve_client(dist)).await;
    for target in [
        "/socket.io/secret.js",
        "/socket.io/package.json",
        "/socket.io/../package.json",
        "/socket.io/%2e%2e/package.json",
        "/socket.io/..%2fpackage.json",
        "/socket.io/dist/socket.io.js",
        "/socket.io/socket.io.js/",
        "/socket.io/SOCKET.IO.JS",
        "/socket.io/socket.io.ts",
        "/socket.io.js",
        // A known bundle that is missing in this package.
        "/socket.io/socket.io.esm.min.js",
    ] {
        assert_eq!(get(&host, target, "").await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn without_a_version_bundles_have_no_tag_and_without_a_folder_there_are_none() {
    for (name, package_json) in [
        ("untagged", None),
        ("broken", Some("{")),
        ("unversioned", Some("{}")),
        ("odd", Some(r#"{"version":1}"#)),
    ] {
        let host = host(ServerConfig::default().serve_client(package(name, package_json))).await;
        let answer = get(&host, "/socket.io/socket.io.js", "If-None-Match: \"\"\r\n").await;
        assert_eq!((answer.status, answer.header("etag")), (200, None), "{name}");
    }
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing").join("dist");
    for config in [ServerConfig::default(), ServerConfig::default().serve_client(missing)] {
        let host = host(config).await;
        assert_eq!(get(&host, "/socket.io/socket.io.js", "").await.status, 404);
        Client::join(&host).await;
    }
}

#[tokio::test]
async fn bundles_move_with_the_path() {
    let dist = package("moved", Some(r#"{"version":"1.0.0"}"#));
    for config in
        [ServerConfig::default().path("/a/b"), ServerConfig::default().path("/a/b").add_trailing_slash(false)]
    {
        let host = host(config.serve_client(dist.clone())).await;
        assert_eq!(get(&host, "/a/b/socket.io.js", "").await.status, 200);
        assert_eq!(get(&host, "/socket.io/socket.io.js", "").await.status, 404);
    }
}

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
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("socket.io.min.js"), "io").unwrap();
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
    fs::remove_dir_all(folder).unwrap();
}
