//! Serves the bundles of the official client, like the option `serveClient` in Node.js.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;

/// The bundles of the npm package `socket.io-client`. No other file in the directory is served.
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

/// A directory of bundles. The version of the npm package is used as the entity tag.
#[derive(Debug)]
pub(crate) struct ClientFiles {
    folder: PathBuf,
    etag: Option<HeaderValue>,
    compress: bool,
    /// The compressed bundles by file name and content coding.
    compressed: Mutex<HashMap<(&'static str, &'static str), Compressed>>,
}

/// A file and the compressed content of the file.
type Compressed = (Bytes, Bytes);

impl ClientFiles {
    /// Reads the package version from the file `package.json` in the parent of the directory.
    pub(crate) fn new(folder: &Path, compress: bool) -> Self {
        let version = || {
            let package = std::fs::read(folder.parent()?.join("package.json")).ok()?;
            let package: serde_json::Value = serde_json::from_slice(&package).ok()?;
            HeaderValue::try_from(format!("\"{}\"", package.get("version")?.as_str()?)).ok()
        };
        let etag = version();
        if etag.is_none() {
            tracing::warn!(folder = %folder.display(), "serve_client: no package.json with a version beside the folder");
        }
        Self { folder: folder.to_owned(), etag, compress, compressed: Mutex::default() }
    }

    pub(crate) fn file_name(name: &str) -> Option<&'static str> {
        NAMES.into_iter().find(|&known| known == name)
    }

    pub(crate) async fn respond(
        &self,
        name: &'static str,
        request: &HeaderMap,
    ) -> Response<engineio::ResponseBody> {
        let mut response = Response::new(engineio::ResponseBody::default());
        let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let etag = self.etag.as_ref().and_then(|etag| etag.to_str().ok());
        if let (Some(known), Some(etag)) = (known, etag)
            && known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let Ok(file) = tokio::fs::read(self.folder.join(name)).await else {
            engineio::__log!(warn, name, folder = %self.folder.display(), "serve_client: the file cannot be read");
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
        let mut body = Bytes::from(file);
        if self.compress {
            headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            if let Some(coding) = engineio::__preferred_coding(request)
                && let Some(compressed) = self.compressed(name, coding, &body).await
            {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
                body = compressed;
            }
        }
        *response.body_mut() = body.into();
        response
    }

    /// Returns the compressed file from the cache. If the file is not cached or has changed, compresses the
    /// file.
    async fn compressed(&self, name: &'static str, coding: &'static str, file: &Bytes) -> Option<Bytes> {
        if let Some((of, compressed)) = self.compressed.lock().get(&(name, coding))
            && of == file
        {
            return Some(compressed.clone());
        }
        let body = file.clone();
        let encode = tokio::task::spawn_blocking(move || engineio::__encode_once(coding, &body));
        let compressed = Bytes::from(encode.await.ok()??);
        self.compressed.lock().insert((name, coding), (file.clone(), compressed.clone()));
        Some(compressed)
    }
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn each_file_is_compressed_once_for_each_coding() {
        let folder = std::env::temp_dir().join(format!("socketio-client-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("socket.io.js"), "let x = 1;\n".repeat(1000)).unwrap();
        let files = ClientFiles::new(&folder, true);
        let get = async |accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accept.parse().unwrap())]);
            let (parts, body) = files.respond("socket.io.js", &headers).await.into_parts();
            assert_eq!(parts.headers[header::VARY], "Accept-Encoding");
            let coding =
                parts.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            (coding, body.collect().await.unwrap().to_bytes())
        };
        assert_eq!(get("identity").await, (None, "let x = 1;\n".repeat(1000).into()));
        for (accept, coding) in [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("deflate", "deflate")] {
            let (got, first) = get(accept).await;
            assert_eq!(got.as_deref(), Some(coding));
            assert!(first.len() < 200);
            assert_eq!(first.as_ptr(), get(accept).await.1.as_ptr());
        }
        // A changed file is served immediately.
        let (_, before) = get("br").await;
        std::fs::write(folder.join("socket.io.js"), "let y = 2;\n".repeat(1000)).unwrap();
        assert_ne!(get("br").await.1, before);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
