//! Violations of the WebSocket protocol. The server sends one close frame with the right code, then closes.

use engineio::{CloseReason, EngineConfig, Limit};

use crate::support::{Http, Polling, Server, UPGRADE, WebSocket, Wire, frame};

const MAX: usize = 1000;

async fn server() -> Server {
    Server::start(EngineConfig::default().max_http_buffer_size(MAX)).await
}

/// Returns a frame header that announces a payload of `len` bytes.
fn announce(len: u64) -> Vec<u8> {
    let mut bytes = vec![0x82, 0xff];
    bytes.extend(len.to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    bytes
}

fn fragments(count: usize) -> Vec<u8> {
    let mut bytes = frame(0x02, []);
    bytes.extend((2..count).flat_map(|_| frame(0x00, [])));
    bytes.extend(frame(0x80, []));
    bytes
}

#[tokio::test]
async fn broken_frames_end_with_the_right_code() {
    let mut server = server().await;
    let cases: [(&str, Vec<u8>, u16); 24] = [
        ("unmasked", vec![0x81, 2, b'4', b'x'], 1002),
        ("bytes that are no frame", b"test".to_vec(), 1002),
        ("rsv1", frame(0xc1, "4x"), 1002),
        ("rsv2", frame(0xa1, "4x"), 1002),
        ("rsv3", frame(0x91, "4x"), 1002),
        ("rsv1 on a ping", frame(0xc9, ""), 1002),
        ("reserved data opcode 3", frame(0x83, "4x"), 1002),
        ("reserved data opcode 7", frame(0x87, "4x"), 1002),
        ("reserved control opcode 11", frame(0x8b, ""), 1002),
        ("reserved control opcode 15", frame(0x8f, ""), 1002),
        ("continuation of nothing", frame(0x80, "4x"), 1002),
        ("text within a message", [frame(0x01, "4"), frame(0x81, "4x")].concat(), 1002),
        ("fragmented ping", frame(0x09, "x"), 1002),
        ("long ping", frame(0x89, [0; 126]), 1002),
        ("close frame of one byte", frame(0x88, [3]), 1002),
        ("close code 1005", frame(0x88, [3, 237]), 1002),
        ("close code 999", frame(0x88, [3, 231]), 1002),
        ("close reason that is not UTF-8", frame(0x88, [3, 232, 0xff]), 1007),
        ("text that is not UTF-8", frame(0x81, b"4\xff"), 1007),
        ("fragments that are not UTF-8", [frame(0x01, b"4\xe2"), frame(0x80, b"\x82")].concat(), 1007),
        ("one byte above the limit", frame(0x82, [0; MAX + 1]), 1009),
        ("2 GiB", announce(2 << 30), 1009),
        ("fragments above the limit", [frame(0x02, [0; 600]), frame(0x80, [0; 401])].concat(), 1009),
        ("too many fragments", fragments(1025), 1008),
    ];
    for (name, bytes, code) in cases {
        let mut client = Wire::open(&server).await;
        client.send([frame(0x81, "4before"), bytes, frame(0x81, "4after")].concat()).await;
        assert_eq!(client.text().await, "4before", "{name}");
        // Matches Node.js. The test suite of its client checks the reason.
        let reason = if code == 1009 { "" } else { "transport error" };
        assert_eq!(client.ended().await, (code, reason.into()), "{name}");
        assert_eq!(server.end().await, CloseReason::TransportError, "{name}");
    }
    assert_eq!(server.engine.session_count(), 0);
    assert_eq!(server.engine.limit_hits(Limit::MaxHttpBufferSize), 3);
    assert_eq!(server.engine.limit_hits(Limit::MaxFragments), 1);
}

#[tokio::test]
async fn a_length_with_its_highest_bit_set_is_refused() {
    let mut server = server().await;
    let mut client = Wire::open(&server).await;
    client.send(announce((1 << 63) + 5)).await;
    let (code, _) = client.ended().await;
    assert!(matches!(code, 1002 | 1009), "{code}");
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn malformed_packets_end_the_session() {
    let mut server = server().await;
    for packet in ["", "7", "x", "éabcd", "b*", "bAQI", " 4"] {
        let mut client = WebSocket::open(&server).await;
        client.send("4before").await;
        client.send(packet).await;
        assert_eq!(client.text().await, "4before", "{packet:?}");
        assert_eq!(client.ended().await, (1002, "parse error".into()), "{packet:?}");
        assert_eq!(server.end().await, CloseReason::ParseError, "{packet:?}");
    }
}

#[tokio::test]
async fn a_ping_packet_from_the_client_ends_the_session() {
    let mut server = server().await;
    let mut client = WebSocket::open(&server).await;
    client.send("2").await;
    assert_eq!(client.ended().await, (1002, "transport error".into()));
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn garbage_behind_the_handshake_ends_only_that_connection() {
    let mut server = server().await;
    let mut polling = Polling::open(&server).await;
    for query in ["EIO=4&transport=websocket".to_owned(), polling.upgrade_query()] {
        let mut http = Http::connect(&server).await;
        let request = format!("GET /engine.io/?{query} HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\ntest");
        http.send(request).await;
        assert_eq!(http.response().await.status, 101);
        let mut client = Wire::from_parts(http.into_parts());
        if !query.contains("sid") {
            assert!(client.text().await.starts_with("0{"));
        }
        let (code, _) = client.ended().await;
        assert_eq!(code, 1002);
    }
    assert_eq!(server.end().await, CloseReason::TransportError);
    polling.send("4alive").await;
    assert_eq!(polling.poll().await, "4alive");
    assert!(server.no_more_ends());
}

#[tokio::test]
async fn a_handshake_that_is_cut_off_leaves_nothing() {
    let server = server().await;
    let request =
        format!("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n");
    for cut in (0..request.len()).step_by(7) {
        let mut http = Http::connect(&server).await;
        http.send(&request[..cut]).await;
    }
    let mut client = WebSocket::open(&server).await;
    client.send("4alive").await;
    assert_eq!(client.text().await, "4alive");
    assert_eq!(server.engine.session_count(), 1);
}
