//! The request that opened a session.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Extensions, HeaderName, HeaderValue, request::Parts};

use crate::config::hooks::KeepExtension;

/// The address of the client, as a request extension.
///
/// [`serve`](crate::serve) sets it. Behind another server, a layer can: then
/// [`HandshakeRequest::address`] tells it to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

/// Tells that the request came over TLS, as a request extension.
///
/// `TlsListener` sets it. Behind another server with TLS, a layer can: then [`HandshakeRequest::secure`] tells it to the
/// application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure;

/// What is kept of the HTTP request that opened a session: one block of text instead of a header map,
/// which would hold on to the whole read buffer of the connection.
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
    /// The target of the request, then one `name: value` for each header, a line each.
    text: Box<str>,
    address: Option<SocketAddr>,
    secure: bool,
    /// In microseconds since the epoch.
    time: u64,
    extensions: Extensions,
}

impl HandshakeRequest {
    /// Keeps what the application may ask for, but no extension.
    pub fn new(parts: &Parts) -> Self {
        Self::keeping(parts, &[])
    }

    /// Keeps what the application may ask for, with these extensions.
    pub(crate) fn keeping(parts: &Parts, kept: &[KeepExtension]) -> Self {
        let mut extensions = Extensions::new();
        for keep in kept {
            keep(&parts.extensions, &mut extensions);
        }
        let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| "\n: ".len() + name.as_str().len() + value.len();
        let mut text = String::with_capacity(target + parts.headers.iter().map(line).sum::<usize>());
        match parts.uri.path_and_query() {
            // Writing to a string cannot fail.
            Some(target) => drop(write!(text, "{target}")),
            None => text.push('/'),
        }
        for (name, value) in &parts.headers {
            text.push('\n');
            text.push_str(name.as_str());
            text.push_str(": ");
            // A value holds no line break.
            match std::str::from_utf8(value.as_bytes()) {
                Ok(value) => text.push_str(value),
                Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
            }
        }
        Self {
            text: text.into(),
            address: parts.extensions.get().map(|&RemoteAddr(address)| address),
            secure: parts.extensions.get::<Secure>().is_some()
                || parts.uri.scheme() == Some(&http::uri::Scheme::HTTPS),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64),
            extensions,
        }
    }

    /// The target of the request: path and query.
    pub fn url(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The headers in the order of the request, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split('\n').skip(1).filter_map(|line| line.split_once(": "))
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(header, value)| header.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The parameters of the query string, decoded, in order.
    pub fn queries(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
    }

    /// The query parameter of this name; the last one, if it is repeated.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.queries().filter_map(|(key, value)| (key == name).then_some(value)).last()
    }

    /// The address of the client, as far as it is known: that of a proxy, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether the request came over TLS, as far as the server itself can see.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// When the request came.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.time)
    }

    /// What a layer in front of the engine has put into the extensions of the request, if
    /// [`keep_extension`](crate::EngineConfig::keep_extension) names its type.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }
}

impl fmt::Debug for HandshakeRequest {
    /// Leaves the headers out: they hold cookies and tokens.
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
    fn it_knows_its_time() {
        let before = SystemTime::now();
        let time = HandshakeRequest::new(&http::Request::new(()).into_parts().0).time();
        let early = before.duration_since(time).unwrap_or_default();
        assert!(early < Duration::from_micros(2), "{early:?}");
        assert!(time <= SystemTime::now());
    }
}
