//! Access control by origin, and options of the CORS protocol
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};

use crate::config::web_origin::Origin;

/// The methods that long-polling uses.
const METHODS: HeaderValue = HeaderValue::from_static("GET,POST");

/// The origins of web pages that may connect. The setting applies to long-polling, WebSocket and upgrades.
///
/// Browsers send the origin of the page that makes a request in the header `Origin`. By default, only pages
/// of the server itself may connect: the host and port of the origin must equal the host and port in `Host`.
/// A request from a page of another origin is rejected with status 403. This includes WebSocket handshakes,
/// which browsers allow every page to make with the user's cookies. A request without `Origin` comes from a
/// client that is not a browser, or from a page of the server itself, and is accepted. However, it is rejected
/// if `Sec-Fetch-Site` shows that a page of another origin loads the URL as an image or a script, unless
/// [`any`](Self::any) origin is allowed. Pages of the server itself are always accepted.
/// `X-Forwarded-Host` is not trusted. Behind a proxy that changes `Host`, list the origin under which users
/// see the site.
///
/// Node.js calls this option `cors`. In Node.js, it does not apply to WebSocket, which every page may use,
/// and only tells browsers which responses a page may read.
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
    pub(crate) origins: Origins,
    pub(crate) credentials: bool,
    pub(crate) methods: HeaderValue,
    /// `None` allows every header that the browser requests.
    pub(crate) allowed_headers: Option<HeaderValue>,
    pub(crate) exposed_headers: Option<HeaderValue>,
    pub(crate) max_age: Option<HeaderValue>,
}

#[derive(Clone)]
pub(crate) enum Origins {
    Own,
    These(Arc<[Box<str>]>),
    If(Predicate),
    Any,
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Cors {
    /// Allows only pages of the server itself. This is the default.
    pub fn same_origin() -> Self {
        Self::new(Origins::Own)
    }

    /// Additionally allows pages of these origins. Write an origin as browsers do, without a path and in
    /// punycode: `https://app.example:8443`. Equivalent to the option `origin` with an array in Node.js.
    ///
    /// Applications that are not web pages send other origins, which may also be listed: `file://` (Electron,
    /// Cordova), `qrc://` (Qt), `content://`, `resource://`, or `null`. Any web page can obtain the origin
    /// `null` through a sandboxed frame. If `null` is listed, do not rely on a cookie alone to authenticate a
    /// client.
    ///
    /// # Panics
    ///
    /// Panics if an item is not an origin, such as `*` or a URL with a path. Use
    /// [`predicate`](Self::predicate) for clients that send any other text.
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

    /// Additionally allows pages of the origins for which `predicate` returns `true`. The predicate receives
    /// the text of the header `Origin`. Browsers send a scheme with a host, or `null`, which every web page
    /// can obtain. Other clients may send any text. The predicate should therefore compare the whole text, or
    /// the scheme and the end of the host. Equivalent to the option `origin` with a function in Node.js.
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

    /// Allows all web pages, including sandboxed pages and local files.
    ///
    /// A WebSocket handshake includes the user's cookies, so use this only on servers that do not
    /// authenticate users by cookie. Equivalent to `origin: "*"` in Node.js.
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
    /// Defaults to `false`. Node.js calls this option `credentials`.
    ///
    /// # Panics
    ///
    /// Panics if [`any`](Self::any) origin is allowed. Browsers reject that combination, because every site
    /// could act in the user's name.
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

    /// Sets the methods in the response to a preflight. Defaults to GET and POST, the only methods that
    /// long-polling uses. In Node.js: `methods`, with six methods by default.
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

    /// Sets the request headers in the response to a preflight. Defaults to the headers that the page
    /// requests. Node.js calls this option `allowedHeaders`.
    ///
    /// # Panics
    ///
    /// Panics if an item is not a header name.
    #[must_use]
    #[track_caller]
    pub fn allowed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.allowed_headers = Some(list(names, "header name", is_header));
        self
    }

    /// Sets the response headers that pages may read in addition to the safelisted headers. By default, pages
    /// may read no other headers. Node.js calls this option `exposedHeaders`.
    ///
    /// # Panics
    ///
    /// Panics if an item is not a header name.
    #[must_use]
    #[track_caller]
    pub fn exposed_headers(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.exposed_headers = Some(list(names, "header name", is_header));
        self
    }

    /// Sets how long a browser may cache the response to a preflight, in whole seconds. Unset by default;
    /// browsers then use 5 seconds. Node.js calls this option `maxAge`.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs().into());
        self
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

/// Returns `true` if [`Cors::origins`] accepts `origin`: a web origin, or an origin that native applications
/// send.
fn may_be_listed(origin: &str) -> bool {
    // A scheme without a host is checked by appending an arbitrary host.
    let is_scheme = || origin.ends_with("://") && Origin::parse(&format!("{origin}a")).is_some();
    origin == "null" || Origin::parse(origin).is_some() || is_scheme()
}

/// Returns Rust code that allows this origin, for a log message.
pub(crate) fn suggested_setting(origin: &str) -> String {
    if may_be_listed(origin) {
        format!("Cors::origins([{origin:?}])")
    } else {
        format!("Cors::predicate(|origin| origin == {origin:?})")
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
