//! Serves the files of the UI.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt, fs,
    future::{Future, Ready, ready},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use socketio::ResponseBody;
use tower_layer::Layer;
use tower_service::Service;

const PREFIX: &str = "/socket.io/admin/";
const INDEX: &str = "index.html";
/// A folder with more files, or with larger ones, is not that of the UI.
const MAX_FILES: usize = 64;
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The page loads a font and icons from elsewhere, and connects to whatever server is entered.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline' https://fonts.googleapis.com https://cdn.jsdelivr.net; \
    font-src https://fonts.gstatic.com https://cdn.jsdelivr.net; img-src 'self' data:; \
    connect-src http: https: ws: wss:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The files of the UI, from the folder `ui/dist` of the npm package `@socket.io/admin-ui`. A tower service, which
/// responds to other requests with status 404, and a tower layer, which passes them on. They are read once, and sent
/// compressed if the browser accepts gzip. Source maps are not served. Node.js does not serve the files.
///
/// The files are no secret: the login is at the namespace of the UI. Requests need no authentication.
///
/// # Examples
///
/// ```no_run
/// use socketio::Server;
/// use socketio_admin::{Admin, AdminFiles};
///
/// # async fn run(admin: Admin) -> std::io::Result<()> {
/// let files = AdminFiles::load("node_modules/@socket.io/admin-ui/ui/dist")?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// // Open http://127.0.0.1:3000/socket.io/admin/
/// admin.attach(Server::new()).serve(listener).with_fallback(files).await
/// # }
/// ```
#[derive(Clone)]
pub struct AdminFiles {
    prefix: Arc<str>,
    files: Arc<BTreeMap<String, File>>,
}

struct File {
    plain: Bytes,
    compressed: Bytes,
    content_type: &'static str,
    etag: HeaderValue,
    /// `true` if the name contains a hash of the content.
    is_immutable: bool,
}

impl AdminFiles {
    /// Reads the files of a folder.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read, if there is no `index.html`, or if there are more than 64 files or
    /// more than 16 MiB.
    pub fn load(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        let mut files = BTreeMap::new();
        let mut size = 0;
        for path in list(folder)? {
            size += fs::metadata(&path)?.len();
            if files.len() >= MAX_FILES || size > MAX_BYTES {
                return Err(io::Error::other(format!(
                    "too many files for the Admin UI in {}",
                    folder.display()
                )));
            }
            let name = path.strip_prefix(folder).map_err(io::Error::other)?;
            let name = name.to_string_lossy().replace('\\', "/");
            let file = File::new(&name, fs::read(&path)?)?;
            files.insert(name, file);
        }
        if !files.contains_key(INDEX) {
            let message =
                format!("{} is not `ui/dist` of the npm package @socket.io/admin-ui", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self { prefix: PREFIX.into(), files: Arc::new(files) })
    }

    /// Sets the path of the UI. Defaults to `/socket.io/admin/`.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin and end with a slash.
    #[must_use]
    #[track_caller]
    pub fn path(mut self, path: &str) -> Self {
        assert!(
            path.starts_with('/') && path.ends_with('/'),
            "the path begins and ends with a slash: `{path}`"
        );
        self.prefix = path.into();
        self
    }

    /// Returns the response to a request for a path of the UI, or `None` for other paths.
    fn respond<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let path = request.uri().path();
        let Some(name) = path.strip_prefix(&*self.prefix) else {
            let folder = self.prefix.trim_end_matches('/');
            return (path == folder && !folder.is_empty()).then(|| redirect(folder));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let Some(file) = self.files.get(if name.is_empty() { INDEX } else { name }) else {
            return Some(status(StatusCode::NOT_FOUND));
        };
        Some(file.respond(request.headers(), *request.method() == Method::HEAD))
    }
}

impl File {
    fn new(name: &str, content: Vec<u8>) -> io::Result<Self> {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        let content_type = match extension {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let etag = HeaderValue::try_from(format!("W/\"{:x}\"", hasher.finish())).map_err(io::Error::other)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&content)?;
        let compressed = encoder.finish()?.into();
        // The names of scripts, styles and images contain a hash; those beside the page do not.
        Ok(Self { plain: content.into(), compressed, content_type, etag, is_immutable: name.contains('/') })
    }

    fn respond(&self, request: &HeaderMap, is_head: bool) -> Response<Bytes> {
        let mut response = status(StatusCode::OK);
        let compresses = accepts_gzip(request) && self.compressed.len() < self.plain.len();
        let body = if compresses { &self.compressed } else { &self.plain };
        let cached = if self.is_immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| *known == self.etag);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if compresses {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !is_head {
            *response.body_mut() = body.clone();
        }
        response
    }
}

/// Returns the files of a folder and of the folders in it, without source maps.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            for file in fs::read_dir(path)? {
                found.push(file?.path());
            }
        } else {
            found.push(path);
        }
    }
    found.retain(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "map"));
    Ok(found)
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Adds a slash to the path. The location is relative, so it is right behind a proxy that changes the path.
fn redirect(folder: &str) -> Response<Bytes> {
    let mut response = status(StatusCode::PERMANENT_REDIRECT);
    let name = folder.rsplit('/').next().unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(format!("{name}/")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

impl fmt::Debug for AdminFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.keys().collect();
        f.debug_struct("AdminFiles").field("path", &self.prefix).field("files", &files).finish()
    }
}

impl<B> Service<Request<B>> for AdminFiles {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.respond(&request).unwrap_or_else(|| status(StatusCode::NOT_FOUND));
        ready(Ok(response.map(ResponseBody::full)))
    }
}

impl<S> Layer<S> for AdminFiles {
    type Service = AdminFilesService<S>;

    fn layer(&self, inner: S) -> AdminFilesService<S> {
        AdminFilesService { files: self.clone(), inner }
    }
}

/// A service wrapped by an [`AdminFiles`] layer.
#[derive(Debug, Clone)]
pub struct AdminFilesService<S> {
    files: AdminFiles,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for AdminFilesService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(response) = self.files.respond(&request) {
            return Box::pin(async move { Ok(response.map(ResponseBody::full)) });
        }
        let response = self.inner.call(request);
        Box::pin(async move { Ok(response.await?.map(ResponseBody::inner)) })
    }
}
