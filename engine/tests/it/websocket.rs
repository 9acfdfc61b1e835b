//! A WebSocket with a client that follows the protocol.

use engineio::{CloseReason, EngineConfig, Frame, TransportKind};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Http, Server, UPGRADE, WebSocket, Wire, frame};

const OPEN: &str = "EIO=4&transport=websocket";

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

#[tokio::test]
async fn handshake_is_that_of_the_reference() {
    let mut server = server().await;
    let mut http = Http::connect(&server).await;
    let answer = http.request("GET", OPEN, UPGRADE, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (101, ""));
    let names: Vec<_> = answer.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["connection", "date", "sec-websocket-accept", "upgrade"]);

    let open = Wire::from_parts(http.into_parts()).text().await;
    let session = server.session().await;
    assert_eq!(session.transport(), TransportKind::WebSocket);
    let rest = r#"","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open, format!(r#"0{{"sid":"{}{rest}"#, session.id()));
}

#[tokio::test]
async fn the_first_subprotocol_is_taken() {
    // The engine does not use subprotocols, but a browser that offers some fails the handshake if none is
    // selected.
    let server = server().await;
    for (offered, taken) in [("chat", "chat"), ("a, b", "a"), ("a , b\r\nSec-WebSocket-Protocol: c", "a")] {
        let headers = format!("{UPGRADE}Sec-WebSocket-Protocol: {offered}\r\n");
        let answer = Http::connect(&server).await.request("GET", OPEN, &headers, "").await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some(taken)), "{offered}");
    }
    for offered in ["", ",a"] {
        let headers = format!("{UPGRADE}Sec-WebSocket-Protocol: {offered}\r\n");
        let answer = Http::connect(&server).await.request("GET", OPEN, &headers, "").await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None), "{offered}");
    }
}

#[tokio::test]
async fn an_initial_packet_comes_before_all_messages() {
    for (frame, binary) in [(Frame::text("hi"), false), (Frame::binary(vec![1, 2].into()), true)] {
        let server = Server::start(EngineConfig::default().initial_packet(frame)).await;
        let mut client = WebSocket::connect(&server, &format!("{OPEN}&greet=welcome")).await;
        assert!(client.text().await.starts_with("0{"));
        let expected = if binary { Message::binary(vec![1, 2]) } else { Message::text("4hi") };
        assert_eq!(client.next().await.unwrap(), expected);
        assert_eq!(client.text().await, "4welcome");

        let open = Http::connect(&server).await.get("EIO=4&transport=polling").await.body;
        assert!(open.ends_with(if binary { "}\u{1e}bAQI=" } else { "}\u{1e}4hi" }), "{open}");
    }
}

#[tokio::test]
async fn echoes_text_and_binary() {
    let server = server().await;
    let mut client = WebSocket::open(&server).await;
    let long = "long ".repeat(100_000);
    for text in
        ["hello", "", "€uro 🦀", "record \u{1e} separator", "\0", &"x".repeat(125), &"x".repeat(126), &long]
    {
        client.send(format!("4{text}")).await;
        assert_eq!(client.text().await, format!("4{text}"));
    }
    for len in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 1_000_000] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0]).collect();
        client.send_binary(bytes.clone()).await;
        assert_eq!(client.next().await.unwrap(), Message::Binary(bytes.into()));
    }
    client.send("bAQID").await;
    assert_eq!(client.next().await.unwrap(), Message::Binary([1, 2, 3].as_slice().into()));
}

#[tokio::test]
async fn many_messages_keep_their_order() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    let frames: Vec<u8> = (0..20_000).flat_map(|n| frame(0x81, format!("4{n}"))).collect();
    client.send(frames).await;
    for n in 0..20_000 {
        assert_eq!(client.text().await, format!("4{n}"));
    }
}

#[tokio::test]
async fn what_has_left_makes_room_for_the_answers_to_what_comes_next() {
    let message = format!("4{}", "x".repeat(63));
    let message_frame = frame(0x81, message.clone());
    // The echoes of one read fit into the queue, the echoes of two reads do not.
    let at_once = 64 * 1024 / message_frame.len();
    let room = at_once * Frame::text(&message[1..]).cost() * 3 / 2;
    let server = Server::start(EngineConfig::default().max_buffered(room)).await;
    let mut client = Wire::open(&server).await;
    let count = 4 * at_once;
    client.send(message_frame.repeat(count)).await;
    for _ in 0..count {
        assert_eq!(client.text().await, message);
    }
}

#[tokio::test]
async fn text_and_binary_messages_of_all_sizes_leave_in_order() {
    let mut server = Server::start(EngineConfig::default().max_buffered(4_usize << 20)).await;
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    let sizes = [3, 70_000, 0, 200_000, 1, 65_526, 65_527, 65_528, 65_536];
    for (n, len) in sizes.into_iter().enumerate() {
        session.send(&[Frame::text(&"t".repeat(len)), Frame::binary(vec![n as u8; len].into())]).unwrap();
    }
    for (n, len) in sizes.into_iter().enumerate() {
        assert_eq!(client.text().await, format!("4{}", "t".repeat(len)));
        assert_eq!(client.next().await.unwrap(), Message::Binary(vec![n as u8; len].into()));
    }
}

#[tokio::test]
async fn messages_may_come_in_fragments_around_control_frames() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    let euro = "€".as_bytes();
    client.send(frame(0x01, "4x")).await;
    client.send(frame(0x89, "ping")).await;
    assert_eq!(client.frame().await, Some((0x8a, b"ping".to_vec())));
    client.send(frame(0x00, &euro[..1])).await;
    client.send(frame(0x8a, "an unsolicited pong")).await;
    client.send(frame(0x00, [])).await;
    client.send(frame(0x80, &euro[1..])).await;
    assert_eq!(client.text().await, "4x€");

    client.send([frame(0x02, [1]), frame(0x00, [2]), frame(0x80, [3])].concat()).await;
    assert_eq!(client.frame().await, Some((0x82, vec![1, 2, 3])));
}

#[tokio::test]
async fn pings_are_answered_in_order() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    for payload in ["", "a", &"p".repeat(125)] {
        client.send(frame(0x89, payload)).await;
        assert_eq!(client.frame().await, Some((0x8a, payload.as_bytes().to_vec())));
    }
    let pings: Vec<u8> = (0..7).flat_map(|n| frame(0x89, n.to_string())).collect();
    client.send(pings).await;
    for n in 0..7 {
        assert_eq!(client.frame().await, Some((0x8a, n.to_string().into_bytes())));
    }
}

#[tokio::test]
async fn a_pong_does_not_come_into_the_midst_of_a_message() {
    let mut server = Server::with_buffers(EngineConfig::default(), 100);
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text(&"x".repeat(10_000)), Frame::text("next")]).unwrap();
    for _ in 0..10 {
        // The first message has been partially written and waits for the client to read.
        tokio::task::yield_now().await;
    }
    client.send(frame(0x89, "ping")).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.text().await.len(), 10_001);
    assert_eq!(client.frame().await, Some((0x8a, b"ping".to_vec())));
    assert_eq!(client.text().await, "4next");
}

#[tokio::test]
async fn pings_that_are_not_waited_for_cost_little() {
    // One read returns more pings than the server answers, because the client is not reading at the time.
    let config = EngineConfig::default().max_pings_per_second(1000);
    let server = Server::with_buffers(config, 64 * 1024);
    let mut client = Wire::open(&server).await;
    let mut bytes: Vec<u8> = (0..1000).flat_map(|_| frame(0x89, "p")).collect();
    bytes.extend(frame(0x81, "4done"));
    client.send(bytes).await;
    let mut pongs = 0;
    loop {
        match client.frame().await.unwrap() {
            (0x8a, _) => pongs += 1,
            other => break assert_eq!(other, (0x81, b"4done".to_vec())),
        }
    }
    // The client may read between two polls of the task, so more than one pong is possible.
    assert!((1..=64).contains(&pongs), "{pongs}");
}

#[tokio::test]
async fn a_message_may_be_as_large_as_the_limit() {
    let server = Server::start(EngineConfig::default().max_http_buffer_size(1000_usize)).await;
    let mut client = Wire::open(&server).await;
    let text = format!("4{}", "x".repeat(999));
    client.send(frame(0x81, &text)).await;
    assert_eq!(client.text().await, text);
    client.send([frame(0x01, &text[..600]), frame(0x80, &text[600..])].concat()).await;
    assert_eq!(client.text().await, text);
    client.send(frame(0x82, [7; 1000])).await;
    assert_eq!(client.frame().await, Some((0x82, vec![7; 1000])));
}

#[tokio::test]
async fn a_message_may_come_in_1024_fragments() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    let mut bytes = frame(0x01, "4");
    bytes.extend((0..1022).flat_map(|_| frame(0x00, "x")));
    bytes.extend(frame(0x80, "x"));
    client.send(bytes).await;
    assert_eq!(client.text().await, format!("4{}", "x".repeat(1023)));
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_not_lost() {
    let mut server = server().await;
    let request = format!("GET /engine.io/?{OPEN} HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n");
    let frames = [frame(0x81, "4first"), frame(0x82, [1, 2]), frame(0x81, "4third")].concat();
    for cut in [1, 5, frames.len()] {
        let mut http = Http::connect(&server).await;
        http.send([request.as_bytes(), &frames[..cut]].concat()).await;
        server.session().await;
        http.send(&frames[cut..]).await;
        assert_eq!(http.response().await.status, 101);
        let mut client = Wire::from_parts(http.into_parts());
        assert!(client.text().await.starts_with("0{"));
        assert_eq!(client.text().await, "4first");
        assert_eq!(client.frame().await, Some((0x82, vec![1, 2])));
        assert_eq!(client.text().await, "4third");
    }
}

#[tokio::test]
async fn everything_may_come_byte_by_byte() {
    let server = Server::with_buffers(EngineConfig::default(), 1);
    let mut client = WebSocket::open(&server).await;
    client.send("4hello").await;
    assert_eq!(client.text().await, "4hello");
    let long = format!("4{}", "x".repeat(70_000));
    client.send(&long).await;
    assert_eq!(client.text().await, long);
    assert_eq!(client.finish().await.0, 1000);
}

#[tokio::test]
async fn a_stream_that_is_no_socket_works_as_well() {
    let mut server = Server::in_memory(EngineConfig::default());
    let mut client = WebSocket::connect(&server, &format!("{OPEN}&greet=hi")).await;
    assert!(client.text().await.starts_with("0{"));
    assert_eq!(client.text().await, "4hi");
    client.send("4burst 3").await;
    for n in 0..3 {
        assert_eq!(client.text().await, format!("4{n}"));
    }
    assert_eq!(client.finish().await.0, 1000);
    assert_eq!(server.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn packets_without_meaning_are_ignored() {
    let server = server().await;
    let mut client = WebSocket::open(&server).await;
    for packet in ["0", "3", "5", "6", "4still here"] {
        client.send(packet).await;
    }
    assert_eq!(client.text().await, "4still here");
}

#[tokio::test]
async fn a_close_packet_ends_the_session() {
    let mut server = server().await;
    let mut client = Wire::open(&server).await;
    client.send([frame(0x81, "1"), frame(0x81, "4too late")].concat()).await;
    assert_eq!(client.ended().await, (1000, "transport close".into()));
    assert_eq!(server.end().await, CloseReason::TransportClose);
    assert_eq!(server.engine.session_count(), 0);
}
