//! Neither side can make the other buffer more than its limits allow.

use std::{sync::atomic::Ordering, time::Duration};

use engineio::{CloseReason, EngineConfig, Frame, Limit, SendError, SessionHandle, SlowConsumerPolicy};
use tokio::time::timeout;

use crate::support::{Polling, Server, WebSocket, Wire, eventually, frame, parked, payload};

/// Returns the limit that `count` copies of this message fill to the last byte.
async fn limit_of(message: &str, count: usize) -> usize {
    let mut server = Server::in_memory(EngineConfig::default());
    let _client = Polling::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text(message)]).unwrap();
    session.buffered() * count
}

/// Opens a polling session without a pending poll, so that everything sent to it is queued.
async fn unpolled(limit: usize) -> (Server, Polling, SessionHandle) {
    let mut server = Server::in_memory(EngineConfig::default().max_buffered(limit).max_buffered_hard(limit));
    let client = Polling::open(&server).await;
    let session = server.session().await;
    (server, client, session)
}

#[tokio::test]
async fn the_limit_is_exact() {
    let limit = limit_of("message", 10).await;
    let (mut server, mut client, session) = unpolled(limit).await;
    for _ in 0..10 {
        session.send(&[Frame::text("message")]).unwrap();
    }
    assert_eq!(session.buffered(), limit);
    assert_eq!(server.engine.limit_hits(Limit::MaxBuffered), 0);
    assert_eq!(client.poll().await, payload(&["4message"; 10]));
    eventually(|| session.buffered() == 0).await;

    for _ in 0..9 {
        session.send(&[Frame::text("message")]).unwrap();
    }
    assert_eq!(session.send(&[Frame::text("message!")]), Err(SendError::Full));
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedHard), 1);
    session.send(&[Frame::text("message")]).unwrap();
    assert!(server.no_more_ends());

    let disconnect = SlowConsumerPolicy::Disconnect;
    assert_eq!(session.send_with(&[Frame::text("")], disconnect), Err(SendError::Full));
    assert_eq!(session.send(&[Frame::text("")]), Err(SendError::Closed));
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedHard), 2);
    assert!(client.is_gone(&server).await);
    assert!(server.no_more_ends());
}

#[tokio::test]
async fn frames_that_belong_together_are_taken_together_or_not_at_all() {
    let limit = limit_of("message", 3).await;
    let (_server, mut client, session) = unpolled(limit).await;
    let frames = ["message"; 2].map(Frame::text);
    session.send(&frames).unwrap();
    assert_eq!(session.send(&frames), Err(SendError::Full));
    assert_eq!(client.poll().await, payload(&["4message"; 2]));
}

#[tokio::test]
async fn a_message_above_the_limit_passes_when_nothing_waits() {
    let large = "x".repeat(100_000);
    let (_server, mut client, session) = unpolled(1000).await;
    for _ in 0..3 {
        session.send(&[Frame::text(&large)]).unwrap();
        assert_eq!(client.poll().await.len(), 100_001);
        eventually(|| session.buffered() == 0).await;
    }

    let mut server = Server::start(EngineConfig::default().max_buffered(1000_usize)).await;
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    for _ in 0..3 {
        parked(&session).await;
        session.send(&[Frame::text(&large)]).unwrap();
        assert_eq!(client.text().await.len(), 100_001);
    }
}

#[tokio::test]
async fn an_idle_session_has_nothing_buffered() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    client.send("4burst 1000").await;
    for n in 0..1000 {
        assert_eq!(client.text().await, format!("4{n}"));
    }
    eventually(|| session.buffered() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let limit = 256 * 1024;
    let config = EngineConfig::default()
        .max_buffered(limit)
        .max_buffered_hard(limit)
        .close_timeout(Duration::from_millis(50));
    let mut server = Server::start(config).await;
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    let frame = Frame::text(&"x".repeat(10_000));
    let mut sent = 0_usize;
    let refused = loop {
        match session.send_with(std::slice::from_ref(&frame), SlowConsumerPolicy::Disconnect) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(session.buffered() <= limit, "{}", session.buffered());
        tokio::task::yield_now().await;
    };
    assert_eq!(refused, SendError::Full);
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(server.engine.session_count(), 0);

    // Frames that were written before the disconnect arrive whole and in order. The rest is discarded.
    let mut received = 0;
    while let Ok(Some((first, payload))) = timeout(Duration::from_secs(5), client.frame()).await {
        assert!(first == 0x88 || payload.len() == 10_001);
        received += usize::from(first == 0x81);
        if sent - received < 5 {
            break;
        }
    }
    assert!(received < sent, "the limit was never reached");
}

#[tokio::test]
async fn messages_for_a_client_that_does_not_take_them_let_its_task_sleep() {
    let mut server = Server::with_buffers(EngineConfig::default(), 100);
    let mut websocket = WebSocket::open(&server).await;
    let stalled = server.session().await;
    stalled.send(&[Frame::text(&"x".repeat(10_000))]).unwrap();
    let mut polling = Polling::open(&server).await;
    let unpolled = server.session().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let gate = server.gate();
    let before = gate.polls.load(Ordering::Relaxed);
    for n in 0..100 {
        for session in [&stalled, &unpolled] {
            session.send(&[Frame::text(&n.to_string())]).unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.polls.load(Ordering::Relaxed), before);

    let sent = (0..100).map(|n| format!("4{n}")).collect::<Vec<_>>();
    assert_eq!(polling.poll().await, sent.join("\u{1e}"));
    assert_eq!(websocket.text().await.len(), 10_001);
    for text in sent {
        assert_eq!(websocket.text().await, text);
    }
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_below_the_limit() {
    let mut server = Server::with_buffers(EngineConfig::default(), 100);
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    for n in 0..1000 {
        session.send(&[Frame::text(&n.to_string()), Frame::binary(vec![0; n].into())]).unwrap();
    }
    for n in 0..1000 {
        assert_eq!(client.text().await, format!("4{n}"));
        assert_eq!(client.next().await.unwrap().len(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_not_ready_stops_the_client() {
    let server = Server::in_memory(EngineConfig::default());
    let mut client = Wire::open(&server).await;
    let mut bytes = frame(0x81, "4pause");
    bytes.extend((0..20_000).flat_map(|n| frame(0x81, format!("4{n}"))));
    {
        let mut sending = std::pin::pin!(client.send(&bytes));
        assert!(
            timeout(Duration::from_secs(5), sending.as_mut()).await.is_err(),
            "nothing holds the client back"
        );
        server.gate().open();
        sending.await;
    }
    for n in 0..20_000 {
        assert_eq!(client.text().await, format!("4{n}"));
    }
}

#[tokio::test]
async fn an_application_that_is_not_ready_stops_the_client_of_a_socket() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    client.send([frame(0x81, "4pause"), frame(0x81, "4pause"), frame(0x81, "4resumed")].concat()).await;
    let gate = server.gate();
    for _ in 0..2 {
        eventually(|| gate.is_closed()).await;
        session.send(&[Frame::text("the way out is open")]).unwrap();
        assert_eq!(client.text().await, "4the way out is open");
        gate.open();
    }
    assert_eq!(client.text().await, "4resumed");
}

#[tokio::test]
async fn an_application_may_take_one_message_at_a_time() {
    let server = Server::start(EngineConfig::default()).await;
    let mut client = Wire::open(&server).await;
    client.send(frame(0x81, "4work").repeat(100)).await;
    client.send(frame(0x81, "4done")).await;
    assert_eq!(client.text().await, "4done");

    let mut client = Polling::open(&server).await;
    let mut body = ["4work"; 100];
    body[99] = "4done";
    client.send(payload(&body)).await;
    assert_eq!(client.poll().await, "4done");
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_not_ready_delays_the_answer_to_a_post() {
    let server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    let body = payload(&["4a", "4pause", "4b", "4pause", "4c"]);
    client.post.start("POST", &client.query, "", &body).await;
    assert_eq!(client.poll().await, "4a");
    assert!(timeout(Duration::from_secs(5), client.post.response()).await.is_err());
    server.gate().open();
    assert_eq!(client.poll().await, "4b");
    server.gate().open();
    assert_eq!(client.poll().await, "4c");
    assert_eq!(client.post.response().await.body, "ok");
}

#[tokio::test]
async fn volatile_messages_are_taken_if_they_can_leave() {
    let (server, mut client, session) = unpolled(1000).await;
    let volatile = || session.send_volatile(&[Frame::text("now")]);
    assert!(!volatile(), "nobody polls");
    client.start_poll().await;
    parked(&session).await;
    assert!(volatile());
    assert_eq!(client.polled().await, "4now");
    assert!(!volatile(), "the poll has left");

    client.start_poll().await;
    parked(&session).await;
    session.send(&[Frame::text("first")]).unwrap();
    assert!(!volatile(), "another message waits");
    assert_eq!(client.polled().await, "4first");
    assert_eq!(server.engine.dropped_messages(), 3);
}

#[tokio::test]
async fn volatile_messages_are_forgotten_when_the_client_does_not_read() {
    let mut server = Server::with_buffers(EngineConfig::default(), 100);
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    parked(&session).await;
    assert!(session.send_volatile(&[Frame::text("taken")]));
    assert_eq!(client.text().await, "4taken");

    parked(&session).await;
    session.send(&[Frame::text(&"x".repeat(10_000))]).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(!session.send_volatile(&[Frame::text("forgotten")]));
    }
    assert_eq!(client.text().await.len(), 10_001);
    parked(&session).await;
    assert!(session.send_volatile(&[Frame::text("taken again")]));
    assert_eq!(client.text().await, "4taken again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_each_task_keep_their_order() {
    const TASKS: usize = 8;
    const MESSAGES: usize = 2000;
    let mut server = Server::start(EngineConfig::default().max_buffered(64_usize << 20)).await;
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    for task in 0..TASKS {
        let session = session.clone();
        tokio::spawn(async move {
            for n in 0..MESSAGES {
                session.send(&[Frame::text(&format!("{task} {n}"))]).unwrap();
                if n % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let mut next = [0; TASKS];
    for _ in 0..TASKS * MESSAGES {
        let text = client.text().await;
        let (task, n) = text[1..].split_once(' ').unwrap();
        let task: usize = task.parse().unwrap();
        assert_eq!(n.parse::<usize>().unwrap(), next[task], "of task {task}");
        next[task] += 1;
    }
}
