//! The limits of HTTP/2, each at its exact value and one above.

use std::time::Duration;

use engineio::{EngineConfig, ListenConfig};
use http::Request;
use tokio::time::Instant;

use super::{
    OPEN, connect,
    raw::{
        ACK, CONTINUATION, DATA, END_STREAM, GO_AWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS,
        WINDOW_UPDATE, frame, get,
    },
    sid_of,
};
use crate::support::{Polling, Server, eventually, parked};

const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

async fn server(config: ListenConfig) -> Server {
    Server::listen(EngineConfig::default(), config).await
}

async fn raw(server: &Server) -> Raw {
    Raw::over(server.connect().await).await.0
}

#[tokio::test]
async fn the_limits_are_told() {
    for (config, streams, head) in [
        (ListenConfig::default(), 128, 16 * 1024),
        (ListenConfig::default().http2_max_streams(3).max_head(500), 3, 500),
    ] {
        let server = server(config).await;
        let (mut raw, settings) = Raw::over(server.connect().await).await;
        let mut told: Vec<_> = settings
            .payload
            .chunks(6)
            .map(|pair| (pair[1], u32::from_be_bytes(pair[2..].try_into().unwrap())))
            .collect();
        told.sort_unstable();
        // The table of headers, the streams, the window of a stream, the size of a frame, the list of headers, and
        // extended CONNECT.
        assert_eq!(told, [(1, 4096), (3, streams), (4, 64 * 1024), (5, 16 * 1024), (6, head), (8, 1)]);
        let window = loop {
            let frame = raw.frame().await.unwrap();
            if frame.kind == WINDOW_UPDATE {
                break frame.number(0);
            }
        };
        assert_eq!(window, 256 * 1024 - 65_535);
    }
}

#[tokio::test]
async fn the_number_of_streams_is_limited_exactly() {
    let mut server = server(ListenConfig::default().http2_max_streams(2)).await;
    let mut sids = Vec::new();
    for _ in 0..3 {
        sids.push(Polling::open(&server).await.sid);
    }
    let mut raw = raw(&server).await;
    for (stream, sid) in [(1, &sids[0]), (3, &sids[1])] {
        raw.send(get(stream, &format!("{OPEN}&sid={sid}"))).await;
        parked(&server.session().await).await;
    }
    raw.send(get(5, &format!("{OPEN}&sid={}", sids[2]))).await;
    let refused = raw.next().await.unwrap();
    assert_eq!((refused.kind, refused.stream, refused.number(0)), (RST_STREAM, 5, REFUSED_STREAM));
    // A stream that ends makes room for another one.
    raw.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    eventually(|| server.engine.session_count() == 2).await;
    raw.send(get(7, "/engine.io/")).await;
    let answer = raw.next().await.unwrap();
    assert_eq!((answer.kind, answer.stream), (HEADERS, 7));
}

/// A client that resets each request at once would otherwise cause work without limit (CVE-2023-44487).
#[tokio::test]
async fn requests_that_are_reset_at_once_are_limited_exactly() {
    for (resets, is_allowed) in [(20, true), (21, false), (10_000, false)] {
        let server = server(ListenConfig::default()).await;
        let mut raw = raw(&server).await;
        let reset =
            |n: u32| [get(2 * n + 1, OPEN), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat();
        let mut bytes: Vec<u8> = (0..resets).flat_map(reset).collect();
        bytes.extend(get(2 * resets + 1, "/engine.io/"));
        raw.send(bytes).await;
        let answer = raw.next().await.unwrap();
        if is_allowed {
            assert_eq!((answer.kind, answer.stream), (HEADERS, 2 * resets + 1));
        } else {
            assert_eq!((answer.kind, answer.number(4)), (GO_AWAY, ENHANCE_YOUR_CALM));
            while raw.frame().await.is_some() {}
            assert!(server.engine.session_count() <= 21);
        }
        Polling::open(&server).await;
    }
}

#[tokio::test]
async fn a_head_is_smaller_than_16_kib() {
    let server = server(ListenConfig::default()).await;
    let mut client = connect(&server).await;
    // The size of a list is that of its names and values, and 32 for each entry (RFC 9113, section 6.5.2).
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", OPEN), ("x-long", "")];
    let used: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    for (len, status) in [(16 * 1024 - 1, 200), (16 * 1024, 431)] {
        let request = Request::get(format!("http://test{OPEN}")).header("x-long", "x".repeat(len - used));
        let (response, _) = client.send(request.body(()).unwrap(), true).await;
        assert_eq!(testkit::within(response).await.unwrap().status(), status, "{len}");
    }
}

#[tokio::test]
async fn a_request_may_have_100_headers() {
    let server = server(ListenConfig::default()).await;
    let mut client = connect(&server).await;
    for (count, status) in [(100, 200), (101, 431)] {
        let request = (0..count)
            .fold(Request::get(format!("http://test{OPEN}")), |request, _| request.header("a", "b"));
        let (response, _) = client.send(request.body(()).unwrap(), true).await;
        assert_eq!(testkit::within(response).await.unwrap().status(), status, "{count}");
    }
}

#[tokio::test]
async fn errors_are_limited_exactly() {
    for (errors, is_allowed) in [(128, true), (129, false)] {
        let server = server(ListenConfig::default()).await;
        let mut raw = raw(&server).await;
        for n in 0..errors {
            // A window that is too large is an error of the stream (RFC 9113, section 6.9.1).
            let stream = 2 * n + 1;
            raw.send(
                [get(stream, "/engine.io/"), frame(WINDOW_UPDATE, 0, stream, &u32::MAX.to_be_bytes())]
                    .concat(),
            )
            .await;
        }
        raw.send(get(2 * errors + 1, "/engine.io/")).await;
        let mut is_answered = false;
        let mut is_over = false;
        while let Some(frame) = raw.frame().await {
            is_answered |= frame.kind == HEADERS && frame.stream == 2 * errors + 1;
            is_over |= frame.kind == GO_AWAY && frame.number(4) == ENHANCE_YOUR_CALM;
            if is_answered {
                break;
            }
        }
        assert_eq!((is_answered, is_over), (is_allowed, !is_allowed));
    }
}

/// A head that never ends would otherwise occupy memory without limit (CVE-2024-27316).
#[tokio::test]
async fn a_head_of_endless_frames_ends_the_connection() {
    let server = server(ListenConfig::default()).await;
    let mut raw = raw(&server).await;
    raw.send(frame(HEADERS, END_STREAM, 1, &[0x82, 0x86, 0x84])).await;
    let field = [&[0x00, 1, b'a', 100][..], &[b'x'; 100]].concat().repeat(100);
    for _ in 0..100 {
        raw.send(frame(CONTINUATION, 0, 1, &field)).await;
    }
    let answer = raw.next().await.unwrap();
    assert_eq!((answer.kind, answer.number(4)), (GO_AWAY, ENHANCE_YOUR_CALM));
    while raw.frame().await.is_some() {}
    eventually(|| server.connections().open() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_given_up() {
    let server = server(ListenConfig::default()).await;
    let mut stream = server.connect().await;
    stream.patience = Duration::from_mins(2);
    let start = Instant::now();
    let mut raw = Raw::over(stream).await.0;
    let ping = raw.next().await.unwrap();
    assert_eq!((ping.kind, ping.flags, start.elapsed().as_secs()), (PING, 0, 20));
    raw.send(frame(PING, ACK, 0, &ping.payload)).await;
    assert_eq!(raw.next().await.unwrap().kind, PING);
    assert_eq!(start.elapsed().as_secs(), 40);
    while raw.frame().await.is_some() {}
    assert_eq!(start.elapsed().as_secs(), 60);
    eventually(|| server.connections().open() == 0).await;
}

/// A client can keep the window of a stream closed although it reads everything else.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    for opens_window in [false, true] {
        let server = server(ListenConfig::default()).await;
        let mut stream = server.connect().await;
        stream.patience = Duration::from_mins(2);
        let mut raw = Raw::over(stream).await.0;
        // `SETTINGS_INITIAL_WINDOW_SIZE` is 0.
        raw.send([frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), get(1, OPEN)].concat()).await;
        assert_eq!(raw.next().await.unwrap().kind, HEADERS);
        let start = Instant::now();
        if opens_window {
            tokio::time::sleep(Duration::from_millis(14_900)).await;
            raw.send(frame(WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes())).await;
            assert_eq!(raw.next().await.unwrap().kind, DATA);
            let ping = raw.next().await.unwrap();
            assert_eq!((ping.kind, start.elapsed().as_secs()), (PING, 20));
        } else {
            assert_eq!(raw.next().await, None);
            assert!((14_990..15_010).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_for_75_seconds() {
    let mut server = server(ListenConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    let session = server.session().await;
    // A request in progress may take longer.
    let poll = client.start("GET", &format!("{OPEN}&sid={}", sid_of(&open.body)), "").await;
    parked(&session).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(testkit::Http2::response(poll).await.body, "2");
    let start = Instant::now();
    let ended = tokio::time::timeout(Duration::from_mins(3), client.closed()).await;
    assert!(ended.is_ok() && (75..=97).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}
