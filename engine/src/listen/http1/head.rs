//! The parser of request heads.

use std::{mem::MaybeUninit, net::Ipv6Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use memchr::memchr;

use crate::http::view::list_contains;

/// The number of headers that are parsed on the stack. Most requests have fewer.
const FEW_HEADERS: usize = 32;

/// The properties of a head that the connection needs. They are collected in one pass, because looking up
/// each header would dominate the cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadInfo {
    pub(super) body: Length,
    pub(super) keep_alive: bool,
    /// `true` if the client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// `true` if the client requests an upgrade.
    pub(super) wants_upgrade: bool,
}

/// The length of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
}

/// The reason for rejecting a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    /// The syntax is invalid. Contains a description.
    Malformed(&'static str),
    /// The head exceeds the maximum size or number of headers.
    TooLarge,
    /// The head was not complete before the timeout.
    TooSlow,
}

impl HeadError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Parses a head. If the head is complete, calls `then` with its length and the parsed head.
pub(super) fn read<T>(
    bytes: &[u8],
    max_len: usize,
    max_headers: usize,
    then: impl FnOnce(usize, &httparse::Request<'_, '_>) -> Result<T, HeadError>,
) -> Result<Option<T>, HeadError> {
    let mut few = [const { MaybeUninit::uninit() }; FEW_HEADERS];
    let mut many = Vec::new();
    let mut parsed = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let places = &mut few[..max_headers.min(FEW_HEADERS)];
    let mut status = config.parse_request_with_uninit_headers(&mut parsed, bytes, places);
    if status == Err(httparse::Error::TooManyHeaders) && max_headers > FEW_HEADERS {
        many.resize_with(max_headers, MaybeUninit::uninit);
        parsed = httparse::Request::new(&mut []);
        status = config.parse_request_with_uninit_headers(&mut parsed, bytes, &mut many);
    }
    match status {
        Ok(httparse::Status::Complete(len)) if len <= max_len => then(len, &parsed).map(Some),
        Ok(httparse::Status::Partial) if bytes.len() < max_len => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(error) => Err(HeadError::Malformed(fault(error))),
    }
}

fn fault(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "invalid header name",
        httparse::Error::HeaderValue => "invalid header value",
        httparse::Error::NewLine => "invalid end of line",
        httparse::Error::Version => "invalid version",
        _ => "invalid request line",
    }
}

/// Creates a request from a head. All parts of the request share one copy of the bytes.
pub(super) fn request(bytes: &[u8], parsed: &httparse::Request<'_, '_>) -> Result<Request<()>, HeadError> {
    let shared = Bytes::copy_from_slice(bytes);
    let share = |part: &[u8]| {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        shared.slice(start..start + part.len())
    };
    let method = parsed.method.unwrap_or_default();
    let target = parsed.path.unwrap_or_default().as_bytes();
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed("invalid method"))?;
    *request.uri_mut() = Uri::from_maybe_shared(share(target))
        .or_else(|_| Uri::from_maybe_shared(escaped(target)))
        .map_err(|_| HeadError::Malformed("invalid target"))?;
    *request.version_mut() = if is_http11(parsed) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for part in parsed.headers.iter() {
        let name = HeaderName::from_bytes(part.name.as_bytes())
            .map_err(|_| HeadError::Malformed("invalid header name"))?;
        let value = HeaderValue::from_maybe_shared(share(part.value))
            .map_err(|_| HeadError::Malformed("invalid header value"))?;
        headers.append(name, value);
    }
    *request.headers_mut() = headers;
    Ok(request)
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

pub(super) fn is_http11(parsed: &httparse::Request<'_, '_>) -> bool {
    parsed.version != Some(0)
}

impl HeadInfo {
    pub(super) fn new(parsed: &httparse::Request<'_, '_>) -> Result<Self, HeadError> {
        let is_http11 = is_http11(parsed);
        let (mut keeps, mut closes, mut wants_upgrade) = (is_http11, false, false);
        let mut expectation = None;
        let (mut lengths, mut codings) = (Repeated::default(), Repeated::default());
        let mut hosts = 0_usize;
        for &httparse::Header { name, value } in parsed.headers.iter() {
            let is = |header: &str| name.eq_ignore_ascii_case(header);
            match name.len() {
                4 if is("host") => {
                    hosts += 1;
                    if !is_host(value) {
                        return Err(HeadError::Malformed("invalid host"));
                    }
                }
                6 if is("expect") => {
                    expectation.get_or_insert(value);
                }
                // HTTP/1.0 does not support upgrades (RFC 9110, section 7.8).
                7 if is("upgrade") => wants_upgrade = is_http11,
                10 if is("connection") => {
                    keeps = keeps || list_contains(value, "keep-alive");
                    closes |= list_contains(value, "close");
                }
                14 if is("content-length") => lengths.add(value),
                17 if is("transfer-encoding") => codings.add(value),
                _ => {}
            }
        }
        if hosts > 1 || (hosts == 0 && is_http11) {
            return Err(HeadError::Malformed("not one host"));
        }
        let continues = expectation.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let body = length(&lengths, &codings, is_http11)
            .ok_or(HeadError::Malformed("invalid length of the body"))?;
        // `close` takes precedence (RFC 9112, section 9.3).
        let keep_alive = keeps && !closes;
        Ok(Self { body, keep_alive, expects_continue: is_http11 && continues, wants_upgrade })
    }
}

/// Returns `true` for a valid value of `Host` (RFC 9110, section 7.2). The host may be empty, as a `reg-name`
/// may be.
fn is_host(value: &[u8]) -> bool {
    let port = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = memchr(b']', literal) else { return false };
        let address = str::from_utf8(&literal[..end]).ok();
        if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
            return false;
        }
        &literal[end + 1..]
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        if !is_name(&value[..end]) {
            return false;
        }
        &value[end..]
    };
    port.is_empty() || (port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

/// Returns `true` for a `reg-name` (RFC 3986, section 3.2.2).
fn is_name(mut rest: &[u8]) -> bool {
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'%', [first, second, tail @ ..]) if first.is_ascii_hexdigit() && second.is_ascii_hexdigit() => {
                tail
            }
            (b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=', _) => tail,
            _ if byte.is_ascii_alphanumeric() => tail,
            _ => return false,
        };
    }
    true
}

/// The values of a header that should occur once.
#[derive(Default)]
struct Repeated<'a> {
    first: Option<&'a [u8]>,
    /// `true` if the header is repeated.
    more: bool,
    /// `true` if the values differ.
    differ: bool,
}

impl<'a> Repeated<'a> {
    fn add(&mut self, value: &'a [u8]) {
        match self.first {
            None => self.first = Some(value),
            Some(first) => {
                self.more = true;
                self.differ |= first != value;
            }
        }
    }
}

/// Returns the length of the body (RFC 9112, section 6.3), or `None` if implementations could disagree about
/// the length.
fn length(lengths: &Repeated<'_>, codings: &Repeated<'_>, is_http11: bool) -> Option<Length> {
    match (codings.first, lengths.first) {
        (None, None) => Some(Length::Known(0)),
        (None, Some(length)) if !lengths.differ => number(length).map(Length::Known),
        (Some(coding), None) if is_http11 && !codings.more => {
            coding.eq_ignore_ascii_case(b"chunked").then_some(Length::Chunked)
        }
        _ => None,
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

    const MAX_LEN: usize = 1000;
    const MAX_HEADERS: usize = 50;

    #[derive(Debug)]
    struct Head {
        request: Request<()>,
        info: HeadInfo,
    }

    fn parse(bytes: &str) -> Result<Option<(usize, Head)>, HeadError> {
        parse_with(bytes, MAX_HEADERS)
    }

    fn parse_with(bytes: &str, max_headers: usize) -> Result<Option<(usize, Head)>, HeadError> {
        let bytes = bytes.as_bytes();
        read(bytes, MAX_LEN, max_headers, |len, parsed| {
            Ok((len, Head { request: request(&bytes[..len], parsed)?, info: HeadInfo::new(parsed)? }))
        })
    }

    fn head(headers: &str) -> Result<Head, HeadError> {
        parse(&format!("POST /a?b=c HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).map(|head| head.unwrap().1)
    }

    #[test]
    fn a_head_is_a_request() {
        let text = "GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n";
        let (len, head) = parse(&format!("{text}rest")).unwrap().unwrap();
        assert_eq!(len, text.len());
        let request = &head.request;
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/socket.io/"));
        assert_eq!(request.uri().query(), Some("EIO=4"));
        assert_eq!(request.headers()["host"], "a");
        assert_eq!(request.headers().get_all("x-two").iter().count(), 2);
        let info = HeadInfo {
            body: Length::Known(0),
            keep_alive: true,
            expects_continue: false,
            wants_upgrade: false,
        };
        assert_eq!(head.info, info);
    }

    #[test]
    fn a_head_may_come_in_parts() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert!(parse(text).unwrap().is_some());
    }

    #[test]
    fn the_connection_goes_on_as_the_version_says() {
        assert!(head("").unwrap().info.keep_alive);
        assert!(!head("Connection: x, Close\r\n").unwrap().info.keep_alive);
        let old = |headers| parse(&format!("GET / HTTP/1.0\r\n{headers}\r\n")).unwrap().unwrap().1;
        assert!(!old("").info.keep_alive);
        assert!(old("Connection: Keep-Alive\r\n").info.keep_alive);
        // `close` takes precedence (RFC 9112, section 9.3), in any order and across several headers.
        for both in [
            "Connection: keep-alive, close\r\n",
            "Connection: close, keep-alive\r\n",
            "Connection: close\r\nConnection: keep-alive\r\n",
            "Connection: keep-alive\r\nConnection: close\r\n",
        ] {
            assert!(!old(both).info.keep_alive, "{both}");
            assert!(!head(both).unwrap().info.keep_alive, "{both}");
        }
        assert!(head("Expect: 100-Continue\r\n").unwrap().info.expects_continue);
    }

    #[test]
    fn what_clients_do_not_escape_is_read_as_browsers_write_it() {
        let target = |target: &str| {
            let (_, head) = parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))?.unwrap();
            Ok::<_, HeadError>(head.request.uri().to_string())
        };
        assert_eq!(target("/a?b={\"c\":[1|2]}&d=<e>").unwrap(), "/a?b={%22c%22:[1|2]}&d=%3Ce%3E");
        assert_eq!(target("/<`>?a=%3C<\u{e9}").unwrap(), "/%3C%60%3E?a=%3C%3C\u{e9}");
        assert_eq!(target("/a?b={c|d}\\^`").unwrap(), "/a?b={c|d}\\^`");
        assert!(target("a<b").is_err() && target("http:<").is_err());
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(head("Content-Length: 12\r\n").unwrap().info.body, Length::Known(12));
        assert_eq!(
            head("Content-Length: 12\r\nContent-Length: 12\r\n").unwrap().info.body,
            Length::Known(12)
        );
        let largest = head("Content-Length: 9223372036854775807\r\n").unwrap();
        assert_eq!(largest.info.body, Length::Known(i64::MAX as u64));
        assert_eq!(head("Transfer-Encoding: Chunked\r\n").unwrap().info.body, Length::Chunked);
        for headers in [
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 18446744073709551615\r\n",
            "Content-Length: 9223372036854775808\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            assert!(matches!(head(headers), Err(HeadError::Malformed(_))), "{headers}");
        }
        let old = parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(old, Err(HeadError::Malformed(_))));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "\0\r\n\r\n",
            "GET\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\n folded: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET /\u{7f} HTTP/1.1\r\n\r\n",
        ] {
            assert!(matches!(parse(text), Err(HeadError::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn a_head_has_limits() {
        let long = |len: usize| {
            let frame = "GET / HTTP/1.1\r\nHost: \r\n\r\n";
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(len - frame.len()))
        };
        assert!(parse(&long(MAX_LEN)).unwrap().is_some());
        assert_eq!(parse(&long(MAX_LEN + 1)).unwrap_err(), HeadError::TooLarge);
        assert!(parse(&long(MAX_LEN + 1)[..MAX_LEN - 1]).unwrap().is_none());
        assert_eq!(parse(&long(MAX_LEN + 1)[..MAX_LEN]).unwrap_err(), HeadError::TooLarge);

        let many = |count| head(&"A: b\r\n".repeat(count)).map(|head| head.request.headers().len());
        // The count includes `Host`.
        for count in [FEW_HEADERS, FEW_HEADERS + 1, MAX_HEADERS] {
            assert_eq!(many(count - 1), Ok(count));
        }
        assert_eq!(many(MAX_HEADERS), Err(HeadError::TooLarge));
        let few = |count| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
            parse_with(&text, 2).map(|head| head.is_some())
        };
        assert_eq!((few(1), few(2)), (Ok(true), Err(HeadError::TooLarge)));
    }
}
