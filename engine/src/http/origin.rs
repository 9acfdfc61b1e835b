//! Origin checks and the headers of the CORS protocol (<https://fetch.spec.whatwg.org/#http-cors-protocol>).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};

use crate::{
    config::{
        cors::{Cors, Origins},
        web_origin::Origin,
    },
    http::view::RequestHead,
};

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_REQUESTED: HeaderValue = HeaderValue::from_static("Access-Control-Request-Headers");
pub(crate) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Cors {
    /// Returns the CORS headers for a response that the application creates itself, such as a static file.
    /// For an OPTIONS request, they include the headers of the response to a preflight.
    pub fn headers<B>(&self, request: &Request<B>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let grant = self.check(request).unwrap_or_else(|OriginRefused| self.grant_without_origin());
        grant.write(self, &mut headers);
        if self.is_preflight(request) {
            self.write_preflight(request, &mut headers);
        }
        headers
    }

    /// Returns `true` if the request is a preflight. Always returns `false` with
    /// [`same_origin`](Self::same_origin), which allows no other origins.
    pub fn is_preflight<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::OPTIONS && !matches!(self.origins, Origins::Own)
    }

    /// Returns `true` if a page of another origin loads this URL without an `Origin` header, as an image or a
    /// script. Browsers then send `Sec-Fetch-Site`, which does not name the page. Always returns `false` if
    /// any origin is allowed.
    pub(crate) fn forbids_subresource(&self, request: &impl RequestHead) -> bool {
        let is_foreign = |site: &[u8]| site == b"cross-site" || site == b"same-site";
        !matches!(self.origins, Origins::Any)
            && request.values(&SEC_FETCH_SITE).any(is_foreign)
            && request.values(&header::ORIGIN).next().is_none()
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

    /// Returns the CORS headers to add to the response, or an error if the origin of the request is not
    /// allowed.
    pub(crate) fn check(&self, request: &impl RequestHead) -> Result<Grant, OriginRefused> {
        let mut values = request.values(&header::ORIGIN);
        let Some(value) = values.next() else { return Ok(self.grant_without_origin()) };
        if matches!(self.origins, Origins::Any) {
            return Ok(Grant::Any);
        }
        let (Ok(text), None) = (str::from_utf8(value), values.next()) else { return Err(OriginRefused) };
        let origin = Origin::parse(text);
        if self.names(text, origin) {
            // Copy the value. A clone would share, and keep alive, the read buffer of hyper while a poll
            // waits.
            return HeaderValue::from_bytes(value).map(Grant::Origin).map_err(|_| OriginRefused);
        }
        // Allow pages of the server itself. Behind a proxy that terminates TLS, the server does not know the
        // scheme and port that the client uses, so the origin is compared with `Host`. If `Host` names no
        // port, the origin must have the default port of its own scheme. `X-Forwarded-Host` is ignored,
        // because any client that reaches the server directly can set it.
        if let (Some(origin), Some(host)) = (origin, request.host())
            && origin.matches(host)
        {
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

/// The origin of the request is not allowed.
#[derive(Debug)]
pub(crate) struct OriginRefused;

/// The CORS headers of the response to one request.
#[derive(Debug)]
pub(crate) enum Grant {
    /// The response includes no headers, because the server does not allow other origins.
    None,
    /// The response includes `Vary: Origin`, because the response depends on the origin.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(origins: &[&str]) -> Request<()> {
        let request = Request::get("/socket.io/").header("host", "server.example");
        origins.iter().fold(request, |request, origin| request.header("origin", *origin)).body(()).unwrap()
    }

    /// Returns the headers granted to a request with these `Origin` headers, in short form, or `None` if the
    /// request is rejected.
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

    /// Values that Electron, Cordova, Qt and microcontrollers send and that are not web origins.
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
        // Test invalid text and repeated headers.
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
