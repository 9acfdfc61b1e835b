//! WebSocket frames and handshakes.

use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::stage::Stage;
use crate::support::{BINARY, Client, FIN, Http, UPGRADE, binary, frame, text, within};

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Returns the status of a handshake with additional headers.
async fn handshake(stage: &Stage, headers: &str) -> u16 {
    let mut http = Http::connect(&stage.host).await;
    http.request("GET", TARGET, &format!("{headers}{UPGRADE}"), "").await.status
}

/// Returns a binary frame whose first byte is replaced.
fn rewritten(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = binary(payload);
    bytes[0] = first;
    bytes
}

#[tokio::test]
async fn cve_2016_10518_cve_2026_45736_answers_hold_what_was_sent_and_nothing_else() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    for payload in [&b""[..], b"x", &[7; 125]] {
        client.write(rewritten(0x89, payload)).await;
        assert_eq!(client.next().await.unwrap(), Message::Pong(payload.to_vec().into()));
    }
    client.write(rewritten(0x88, &[&3000_u16.to_be_bytes()[..], &[b'x'; 123]].concat())).await;
    assert_eq!(client.ended().await, (3000, String::new()));
    stage.ends("one byte", &[rewritten(0x88, &[3])], 1002).await;
    stage.ends("a long ping", &[rewritten(0x89, &[0; 126])], 1002).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2016_10542_cve_2022_35922_a_length_alone() {
    let stage = Stage::new().await;
    for (len, code) in [(1_000_001, 1009), (2_u64 << 30, 1009), ((1 << 63) - 1, 1009)] {
        let mut header = frame(FIN | BINARY, vec![0; 70_000]);
        header.truncate(14);
        header[2..10].copy_from_slice(&len.to_be_bytes());
        stage.ends("a header", &[header], code).await;
    }
    let mut header = frame(FIN | BINARY, vec![0; 70_000]);
    header.truncate(14);
    header[2..10].copy_from_slice(&((1_u64 << 63) + 5).to_be_bytes());
    let mut client = stage.client().await;
    client.write(header).await;
    assert!(matches!(client.ended().await.0, 1002 | 1009));
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2026_48779_ghsa_96hv_2xvq_fx4p_fragments_without_end() {
    let stage = Stage::new().await;
    for part in [&b""[..], b"x"] {
        let fragments = [rewritten(0x02, part), rewritten(0x00, part).repeat(100_000)];
        stage.ends("fragments", &fragments, 1008).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn ghsa_5v72_xg48_5rpm_extensions_that_are_none() {
    let stage = Stage::new().await;
    for offer in ["constructor; a; constructor", "__proto__", ";;;", "permessage-deflate; a=\"", ","] {
        let status = handshake(&stage, &format!("Sec-WebSocket-Extensions: {offer}\r\n")).await;
        assert!(matches!(status, 101 | 400), "{offer}: {status}");
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2021_32640_spaces_between_subprotocols() {
    let stage = Stage::new().await;
    for (spaces, expected) in [(10_000, 101), (60_000, 431)] {
        let header = format!("Sec-WebSocket-Protocol: b{}x\r\n", " ".repeat(spaces));
        assert_eq!(handshake(&stage, &header).await, expected, "{spaces}");
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2024_37890_thousands_of_headers() {
    let stage = Stage::new().await;
    for count in [101, 2000, 5000] {
        assert_eq!(handshake(&stage, &"x: y\r\n".repeat(count)).await, 431, "{count}");
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2023_43669_a_head_in_single_bytes() {
    let stage = Stage::new().await;
    let mut stream = stage.host.connect().await;
    let padding = "x".repeat(12_000);
    let head = format!("GET {TARGET} HTTP/1.1\r\nHost: test\r\nX-Padding: {padding}\r\n{UPGRADE}\r\n");
    for byte in head.as_bytes() {
        within(stream.write_all(&[*byte])).await.unwrap();
    }
    let mut answer = [0; 12];
    within(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(stream);
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2022_21676_bytes_that_are_no_frame_behind_the_handshake() {
    let stage = Stage::new().await;
    let mut polling = crate::support::Polling::join(&stage.host).await;
    for query in ["EIO=4&transport=websocket".to_owned(), polling.upgrade_query()] {
        let answer =
            stage.raw(format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\ntest")).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        // The response ends with a close frame. 0x03 is the first byte of its code, 1002.
        assert!(answer.contains('\u{3}'), "{answer:?}");
    }
    polling.send(r#"421["mark"]"#).await;
    assert_eq!(polling.poll().await, "431[]", "the session that polls goes on");
    polling.send("1").await;
    drop(polling);
    stage.goes_on().await;
}

#[tokio::test]
async fn zishang520_socketio_195_connect_in_the_segment_of_the_handshake() {
    let stage = Stage::new().await;
    let mut client = Client::pipelined(&stage.host, &[text("40"), text(r#"421["mark"]"#)]).await;
    assert!(client.text().await.starts_with(r#"40{"sid":""#));
    assert_eq!(client.text().await, "431[]");
    drop(client);
    stage.goes_on().await;
}
