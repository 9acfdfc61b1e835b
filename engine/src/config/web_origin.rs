//! Origins of web pages (<https://www.rfc-editor.org/rfc/rfc6454>), and their comparison with the origin of
//! the server.

use std::net::Ipv6Addr;

/// A parsed `Origin` header with a single origin, such as `https://example.com:8443`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// The port in the header, or the default port of the scheme.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Parses an origin. Returns `None` for any other text, including `null`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (first, rest) = scheme.as_bytes().split_first()?;
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !first.is_ascii_alphabetic() || !rest.iter().all(in_scheme) {
            return None;
        }
        let (host, port) = host_and_port(authority)?;
        Some(Self { scheme, host, port: port.or(default_port(scheme)) })
    }

    /// Returns `true` if the origin has this host and port, given in the form of the `Host` header.
    pub(crate) fn matches(&self, host: &str) -> bool {
        // Schemes without a default port are rejected, because the server does not serve their pages.
        let (Some(default), Some((host, port))) = (default_port(self.scheme), host_and_port(host)) else {
            return false;
        };
        same_host(self.host, host) && self.port == Some(port.unwrap_or(default))
    }

    /// Returns `true` if both origins are the same.
    pub(crate) fn is(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.port == other.port
            && same_host(self.host, other.host)
    }
}

/// Returns the default port of a scheme. Some native clients send a WebSocket scheme, which pages never have.
fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

/// Splits `host`, `host:port` or `[IPv6]:port`. Returns `None` for any other text, such as a text with user
/// info, a path or whitespace.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_len = if text.starts_with('[') {
        let end = text.find(']')?;
        text[1..end].parse::<Ipv6Addr>().ok()?;
        end + 1
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if end == 0 || !text.bytes().take(end).all(in_host) {
            return None;
        }
        end
    };
    let (host, port) = text.split_at(host_len);
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':')?;
    // `parse` would accept a sign.
    let port = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((host, Some(port)))
}

fn same_host(one: &str, other: &str) -> bool {
    let v6 = |host: &str| host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    one.eq_ignore_ascii_case(other) || v6(one).is_some_and(|address| v6(other) == Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(origin: &str, host: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| origin.matches(host))
    }

    /// Each row is an origin, a `Host`, and the expected result.
    const TABLE: [(&str, &str, bool); 60] = [
        ("http://example.com", "example.com", true),
        ("https://example.com", "example.com", true),
        ("ws://example.com", "example.com", true),
        ("wss://example.com", "example.com", true),
        ("http://localhost:3000", "localhost:3000", true),
        ("http://127.0.0.1:3000", "127.0.0.1:3000", true),
        // Explicit and default ports.
        ("http://example.com:80", "example.com", true),
        ("https://example.com:443", "example.com", true),
        ("http://example.com", "example.com:80", true),
        ("https://example.com", "example.com:443", true),
        ("http://example.com:443", "example.com", false),
        ("https://example.com:80", "example.com", false),
        ("http://example.com", "example.com:443", false),
        ("https://example.com", "example.com:80", false),
        ("http://example.com", "example.com:3000", false),
        ("http://example.com:3000", "example.com", false),
        ("http://example.com:3000", "example.com:3001", false),
        ("http://example.com:03000", "example.com:3000", true),
        ("http://example.com:", "example.com", false),
        ("http://example.com:+80", "example.com", false),
        ("http://example.com:65616", "example.com", false),
        ("http://example.com:80:80", "example.com", false),
        // Hosts.
        ("http://EXAMPLE.com", "example.COM", true),
        ("HTTP://example.com", "example.com", true),
        ("http://evil.example", "example.com", false),
        ("http://sub.example.com", "example.com", false),
        ("http://example.com", "sub.example.com", false),
        ("http://notexample.com", "example.com", false),
        ("http://example.com.evil.example", "example.com", false),
        ("http://localhost:3000", "127.0.0.1:3000", false),
        ("http://example.com.", "example.com", false),
        ("http://example.com", "example.com.", false),
        ("http://example.com.", "example.com.", true),
        ("http://my_host", "my_host", true),
        // Internationalized names are accepted in punycode only.
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example", true),
        ("http://b\u{fc}cher.example", "b\u{fc}cher.example", false),
        ("http://b%C3%BCcher.example", "b%C3%BCcher.example", false),
        // IPv6.
        ("http://[::1]:3000", "[::1]:3000", true),
        ("http://[::1]", "[::1]", true),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]", true),
        ("http://[FE80::1]", "[fe80::1]", true),
        ("http://[::1]:3000", "[::2]:3000", false),
        ("http://[::1", "[::1", false),
        ("http://::1", "::1", false),
        ("http://[::1]x", "[::1]x", false),
        ("http://[fe80::1%25eth0]", "[fe80::1%25eth0]", false),
        // Values that no browser sends.
        ("null", "example.com", false),
        ("null", "null", false),
        ("", "example.com", false),
        ("*", "example.com", false),
        ("example.com", "example.com", false),
        ("//example.com", "example.com", false),
        ("://example.com", "example.com", false),
        ("http://", "", false),
        ("http://user@example.com", "example.com", false),
        ("http://example.com@evil.example", "example.com", false),
        ("http://example.com/", "example.com", false),
        ("http://example.com http://evil.example", "example.com", false),
        ("http://example.com, http://evil.example", "example.com", false),
        ("chrome-extension://example.com", "example.com", false),
    ];

    #[test]
    fn only_pages_of_the_host_itself_are_its_own() {
        for (origin, host, own) in TABLE {
            assert_eq!(is_own(origin, host), own, "{origin:?} at {host:?}");
        }
    }
}
