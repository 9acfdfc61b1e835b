//! The request that opened a session.

use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Extensions, HeaderName, HeaderValue, header, request::Parts, uri::PathAndQuery};

use crate::config::hooks::KeepExtension;

/// A request extension with the address of the client.
///
/// [`serve`](crate::serve) sets this extension. Behind another server, a layer can insert it.
/// [`HandshakeRequest::address`] returns the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// A request extension that marks a request as received over TLS.
///
/// `TlsListener` sets this extension. Behind another server with TLS, a layer can insert it.
/// [`HandshakeRequest::secure`] then returns `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure;

/// The HTTP request that opened a session. The request is stored as one block of text, because a header map
/// would keep the whole read buffer of the connection alive.
///
/// # Examples
///
/// ```
/// use engineio::HandshakeRequest;
///
/// let (parts, ()) = http::Request::get("/socket.io/?EIO=4&transport=websocket&token=a%20b")
///     .header("user-agent", "test")
///     .body(())
///     .unwrap()
///     .into_parts();
/// let request = HandshakeRequest::new(&parts);
/// assert_eq!(request.query("token").as_deref(), Some("a b"));
/// assert_eq!(request.header("User-Agent"), Some("test"));
/// ```
pub struct HandshakeRequest {
    /// The request target, followed by one line `name: value` for each header.
    text: Box<str>,
    address: Option<SocketAddr>,
    secure: bool,
    /// Microseconds since the Unix epoch.
    time: u64,
    extensions: Extensions,
}

impl HandshakeRequest {
    /// Copies the request, without its extensions.
    pub fn new(parts: &Parts) -> Self {
        Self::with_extensions(parts, &[])
    }

    /// Copies the request, with the extensions that `kept` selects.
    pub(crate) fn with_extensions(parts: &Parts, kept: &[KeepExtension]) -> Self {
        let mut extensions = Extensions::new();
        for keep in kept {
            keep(&parts.extensions, &mut extensions);
        }
        let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| "\n: ".len() + name.as_str().len() + value.len();
        // As `Display` of `PathAndQuery`, which costs more.
        let root = if target.starts_with(['/', '*']) { "" } else { "/" };
        // The exact capacity, so that the text becomes a `Box<str>` in place.
        let len = root.len() + target.len() + parts.headers.iter().map(line).sum::<usize>();
        let mut text = Vec::with_capacity(len);
        text.extend_from_slice(root.as_bytes());
        text.extend_from_slice(target.as_bytes());
        // HTTP/2 has a pseudo-header instead (RFC 9113, section 8.3.1).
        if let Some(authority) = parts.uri.authority().filter(|_| !parts.headers.contains_key(header::HOST)) {
            text.extend_from_slice(b"\nhost: ");
            text.extend_from_slice(authority.as_str().as_bytes());
        }
        for (name, value) in &parts.headers {
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            // Header values do not contain line breaks.
            text.extend_from_slice(value.as_bytes());
        }
        let text = String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Self {
            text: text.into(),
            address: parts.extensions.get().map(|&RemoteAddr(address)| address),
            secure: parts.extensions.get::<Secure>().is_some()
                || parts.uri.scheme() == Some(&http::uri::Scheme::HTTPS),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64),
            extensions,
        }
    }

    /// Returns the request target, which consists of path and query.
    pub fn url(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// Returns the headers in the order of the request, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split('\n').skip(1).filter_map(|line| line.split_once(": "))
    }

    /// Returns the value of the first header with this name. The case of the name is ignored.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(header, value)| header.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Returns the decoded parameters of the query string, in order.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
    }

    /// Returns the decoded value of the query parameter with this name. If the parameter is repeated, returns
    /// the last value.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.queries().filter_map(|(key, value)| (key == name).then_some(value)).last()
    }

    /// Returns the address of the client, if known. Behind a proxy, this is the address of the proxy.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns `true` if the request was received over TLS. TLS between a client and a proxy is not detected.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Returns the time at which the request arrived.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.time)
    }

    /// Returns a value that a layer in front of the engine put into the request extensions, if
    /// [`keep_extension`](crate::EngineConfig::keep_extension) was called for the type of the value.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }
}

impl fmt::Debug for HandshakeRequest {
    /// Omits the headers, because they may contain cookies and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeRequest").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn it_is_small_because_idle_sessions_have_one() {
        assert!(size_of::<HandshakeRequest>() <= 72);
    }

    #[test]
    fn its_target_begins_with_a_slash() {
        let url = |uri: &str| {
            let (parts, ()) = http::Request::options(uri).body(()).unwrap().into_parts();
            HandshakeRequest::new(&parts).url().to_owned()
        };
        for (uri, expected) in [
            ("/a?b=c", "/a?b=c"),
            ("http://example.com?b=c", "/?b=c"),
            ("http://example.com", "/"),
            ("example.com:80", "/"),
            ("*", "*"),
        ] {
            assert_eq!(url(uri), expected, "{uri}");
        }
    }

    #[test]
    fn it_knows_its_time() {
        let before = SystemTime::now();
        let time = HandshakeRequest::new(&http::Request::new(()).into_parts().0).time();
        let early = before.duration_since(time).unwrap_or_default();
        assert!(early < Duration::from_micros(2), "{early:?}");
        assert!(time <= SystemTime::now());
    }
}
