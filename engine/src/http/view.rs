//! The parts of a request that the engine reads, from an [`http::Request`] or from the read buffer.

use http::{HeaderName, HeaderValue, Method, Request, Version, header};
use hyper::ext::Protocol;

/// The head of a request, implemented for [`http::Request`] and for [`RequestView`].
pub(crate) trait RequestHead {
    fn method(&self) -> &str;

    /// Returns the query without its `?`.
    fn query(&self) -> &str;

    /// Returns `true` if the request asks for an upgrade to WebSocket.
    fn wants_websocket(&self) -> bool;

    /// Returns `true` if the request is an extended CONNECT for a WebSocket (RFC 8441), which takes the place of
    /// the upgrade in HTTP/2.
    fn connects_websocket(&self) -> bool {
        false
    }

    /// Returns the values of a header.
    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]>;

    /// Returns the host to which the request is addressed, from the target or from `Host`.
    fn host(&self) -> Option<&str>;

    /// Returns the value of a header, or `None` unless it occurs exactly once.
    fn single_value<'a>(&'a self, name: &'a HeaderName) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns `true` if a header that contains a list includes the token. The comparison is
    /// case-insensitive.
    fn has_token(&self, name: &HeaderName, token: &str) -> bool {
        self.values(name).any(|value| list_contains(value, token))
    }
}

impl<B> RequestHead for Request<B> {
    fn method(&self) -> &str {
        self.method().as_str()
    }

    fn query(&self) -> &str {
        self.uri().query().unwrap_or_default()
    }

    fn wants_websocket(&self) -> bool {
        // `Upgrade` is absent from most requests, so check it first. HTTP/1.0 does not support upgrades (RFC 9110,
        // section 7.8).
        self.has_token(&header::UPGRADE, "websocket")
            && self.has_token(&header::CONNECTION, "upgrade")
            && self.version() >= Version::HTTP_11
    }

    fn connects_websocket(&self) -> bool {
        self.method() == Method::CONNECT
            && self.version() == Version::HTTP_2
            && self.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
    }

    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn host(&self) -> Option<&str> {
        match self.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => visible(self.single_value(&header::HOST)?),
        }
    }
}

/// A complete HTTP/1.1 request that borrows from the read buffer. Its target is in origin form with the path of the
/// engine, and it does not ask for an upgrade.
pub(crate) struct RequestView<'a> {
    pub(crate) method: &'a str,
    /// The query without its `?`.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [httparse::Header<'a>],
    pub(crate) body: &'a [u8],
}

impl RequestHead for RequestView<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn query(&self) -> &str {
        self.query
    }

    fn wants_websocket(&self) -> bool {
        false
    }

    fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name.as_str());
        self.headers.iter().filter(named).map(|header| header.value)
    }

    fn host(&self) -> Option<&str> {
        visible(self.single_value(&header::HOST)?)
    }
}

/// Returns `true` if a comma-separated list includes the token. The comparison is case-insensitive.
pub(crate) fn list_contains(value: &[u8], token: &str) -> bool {
    let mut items = value.split(|&byte| byte == b',');
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns a header value as text, or `None` if it contains bytes other than visible ASCII, spaces and tabs.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |&byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    value.iter().all(is_visible).then(|| str::from_utf8(value).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts<const N: usize>(target: &str, hosts: [&str; N]) -> (Option<String>, Option<String>) {
        let request = hosts.iter().fold(Request::get(target), |request, host| request.header("host", *host));
        let request = request.header("x-forwarded-host", "evil.example").body(()).unwrap();
        let headers = hosts.map(|host| httparse::Header { name: "Host", value: host.as_bytes() });
        let view = RequestView { method: "GET", query: "", headers: &headers, body: b"" };
        (request.host().map(str::to_owned), view.host().map(str::to_owned))
    }

    #[test]
    fn a_request_has_one_host() {
        let host = || Some("example.com".to_owned());
        assert_eq!(hosts("/", ["example.com"]), (host(), host()));
        assert_eq!(hosts("/", []), (None, None));
        assert_eq!(hosts("/", ["example.com", "example.com"]), (None, None));
        assert_eq!(hosts("/", ["b\u{fc}cher.example"]), (None, None));
    }

    #[test]
    fn the_authority_of_the_target_precedes_the_header() {
        assert_eq!(hosts("http://example.com/", ["evil.example"]).0.as_deref(), Some("example.com"));
    }
}
