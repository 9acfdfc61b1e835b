//! The parser of request heads, which recognizes the plain requests of the short path.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::{ListenConfig, http::view::list_contains, listen::host::is_host};

/// The number of headers that are parsed on the stack. Most requests have fewer.
const FEW_HEADERS: usize = 32;
/// The maximum length of a head. The `http` crate rejects some longer requests, such as requests with a long target.
const MAX_LEN: usize = u16::MAX as usize;

/// The properties of a head that the connection needs. They are collected in one pass, because looking up
/// each header would dominate the cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadInfo {
    /// The length of the body.
    pub(super) body: u64,
    pub(super) keep_alive: bool,
    /// `true` if the client requests an upgrade to WebSocket.
    pub(super) wants_upgrade: bool,
}

/// The result of looking at the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen<T> {
    /// The head of a plain request.
    Plain(T),
    /// What may become the head of a plain request.
    Partial,
    /// Something else, which is left to hyper.
    Other,
}

/// Parses a head. If it is the complete head of a plain request to `path`, calls `then` with its length and the
/// parsed head. Returns [`Seen::Other`] if `then` returns `None`.
pub(super) fn read<T>(
    bytes: &[u8],
    config: &ListenConfig,
    path: &str,
    then: impl FnOnce(usize, &httparse::Request<'_, '_>, HeadInfo) -> Option<T>,
) -> Seen<T> {
    let max_headers = config.max_headers;
    let max_len = config.max_head.min(MAX_LEN);
    let mut few = [const { MaybeUninit::uninit() }; FEW_HEADERS];
    let mut many = Vec::new();
    let mut parsed = httparse::Request::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let places = &mut few[..max_headers.min(FEW_HEADERS)];
    let mut status = parser.parse_request_with_uninit_headers(&mut parsed, bytes, places);
    if status == Err(httparse::Error::TooManyHeaders) && max_headers > FEW_HEADERS {
        many.resize_with(max_headers, MaybeUninit::uninit);
        parsed = httparse::Request::new(&mut []);
        status = parser.parse_request_with_uninit_headers(&mut parsed, bytes, &mut many);
    }
    match status {
        Ok(httparse::Status::Complete(len)) if len <= max_len => HeadInfo::new(&parsed, path)
            .and_then(|info| then(len, &parsed, info))
            .map_or(Seen::Other, Seen::Plain),
        Ok(httparse::Status::Partial) if bytes.len() < max_len && may_become_plain(bytes, path) => {
            Seen::Partial
        }
        _ => Seen::Other,
    }
}

/// Returns `true` if the bytes may be the start of a plain request to `path`.
fn may_become_plain(bytes: &[u8], path: &str) -> bool {
    ["GET ", "POST "].iter().any(|method| {
        let (start, rest) = bytes.split_at(bytes.len().min(method.len()));
        method.as_bytes().starts_with(start) && {
            let len = rest.len().min(path.len());
            rest[..len] == path.as_bytes()[..len]
        }
    })
}

/// Creates a request from a head. All parts of the request share one copy of the bytes. Returns `None` if the `http`
/// crate rejects a part.
pub(super) fn request(bytes: &[u8], parsed: &httparse::Request<'_, '_>) -> Option<Request<()>> {
    let shared = Bytes::copy_from_slice(bytes);
    let share = |part: &[u8]| {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        shared.slice(start..start + part.len())
    };
    let target = parsed.path?.as_bytes();
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() =
        Uri::from_maybe_shared(share(target)).or_else(|_| Uri::from_maybe_shared(escaped(target))).ok()?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for part in parsed.headers.iter() {
        let name = HeaderName::from_bytes(part.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(share(part.value)).ok()?);
    }
    *request.headers_mut() = headers;
    Some(request)
}

/// Escapes characters in a target as browsers do. Some clients do not escape them, and the `http` crate
/// rejects them.
fn escaped(target: &[u8]) -> Bytes {
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for &byte in target {
        match byte {
            b'"' => escaped.extend_from_slice(b"%22"),
            b'<' => escaped.extend_from_slice(b"%3C"),
            b'>' => escaped.extend_from_slice(b"%3E"),
            b'`' => escaped.extend_from_slice(b"%60"),
            byte => escaped.push(byte),
        }
    }
    escaped.into()
}

impl HeadInfo {
    /// Returns the properties of a plain request to `path`, or `None` if the request is anything else.
    fn new(parsed: &httparse::Request<'_, '_>, path: &str) -> Option<Self> {
        let rest = parsed.path?.strip_prefix(path)?;
        let is_post = match parsed.method? {
            "GET" => false,
            "POST" => true,
            _ => return None,
        };
        if parsed.version != Some(1) || !(rest.is_empty() || rest.starts_with('?')) {
            return None;
        }
        let (mut keep_alive, mut wants_upgrade, mut hosts, mut length) = (true, false, 0_u32, None);
        for &httparse::Header { name, value } in parsed.headers.iter() {
            let is = |header: &str| name.eq_ignore_ascii_case(header);
            match name.len() {
                4 if is("host") => hosts += if is_host(value) { 1 } else { return None },
                6 if is("expect") => return None,
                7 if is("upgrade") && !wants_upgrade && value.eq_ignore_ascii_case(b"websocket") => {
                    wants_upgrade = true;
                }
                7 if is("upgrade") => return None,
                10 if is("connection") => keep_alive &= !list_contains(value, "close"),
                14 if is("content-length") && length.is_none() => length = Some(number(value)?),
                14 if is("content-length") => return None,
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        let body = if is_post { length? } else { length.unwrap_or(0) };
        let is_plain = hosts == 1 && (is_post || body == 0);
        is_plain.then_some(Self { body, keep_alive, wants_upgrade })
    }
}

/// Parses a number of digits only, unlike `str::parse`, which accepts a sign. Numbers above `i64::MAX` are
/// rejected, as by implementations with signed numbers.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/engine.io/";

    fn parse_with(bytes: &str, config: &ListenConfig) -> Seen<(usize, Request<()>, HeadInfo)> {
        let bytes = bytes.as_bytes();
        read(bytes, config, PATH, |len, parsed, info| Some((len, request(&bytes[..len], parsed)?, info)))
    }

    fn parse(bytes: &str) -> Seen<(usize, HeadInfo)> {
        match parse_with(bytes, &ListenConfig::default()) {
            Seen::Plain((len, _, info)) => Seen::Plain((len, info)),
            Seen::Partial => Seen::Partial,
            Seen::Other => Seen::Other,
        }
    }

    fn get(headers: &str) -> Option<HeadInfo> {
        plain(&format!("GET /engine.io/?a HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
    }

    fn post(headers: &str) -> Option<HeadInfo> {
        plain(&format!("POST /engine.io/?a HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
    }

    fn plain(text: &str) -> Option<HeadInfo> {
        match parse(text) {
            Seen::Plain((len, info)) => {
                assert_eq!(len, text.len());
                Some(info)
            }
            Seen::Partial => panic!("{text} is complete"),
            Seen::Other => None,
        }
    }

    #[test]
    fn a_head_is_a_request() {
        let text = "GET /engine.io/?EIO=4 HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n";
        let Seen::Plain((len, request, info)) = parse_with(&format!("{text}rest"), &ListenConfig::default())
        else {
            panic!("it is plain");
        };
        assert_eq!(len, text.len());
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/engine.io/"));
        assert_eq!(request.uri().query(), Some("EIO=4"));
        assert_eq!(request.headers()["host"], "a");
        assert_eq!(request.headers().get_all("x-two").iter().count(), 2);
        assert_eq!(info, HeadInfo { body: 0, keep_alive: true, wants_upgrade: false });
    }

    #[test]
    fn a_head_may_come_in_parts() {
        for text in [
            "GET /engine.io/?a HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /engine.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text[..end]), Seen::Partial, "{end}");
            }
            assert!(plain(text).is_some());
        }
    }

    #[test]
    fn what_cannot_become_plain_is_not_waited_for() {
        for text in ["PUT", "PRI * HTTP/2.0\r\n", "GET /engine.iO", "POST /socket", "\r\n", "GET  ", "\0"] {
            assert_eq!(parse(text), Seen::Other, "{text}");
        }
    }

    #[test]
    fn only_plain_requests_are_taken() {
        let host = "Host: a\r\n";
        for text in [
            format!("HEAD /engine.io/ HTTP/1.1\r\n{host}\r\n"),
            format!("OPTIONS /engine.io/ HTTP/1.1\r\n{host}\r\n"),
            format!("GET /engine.io/ HTTP/1.0\r\n{host}\r\n"),
            format!("GET /engine.io/x HTTP/1.1\r\n{host}\r\n"),
            format!("GET http://a/engine.io/ HTTP/1.1\r\n{host}\r\n"),
            "GET /engine.io/ HTTP/1.1\r\n\r\n".to_owned(),
            format!("GET /engine.io/ HTTP/1.1\r\n{host}{host}\r\n"),
            "GET /engine.io/ HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
            format!("GET /engine.io/ HTTP/1.1\r\n{host} folded: a\r\n\r\n"),
            format!("GET /engine.io/ HTTP/1.1\r\n{host}A : a\r\n\r\n"),
        ] {
            assert_eq!(plain(&text), None, "{text}");
        }
        for headers in ["Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "Content-Length: 1\r\n"] {
            assert_eq!(get(headers), None, "{headers}");
        }
        assert!(get("Content-Length: 0\r\n").is_some());
        assert!(get("Upgrade: WebSocket\r\nConnection: upgrade\r\n").unwrap().wants_upgrade);
        assert!(!get("Connection: x, Close\r\n").unwrap().keep_alive);
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(post("Content-Length: 12\r\n").unwrap().body, 12);
        assert_eq!(post("Content-Length: 9223372036854775807\r\n").unwrap().body, i64::MAX as u64);
        for headers in [
            "",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 9223372036854775808\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(post(headers), None, "{headers}");
        }
    }

    #[test]
    fn what_clients_do_not_escape_is_read_as_browsers_write_it() {
        let target = |target: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            match parse_with(&text, &ListenConfig::default()) {
                Seen::Plain((_, request, _)) => request.uri().to_string(),
                _ => panic!("{target} is plain"),
            }
        };
        let uri = target("/engine.io/?b={\"c\":[1|2]}&d=<e>");
        assert_eq!(uri, "/engine.io/?b={%22c%22:[1|2]}&d=%3Ce%3E");
        assert_eq!(target("/engine.io/?a=%3C<`\u{e9}"), "/engine.io/?a=%3C%3C%60\u{e9}");
    }

    #[test]
    fn a_head_has_limits() {
        let config = ListenConfig::default().max_head(1000).max_headers(50);
        let long = |len: usize| {
            let frame = "GET /engine.io/ HTTP/1.1\r\nHost: \r\n\r\n";
            format!("GET /engine.io/ HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(len - frame.len()))
        };
        assert!(matches!(parse_with(&long(1000), &config), Seen::Plain(_)));
        assert!(matches!(parse_with(&long(1001), &config), Seen::Other));
        assert!(matches!(parse_with(&long(1001)[..999], &config), Seen::Partial));
        assert!(matches!(parse_with(&long(1001)[..1000], &config), Seen::Other));

        let many = |count| {
            let text = format!("GET /engine.io/ HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
            matches!(parse_with(&text, &config), Seen::Plain(_))
        };
        for count in [FEW_HEADERS, FEW_HEADERS + 1, 50] {
            assert!(many(count), "{count}");
        }
        assert!(!many(51));
    }
}
