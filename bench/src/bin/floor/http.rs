//! A parser for the HTTP requests that Engine.IO needs.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha1::{Digest as _, Sha1};

/// A parsed request.
pub(crate) struct Request<'a> {
    /// The session id, or `None` in a request that opens a session.
    pub(crate) sid: Option<&'a str>,
    pub(crate) asks: Asks<'a>,
    /// The length of the request including the body.
    pub(crate) length: usize,
}

pub(crate) enum Asks<'a> {
    /// A WebSocket handshake with the value of `Sec-WebSocket-Key`.
    WebSocket(&'a [u8]),
    /// A poll.
    Poll,
    /// A POST with these packets.
    Post(&'a [u8]),
}

pub(crate) enum Parsed<'a> {
    Request(Request<'a>),
    /// The request is incomplete.
    Partial,
    /// The bytes are not HTTP, or the request is not supported.
    Invalid,
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Invalid,
    };
    let header = |name: &str| {
        request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let Some((_, query)) = request.path.and_then(|path| path.split_once('?')) else { return Parsed::Invalid };
    let sid = query.split('&').find_map(|pair| pair.strip_prefix("sid="));
    let mut length = head;
    let asks = if query.contains("transport=websocket") {
        let Some(key) = header("sec-websocket-key") else { return Parsed::Invalid };
        Asks::WebSocket(key)
    } else if request.method == Some("POST") {
        let body =
            header("content-length").and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
        let Some(body) = body else { return Parsed::Invalid };
        length += body;
        let Some(body) = bytes.get(head..length) else { return Parsed::Partial };
        Asks::Post(body)
    } else {
        Asks::Poll
    };
    Parsed::Request(Request { sid, asks, length })
}

/// Returns the response to a WebSocket handshake.
pub(crate) fn switching(key: &[u8]) -> String {
    let accept = BASE64_STANDARD.encode(
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize(),
    );
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Returns a response to a poll or a POST with this body.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
