//! Each metric of the engine changes as documented in `docs/observability.md`.

#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "counts are small whole numbers")]

use engineio::{CloseReason, EngineConfig, Frame, Limit, SendError, SlowConsumerPolicy};
use testkit::Recorder;

use crate::support::{Http, Polling, Server, WebSocket, eventually, parked};

fn start(config: EngineConfig) -> (Recorder, Server) {
    Recorder::new(|| Server::in_memory(config))
}

const POLLING: &str = "engineio_sessions{transport=polling}";
const WEBSOCKET: &str = "engineio_sessions{transport=websocket}";

#[tokio::test]
async fn sessions_are_counted_from_their_beginning_to_their_end() {
    let (mut watched, mut server) = start(EngineConfig::default());
    let mut client = Polling::open(&server).await;
    watched.assert_changes("", &[(POLLING, 1.0), ("engineio_sessions_opened_total{transport=polling}", 1.0)]);

    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    let mut websocket = WebSocket::connect(&server, &client.upgrade_query()).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(client.polled().await, "6");
    watched.assert_changes("", &[]);
    websocket.send("5").await;
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
    assert_eq!((watched.total(POLLING), watched.total(WEBSOCKET)), (0.0, 1.0));
    assert_eq!(watched.total("engineio_upgrades_total{}"), 1.0);

    session.close();
    assert_eq!(server.end().await, CloseReason::ForcedClose);
    eventually(|| server.engine.session_count() == 0).await;
    assert_eq!((watched.total(POLLING), watched.total(WEBSOCKET)), (0.0, 0.0));
    assert_eq!(watched.total("engineio_sessions_closed_total{reason=forced close}"), 1.0);
}

#[tokio::test]
async fn a_websocket_that_goes_away_is_counted() {
    let (mut watched, mut server) = start(EngineConfig::default());
    let websocket = WebSocket::open(&server).await;
    watched.assert_changes(
        "",
        &[(WEBSOCKET, 1.0), ("engineio_sessions_opened_total{transport=websocket}", 1.0)],
    );
    drop(websocket);
    assert_eq!(server.end().await, CloseReason::TransportClose);
    eventually(|| server.engine.session_count() == 0).await;
    watched.assert_changes(
        "",
        &[(WEBSOCKET, -1.0), ("engineio_sessions_closed_total{reason=transport close}", 1.0)],
    );
}

#[test]
fn sessions_that_end_with_their_runtime_are_counted() {
    let (mut watched, server) = start(EngineConfig::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Polling::open(&server));
    assert_eq!(watched.total(POLLING), 1.0);
    drop((runtime, client));
    assert_eq!(watched.total(POLLING), 0.0);
    assert_eq!(watched.total("engineio_sessions_closed_total{reason=forced close}"), 1.0);
}

#[tokio::test]
async fn messages_and_their_bytes_are_counted_in_both_directions() {
    let (mut watched, mut server) = start(EngineConfig::default());
    let mut websocket = WebSocket::open(&server).await;
    server.session().await;
    watched.changes();
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
    websocket.send_binary(vec![1, 2, 3]).await;
    assert_eq!(websocket.next().await.unwrap().into_data().len(), 3);
    watched.assert_changes(
        "",
        &[
            ("engineio_messages_received_total{}", 2.0),
            ("engineio_messages_sent_total{}", 2.0),
            ("engineio_queued_bytes{}", 2.0),
            ("engineio_received_bytes_total{}", 8.0),
            ("engineio_sent_bytes_total{}", 8.0),
        ],
    );

    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    watched.changes();
    client.send("4one\u{1e}4two").await;
    eventually(|| session.buffered() > 0).await;
    let queued = watched.total("sum of engineio_queued_bytes{}");
    let buffered = session.buffered() as f64;
    assert_eq!(client.poll().await, "4one\u{1e}4two");
    assert_eq!(watched.total("sum of engineio_queued_bytes{}"), queued + buffered);
    assert_eq!(watched.total("engineio_messages_received_total{}"), 4.0);
    assert_eq!(watched.total("engineio_received_bytes_total{}"), 14.0);
    assert_eq!(watched.total("engineio_messages_sent_total{}"), 4.0);
    assert_eq!(watched.total("engineio_sent_bytes_total{}"), 14.0);
}

#[tokio::test]
async fn the_initial_packet_and_what_leaves_with_the_end_are_counted() {
    let (mut watched, mut server) = start(EngineConfig::default().initial_packet(Frame::text("hi")));
    let mut http = Http::connect(&server).await;
    assert!(http.get("EIO=4&transport=polling").await.body.ends_with("\u{1e}4hi"));
    assert_eq!(watched.total("engineio_messages_sent_total{}"), 1.0);
    assert_eq!(watched.total("engineio_sent_bytes_total{}"), 2.0);
    server.session().await;

    let mut websocket = WebSocket::open(&server).await;
    assert_eq!(websocket.text().await, "4hi");
    let session = server.session().await;
    session.send(&[Frame::text("bye")]).unwrap();
    session.close();
    assert_eq!(websocket.text().await, "4bye");
    assert_eq!(watched.total("engineio_messages_sent_total{}"), 3.0);
    assert_eq!(watched.total("engineio_sent_bytes_total{}"), 7.0);
}

#[tokio::test]
async fn refused_requests_are_counted_by_their_code() {
    let (mut watched, server) = start(EngineConfig::default());
    let mut http = Http::connect(&server).await;
    for (query, headers) in [
        ("EIO=4", ""),
        ("EIO=4&transport=polling&sid=unknown", ""),
        ("EIO=4&transport=polling&sid=unknown", ""),
        ("EIO=4&transport=polling", "Origin: http://evil.example\r\n"),
        ("EIO=3&transport=polling", ""),
    ] {
        let answer = http.request("GET", query, headers, "").await;
        assert!(matches!(answer.status, 400 | 403), "{query}");
    }
    watched.assert_changes(
        "",
        &[
            ("engineio_requests_refused_total{code=0}", 1.0),
            ("engineio_requests_refused_total{code=1}", 2.0),
            ("engineio_requests_refused_total{code=4}", 1.0),
            ("engineio_requests_refused_total{code=5}", 1.0),
        ],
    );
}

#[tokio::test]
async fn limits_and_drops_are_those_that_the_engine_tells() {
    let (mut watched, mut server) = start(EngineConfig::default().max_buffered(200_usize));
    let _client = Polling::open(&server).await;
    let session = server.session().await;
    let sent: Vec<_> =
        (0..10).map(|_| session.send_with(&[Frame::text("x")], SlowConsumerPolicy::DropNewest)).collect();
    let dropped = sent.iter().filter(|sent| **sent == Err(SendError::Full)).count() as f64;
    assert!(dropped > 0.0);
    assert!(!session.send_volatile(&[Frame::text("x")]));
    assert_eq!(watched.total("engineio_messages_dropped_total{}"), dropped + 1.0);
    assert_eq!(watched.total("engineio_limit_hits_total{limit=max_buffered}"), dropped);
    assert_eq!(server.engine.limit_hits(Limit::MaxBuffered) as f64, dropped);
    assert_eq!(server.engine.dropped_messages() as f64, dropped + 1.0);
}

#[cfg(feature = "forwarding")]
#[tokio::test]
async fn forwarded_requests_and_their_failures_are_counted() {
    let owner = crate::forwarding::server().await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let forwarding = |address| engineio::Forwarding::new(crate::forwarding::SECRET, address);
    let lost = Server::start(EngineConfig::default().forwarding(forwarding(gone))).await;
    let (mut client, mut orphan) = (Polling::open(&owner).await, Polling::open(&lost).await);
    let (mut watched, other) =
        start(EngineConfig::default().forwarding(forwarding("127.0.0.1:1".parse().unwrap())));
    for each in [&mut client, &mut orphan] {
        each.move_to(&other).await;
    }
    client.send("4one").await;
    assert_eq!(client.poll().await, "4one");
    watched.assert_changes("", &[("engineio_requests_forwarded_total{}", 2.0)]);
    assert_eq!(orphan.post("4one").await.status, 400);
    watched.assert_changes(
        "",
        &[
            ("engineio_requests_forwarded_total{}", 1.0),
            ("engineio_forwarding_errors_total{}", 1.0),
            ("engineio_requests_refused_total{code=1}", 1.0),
        ],
    );
}

#[test]
fn all_metrics_are_documented() {
    let (mut watched, server) = start(EngineConfig::default());
    let documented = include_str!("../../../docs/observability.md");
    let names = watched.names();
    for name in &names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    assert_eq!(documented.matches("| `engineio_").count(), names.len());
    drop(server);
}
