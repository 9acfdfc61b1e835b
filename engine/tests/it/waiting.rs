//! Waiting for queue capacity instead of failing.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use engineio::{EngineConfig, Frame, SendError, SessionHandle};
use tokio::task::yield_now;

use crate::support::{Polling, Server, WebSocket, payload};

/// Opens a polling session whose queue is full after one message.
async fn full() -> (Server, Polling, SessionHandle) {
    let mut server = Server::in_memory(EngineConfig::default().max_buffered(1));
    let client = Polling::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text("first")]).unwrap();
    (server, client, session)
}

/// Polls a future once.
async fn ask<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_message_is_sent_at_once_while_there_is_room() {
    let (_server, mut client, session) = full().await;
    assert_eq!(client.poll().await, "4first");
    while session.buffered() > 0 {
        yield_now().await;
    }
    let frames = [Frame::text("second")];
    assert_eq!(ask(pin!(session.send_wait(&frames))).await, Some(Ok(())));
    assert_eq!(client.poll().await, "4second");
}

#[tokio::test]
async fn those_who_wait_are_served_in_order() {
    let (server, mut client, session) = full().await;
    let frames = ["a", "b", "c"].map(|text| [Frame::text(text)]);
    let [a, b, c] = &frames;
    let (mut a, mut b, mut c) =
        (pin!(session.send_wait(a)), pin!(session.send_wait(b)), pin!(session.send_wait(c)));
    assert_eq!((ask(a.as_mut()).await, ask(b.as_mut()).await, ask(c.as_mut()).await), (None, None, None));
    assert_eq!(client.poll().await, "4first");
    while session.buffered() > 0 {
        yield_now().await;
    }
    assert_eq!(ask(c.as_mut()).await, None, "it is not its turn");
    assert_eq!(ask(a.as_mut()).await, Some(Ok(())));
    assert_eq!(client.poll().await, "4a");
    let ((), polled) = tokio::join!(async { b.await.unwrap() }, client.poll());
    assert_eq!(polled, "4b");
    let ((), polled) = tokio::join!(async { c.await.unwrap() }, client.poll());
    assert_eq!(polled, "4c");
    assert_eq!(server.engine.dropped_messages(), 0);
}

#[tokio::test]
async fn whoever_gives_up_has_sent_nothing_and_lets_the_next_go() {
    let (_server, mut client, session) = full().await;
    let given_up = [Frame::text("given up")];
    let next = [Frame::text("next")];
    let mut next = pin!(session.send_wait(&next));
    {
        let mut given_up = pin!(session.send_wait(&given_up));
        assert_eq!(ask(given_up.as_mut()).await, None);
        assert_eq!(ask(next.as_mut()).await, None);
        assert_eq!(client.poll().await, "4first");
        while session.buffered() > 0 {
            yield_now().await;
        }
        // The first waiter has been woken but does not use its turn.
    }
    next.await.unwrap();
    assert_eq!(client.poll().await, "4next");
}

#[tokio::test]
async fn the_end_of_the_session_ends_the_wait() {
    let (_server, _client, session) = full().await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.send_wait(&[Frame::text("late")]).await })
        })
        .collect();
    yield_now().await;
    session.close();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Err(SendError::Closed));
    }
}

#[tokio::test]
async fn a_producer_runs_at_the_speed_of_its_consumer() {
    let limit = 10_000;
    let mut server = Server::with_buffers(EngineConfig::default().max_buffered(limit), 1000);
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    let producer = session.clone();
    let producing = tokio::spawn(async move {
        for n in 0..2000 {
            let frames = [Frame::text(&n.to_string()), Frame::binary(vec![0; 500].into())];
            producer.send_wait(&frames).await.unwrap();
            assert!(producer.buffered() <= limit);
        }
    });
    for n in 0..2000 {
        assert_eq!(client.text().await, format!("4{n}"));
        assert_eq!(client.next().await.unwrap().len(), 500);
    }
    producing.await.unwrap();
}

#[tokio::test]
async fn others_take_the_room_that_there_is() {
    let mut server = Server::in_memory(EngineConfig::default().max_buffered(500));
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text("first")]).unwrap();
    let large = [Frame::text(&"x".repeat(500))];
    let mut waiting = pin!(session.send_wait(&large));
    assert_eq!(ask(waiting.as_mut()).await, None);
    session.send(&[Frame::text("second")]).unwrap();
    assert_eq!(client.poll().await, payload(&["4first", "4second"]));
    waiting.await.unwrap();
    assert_eq!(client.poll().await.len(), 501);
}
