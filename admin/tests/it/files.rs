//! The files of the UI.

use std::{convert::Infallible, fs, path::PathBuf};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use socketio_admin::AdminFiles;
use tower_layer::Layer as _;
use tower_service::Service;

/// Creates a folder as it is in the npm package.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("admin-files").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("js")).unwrap();
    fs::write(folder.join("index.html"), "<!DOCTYPE html>").unwrap();
    fs::write(folder.join("js/app.0d7d.js"), "let x = 1;\n".repeat(1000)).unwrap();
    fs::write(folder.join("js/app.0d7d.js.map"), "{}").unwrap();
    folder
}

async fn get(files: &AdminFiles, path: &str, headers: &[(&str, &str)]) -> (Response<()>, Bytes) {
    let request =
        headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    let response = files.clone().call(request.body(()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (Response::from_parts(parts, ()), body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn files_are_served_with_types_and_caching() {
    let files = AdminFiles::load(folder("served")).unwrap();
    for path in ["/socket.io/admin/", "/socket.io/admin/index.html"] {
        let (page, body) = get(&files, path, &[]).await;
        assert_eq!((page.status(), &*body), (StatusCode::OK, &b"<!DOCTYPE html>"[..]));
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"));
        let etag = page.headers()[header::ETAG].to_str().unwrap();
        let (unchanged, body) = get(&files, path, &[("if-none-match", etag)]).await;
        assert_eq!((unchanged.status(), body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    let script = "/socket.io/admin/js/app.0d7d.js";
    for (accepted, is_compressed) in
        [("gzip, br", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("", false)]
    {
        let (response, body) = get(&files, script, &[("accept-encoding", accepted)]).await;
        assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), is_compressed, "{accepted}");
        assert_eq!(body.len() < 1000, is_compressed);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(response.headers()[header::CONTENT_LENGTH], body.len().to_string());
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let files = AdminFiles::load(folder("paths")).unwrap();
    for path in [
        "/",
        "/socket.io/",
        "/socket.io/admin/other.js",
        "/socket.io/admin/js/app.0d7d.js.map",
        "/socket.io/admin/../admin/index.html",
        "/socket.io/admin/js/../index.html",
        "/socket.io/admin/%2e%2e/Cargo.toml",
        "/socket.io/admin//index.html",
    ] {
        assert_eq!(get(&files, path, &[]).await.0.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let (redirect, _) = get(&files, "/socket.io/admin", &[]).await;
    assert_eq!(redirect.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(redirect.headers()[header::LOCATION], "admin/");
    let request = Request::builder().method(Method::POST).uri("/socket.io/admin/").body(()).unwrap();
    assert_eq!(files.clone().call(request).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let moved = files.path("/ops/");
    assert_eq!(get(&moved, "/ops/", &[]).await.0.status(), StatusCode::OK);
    assert_eq!(get(&moved, "/socket.io/admin/", &[]).await.0.status(), StatusCode::NOT_FOUND);
}

#[derive(Clone)]
struct Application;

impl Service<Request<()>> for Application {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new("application".into())))
    }
}

#[tokio::test]
async fn the_layer_passes_other_requests_on() {
    let mut service = AdminFiles::load(folder("layer")).unwrap().layer(Application);
    for (path, body) in
        [("/socket.io/admin/", "<!DOCTYPE html>"), ("/", "application"), ("/socket.io/", "application")]
    {
        let response = service.call(Request::get(path).body(()).unwrap()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
}

#[test]
fn only_the_folder_of_the_ui_is_loaded() {
    let missing = AdminFiles::load(folder("missing").join("js")).unwrap_err();
    assert!(missing.to_string().contains("ui/dist"), "{missing}");
    assert!(AdminFiles::load(folder("nowhere").join("nothing")).is_err());
    let many = folder("many");
    // With the page and the script, 64 files.
    for at in 0..62 {
        fs::write(many.join(format!("{at}.svg")), "<svg/>").unwrap();
    }
    AdminFiles::load(&many).unwrap();
    fs::write(many.join("62.svg"), "<svg/>").unwrap();
    AdminFiles::load(&many).unwrap_err();
    let large = folder("large");
    let file = fs::File::create(large.join("large.png")).unwrap();
    // With the page and the script, 16 MiB.
    let len = 16 * 1024 * 1024 - 15 - 11_000;
    file.set_len(len).unwrap();
    AdminFiles::load(&large).unwrap();
    file.set_len(len + 1).unwrap();
    AdminFiles::load(&large).unwrap_err();
}
