//! Long-polling with a client that follows the protocol.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, TransportKind};
use tokio::time::timeout;

use crate::support::{Http, Polling, Server, parked, payload};

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

#[tokio::test]
async fn handshake_is_that_of_the_reference() {
    let server = server().await;
    let answer = Http::connect(&server).await.get("EIO=4&transport=polling&t=abc").await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    let names: Vec<_> = answer.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["cache-control", "content-length", "content-type", "date"]);

    let sid = &answer.body[r#"0{"sid":""#.len()..][..20];
    assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{sid}");
    let rest = r#"","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(answer.body, format!(r#"0{{"sid":"{sid}{rest}"#));
    assert_eq!(server.engine.session_count(), 1);
}

#[tokio::test]
async fn handshake_tells_the_configuration() {
    let config = EngineConfig::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .max_http_buffer_size(1234_usize)
        .transports([TransportKind::Polling]);
    let server = Server::start(config).await;
    let answer = Http::connect(&server).await.get("EIO=4&transport=polling").await;
    let rest = r#""upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1234}"#;
    assert!(answer.body.ends_with(rest), "{}", answer.body);
}

#[tokio::test]
async fn answers_have_the_headers_of_the_reference() {
    let server = server().await;
    let mut client = Polling::open(&server).await;

    let answer = client.post("4hello").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some("2"));

    let query = client.query.clone();
    let answer = client.get.get(&query).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "4hello"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some("6"));
}

#[tokio::test]
async fn echoes_text_and_binary() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    for packet in ["4hello", "4", "4€uro 🦀 \u{0}", "4two\nlines", "bAQIDBA==", "b"] {
        client.send(packet).await;
        assert_eq!(client.poll().await, packet);
    }
}

#[tokio::test]
async fn a_payload_holds_many_packets_both_ways() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let packets = payload(&["4a", "bAQI=", "4b", "6", "4c"]);
    client.send(&packets).await;
    assert_eq!(client.poll().await, payload(&["4a", "bAQI=", "4b", "4c"]));

    let many: Vec<_> = (0..4096).map(|n| format!("4{n}")).collect();
    let many = payload(&many.iter().map(String::as_str).collect::<Vec<_>>());
    client.send(&many).await;
    assert_eq!(client.poll().await, many);
}

#[tokio::test]
async fn messages_that_were_sent_while_connecting_come_with_the_first_poll() {
    let mut server = server().await;
    let mut http = Http::connect(&server).await;
    let open = http.get("EIO=4&transport=polling&greet=welcome").await.body;
    assert!(open.starts_with("0{") && !open.contains('\u{1e}'), "{open}");
    let session = server.session().await;
    session.send(&[Frame::text("again")]).unwrap();
    let poll = format!("EIO=4&transport=polling&sid={}", session.id());
    assert_eq!(http.get(&poll).await.body, payload(&["4welcome", "4again"]));
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_until_something_is_sent() {
    let mut server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    assert!(timeout(Duration::from_secs(24), client.polled()).await.is_err());
    session.send(&[Frame::text("at last")]).unwrap();
    assert_eq!(client.polled().await, "4at last");
}

#[tokio::test]
async fn a_parked_poll_takes_the_echo_of_a_post() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    client.send(payload(&["4a", "4b"])).await;
    assert_eq!(client.polled().await, payload(&["4a", "4b"]));
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    let parts =
        [head.as_str(), "Transfer-Encoding: chunked\r\n\r\n", "3\r\n4he\r\n", "3\r\nllo\r\n", "0\r\n\r\n"];
    for part in parts {
        client.post.send(part).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.post.response().await.body, "ok");
    assert_eq!(client.poll().await, "4hello");
}

#[tokio::test]
async fn requests_may_come_in_one_segment() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let head = |method| format!("{method} /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    let post = head("POST") + "Content-Length: 6\r\n\r\n4hello";
    let poll = head("GET") + "\r\n";
    client.get.send([post.as_str(), &poll, &post, &poll].concat()).await;
    for body in ["ok", "4hello", "ok", "4hello"] {
        assert_eq!(client.get.response().await.body, body);
    }
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::with_buffers(EngineConfig::default(), 1);
    let mut client = Polling::open(&server).await;
    client.send(payload(&["4one", "4two"])).await;
    assert_eq!(client.poll().await, payload(&["4one", "4two"]));
}

#[tokio::test]
async fn any_content_type_but_octet_stream_is_text() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let query = client.query.clone();
    for content_type in ["text/plain;charset=UTF-8", "text/html", "application/octet-stream; charset=x"] {
        let header = format!("Content-Type: {content_type}\r\n");
        let answer = client.post.request("POST", &query, &header, "4x").await;
        assert_eq!(answer.body, "ok", "{content_type}");
        assert_eq!(client.poll().await, "4x");
    }
}

#[tokio::test]
async fn packets_without_meaning_are_ignored() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    client.send(payload(&["0", "3", "5", "6", "4still here"])).await;
    assert_eq!(client.poll().await, "4still here");
}

#[tokio::test]
async fn a_close_packet_ends_the_session() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    client.send(payload(&["4last words", "1", "4too late"])).await;
    assert_eq!(client.polled().await, "4last words");
    assert_eq!(server.end().await, CloseReason::TransportClose);
    assert!(client.is_gone(&server).await);

    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    client.send("1").await;
    assert_eq!(client.polled().await, "6");
    assert_eq!(server.end().await, CloseReason::TransportClose);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn methods_that_mean_nothing_leave_the_session_alone() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = client.get.request(method, &client.query, "", "").await;
        assert_eq!((answer.status, answer.body.as_str()), (500, ""), "{method}");
    }
    client.send("4alive").await;
    assert_eq!(client.poll().await, "4alive");
}

#[tokio::test]
async fn sessions_do_not_mix() {
    let server = server().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Polling::open(&server).await);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("4{n}")).await;
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.poll().await, format!("4{n}"));
    }
}
