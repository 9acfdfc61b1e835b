//! Prepared requests, and parsers for the responses.

use anyhow::{Context as _, ensure};

/// The key of the example in RFC 6455. `ACCEPT` is the matching value of `Sec-WebSocket-Accept`.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Returns the request target for a new session, or for an existing one.
pub(crate) fn path(transport: &str, sid: Option<&str>) -> String {
    let path = format!("/socket.io/?EIO=4&transport={transport}");
    match sid {
        Some(sid) => format!("{path}&sid={sid}"),
        None => path,
    }
}

pub(crate) fn get(port: u16, sid: Option<&str>) -> Vec<u8> {
    let path = path("polling", sid);
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n").into_bytes()
}

pub(crate) fn post(port: u16, sid: &str, body: &str) -> Vec<u8> {
    let (path, length) = (path("polling", Some(sid)), body.len());
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns the request of a WebSocket handshake.
pub(crate) fn upgrade(port: u16, sid: Option<&str>) -> Vec<u8> {
    let path = path("websocket", sid);
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Returns the body of a successful response and the length of the response, or `None` if it is incomplete.
pub(crate) fn answer(bytes: &[u8]) -> anyhow::Result<Option<(&str, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("an HTTP answer")? else {
        return Ok(None);
    };
    ensure!(response.code == Some(200), "refused: {}", String::from_utf8_lossy(bytes));
    let length = header(&response, "content-length").context("an answer without Content-Length")?;
    let end = head + std::str::from_utf8(length)?.parse::<usize>()?;
    let Some(body) = bytes.get(head..end) else { return Ok(None) };
    Ok(Some((std::str::from_utf8(body)?, end)))
}

/// Returns the length of the response to a WebSocket handshake, or `None` if it is incomplete.
pub(crate) fn upgraded(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).context("the answer to an upgrade")?
    else {
        return Ok(None);
    };
    ensure!(response.code == Some(101), "upgrade refused: {}", String::from_utf8_lossy(bytes));
    ensure!(header(&response, "sec-websocket-accept") == Some(ACCEPT), "wrong Sec-WebSocket-Accept");
    Ok(Some(length))
}

fn header<'a>(response: &httparse::Response<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Returns the session id from an open packet.
pub(crate) fn sid(open: &str) -> anyhow::Result<String> {
    #[derive(serde::Deserialize)]
    struct Open {
        sid: String,
    }
    let json = open.strip_prefix('0').with_context(|| format!("no open packet: {open}"))?;
    Ok(serde_json::from_str::<Open>(json)?.sid)
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn an_answer_ends_where_it_says() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabcHTTP/1.1";
        assert_eq!(answer(bytes).unwrap(), Some(("abc", bytes.len() - 8)));
        assert_eq!(answer(&bytes[..bytes.len() - 9]).unwrap(), None);
        assert!(answer(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
