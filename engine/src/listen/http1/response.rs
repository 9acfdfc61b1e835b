//! The head of an answer.

use std::{cell::RefCell, time::SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::answer::{Content, NO_STORE, Reply};

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, nor a header for it.
    None,
    Length(u64),
    Chunked,
    /// The connection ends with it.
    UntilClose,
}

/// Writes the head of an answer. What is said of the body's length is decided here.
pub(super) fn write_head(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, framing: Framing) {
    write_status(out, status);
    write_headers(out, Some(headers), framing);
}

/// Writes the head of a reply that has a body.
pub(super) fn write_reply_head(out: &mut Vec<u8>, reply: &Reply, content: Content) {
    write_status(out, reply.status);
    write_header(out, "content-type", content.as_str().as_bytes());
    write_header(out, "cache-control", NO_STORE.as_bytes());
    write_headers(out, reply.headers.as_deref(), Framing::Length(reply.body.len() as u64));
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes all headers behind those that are there.
fn write_headers(out: &mut Vec<u8>, headers: Option<&HeaderMap>, framing: Framing) {
    let mut is_dated = false;
    for (name, value) in headers.into_iter().flatten() {
        if *name == header::TRANSFER_ENCODING || (*name == header::CONTENT_LENGTH && framing != Framing::None)
        {
            continue;
        }
        is_dated |= *name == header::DATE;
        write_header(out, name.as_str(), value.as_bytes());
    }
    match framing {
        Framing::Length(length) => {
            write_header(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        Framing::Chunked => write_header(out, "transfer-encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
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

/// The date changes once in a second, so each thread keeps it as it was written last.
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
            write_header(date, "date", httpdate::fmt_http_date(now).as_bytes());
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
        let date = lines.iter().position(|line| line.starts_with("date: ")).unwrap();
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
        assert_eq!(told(Framing::Length(12)), "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 12\r\n\r\n");
        assert_eq!(told(Framing::Chunked), "HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(told(Framing::UntilClose), "HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n");
        // As in the answer to HEAD, which tells the length of what GET would bring.
        assert_eq!(told(Framing::None), "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 7\r\n\r\n");
    }
}
