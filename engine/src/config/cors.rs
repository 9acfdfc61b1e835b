//! Access control by origin, and the CORS protocol: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

use crate::config::origin::Origin;

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_REQUESTED: HeaderValue = HeaderValue::from_static("Access-Control-Request-Headers");
pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The methods that polling uses.
const METHODS: HeaderValue = HeaderValue::from_static("GET,POST");

/// The origins of web pages that may connect: one setting for long-polling, WebSocket and upgrades.
///
/// Browsers send the origin of the page that makes a request in the header `Origin`. By default only pages of
/// the server itself may connect: host and port of the origin must equal those of `Host`. A request from a
/// page of another origin is rejected with status 403, including WebSocket handshakes, which browsers let
/// every page make, with the user's cookies. A request without `Origin` comes from a client that is no
/// browser, or from a page of the server itself, and is accepted; but no session is opened if
/// `Sec-Fetch-Site` shows that a page of another origin loads the server, as an image or a script. Pages of
/// the server itself are always accepted. `X-Forwarded-Host` is not trusted: behind a proxy that changes
/// `Host`, list the origin under which users see the site.
///
/// Node: `cors`, which leaves WebSocket open to every page, and only tells browsers which responses a page
/// may read.
///
/// # Examples
///
/// ```
/// use engineio::{Cors, EngineConfig};
///
/// let config = EngineConfig::default()
///     .cors(Cors::origins(["https://app.example", "capacitor://localhost"]).credentials(true));
/// ```
#[derive(Clone)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    methods: HeaderValue,
    /// `None` to allow every header that the browser requests.
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

#[derive(Clone)]
enum Origins {
    Own,
    These(Arc<[Box<str>]>),
    If(Predicate),
    Any,
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Cors {
    /// Allows pages of the server itself only: the default.
    pub fn same_origin() -> Self {
        Self::new(Origins::Own)
    }

    /// Additionally allows pages of these origins, written as browsers do: `https://app.example:8443`,
    /// without a path and in punycode. Node: `origin`, as an array.
    ///
    /// Applications that are not web pages send origins of their own, which may be listed too: `file://`
    /// (Electron, Cordova), `qrc://` (Qt), `content://`, `resource://`, or `null`. Any web page can obtain
    /// the origin `null` through a sandboxed frame: do not let a cookie alone authenticate a client then.
    ///
    /// # Panics
    ///
    /// Panics if an item is not an origin, such as `*` or a URL with a path. For clients that send anything
    /// else, use [`predicate`](Self::predicate), which compares the text.
    #[track_caller]
    pub fn origins(origins: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut list = Vec::new();
        for origin in origins {
            let origin = origin.as_ref();
            assert!(
                may_be_listed(origin),
                "not an origin: `{origin}`; write scheme and host, such as `https://app.example`, and no path; \
                 `Cors::any()` lets in all, `Cors::predicate` compares any text"
            );
            list.push(origin.into());
        }
        Self::new(Origins::These(list.into()))
    }

    /// Additionally allows pages of the origins for which `predicate` returns `true`. It receives the text of
    /// the header `Origin`. Browsers send a scheme with a host, or `null`, which every web page can obtain;
    /// other clients send any text. The predicate should therefore compare all of it, or the scheme and the
    /// end of the host. Node: `origin`, as a function.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::Cors;
    ///
    /// let tenants = Cors::predicate(|origin| {
    ///     origin.strip_prefix("https://").is_some_and(|host| host.ends_with(".tenants.example"))
    /// });
    /// ```
    pub fn predicate(predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origins::If(Arc::new(predicate)))
    }

    /// Allows all web pages, including sandboxed ones and local files.
    ///
    /// A WebSocket handshake carries the user's cookies, so this is only for servers that do not authenticate
    /// users by cookie. Node: `origin: "*"`.
    pub fn any() -> Self {
        Self::new(Origins::Any)
    }

    const fn new(origins: Origins) -> Self {
        Self {
            origins,
            credentials: false,
            methods: METHODS,
            allowed_headers: None,
            exposed_headers: None,
            max_age: None,
        }
    }

    /// Allows pages of other origins to poll with the user's cookies (`withCredentials` of the client).
    /// `false` by default. Node: `credentials`.
    ///
    /// # Panics
    ///
    /// Panics for [`any`](Self::any) origin: browsers reject that combination, because every site could act
    /// in the user's name.
    #[must_use]
    #[track_caller]
    pub fn credentials(mut self, allow: bool) -> Self {
        assert!(
            !(allow && matches!(self.origins, Origins::Any)),
            "credentials need named origins: use Cors::origins or Cors::predicate"
        );
        self.credentials = allow;
        self
    }

    /// Sets the methods in the response to a preflight. GET and POST by default, which is all that polling
    /// uses. Node: `methods`, six of them by default.
    ///
    /// # Panics
    ///
    /// Panics if an item is not a method.
    #[must_use]
    #[track_caller]
    pub fn methods(mut self, methods: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.methods = list(methods, "method", |method| Method::from_bytes(method.as_bytes()).is_ok());
        self
    }

    /// Sets the request headers in the response to a preflight. By default those that the page requests.
    /// Node: `allowedHeaders`.
    ///
    /// # Panics
    ///
    /// Panics if one is no header name.
    #[must_use]
    #[track_caller]
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.allowed_headers = Some(list(names, "header name", is_header));
        self
    }

    /// Sets the response headers that pages may read in addition to the safelisted ones. None by default.
    /// Node: `exposedHeaders`.
    ///
    /// # Panics
    ///
    /// Panics if one is no header name.
    #[must_use]
    #[track_caller]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.exposed_headers = Some(list(names, "header name", is_header));
        self
    }

    /// Sets how long a browser may cache a preflight, in whole seconds; browsers use 5 seconds by default.
    /// Unset by default. Node: `maxAge`.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs().into());
        self
    }

    /// Returns the CORS headers for a response to `request` that is not the engine's own, such as that of a
    /// static file; for OPTIONS, including those of a preflight.
    pub fn headers<B>(&self, request: &Request<B>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let grant = self.check(request).unwrap_or_else(|OriginRefused| self.grant_without_origin());
        grant.write(self, &mut headers);
        if self.is_preflight(request) {
            self.write_preflight(request, &mut headers);
        }
        headers
    }

    /// Returns `true` if the request is a preflight. Always `false` with [`same_origin`](Self::same_origin),
    /// which allows no other origins.
    pub fn is_preflight<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS && !matches!(self.origins, Origins::Own)
    }

    /// Returns `true` if a page of another origin loads this without an `Origin`, as with images and scripts.
    /// Browsers indicate that by `Sec-Fetch-Site`, which does not name the page.
    pub(crate) fn forbids_subresource<B>(&self, request: &Request<B>) -> bool {
        let is_foreign = |site: &HeaderValue| site == "cross-site" || site == "same-site";
        !matches!(self.origins, Origins::Any)
            && request.headers().get(SEC_FETCH_SITE).is_some_and(is_foreign)
            && !request.headers().contains_key(header::ORIGIN)
    }

    pub(crate) fn write_preflight<B>(&self, request: &Request<B>, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(names) = &self.allowed_headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        } else {
            headers.append(header::VARY, VARY_REQUESTED);
            if let Some(names) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
        }
        if let Some(age) = &self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, age.clone());
        }
    }

    /// Decides whether the origin of a request is allowed.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<Grant, OriginRefused> {
        let values = request.headers().get_all(header::ORIGIN).iter();
        self.check_origins(values.map(HeaderValue::as_bytes), |origin| {
            origin.is_same_origin(request.headers(), request.uri())
        })
    }

    /// Decides whether a request with these `Origin` headers is allowed.
    pub(crate) fn check_origins<'a>(
        &self,
        mut values: impl Iterator<Item = &'a [u8]>,
        is_own: impl FnOnce(Origin<'a>) -> bool,
    ) -> Result<Grant, OriginRefused> {
        let Some(value) = values.next() else { return Ok(self.grant_without_origin()) };
        if matches!(self.origins, Origins::Any) {
            return Ok(Grant::Any);
        }
        let (Ok(text), None) = (str::from_utf8(value), values.next()) else { return Err(OriginRefused) };
        let origin = Origin::parse(text);
        if self.names(text, origin) {
            // A copy, because the value itself would keep hyper's read buffer alive while a poll waits.
            return HeaderValue::from_bytes(value).map(Grant::Origin).map_err(|_| OriginRefused);
        }
        if origin.is_some_and(is_own) {
            return Ok(self.grant_without_origin());
        }
        Err(OriginRefused)
    }

    fn names(&self, text: &str, origin: Option<Origin<'_>>) -> bool {
        match &self.origins {
            Origins::Own => false,
            Origins::These(list) => list.iter().any(|each| match (Origin::parse(each), origin) {
                (Some(each), Some(origin)) => each.is(&origin),
                (None, None) => **each == *text,
                _ => false,
            }),
            Origins::If(predicate) => predicate(text),
            Origins::Any => true,
        }
    }

    fn grant_without_origin(&self) -> Grant {
        match self.origins {
            Origins::Own => Grant::None,
            Origins::Any => Grant::Any,
            Origins::These(_) | Origins::If(_) => Grant::Vary,
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self::same_origin()
    }
}

impl fmt::Debug for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: &dyn fmt::Debug = match &self.origins {
            Origins::Own => &"own",
            Origins::These(list) => list,
            Origins::If(_) => &"predicate",
            Origins::Any => &"any",
        };
        f.debug_struct("Cors")
            .field("origins", origins)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Returns `true` if [`Cors::origins`] accepts this: a web origin, or what native applications send instead.
fn may_be_listed(origin: &str) -> bool {
    // A scheme without a host is checked by appending an arbitrary host.
    let is_scheme = || origin.ends_with("://") && Origin::parse(&format!("{origin}a")).is_some();
    origin == "null" || Origin::parse(origin).is_some() || is_scheme()
}

/// Returns the Rust code of the setting that allows this origin.
pub(crate) fn suggested_setting(origin: &str) -> String {
    if may_be_listed(origin) {
        format!("Cors::origins([{origin:?}])")
    } else {
        format!("Cors::predicate(|origin| origin == {origin:?})")
    }
}

/// The origin of the request is not allowed.
#[derive(Debug)]
pub(crate) struct OriginRefused;

/// The CORS headers of the response to one request.
#[derive(Debug)]
pub(crate) enum Grant {
    /// None: no other origin is ever allowed.
    None,
    /// `Vary: Origin`, because the response depends on the origin.
    Vary,
    /// This origin may read the response.
    Origin(HeaderValue),
    /// Every origin may read the response.
    Any,
}

impl Grant {
    pub(crate) fn write(self, cors: &Cors, headers: &mut HeaderMap) {
        let origin = match self {
            Self::None => return,
            Self::Vary => {
                headers.append(header::VARY, VARY_ORIGIN);
                return;
            }
            Self::Origin(origin) => {
                headers.append(header::VARY, VARY_ORIGIN);
                origin
            }
            Self::Any => ANY,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(names) = &cors.exposed_headers {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }
}

fn is_header(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

#[track_caller]
fn list(
    items: impl IntoIterator<Item = impl AsRef<str>>,
    what: &str,
    is_valid: fn(&str) -> bool,
) -> HeaderValue {
    let mut list = String::new();
    for item in items {
        let item = item.as_ref();
        assert!(is_valid(item), "not a {what}: `{item}`");
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(item);
    }
    // Tokens and commas are always a valid header value.
    HeaderValue::try_from(list).unwrap_or(const { HeaderValue::from_static("") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origins: &[&str]) -> Request<()> {
        let request = Request::get("/socket.io/").header("host", "server.example");
        origins.iter().fold(request, |request, origin| request.header("origin", *origin)).body(()).unwrap()
    }

    /// Returns the headers granted to a request with these origins, in short form, or `None` if it is
    /// rejected.
    fn granted(cors: &Cors, origins: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        cors.check(&request(origins)).ok()?.write(cors, &mut headers);
        let of = |name| {
            headers.get(name).map_or("-", |value: &HeaderValue| str::from_utf8(value.as_bytes()).unwrap())
        };
        Some(format!("{} {}", of(header::ACCESS_CONTROL_ALLOW_ORIGIN), of(header::VARY)))
    }

    const OWN: &str = "https://server.example";

    #[test]
    fn by_default_only_the_own_origin_is_let_in_and_nothing_is_said() {
        let cors = Cors::default();
        assert_eq!(granted(&cors, &[]).unwrap(), "- -");
        assert_eq!(granted(&cors, &[OWN]).unwrap(), "- -");
        for refused in [&["https://evil.example"] as &[_], &["null"], &[""], &["*"], &["\t"], &[OWN, OWN]] {
            assert_eq!(granted(&cors, refused), None, "{refused:?}");
        }
    }

    #[test]
    fn listed_origins_are_compared_as_origins() {
        let cors = Cors::origins(["https://App.example", "http://dev.example:8080", "capacitor://localhost"]);
        for named in [
            "https://app.example",
            "https://app.example:443",
            "HTTPS://APP.EXAMPLE",
            "http://dev.example:8080",
            "capacitor://localhost",
        ] {
            assert_eq!(granted(&cors, &[named]).unwrap(), format!("{named} Origin"));
        }
        for refused in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.",
            "https://app.example/",
            "https://sub.app.example",
            "https://app.example.evil.example",
            "https://app.example@evil.example",
            "http://dev.example",
            "ionic://localhost",
            "null",
        ] {
            assert_eq!(granted(&cors, &[refused]), None, "{refused}");
        }
        assert_eq!(granted(&cors, &[]).unwrap(), "- Origin");
        assert_eq!(granted(&cors, &[OWN]).unwrap(), "- Origin");
    }

    /// Values sent by Electron, Cordova, Qt and microcontrollers that are not web origins.
    const ODD: [&str; 9] = [
        "null",
        "file://",
        "qrc://",
        "content://",
        "resource://",
        "app://.",
        "http://192.168.4.1/",
        "esp32",
        "http://m\u{fc}nchen.example",
    ];

    #[test]
    fn a_predicate_sees_whatever_the_header_says() {
        let cors = Cors::predicate(|origin| origin == "https://a.example" || ODD.contains(&origin));
        for allowed in ODD.into_iter().chain(["https://a.example"]) {
            assert_eq!(granted(&cors, &[allowed]).unwrap(), format!("{allowed} Origin"));
            assert_eq!(granted(&cors, &[allowed, allowed]), None);
            assert_eq!(granted(&Cors::default(), &[allowed]), None);
        }
        for refused in ["http://a.test", "", "http://a.example", "NULL"] {
            assert_eq!(granted(&cors, &[refused]), None, "{refused}");
        }
        let any = Cors::predicate(|_| true);
        assert_eq!(granted(&any, &[""]).unwrap(), " Origin");
        // Invalid text, and repeated headers.
        let mut request = request(&[]);
        request.headers_mut().insert("origin", HeaderValue::from_bytes(b"http://\xff").unwrap());
        assert!(any.check(&request).is_err());
        assert_eq!(granted(&any, &["http://a.example", "http://a.example"]), None);
    }

    #[test]
    fn origins_that_are_none_of_the_web_may_be_listed() {
        for listed in ["null", "file://", "qrc://", "content://", "resource://", "app://."] {
            let cors = Cors::origins([listed]);
            assert_eq!(granted(&cors, &[listed]).unwrap(), format!("{listed} Origin"));
            for refused in ODD.into_iter().filter(|odd| *odd != listed) {
                assert_eq!(granted(&cors, &[refused]), None, "{refused}");
            }
            for refused in ["https://a.example", "", "file:///", "null "] {
                assert_eq!(granted(&cors, &[refused]), None, "{refused}");
            }
            assert_eq!(granted(&cors, &[OWN]).unwrap(), "- Origin");
        }
    }

    #[test]
    fn any_origin_is_let_in_when_it_says_so() {
        for origins in [&[] as &[_], &["http://a.example"], &["null"], &["garbage"]] {
            assert_eq!(granted(&Cors::any(), origins).unwrap(), "* -");
        }
    }

    #[test]
    fn preflights_are_told_what_is_allowed() {
        let mut preflight = request(&["http://a.example"]);
        *preflight.method_mut() = Method::OPTIONS;
        preflight.headers_mut().insert("access-control-request-headers", HeaderValue::from_static("x-a,x-b"));
        let cors = Cors::origins(["http://a.example"]);
        let text = |cors: &Cors| {
            let headers = cors.headers(&preflight);
            let mut lines: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            lines.sort();
            lines
        };
        let requested = [
            "access-control-allow-headers: x-a,x-b",
            "access-control-allow-methods: GET,POST",
            "access-control-allow-origin: http://a.example",
            "vary: Access-Control-Request-Headers",
            "vary: Origin",
        ];
        assert_eq!(text(&cors), requested);
        let cors = cors
            .credentials(true)
            .methods(["GET"])
            .allowed_headers(["x-custom", "authorization"])
            .exposed_headers(["x-seen"])
            .max_age(Duration::from_mins(1));
        let configured = [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: x-custom,authorization",
            "access-control-allow-methods: GET",
            "access-control-allow-origin: http://a.example",
            "access-control-expose-headers: x-seen",
            "access-control-max-age: 60",
            "vary: Origin",
        ];
        assert_eq!(text(&cors), configured);
        assert!(!Cors::same_origin().is_preflight(&preflight));
    }

    #[test]
    fn mistakes_are_found_while_building() {
        let panics = |build: fn() -> Cors| std::panic::catch_unwind(build).is_err();
        assert!(panics(|| Cors::origins(["*"])));
        assert!(panics(|| Cors::origins([""])));
        assert!(panics(|| Cors::origins(["app.example"])));
        assert!(panics(|| Cors::origins(["https://app.example/"])));
        assert!(panics(|| Cors::any().credentials(true)));
        assert!(panics(|| Cors::any().methods(["GET POST"])));
        assert!(panics(|| Cors::any().allowed_headers(["x custom"])));
    }
}
