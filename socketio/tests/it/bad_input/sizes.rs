//! Messages at the size limit, and one byte above.

use socketio::{CloseReason, EngineConfig, ServerConfig};

use super::arena::Arena;
use crate::support::{BINARY, FIN, Polling, binary, frame, text};

/// Returns an event of `len` bytes.
fn event_of(len: usize) -> String {
    let empty = r#"42["echo",""]"#.len();
    format!(r#"42["echo","{}"]"#, "x".repeat(len - empty))
}

fn limits() -> [(usize, ServerConfig); 2] {
    let small = EngineConfig::default().max_http_buffer_size(1000_usize);
    [(1_000_000, ServerConfig::default()), (1000, ServerConfig::default().engine(small))]
}

#[tokio::test]
async fn frames_are_limited_exactly() {
    for (limit, config) in limits() {
        let mut arena = Arena::with_config(config).await;
        let mut client = arena.client().await;
        let packet = event_of(limit);
        assert_eq!(client.ask(&packet).await, packet);
        arena.ends("text", &[text(event_of(limit + 1))], 1009, CloseReason::TransportError).await;
        let attached = [text(r#"451-["args",1]"#), binary(vec![0; limit + 1])];
        arena.ends("binary", &attached, 1009, CloseReason::TransportError).await;
    }
}

#[tokio::test]
async fn a_huge_frame_is_refused_by_its_header() {
    let mut arena = Arena::new().await;
    for len in [1_000_001_u64, 1 << 32, (1 << 63) - 1] {
        let mut header = frame(FIN | BINARY, vec![0; 70_000]);
        header.truncate(14);
        header[2..10].copy_from_slice(&len.to_be_bytes());
        arena.ends("a header", &[header], 1009, CloseReason::TransportError).await;
    }
}

#[tokio::test]
async fn bodies_are_limited_exactly() {
    for (limit, config) in limits() {
        let mut arena = Arena::with_config(config).await;
        let mut client = Polling::join(&arena.host).await;
        let body = event_of(limit);
        client.send(&body).await;
        assert_eq!(client.poll().await, body);
        assert_eq!(client.post(event_of(limit + 1)).await.status, 413);
        assert!(client.is_gone(&arena.host).await);

        // Without a Content-Length, the limit is enforced while the body is read.
        let mut client = Polling::join(&arena.host).await;
        let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", limit + 1, event_of(limit + 1));
        let chunked = "Transfer-Encoding: chunked\r\n";
        let answer = client.post.request("POST", &client.target, chunked, chunk).await;
        assert_eq!(answer.status, 413);
        assert!(client.is_gone(&arena.host).await);
        arena.is_unharmed().await;
    }
}
