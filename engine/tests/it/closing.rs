//! The server closes a session.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, SendError};

use crate::support::{Http, Polling, Server, WebSocket, Wire, close_frame, frame, parked, payload};

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

#[tokio::test]
async fn a_parked_poll_takes_the_last_messages_and_the_next_one_the_end() {
    // The official client acts on a close packet immediately but on messages one turn later.
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    session.send(&[Frame::text("last"), Frame::text("words")]).unwrap();
    session.close();
    assert_eq!(client.polled().await, payload(&["4last", "4words"]));
    assert_eq!(client.poll().await, "1");
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert!(client.is_gone(&server).await);
}

#[tokio::test]
async fn a_parked_poll_takes_the_end() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    session.close();
    assert_eq!(client.polled().await, "1");
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(session.send(&[Frame::text("late")]), Err(SendError::Closed));
    assert!(!session.send_volatile(&[Frame::text("late")]));
    assert!(client.is_gone(&server).await);
}

#[tokio::test]
async fn without_a_poll_the_next_one_takes_the_last_messages_and_the_end() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text("last"), Frame::text("words")]).unwrap();
    session.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(session.send(&[Frame::text("late")]), Err(SendError::Closed));
    assert_eq!(client.poll_to_end().await, payload(&["4last", "4words", "1"]));
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn a_post_during_the_end_is_not_refused() {
    // A client whose POST fails disconnects and loses the messages of its last poll.
    let mut server = server().await;
    for message in ["4echo", "4pause"] {
        let mut client = Polling::open(&server).await;
        let session = server.session().await;
        client.send(message).await;
        session.send(&[Frame::text("last words")]).unwrap();
        session.close();
        assert_eq!(server.end().await, CloseReason::ForcedClose);
        client.send("4ignored").await;
        assert!(client.poll_to_end().await.ends_with("4last words\u{1e}1"));
    }
}

#[tokio::test]
async fn a_post_that_is_on_its_way_at_the_end_is_not_refused() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    // The closed gate blocks the POST after its first packet.
    let body = payload(&["4pause", "4ignored"]);
    client.post.start("POST", &client.query, "", &body).await;
    client.start_poll().await;
    parked(&session).await;
    session.send(&[Frame::text("last words")]).unwrap();
    session.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    let answer = client.post.response().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(client.polled().await, "4last words");
    assert_eq!(client.poll().await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_polls_again_is_forgotten() {
    let mut server = Server::in_memory(EngineConfig::default().close_timeout(Duration::from_secs(3)));
    let client = Polling::open(&server).await;
    server.session().await.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(server.engine.session_count(), 1);
    tokio::time::sleep(Duration::from_millis(3001)).await;
    assert_eq!(server.engine.session_count(), 0);
    assert!(client.is_gone(&server).await);
    assert!(server.no_more_ends());
}

#[tokio::test]
async fn a_handler_may_close_while_its_payload_goes_on() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    client.send(payload(&["4before", "4close", "4after"])).await;
    assert_eq!(client.poll_to_end().await, payload(&["4before", "4after", "1"]));
    assert_eq!(server.end().await, CloseReason::ForcedClose);
}

/// The official client closes its session and sends a poll at the same time, over two connections. The poll
/// may arrive last.
#[tokio::test(start_paused = true)]
async fn a_session_that_its_client_closes_answers_one_late_poll() {
    let mut server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    client.send("1").await;
    assert_eq!(server.end().await, CloseReason::TransportClose);
    assert_eq!(server.session().await.send(&[Frame::text("late")]), Err(SendError::Closed));
    assert_eq!(client.poll().await, "6");
    assert!(client.is_gone(&server).await);
    assert_eq!(server.engine.session_count(), 0);

    // Messages queued before the close are delivered first.
    let mut client = Polling::open(&server).await;
    server.session().await.send(&[Frame::text("last words")]).unwrap();
    client.send("1").await;
    assert_eq!(client.poll_to_end().await, payload(&["4last words", "6"]));
    assert!(client.is_gone(&server).await);

    // Without a late poll, the session is removed after a timeout.
    let mut client = Polling::open(&server).await;
    client.send("1").await;
    tokio::time::sleep(Duration::from_millis(5_001)).await;
    assert_eq!(server.engine.session_count(), 0);
    assert!(client.is_gone(&server).await);
}

/// Repeated because the order of the two tasks is random.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_and_a_close_may_come_together() {
    let server = server().await;
    for _ in 0..200 {
        let client = Polling::open(&server).await;
        let (mut get, mut post) = (Http::connect(&server).await, Http::connect(&server).await);
        post.start("POST", &client.query, "", "1").await;
        get.start("GET", &client.query, "", "").await;
        assert_eq!(post.response().await.body, "ok");
        let polled = get.response().await;
        assert_eq!((polled.status, polled.body.as_str()), (200, "6"));
        assert!(client.is_gone(&server).await);
    }
}

#[tokio::test]
async fn a_websocket_is_closed_after_all_messages() {
    let mut server = server().await;
    let mut client = WebSocket::open(&server).await;
    let session = server.session().await;
    client.send("4burst 1000").await;
    client.send("4close").await;
    for n in 0..1000 {
        assert_eq!(client.text().await, format!("4{n}"));
    }
    assert_eq!(client.ended().await, (1000, "forced close".into()));
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(session.send(&[Frame::text("late")]), Err(SendError::Closed));
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn what_a_client_still_sends_does_not_reset_the_last_messages() {
    let mut server = server().await;
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text(&"x".repeat(200_000)), Frame::text("last words")]).unwrap();
    session.close();
    for _ in 0..100 {
        client.send(frame(0x81, format!("4{}", "y".repeat(1000)))).await;
    }
    assert_eq!(client.text().await.len(), 200_001);
    assert_eq!(client.text().await, "4last words");
    assert_eq!(client.ended().await, (1000, "forced close".into()));
    assert_eq!(server.end().await, CloseReason::ForcedClose);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_close_its_side_is_dropped_in_time() {
    let mut server = Server::in_memory(EngineConfig::default().close_timeout(Duration::from_secs(3)));
    let mut client = Wire::open(&server).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    server.session().await.close();
    assert_eq!(client.frame().await, Some((0x88, b"\x03\xe8forced close".to_vec())));
    assert_eq!(server.engine.session_count(), 0);
    tokio::time::sleep(Duration::from_millis(2900)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks - 1);
}

#[tokio::test]
async fn the_close_frame_of_a_client_is_answered() {
    let mut server = server().await;
    let client = WebSocket::open(&server).await;
    assert_eq!(client.finish().await.0, 1000);
    assert_eq!(server.end().await, CloseReason::TransportClose);

    for (close, code) in [
        (close_frame(1001), 1001),
        (close_frame(3000), 3000),
        (frame(0x88, b"\x03\xe8bye"), 1000),
        (frame(0x88, []), 1005),
    ] {
        let mut client = Wire::open(&server).await;
        client.send(&close).await;
        assert_eq!(client.ended().await, (code, String::new()));
        assert_eq!(server.end().await, CloseReason::TransportClose);
    }
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn a_client_that_has_its_answer_is_not_waited_for() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    client.send(&close_frame(1000)).await;
    assert_eq!(client.ended().await, (1000, String::new()));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks - 1);
}

#[tokio::test]
async fn a_client_that_goes_on_behind_its_close_frame_has_its_answer() {
    let server = server().await;
    let mut client = Wire::open(&server).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    client.send(&[close_frame(1000), frame(0x81, "4late")].concat()).await;
    assert_eq!(client.ended().await, (1000, String::new()));
    // Unread bytes would cause a reset of the connection, which could discard the response.
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks);
}

#[tokio::test]
async fn a_lost_connection_ends_the_session() {
    let mut server = server().await;
    let client = Wire::open(&server).await;
    drop(client);
    assert_eq!(server.end().await, CloseReason::TransportClose);

    let mut client = Wire::open(&server).await;
    client.shut_down().await;
    assert_eq!(server.end().await, CloseReason::TransportClose);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn closing_an_ended_session_does_nothing() {
    let mut server = server().await;
    drop(Wire::open(&server).await);
    let session = server.session().await;
    assert_eq!(server.end().await, CloseReason::TransportClose);
    session.close();
    session.close();
    session.wake();
    let mut http = Http::connect(&server).await;
    assert_eq!(http.get("EIO=4&transport=polling").await.status, 200);
    assert!(server.no_more_ends());
}
