//! The official client's bundles, served beside the path. Node: `serveClient`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// The bundles of the npm package `socket.io-client`; nothing else in its folder is served.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// A folder of bundles, and the version of the package as their entity tag.
#[derive(Debug)]
pub(crate) struct ClientFiles {
    folder: PathBuf,
    etag: Option<HeaderValue>,
}

impl ClientFiles {
    /// Reads the version of the package that the folder is part of.
    pub(crate) fn new(folder: &Path) -> Self {
        let version = || {
            let package = std::fs::read(folder.parent()?.join("package.json")).ok()?;
            let package: serde_json::Value = serde_json::from_slice(&package).ok()?;
            HeaderValue::try_from(format!("\"{}\"", package.get("version")?.as_str()?)).ok()
        };
        let etag = version();
        if etag.is_none() {
            tracing::warn!(folder = %folder.display(), "serve_client: no package.json with a version beside the folder");
        }
        Self { folder: folder.to_owned(), etag }
    }

    pub(crate) fn known(name: &str) -> Option<&'static str> {
        NAMES.into_iter().find(|&known| known == name)
    }

    pub(crate) async fn respond(&self, name: &'static str, request: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let etag = self.etag.as_ref().and_then(|etag| etag.to_str().ok());
        if let (Some(known), Some(etag)) = (known, etag)
            && known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let Ok(file) = tokio::fs::read(self.folder.join(name)).await else {
            tracing::warn!(name, folder = %self.folder.display(), "serve_client: the file cannot be read");
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        let is_map = Path::new(name).extension().is_some_and(|extension| extension == "map");
        let content_type =
            if is_map { "application/json; charset=utf-8" } else { "application/javascript; charset=utf-8" };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        if let Some(etag) = &self.etag {
            headers.insert(header::ETAG, etag.clone());
        }
        *response.body_mut() = Full::from(file);
        response
    }
}
