//! The upgrade of a polling session to a WebSocket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::{CloseReason, EngineConfig, Frame, SessionHandle, TransportKind};
use http::request::Parts;
use tokio::time::{Instant, sleep};

use crate::support::{Http, Polling, Server, UPGRADE, WebSocket, Wire, close_frame, frame, parked, payload};

const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

/// Opens a session with a pending poll.
async fn parked_client(server: &mut Server) -> (Polling, SessionHandle) {
    let mut client = Polling::open(server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn the_parked_poll_of_a_young_session_is_released_in_100_ms_or_with_a_message() {
    let mut server = Server::in_memory(EngineConfig::default());
    let (mut client, session) = parked_client(&mut server).await;
    let start = Instant::now();
    let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    session.send(&[Frame::text("at once")]).unwrap();
    assert_eq!(client.polled().await, "4at once");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(client.poll().await, "6");
    assert_eq!(start.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn the_parked_poll_is_released_at_once() {
    let mut server = Server::in_memory(EngineConfig::default());
    let (mut client, _) = parked_client(&mut server).await;
    sleep(Duration::from_millis(150)).await;
    let start = Instant::now();
    let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
    websocket.send("2probe").await;
    assert_eq!(client.polled().await, "6");
    assert_eq!(websocket.text().await, "3probe");
    // The client may have sent another poll before it received the response to its probe.
    assert_eq!(client.poll().await, "6");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn messages_flow_before_during_and_after() {
    let mut server = server().await;
    let (mut client, session) = parked_client(&mut server).await;
    client.send("4before").await;
    assert_eq!(client.polled().await, "4before");

    let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    client.send("4during").await;
    assert_eq!(client.poll().await, "4during");
    assert_eq!(session.transport(), TransportKind::Polling);
    session.send(&[Frame::text("waits"), Frame::binary([1, 2].as_slice().into())]).unwrap();
    client.send("4echo waits too").await;

    websocket.send("5").await;
    assert_eq!(websocket.text().await, "4waits");
    assert_eq!(websocket.next().await.unwrap().into_data(), [1, 2].as_slice());
    assert_eq!(websocket.text().await, "4echo waits too");
    assert_eq!(session.transport(), TransportKind::WebSocket);
    websocket.send("4after").await;
    assert_eq!(websocket.text().await, "4after");
}

#[tokio::test]
async fn frames_may_come_in_one_segment() {
    let mut server = server().await;
    let client = Polling::open(&server).await;
    let session = server.session().await;
    session.send(&[Frame::text("first")]).unwrap();
    let mut http = Http::connect(&server).await;
    let request =
        format!("GET /engine.io/?{} HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n", client.upgrade_query());
    http.send([request.as_bytes(), &frame(0x81, "2probe")].concat()).await;
    assert_eq!(http.response().await.status, 101);
    let mut websocket = Wire::from_parts(http.into_parts());
    assert_eq!(websocket.text().await, "3probe");
    websocket.send([frame(0x81, "5"), frame(0x81, "4a"), frame(0x82, [1])].concat()).await;
    assert_eq!(websocket.text().await, "4first");
    assert_eq!(websocket.text().await, "4a");
    assert_eq!(websocket.frame().await, Some((0x82, vec![1])));
}

#[tokio::test]
async fn the_probe_may_be_left_out() {
    let server = server().await;
    let client = Polling::open(&server).await;
    let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
    websocket.send("5").await;
    websocket.send("4x").await;
    assert_eq!(websocket.text().await, "4x");
}

#[tokio::test]
async fn a_failed_probe_leaves_polling_alone() {
    let mut server = server().await;
    let (mut client, session) = parked_client(&mut server).await;
    let failures: [&[u8]; 12] = [
        b"",
        &close_frame(1000),
        &frame(0x81, "2probe").repeat(2),
        &frame(0x81, "2probe").repeat(5000),
        &frame(0x81, "4a message before the upgrade"),
        &frame(0x82, [1, 2, 3]),
        &frame(0x81, "2"),
        &frame(0x81, "3"),
        &frame(0x81, "1"),
        &frame(0x81, "no packet"),
        &frame(0xf1, "no frame"),
        &frame(0x81, "4x")[..3],
    ];
    for probe in [false, true] {
        for failure in failures {
            let mut websocket = Wire::connect(&server, &client.upgrade_query()).await;
            if probe {
                websocket.send(frame(0x81, "2probe")).await;
                assert_eq!(websocket.text().await, "3probe");
                assert_eq!(client.polled().await, "6");
            }
            websocket.send(failure).await;
            websocket.shut_down().await;
            // The stream ends, after a close frame if the server sent one.
            let repeats = failure.starts_with(&frame(0x81, "2probe"));
            if repeats && !probe {
                assert_eq!(websocket.text().await, "3probe");
            }
            while let Some((first, _)) = websocket.frame().await {
                assert_eq!(first, 0x88, "{failure:?}");
            }
            if repeats && !probe {
                // The server may have completed the poll with a NOOP packet before the probe failed.
                session.send(&[Frame::text("still here")]).unwrap();
                while client.polled().await == "6" {
                    client.start_poll().await;
                }
            }
            if repeats || probe {
                client.start_poll().await;
            }
            client.send("4alive").await;
            assert_eq!(client.polled().await, "4alive", "{failure:?}");
            client.start_poll().await;
            parked(&session).await;
        }
    }
    assert!(server.no_more_ends());
    let websocket = Wire::connect(&server, &client.upgrade_query()).await;
    drop(websocket);
    drop(client.get);
    assert_eq!(server.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn an_upgrade_works_after_a_failed_one() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let mut failed = Wire::connect(&server, &client.upgrade_query()).await;
    failed.send(frame(0x81, "4too early")).await;
    assert_eq!(failed.ended().await, (1000, String::new()));
    client.send("4waiting").await;
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    assert_eq!(websocket.text().await, "4waiting");
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_does_not_come_is_given_up() {
    let server = Server::in_memory(EngineConfig::default().ping_interval(Duration::from_secs(100)));
    let mut client = Polling::open(&server).await;
    for probe in [false, true] {
        let start = Instant::now();
        let mut websocket = Wire::connect(&server, &client.upgrade_query()).await;
        if probe {
            // Another probe does not extend the timeout.
            sleep(Duration::from_secs(9)).await;
            websocket.send(frame(0x81, "2probe")).await;
            assert_eq!(websocket.text().await, "3probe");
        }
        assert_eq!(websocket.ended().await, (1000, String::new()));
        assert_eq!(start.elapsed().as_secs(), 10);
        client.send("4alive").await;
        assert_eq!(client.poll().await, "4alive");
    }
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    websocket.send("4upgraded").await;
    assert_eq!(websocket.text().await, "4upgraded");
}

#[tokio::test]
async fn a_second_websocket_is_refused_while_one_probes() {
    let server = server().await;
    let client = Polling::open(&server).await;
    let mut first = WebSocket::connect(&server, &client.upgrade_query()).await;
    first.send("2probe").await;
    assert_eq!(first.text().await, "3probe");
    let mut second = Wire::connect(&server, &client.upgrade_query()).await;
    assert_eq!(second.frame().await, None);
    first.send("5").await;
    first.send("4still first").await;
    assert_eq!(first.text().await, "4still first");
}

#[tokio::test]
async fn requests_after_the_upgrade_are_refused() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    websocket.send("4x").await;
    assert_eq!(websocket.text().await, "4x");
    assert_eq!(client.get.get(&client.query).await.body, BAD_REQUEST);
    assert_eq!(client.post("4lost").await.body, BAD_REQUEST);
    websocket.send("4y").await;
    assert_eq!(websocket.text().await, "4y");
    assert_eq!(server.engine.session_count(), 1);
}

/// The server may read either connection first. The result must be as if the upgrade packet came first.
#[tokio::test(start_paused = true)]
async fn a_poll_that_arrives_together_with_the_upgrade_is_refused() {
    let server = Server::in_memory(EngineConfig::default());
    for packets in [&["5"] as &[_], &["2probe", "5"]] {
        let mut client = Polling::open(&server).await;
        let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
        if packets.len() == 1 {
            websocket.send("2probe").await;
            assert_eq!(websocket.text().await, "3probe");
        }
        client.start_poll().await;
        for packet in packets {
            websocket.send(*packet).await;
        }
        assert_eq!(client.get.response().await.status, 400);
    }
}

/// As in Node.js, whose clients throw if the handshake is rejected.
#[tokio::test(start_paused = true)]
async fn a_websocket_for_a_session_that_has_upgraded_is_closed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let config = EngineConfig::default().allow_request(async move |_: Parts| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok::<_, String>(())
    });
    let mut server = Server::in_memory(config);
    let client = Polling::open(&server).await;
    let session = server.session().await;
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    websocket.send("4x").await;
    assert_eq!(websocket.text().await, "4x");
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for bytes in [Vec::new(), frame(0x81, "2probe"), [frame(0x81, "5"), frame(0x81, "4stolen")].concat()] {
        let mut second = Wire::connect(&server, &client.upgrade_query()).await;
        session.send(&[Frame::text("not for you")]).unwrap();
        second.send(bytes).await;
        assert_eq!(second.ended().await, (1000, String::new()));
        drop(second);
        assert_eq!(websocket.text().await, "4not for you");
    }
    // The server drops a connection whose client does not close its side.
    let mut silent = Wire::connect(&server, &client.upgrade_query()).await;
    assert!(silent.frame().await.is_some());
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks + 1);
    sleep(Duration::from_millis(5_100)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks);
    websocket.send("4y").await;
    assert_eq!(websocket.text().await, "4y");
    assert_eq!(server.engine.session_count(), 1);
    assert!(server.no_more_ends());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_websocket_for_a_session_that_has_not_upgraded_is_refused() {
    let mut server = server().await;
    let _websocket = WebSocket::open(&server).await;
    let sid = server.session().await.id().as_str().to_owned();
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let answer = Http::connect(&server).await.request("GET", &query, UPGRADE, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, BAD_REQUEST));
}

#[tokio::test]
async fn a_post_that_is_on_its_way_at_the_upgrade_is_refused() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    let head =
        format!("POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n4l", client.query);
    client.post.send(head).await;
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    assert_eq!(client.post.response().await.status, 400);
    websocket.send("4x").await;
    assert_eq!(websocket.text().await, "4x");
}

#[tokio::test]
async fn a_post_is_never_taken_and_then_forgotten() {
    // The POST completes in the same turn in which the client sends the upgrade packet. A correct client
    // would have waited for the response first.
    let server = Server::in_memory(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    let mut websocket = Wire::connect(&server, &client.upgrade_query()).await;
    websocket.send(frame(0x81, "2probe")).await;
    assert_eq!(websocket.text().await, "3probe");
    client.post.start("POST", &client.query, "", "4message").await;
    websocket.send(frame(0x81, "5")).await;
    let answer = client.post.response().await;
    websocket.send(frame(0x81, "4after")).await;
    let first = websocket.text().await;
    assert_eq!(answer.status == 200, first == "4message", "{answer:?}, then {first}");
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_goes_on_over_the_websocket() {
    let server = Server::in_memory(EngineConfig::default());
    let start = Instant::now();
    let mut client = Polling::open(&server).await;
    assert_eq!(client.poll().await, "2");
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    sleep(Duration::from_secs(10)).await;
    websocket.send("3").await;
    assert_eq!(websocket.text().await, "2");
    assert_eq!(start.elapsed().as_secs(), 25 + 10 + 25);

    // Without a pong the session is closed, regardless of the transport that carried the ping.
    let mut client = Polling::open(&server).await;
    assert_eq!(client.poll().await, "2");
    let mut websocket = WebSocket::upgrade(&server, &client).await;
    assert_eq!(websocket.ended().await, (1008, "ping timeout".into()));
}

#[tokio::test]
async fn the_end_of_the_session_ends_the_probe() {
    let mut server = server().await;
    let (mut client, session) = parked_client(&mut server).await;
    let mut websocket = Wire::connect(&server, &client.upgrade_query()).await;
    websocket.send(frame(0x81, "2probe")).await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(client.polled().await, "6");
    session.send(&[Frame::text("last words")]).unwrap();
    session.close();
    assert_eq!(client.poll_to_end().await, payload(&["4last words", "1"]));
    assert_eq!(websocket.ended().await.0, 1000);
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    assert_eq!(server.engine.session_count(), 0);
}

#[tokio::test]
async fn the_end_of_the_session_waits_for_a_client_that_has_left_polling() {
    let mut server = server().await;
    let client = Polling::open(&server).await;
    let session = server.session().await;
    let mut websocket = Wire::connect(&server, &client.upgrade_query()).await;
    websocket.send(frame(0x81, "2probe")).await;
    assert_eq!(websocket.text().await, "3probe");
    session.send(&[Frame::text("last words")]).unwrap();
    session.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    websocket.send(frame(0x81, "5")).await;
    assert_eq!(websocket.text().await, "4last words");
    assert_eq!(websocket.ended().await, (1000, "forced close".into()));
    assert_eq!(server.engine.session_count(), 0);
}
