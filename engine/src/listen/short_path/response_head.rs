//! The encoder of response heads.

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::http::reply::{Content, NO_SNIFF, NO_STORE, Reply};

/// Writes the head of a response. `length` is the length of the body, or `None` for a response that has none by
/// definition, and no header that indicates its length (RFC 9110, section 8.6).
pub(super) fn write_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, length: Option<usize>) {
    write_status(out, status);
    write_headers(out, Some(headers), length);
}

/// Writes the head of a reply with a body.
pub(super) fn write_reply_head(out: &mut Vec<u8>, reply: &Reply, content: Content) {
    write_status(out, reply.status);
    write_header(out, "Content-Type", content.as_str().as_bytes());
    write_header(out, "Cache-Control", NO_STORE.as_bytes());
    if content == Content::Script {
        write_header(out, "X-Content-Type-Options", NO_SNIFF.as_bytes());
    }
    write_headers(out, reply.headers.as_deref(), Some(reply.body.len()));
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the remaining headers and the empty line.
fn write_headers(out: &mut Vec<u8>, headers: Option<&HeaderMap>, length: Option<usize>) {
    let mut is_dated = false;
    for (name, value) in headers.into_iter().flatten() {
        // A hook may have added them.
        if *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH {
            continue;
        }
        is_dated |= *name == header::DATE;
        let start = out.len();
        write_header(out, name.as_str(), value.as_bytes());
        capitalize(&mut out[start..start + name.as_str().len()]);
    }
    if let Some(length) = length {
        write_header(out, "Content-Length", itoa::Buffer::new().format(length).as_bytes());
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

    #[test]
    fn the_length_of_the_body_is_told_once() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("b"));
        headers.insert("date", HeaderValue::from_static("now"));
        headers.insert("content-length", HeaderValue::from_static("7"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        let told = |length| {
            let mut out = Vec::new();
            write_head(&mut out, StatusCode::OK, &headers, length);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(told(Some(12)), "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: now\r\nContent-Length: 12\r\n\r\n");
        assert_eq!(told(None), "HTTP/1.1 200 OK\r\nX-A: b\r\nDate: now\r\n\r\n");
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
