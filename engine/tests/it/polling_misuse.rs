//! Violations of the polling protocol. The session is closed and every request gets a response.

use engineio::{CloseReason, EngineConfig};

use crate::support::{Http, Polling, Server, parked, payload};

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

/// Opens a session with a pending poll.
async fn parked_client(server: &mut Server) -> Polling {
    let mut client = Polling::open(server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    client
}

#[tokio::test]
async fn malformed_packets_end_the_session_after_those_before_them() {
    let mut server = server().await;
    for (body, delivered) in [
        (String::new(), "1"),
        (payload(&["4a", ""]), "4a\u{1e}1"),
        (payload(&["", "4a"]), "1"),
        (payload(&["4a", "4b", "7", "4c"]), "4a\u{1e}4b\u{1e}1"),
        ("hello".to_owned(), "1"),
        ("éabcd".to_owned(), "1"),
        ("b*".to_owned(), "1"),
        (payload(&["4a", "bAQI"]), "4a\u{1e}1"),
        (" 4a".to_owned(), "1"),
    ] {
        let mut client = parked_client(&mut server).await;
        let answer = client.post(&body).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{body:?}");
        assert_eq!(client.polled().await, delivered, "{body:?}");
        assert_eq!(server.end().await, CloseReason::ParseError, "{body:?}");
        assert!(client.is_gone(&server).await);
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf8_ends_the_session() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    let answer = client.post(b"4\xff\xfe").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::ParseError);
}

#[tokio::test]
async fn a_ping_from_the_client_ends_the_session() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    client.post("2").await;
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn two_polls_at_once_end_the_session() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    let second = Http::connect(&server).await.get(&client.query).await;
    assert_eq!((second.status, second.body.as_str()), (400, ""));
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert!(client.is_gone(&server).await);
}

#[tokio::test]
async fn two_posts_at_once_end_the_session() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    // An incomplete body keeps the first POST open.
    let head =
        format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n4a", client.query);
    client.post.send(head).await;
    let mut second = Http::connect(&server).await;
    let answer = loop {
        // If the second POST succeeds, the first has not arrived yet.
        let answer = second.request("POST", &client.query, "", "6").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert_eq!(client.post.response().await.status, 400);
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn an_aborted_poll_ends_the_session() {
    let mut server = server().await;
    let Polling { get, mut post, query, .. } = parked_client(&mut server).await;
    drop(get);
    assert_eq!(server.end().await, CloseReason::TransportError);
    assert_eq!(post.request("POST", &query, "", "4a").await.status, 400);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn an_aborted_post_ends_the_session() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    for framing in ["Content-Length: 4\r\n\r\n4a", "Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n"] {
        let mut post = Http::connect(&server).await;
        post.send(format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n{framing}", client.query)).await;
        drop(post);
        assert_eq!(client.polled().await, "1", "{framing}");
        assert_eq!(server.end().await, CloseReason::TransportError);
        client = parked_client(&mut server).await;
    }
}

#[tokio::test]
async fn octet_streams_belong_to_protocol_3() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    let header = "Content-Type: application/octet-stream\r\n";
    let answer = client.post.request("POST", &client.query, header, b"\x01\x02\x03").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn broken_chunks_are_a_bad_request() {
    let mut server = server().await;
    let mut client = parked_client(&mut server).await;
    let head = format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\n", client.query);
    client.post.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\nxyz\r\n")).await;
    assert_eq!(client.post.response().await.status, 400);
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::TransportError);
}
