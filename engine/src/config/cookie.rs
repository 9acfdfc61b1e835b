//! The session id cookie (<https://www.rfc-editor.org/rfc/rfc6265>).

use std::{fmt::Write as _, time::Duration};

use http::HeaderValue;

use crate::Sid;

/// The `SameSite` attribute of a cookie, which selects the cross-site requests that include the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Browsers send the cookie with no cross-site requests.
    Strict,
    /// Browsers send the cookie with cross-site navigations only, for example when the user follows a link.
    Lax,
    /// Browsers send the cookie with all requests. The cookie must also be [`secure`](Cookie::secure).
    None,
}

/// A cookie with the session id, which allows a load balancer to find the server of the session. See
/// [`EngineConfig::cookie`](crate::EngineConfig::cookie).
///
/// The session id is a secret, so the cookie is hidden from scripts by default. The cookie is sent when a
/// session opens, over long-polling or WebSocket; the server never reads it. Node.js calls this option
/// `cookie`, and does not send the cookie if a session starts over WebSocket.
///
/// | | default | Node.js |
/// |---|---|---|
/// | [`new`](Self::new) | `io` | `name` |
/// | [`path`](Self::path) | `/` | `path`; `false` corresponds to [`no_path`](Self::no_path) |
/// | [`domain`](Self::domain) | none: the host only | `domain` |
/// | [`http_only`](Self::http_only) | `true` | `httpOnly` |
/// | [`same_site`](Self::same_site) | [`SameSite::Lax`] | `sameSite` |
/// | [`secure`](Self::secure) | `false` | `secure` |
/// | [`partitioned`](Self::partitioned) | `false` | `partitioned` |
/// | [`max_age`](Self::max_age) | none: until the browser closes | `maxAge` |
///
/// The Node.js options `expires`, `encode` and `priority` have no equivalent: `expires` is a fixed date,
/// chosen when the server starts, `encode` does not change a session id, and only one browser supports
/// `priority`. An application that needs these attributes can send its own cookie with
/// [`initial_headers`](crate::EngineConfig::initial_headers).
///
/// # Examples
///
/// ```
/// use engineio::{Cookie, EngineConfig};
///
/// let config = EngineConfig::default().cookie(Cookie::new("server").path("/socket.io/").secure(true));
/// ```
#[derive(Debug, Clone)]
pub struct Cookie {
    name: String,
    path: Option<String>,
    domain: Option<String>,
    http_only: bool,
    same_site: SameSite,
    secure: bool,
    partitioned: bool,
    max_age: Option<u64>,
}

impl Cookie {
    /// Creates a cookie with this name. The default cookie is named `io`.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or contains characters that are not allowed in a cookie name.
    #[track_caller]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        assert!(!name.is_empty() && name.bytes().all(is_token), "not the name of a cookie: `{name}`");
        Self {
            name,
            path: Some("/".to_owned()),
            domain: None,
            http_only: true,
            same_site: SameSite::Lax,
            secure: false,
            partitioned: false,
            max_age: None,
        }
    }

    /// Sets the path below which the browser sends the cookie. Defaults to `/`.
    ///
    /// # Panics
    ///
    /// Panics if the path does not begin with a slash or contains characters that are not allowed in a cookie
    /// path.
    #[must_use]
    #[track_caller]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        assert!(
            path.starts_with('/') && path.bytes().all(is_attribute),
            "not the path of a cookie: `{path}`"
        );
        self.path = Some(path);
        self
    }

    /// Omits the path. The browser then uses the directory of the URL that set the cookie.
    #[must_use]
    pub fn no_path(mut self) -> Self {
        self.path = None;
        self
    }

    /// Sets the domain that receives the cookie, including all its subdomains. By default, only the host
    /// receives the cookie.
    ///
    /// # Panics
    ///
    /// Panics if the domain is empty or contains characters that are not allowed in a domain.
    #[must_use]
    #[track_caller]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        let in_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        assert!(
            !domain.is_empty() && domain.bytes().all(in_domain),
            "not the domain of a cookie: `{domain}`; names of other scripts are written in punycode"
        );
        self.domain = Some(domain);
        self
    }

    /// Hides the cookie from scripts. Defaults to `true`.
    #[must_use]
    pub fn http_only(mut self, hidden: bool) -> Self {
        self.http_only = hidden;
        self
    }

    /// Sets which cross-site requests include the cookie. Defaults to [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Restricts the cookie to HTTPS. Defaults to `false`.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Partitions the cookie by the site that embeds the page. Defaults to `false`. The cookie must also be
    /// [`secure`](Self::secure).
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Sets how long the browser keeps the cookie, in whole seconds. By default, the cookie expires when the
    /// browser closes.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs());
        self
    }

    /// Panics if browsers would silently discard the cookie.
    #[track_caller]
    pub(crate) fn check(&self) {
        let needs_secure = self.same_site == SameSite::None || self.partitioned;
        assert!(
            self.secure || !needs_secure,
            "the cookie `{}` must be secure: browsers take `SameSite=None` and `Partitioned` only so",
            self.name
        );
    }

    /// Returns the `Set-Cookie` header value for a session.
    pub(crate) fn header_value(&self, sid: &Sid) -> Option<HeaderValue> {
        let mut text = format!("{}={sid}", self.name);
        // Writing to a `String` never fails.
        if let Some(age) = self.max_age {
            let _ = write!(text, "; Max-Age={age}");
        }
        if let Some(domain) = &self.domain {
            let _ = write!(text, "; Domain={domain}");
        }
        if let Some(path) = &self.path {
            let _ = write!(text, "; Path={path}");
        }
        for (flag, name) in
            [(self.http_only, "HttpOnly"), (self.secure, "Secure"), (self.partitioned, "Partitioned")]
        {
            if flag {
                let _ = write!(text, "; {name}");
            }
        }
        let _ = write!(text, "; SameSite={:?}", self.same_site);
        // The setters have checked each part, so this is a valid header value.
        HeaderValue::try_from(text).ok()
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self::new("io")
    }
}

/// Returns `true` for the characters of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns `true` for the characters of an attribute value.
fn is_attribute(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cookie: &Cookie) -> String {
        let sid = Sid::parse("abcdefghijklmnopqrst").unwrap();
        cookie.header_value(&sid).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn is_written_as_the_reference_writes_it() {
        assert_eq!(text(&Cookie::default()), "io=abcdefghijklmnopqrst; Path=/; HttpOnly; SameSite=Lax");
        let bare = Cookie::new("woot").no_path().http_only(false).same_site(SameSite::Strict);
        assert_eq!(text(&bare), "woot=abcdefghijklmnopqrst; SameSite=Strict");
        let full = Cookie::new("__Secure-io")
            .path("/custom")
            .domain("example.com")
            .secure(true)
            .partitioned(true)
            .same_site(SameSite::None)
            .max_age(Duration::from_millis(60_999));
        full.check();
        assert_eq!(
            text(&full),
            "__Secure-io=abcdefghijklmnopqrst; Max-Age=60; Domain=example.com; Path=/custom; HttpOnly; Secure; \
             Partitioned; SameSite=None"
        );
    }

    #[test]
    fn mistakes_are_found_while_building() {
        let panics = |build: fn()| std::panic::catch_unwind(build).is_err();
        for name in ["", "a b", "a=b", "a;b", "caf\u{e9}", "a\r\nb"] {
            assert!(std::panic::catch_unwind(|| Cookie::new(name)).is_err(), "{name:?}");
        }
        for path in ["", "x", "/;x", "/\n"] {
            assert!(std::panic::catch_unwind(|| Cookie::default().path(path)).is_err(), "{path:?}");
        }
        for domain in ["", "a b", "a;b", "b\u{fc}cher.example", "a/b"] {
            assert!(std::panic::catch_unwind(|| Cookie::default().domain(domain)).is_err(), "{domain:?}");
        }
        assert!(panics(|| Cookie::default().same_site(SameSite::None).check()));
        assert!(panics(|| Cookie::default().partitioned(true).check()));
    }
}
