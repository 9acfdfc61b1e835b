//! Requests that violate RFC 9112, 9110 or 6455, sent as raw bytes. Each gets a 400 and has no other effect.

use engineio::{Cors, EngineConfig};

use crate::support::{Http, HttpResponse, Polling, Server, UPGRADE, frame};

const TARGET: &str = "/engine.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

/// Returns the response to these bytes on a new connection.
async fn answer(server: &Server, bytes: impl AsRef<[u8]>) -> HttpResponse {
    let mut http = Http::connect(server).await;
    http.send(bytes).await;
    http.response().await
}

/// Checks that the bytes are rejected with a JSON error and that the server reads nothing after them.
async fn refused(server: &Server, bytes: impl AsRef<[u8]>) {
    let text = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    let mut http = Http::connect(server).await;
    http.send(bytes).await;
    let answer = http.response().await;
    assert_eq!((answer.status, &*answer.body), (400, BAD_REQUEST), "{text}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{text}");
    assert_eq!(answer.header("connection"), Some("close"), "{text}");
    assert_eq!(http.rest().await, "", "{text}");
}

/// Checks that the bytes are rejected and that the server reads nothing after them. hyper sends no body with such a
/// response.
async fn malformed(server: &Server, bytes: impl AsRef<[u8]>) {
    let text = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    let mut http = Http::connect(server).await;
    http.send(bytes).await;
    let answer = http.response().await;
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{text}");
    assert_eq!(http.rest().await, "", "{text}");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = server().await;
    for hosts in [
        "",
        "Host: test\r\nHost: test\r\n",
        "Host: test\r\nhost: other\r\n",
        "Host: te st\r\n",
        "Host: test, other\r\n",
        "Host: test/path\r\n",
        "Host: user@test\r\n",
        "Host: test:80:80\r\n",
        "Host: test:port\r\n",
        "Host: http://test\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [test]\r\n",
        "Host: te%st\r\n",
        "Host: te\\st\r\n",
        "Host: t\u{e9}st\r\n",
        "Host: \"test\"\r\n",
    ] {
        refused(&server, format!("GET {TARGET} HTTP/1.1\r\n{hosts}\r\n")).await;
        // The authority in the target does not replace the `Host` header.
        refused(&server, format!("GET http://test{TARGET} HTTP/1.1\r\n{hosts}\r\n")).await;
    }
    // Two `Host` headers, or an invalid one, are rejected in HTTP/1.0 as well.
    for hosts in ["Host: test\r\nHost: test\r\n", "Host: te st\r\n"] {
        refused(&server, format!("GET {TARGET} HTTP/1.0\r\n{hosts}\r\n")).await;
    }
    assert_eq!(server.engine.session_count(), 0);
    for host in [
        "test",
        "test:",
        "test:3000",
        "127.0.0.1:3000",
        "[::1]",
        "[::1]:3000",
        "[2001:db8::127.0.0.1]",
        "my_app.internal",
        "xn--mnchen-3ya.example.",
        "a~b!c$d&e'f(g)h*i+j,k;l=m",
        "t%C3%A9st",
        "",
    ] {
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer(&server, request).await.status, 200, "{host}");
    }
    assert_eq!(answer(&server, format!("GET {TARGET} HTTP/1.0\r\n\r\n")).await.status, 200);
}

#[tokio::test]
async fn an_upgrade_has_no_body() {
    let mut server = server().await;
    let polling = Polling::open(&server).await;
    let _ = server.session().await;
    let frames = [frame(0x81, "4one"), frame(0x81, "4two")].concat();
    for target in [WEBSOCKET.to_owned(), format!("/engine.io/?{}", polling.upgrade_query())] {
        for body in
            [format!("Content-Length: {}\r\n", frames.len()), "Transfer-Encoding: chunked\r\n".to_owned()]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{body}{UPGRADE}\r\n");
            let answer = answer(&server, [head.as_bytes(), &frames].concat()).await;
            assert_eq!((answer.status, &*answer.body), (400, BAD_REQUEST), "{head}");
        }
        // A length of zero means that there is no body.
        let head = format!("GET {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n{UPGRADE}\r\n");
        assert_eq!(answer(&server, head).await.status, 101);
    }
}

#[tokio::test]
async fn http_1_0_cannot_be_upgraded() {
    let server = server().await;
    let polling = Polling::open(&server).await;
    for target in [WEBSOCKET.to_owned(), format!("/engine.io/?{}", polling.upgrade_query())] {
        let head = format!("GET {target} HTTP/1.0\r\nHost: test\r\n{UPGRADE}\r\n");
        let answer = answer(&server, head).await;
        assert_eq!((answer.status, &*answer.body), (400, BAD_REQUEST));
    }
    // HTTP/1.0 ignores the `Upgrade` header.
    let head = format!("GET {TARGET} HTTP/1.0\r\nHost: test\r\n{UPGRADE}\r\n");
    assert_eq!(answer(&server, head).await.status, 200);
}

#[tokio::test]
async fn a_handshake_has_one_key_and_one_version() {
    let server = server().await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for twice in [key, version, "Sec-WebSocket-Version: 8\r\n"] {
        let head = format!("GET {WEBSOCKET} HTTP/1.1\r\nHost: test\r\n{UPGRADE}{twice}\r\n");
        let answer = answer(&server, head).await;
        assert_eq!((answer.status, &*answer.body), (400, BAD_REQUEST), "{twice}");
    }
    for other in ["8", "14", "", "13, 8", "013"] {
        let upgrade = UPGRADE.replace("Version: 13", &format!("Version: {other}"));
        let head = format!("GET {WEBSOCKET} HTTP/1.1\r\nHost: test\r\n{upgrade}\r\n");
        let answer = answer(&server, head).await;
        assert_eq!((answer.status, &*answer.body), (400, BAD_REQUEST), "{other}");
        // The response names the supported version (RFC 6455, section 4.4).
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{other}");
    }
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn what_clients_do_not_escape_in_a_query_is_read_as_it_stands() {
    let server = server().await;
    // The `http` crate accepts these characters. The short path escapes the others, and hyper rejects them.
    let accepted = "{}|\\^'[]é";
    let odd = if testkit::uses_short_path() { format!("\"<>`{accepted}") } else { accepted.to_owned() };
    let open = answer(&server, format!("GET {TARGET}&greet={odd} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    assert_eq!(open.status, 200, "{open:?}");
    let sid = &open.body[9..29];
    let poll = format!("GET {TARGET}&a={odd}&sid={sid} HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(answer(&server, poll).await.body, format!("4{odd}"));
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = server().await;
    for request in [
        &b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n"[..],
        b"GET /engine.io/?a=\x7f HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /engine.io/?a= b HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET a<b HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nA: \0\r\n\r\n",
        b"G\0T / HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        malformed(&server, request).await;
    }
}

/// Clients on microcontrollers compare header names case-sensitively.
#[tokio::test]
async fn the_names_of_headers_are_written_as_in_the_rfcs() {
    let server = Server::start(EngineConfig::default().cors(Cors::origins(["http://a"]))).await;
    let client = Polling::open(&server).await;
    let close = "Connection: close\r\nOrigin: http://a\r\n";
    for (request, names) in [
        (
            format!(
                "GET {WEBSOCKET} HTTP/1.1\r\nHost: test\r\n{UPGRADE}Sec-WebSocket-Protocol: a\r\n\
                 Origin: http://a\r\n\r\n"
            ),
            &[
                "Connection: Upgrade\r\n",
                "Upgrade: websocket\r\n",
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
                "Sec-WebSocket-Protocol: a\r\n",
                "Access-Control-Allow-Origin: http://a\r\n",
                "Date: ",
            ] as &[_],
        ),
        (
            format!("GET {TARGET} HTTP/1.1\r\nHost: test\r\n{close}\r\n"),
            &[
                "Content-Type: text/plain",
                "Cache-Control: no-store\r\n",
                "Content-Length: ",
                "Vary: Origin\r\n",
            ],
        ),
        (
            format!(
                "POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n4a",
                client.query
            ),
            &[
                "Content-Type: text/html\r\n",
                "Cache-Control: no-store\r\n",
                "Content-Length: 2\r\n",
                "Date: ",
            ],
        ),
        ("nonsense\r\n\r\n".to_owned(), &["Connection: close\r\n", "Content-Length: "]),
    ] {
        let mut http = Http::connect(&server).await;
        http.send(&request).await;
        let head = http.head().await;
        for name in names {
            // hyper capitalizes words only.
            let name = if testkit::uses_short_path() {
                (*name).to_owned()
            } else {
                name.replace("Sec-WebSocket-", "Sec-Websocket-")
            };
            assert!(head.contains(&name), "{name} in {head}");
        }
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            assert!(line.starts_with(|first: char| first.is_ascii_uppercase()), "{line}");
        }
    }
}

#[tokio::test]
async fn chunks_and_trailers_are_what_the_grammar_says() {
    let server = server().await;
    for (body, status) in [
        ("2\r\n4a\r\n0\r\n\r\n", 200),
        ("2;name=value;other=\"quoted\"\r\n4a\r\n0\r\nTrailer: value\r\n\r\n", 200),
        ("2 ; name=value\r\n4a\r\n0\r\n\r\n", 200),
        ("2 \r\n4a\r\n0\r\n\r\n", 200),
        ("2\t\r\n4a\r\n0\r\n\r\n", 200),
        (" 2\r\n4a\r\n0\r\n\r\n", 400),
        ("2 2\r\n4a\r\n0\r\n\r\n", 400),
        // The content of an extension is ignored.
        ("2;a\0b\r\n4a\r\n0\r\n\r\n", 200),
        ("2\r\n4a\r\n0\r\nTrailer: a\r\n folded\r\n\r\n", 400),
        ("2\r\n4a\r\n0\r\nTrailer: a\0b\r\n\r\n", 400),
        ("2\r\n4a\r\n0\r\nTrailer : a\r\n\r\n", 400),
        ("2\r\n4a\r\n0\r\nno colon\r\n\r\n", 400),
        ("2\r\n4a\r\n0\r\n: no name\r\n\r\n", 400),
        ("10000000000000000\r\n4a", 400),
        ("ffffffffffffffff\r\n4a", 413),
        ("7fffffffffffffff\r\n4a", 413),
    ] {
        let polling = Polling::open(&server).await;
        let head = format!(
            "POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
            polling.query
        );
        // The server recognizes a truncated chunk as too large only after it has read enough of the chunk.
        let more = if status == 413 { "x".repeat(1_000_000) } else { String::new() };
        let answer = answer(&server, format!("{head}{body}{more}")).await;
        assert_eq!(answer.status, status, "{body:?}");
    }
}

#[tokio::test]
async fn words_without_a_body_are_limited() {
    let server = server().await;
    let extension = |len: usize| format!("2;{}\r\n4a\r\n0\r\n\r\n", "x".repeat(len));
    let trailer = |len: usize| format!("2\r\n4a\r\n0\r\nA: {}\r\n\r\n", "x".repeat(len - "A: \r\n".len()));
    let trailers = |count: usize| format!("2\r\n4a\r\n0\r\n{}\r\n", "A: b\r\n".repeat(count));
    for (body, status) in [
        (extension(16 * 1024 - 1), 200),
        (extension(16 * 1024), 400),
        (trailer(16 * 1024 - 3), 200),
        (trailer(16 * 1024 - 2), 400),
        (trailers(100), 200),
        (trailers(101), 400),
    ] {
        let polling = Polling::open(&server).await;
        let head = format!(
            "POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
            polling.query
        );
        let answer = answer(&server, format!("{head}{body}")).await;
        assert_eq!(answer.status, status, "{} bytes", body.len());
    }
}
