//! Droppable messages. Accepted and dropped messages add up to all that were sent, and none is truncated.

use SlowConsumerPolicy::{Disconnect, DropNewest, DropOldest};
use engineio::{CloseReason, EngineConfig, Frame, Limit, SendError, SessionHandle, SlowConsumerPolicy};

use crate::support::{Polling, Server, WebSocket, payload};

/// Opens a session without a pending poll whose queue has room for `count` two-digit messages.
async fn unpolled(count: usize) -> (Server, Polling, SessionHandle) {
    let mut probe = Server::in_memory(EngineConfig::default());
    let _client = Polling::open(&probe).await;
    let session = probe.session().await;
    session.send(&[Frame::text("10")]).unwrap();
    let limit = session.buffered() * count;

    let config = EngineConfig::default().max_buffered(limit).max_buffered_hard(2 * limit);
    let mut server = Server::in_memory(config);
    let client = Polling::open(&server).await;
    let session = server.session().await;
    (server, client, session)
}

fn number(n: u32) -> Frame {
    Frame::text(&n.to_string())
}

#[tokio::test]
async fn the_newest_is_refused_exactly_above_the_limit() {
    let (server, mut client, session) = unpolled(5).await;
    for n in 10..15 {
        session.send_with(&[number(n)], DropNewest).unwrap();
    }
    assert_eq!(server.engine.limit_hits(Limit::MaxBuffered), 0);
    for n in 15..18 {
        assert_eq!(session.send_with(&[number(n)], DropNewest), Err(SendError::Full));
    }
    assert_eq!(client.poll().await, payload(&["410", "411", "412", "413", "414"]));
    assert_eq!((server.engine.dropped_messages(), server.engine.limit_hits(Limit::MaxBuffered)), (3, 3));
    session.send_with(&[number(18)], DropNewest).unwrap();
    assert_eq!(client.poll().await, "418");
}

#[tokio::test]
async fn the_oldest_go_exactly_above_the_limit() {
    let (server, mut client, session) = unpolled(5).await;
    for n in 10..18 {
        session.send_with(&[number(n)], DropOldest).unwrap();
        assert_eq!(server.engine.dropped_messages(), u64::from(n.saturating_sub(14)));
    }
    assert_eq!(client.poll().await, payload(&["413", "414", "415", "416", "417"]));
    assert_eq!(server.engine.limit_hits(Limit::MaxBuffered), 3);
    client.send("4still here").await;
    assert_eq!(client.poll().await, "4still here");
}

#[tokio::test]
async fn what_belongs_together_goes_together_and_what_must_not_be_lost_stays() {
    let (server, mut client, session) = unpolled(5).await;
    session.send(&[number(10)]).unwrap();
    session.send_with(&[number(20), number(21), number(22)], DropOldest).unwrap();
    session.send(&[number(11)]).unwrap();
    session.send_with(&[number(30)], DropOldest).unwrap();
    assert_eq!(server.engine.dropped_messages(), 1);
    session.send_with(&[number(40), number(41)], DropOldest).unwrap();
    assert_eq!(server.engine.dropped_messages(), 1);
    assert_eq!(client.poll().await, payload(&["410", "411", "430", "440", "441"]));

    // Nothing is dropped if dropping it would not make enough room.
    session.send(&[number(50), number(51), number(52)]).unwrap();
    session.send_with(&[number(60)], DropOldest).unwrap();
    let large = [number(70), number(71), number(72)];
    assert_eq!(session.send_with(&large, DropOldest), Err(SendError::Full));
    assert_eq!(server.engine.dropped_messages(), 2);
    assert_eq!(client.poll().await, payload(&["450", "451", "452", "460"]));
}

#[tokio::test]
async fn a_message_above_the_limit_takes_the_place_of_all_others() {
    let (server, mut client, session) = unpolled(5).await;
    for n in 10..13 {
        session.send_with(&[number(n)], DropOldest).unwrap();
    }
    let large = "x".repeat(10_000);
    session.send_with(&[Frame::text(&large)], DropOldest).unwrap();
    assert_eq!(server.engine.dropped_messages(), 3);
    assert_eq!(client.poll().await, format!("4{large}"));
}

#[tokio::test]
async fn a_message_that_must_not_be_lost_still_disconnects() {
    let (mut server, _client, session) = unpolled(5).await;
    for n in 10..15 {
        session.send_with(&[number(n)], DropOldest).unwrap();
    }
    // Messages above the soft limit are accepted, and messages above the hard limit are rejected.
    for n in 15..20 {
        session.send_with(&[number(n)], Disconnect).unwrap();
    }
    assert_eq!(session.send_with(&[number(20)], Disconnect), Err(SendError::Full));
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(session.send_with(&[number(21)], DropOldest), Err(SendError::Closed));
    assert_eq!(server.engine.dropped_messages(), 0);
}

/// Sends more than the client reads. Returns the accepted messages that arrived, in order.
async fn flood(policy: SlowConsumerPolicy) -> (Vec<u32>, u32) {
    const PACKETS: u32 = 3000;
    let limit = 200_000;
    let mut server = Server::with_buffers(EngineConfig::default().max_buffered(limit), 1000);
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    let attachment = vec![7; 1000];
    let mut got = Vec::new();
    for n in 0..PACKETS {
        let frames = [number(n), Frame::binary(attachment.clone().into())];
        let _ = session.send_with(&frames, policy);
        assert!(session.buffered() <= limit);
        if n % 7 == 0 {
            let text = client.text().await;
            assert_eq!(client.next().await.unwrap().len(), 1000);
            got.push(text[1..].parse().unwrap());
        }
    }
    session.send(&[Frame::text("end")]).unwrap_or_else(|error| panic!("{error}"));
    loop {
        let text = client.text().await;
        if text == "4end" {
            break;
        }
        assert_eq!(client.next().await.unwrap().len(), 1000, "an attachment belongs to its message");
        got.push(text[1..].parse().unwrap());
    }
    let dropped = server.engine.dropped_messages();
    assert_eq!(got.len() as u64 + dropped, u64::from(PACKETS));
    assert!(dropped > 1000, "{dropped}");
    assert!(got.is_sorted(), "out of order");
    (got, PACKETS - 1)
}

#[tokio::test]
async fn a_websocket_gets_the_newest_whole_and_in_order() {
    let (got, last) = flood(DropOldest).await;
    assert_eq!(got.last(), Some(&last));
}

#[tokio::test]
async fn a_websocket_gets_the_oldest_whole_and_in_order() {
    let (got, last) = flood(DropNewest).await;
    assert_eq!(got[..100], (0..100).collect::<Vec<_>>());
    assert!(got.last() < Some(&last));
}
