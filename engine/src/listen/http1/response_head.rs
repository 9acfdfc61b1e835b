//! The encoder of response heads.

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::http::reply::{Content, NO_SNIFF, NO_STORE, Reply};

/// The way in which the end of a body is indicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, and no header that indicates its length (RFC 9110, section 8.6).
    None,
    /// There is no body, because the request method is HEAD. `Content-Length` may be the length of the body
    /// in the response to GET.
    Head,
    Length(u64),
    Chunked,
    /// The connection closes after the body.
    UntilClose,
}

/// Writes the head of a response. `framing` determines the headers that indicate the length of the body.
pub(super) fn write_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, framing: Framing) {
    write_status(out, status);
    write_headers(out, Some(headers), framing);
}

/// Writes the head of a reply with a body.
pub(super) fn write_reply_head(out: &mut Vec<u8>, reply: &Reply, content: Content) {
    write_status(out, reply.status);
    write_header(out, "Content-Type", content.as_str().as_bytes());
    write_header(out, "Cache-Control", NO_STORE.as_bytes());
    if content == Content::Script {
        write_header(out, "X-Content-Type-Options", NO_SNIFF.as_bytes());
    }
    write_headers(out, reply.headers.as_deref(), Framing::Length(reply.body.len() as u64));
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the remaining headers and the empty line.
fn write_headers(out: &mut Vec<u8>, headers: Option<&HeaderMap>, framing: Framing) {
    let mut is_dated = false;
    for (name, value) in headers.into_iter().flatten() {
        if *name == header::TRANSFER_ENCODING || (*name == header::CONTENT_LENGTH && framing != Framing::Head)
        {
            continue;
        }
        is_dated |= *name == header::DATE;
        let start = out.len();
        write_header(out, name.as_str(), value.as_bytes());
        capitalize(&mut out[start..start + name.as_str().len()]);
    }
    match framing {
        Framing::Length(length) => {
            write_header(out, "Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        Framing::Chunked => write_header(out, "Transfer-Encoding", b"chunked"),
        Framing::None | Framing::Head | Framing::UntilClose => {}
    }
    if !is_dated {
        write_date(out);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Capitalizes the name of a header as in the RFCs, because some clients on microcontrollers compare names
/// case-sensitively.
fn capitalize(name: &mut [u8]) {
    let mut starts = true;
    for byte in &mut *name {
        if starts {
            byte.make_ascii_uppercase();
        }
        starts = *byte == b'-';
    }
    if name.starts_with(b"Sec-Websocket") {
        name[7] = b'S';
    }
}

/// Writes the `Date` header. Each thread caches the header for one second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static WRITTEN: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    WRITTEN.with_borrow_mut(|(of, date)| {
        if date.is_empty() || *of != second {
            *of = second;
            date.clear();
            write_header(date, "Date", httpdate::fmt_http_date(now).as_bytes());
        }
        out.extend_from_slice(date);
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(status: StatusCode, headers: &HeaderMap, framing: Framing) -> String {
        let mut out = Vec::new();
        write_head(&mut out, status, headers, framing);
        let text = String::from_utf8(out).unwrap();
        let mut lines: Vec<_> = text.split_inclusive("\r\n").collect();
        let date = lines.iter().position(|line| line.starts_with("Date: ")).unwrap();
        assert!(lines.remove(date).ends_with(" GMT\r\n"));
        lines.concat()
    }

    #[test]
    fn the_length_of_the_body_is_told_once() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("b"));
        headers.insert("content-length", HeaderValue::from_static("7"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        let told = |framing| head(StatusCode::OK, &headers, framing);
        assert_eq!(told(Framing::Length(12)), "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 12\r\n\r\n");
        assert_eq!(told(Framing::Chunked), "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(told(Framing::UntilClose), "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n");
        assert_eq!(told(Framing::None), "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n");
        assert_eq!(told(Framing::Head), "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 7\r\n\r\n");
    }

    #[test]
    fn names_are_written_as_in_the_rfcs() {
        for name in [
            "Sec-WebSocket-Accept",
            "Sec-WebSocket-Extensions",
            "Set-Cookie",
            "Vary",
            "X-A-B",
            "Sec-Web",
            "A-",
        ] {
            let mut bytes = name.to_ascii_lowercase().into_bytes();
            capitalize(&mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), name);
        }
    }
}
