//! The head of a request.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};

use crate::request::lists;

/// As many headers as most requests have at most: their places lie on the stack.
const FEW_HEADERS: usize = 32;

/// What a head says to whoever reads the requests. It is noted in one pass: to look for each of these headers would cost
/// more than all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) body: Length,
    pub(super) keep_alive: bool,
    /// Whether the client waits for leave to send its body.
    pub(super) expects_continue: bool,
    /// Whether the client would like to speak another protocol.
    pub(super) asks_upgrade: bool,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadError {
    Malformed,
    /// More bytes or more headers than there may be.
    TooLarge,
}

impl HeadError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }
}

/// Parses a head if it is complete, and hands it on with the bytes that it took.
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
        Err(_) => Err(HeadError::Malformed),
    }
}

/// Makes a request of a head. All of its parts share one copy of the bytes.
pub(super) fn request(bytes: &[u8], parsed: &httparse::Request<'_, '_>) -> Result<Request<()>, HeadError> {
    let shared = Bytes::copy_from_slice(bytes);
    let share = |part: &[u8]| {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        shared.slice(start..start + part.len())
    };
    let malformed = |_| HeadError::Malformed;
    let method = parsed.method.unwrap_or_default();
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed)?;
    *request.uri_mut() = Uri::from_maybe_shared(share(parsed.path.unwrap_or_default().as_bytes()))
        .map_err(|_| HeadError::Malformed)?;
    *request.version_mut() = if is_current(parsed) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for part in parsed.headers.iter() {
        let name = HeaderName::from_bytes(part.name.as_bytes()).map_err(|_| HeadError::Malformed)?;
        headers.append(name, HeaderValue::from_maybe_shared(share(part.value)).map_err(malformed)?);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

pub(super) fn is_current(parsed: &httparse::Request<'_, '_>) -> bool {
    parsed.version != Some(0)
}

impl Said {
    pub(super) fn of(parsed: &httparse::Request<'_, '_>) -> Result<Self, HeadError> {
        let is_current = is_current(parsed);
        let (mut keep_alive, mut asks_upgrade) = (is_current, false);
        let mut expectation = None;
        let (mut lengths, mut codings) = (Repeated::default(), Repeated::default());
        for &httparse::Header { name, value } in parsed.headers.iter() {
            let is = |header: &str| name.eq_ignore_ascii_case(header);
            if is("connection") {
                if lists(value, if is_current { "close" } else { "keep-alive" }) {
                    keep_alive = !is_current;
                }
            } else if is("content-length") {
                lengths.add(value);
            } else if is("transfer-encoding") {
                codings.add(value);
            } else if is("expect") {
                expectation.get_or_insert(value);
            } else if is("upgrade") {
                asks_upgrade = true;
            }
        }
        let continues = expectation.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let body = length(&lengths, &codings, is_current).ok_or(HeadError::Malformed)?;
        Ok(Self { body, keep_alive, expects_continue: is_current && continues, asks_upgrade })
    }
}

/// A header that should come once.
#[derive(Default)]
struct Repeated<'a> {
    first: Option<&'a [u8]>,
    /// Whether there are others, and whether they are the same.
    more: bool,
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

/// The length of the body, RFC 9112 section 6.3. What two readers could take differently is refused.
fn length(lengths: &Repeated<'_>, codings: &Repeated<'_>, is_current: bool) -> Option<Length> {
    match (codings.first, lengths.first) {
        (None, None) => Some(Length::Known(0)),
        (None, Some(length)) if !lengths.differ => number(length).map(Length::Known),
        (Some(coding), None) if is_current && !codings.more => {
            coding.eq_ignore_ascii_case(b"chunked").then_some(Length::Chunked)
        }
        _ => None,
    }
}

/// Digits only: `str::parse` would take a sign.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LEN: usize = 1000;
    const MAX_HEADERS: usize = 50;

    #[derive(Debug)]
    struct Head {
        request: Request<()>,
        said: Said,
    }

    fn parse(bytes: &str) -> Result<Option<(usize, Head)>, HeadError> {
        parse_with(bytes, MAX_HEADERS)
    }

    fn parse_with(bytes: &str, max_headers: usize) -> Result<Option<(usize, Head)>, HeadError> {
        let bytes = bytes.as_bytes();
        read(bytes, MAX_LEN, max_headers, |len, parsed| {
            Ok((len, Head { request: request(&bytes[..len], parsed)?, said: Said::of(parsed)? }))
        })
    }

    fn head(headers: &str) -> Result<Head, HeadError> {
        parse(&format!("POST /a?b=c HTTP/1.1\r\n{headers}\r\n")).map(|head| head.unwrap().1)
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
        let said =
            Said { body: Length::Known(0), keep_alive: true, expects_continue: false, asks_upgrade: false };
        assert_eq!(head.said, said);
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
        assert!(head("").unwrap().said.keep_alive);
        assert!(!head("Connection: x, Close\r\n").unwrap().said.keep_alive);
        let old = |headers| parse(&format!("GET / HTTP/1.0\r\n{headers}\r\n")).unwrap().unwrap().1;
        assert!(!old("").said.keep_alive);
        assert!(old("Connection: Keep-Alive\r\n").said.keep_alive);
        assert!(head("Expect: 100-Continue\r\n").unwrap().said.expects_continue);
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(head("Content-Length: 12\r\n").unwrap().said.body, Length::Known(12));
        assert_eq!(
            head("Content-Length: 12\r\nContent-Length: 12\r\n").unwrap().said.body,
            Length::Known(12)
        );
        assert_eq!(head("Transfer-Encoding: Chunked\r\n").unwrap().said.body, Length::Chunked);
        for headers in [
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            assert_eq!(head(headers).unwrap_err(), HeadError::Malformed, "{headers}");
        }
        let old = parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old.unwrap_err(), HeadError::Malformed);
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
            assert_eq!(parse(text).unwrap_err(), HeadError::Malformed, "{text:?}");
        }
    }

    #[test]
    fn a_head_has_limits() {
        let long = |len: usize| {
            let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n";
            format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(len - frame.len()))
        };
        assert!(parse(&long(MAX_LEN)).unwrap().is_some());
        assert_eq!(parse(&long(MAX_LEN + 1)).unwrap_err(), HeadError::TooLarge);
        assert!(parse(&long(MAX_LEN + 1)[..MAX_LEN - 1]).unwrap().is_none());
        assert_eq!(parse(&long(MAX_LEN + 1)[..MAX_LEN]).unwrap_err(), HeadError::TooLarge);

        let many = |count| head(&"A: b\r\n".repeat(count)).map(|head| head.request.headers().len());
        for count in [FEW_HEADERS, FEW_HEADERS + 1, MAX_HEADERS] {
            assert_eq!(many(count), Ok(count));
        }
        assert_eq!(many(MAX_HEADERS + 1), Err(HeadError::TooLarge));
        let few = |count| {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
            parse_with(&text, 2).map(|head| head.is_some())
        };
        assert_eq!((few(2), few(3)), (Ok(true), Err(HeadError::TooLarge)));
    }
}
