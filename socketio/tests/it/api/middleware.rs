//! The ready-made middleware, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{
    Ack, AckError, Event, EventError, Namespace, NoAck, Server, ServerConfig, Socket,
    middleware::{self, Deduplicate, RateLimit, RateLimitPolicy},
    testing::{TestClient, TestServer},
};
use tokio::{
    sync::Notify,
    time::{Instant, advance},
};
use tracing::Level;

use super::logs::Lines;

const SECOND: Duration = Duration::from_secs(1);

fn start(namespace: Namespace) -> TestServer {
    TestServer::new(Server::new().namespace(namespace))
}

async fn ask(client: &TestClient, event: &str) -> Value {
    client.emit_with_ack(event, &()).await.unwrap()
}

fn over_limit() -> Value {
    json!({ "error": "rate limit exceeded" })
}

fn marks(limit: RateLimit) -> Namespace {
    Namespace::new("/")
        .wrap(limit.per_socket())
        .on("mark", async |_, ()| Ack("ok"))
        .on("other", async |_, ()| Ack("ok"))
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_accepts_a_burst_and_then_one_event_per_interval() {
    let server = start(marks(RateLimit::new(3, SECOND)));
    let (client, other) = (server.connect("/").await, server.connect("/").await);
    for _ in 0..3 {
        assert_eq!(ask(&client, "mark").await, "ok");
    }
    // All events share the limit, those without a handler too.
    for event in ["mark", "other", "unknown"] {
        assert_eq!(ask(&client, event).await, over_limit(), "{event}");
    }
    assert_eq!(ask(&other, "mark").await, "ok");
    // Refused events do not count, so the next one is accepted after a third of a second.
    advance(Duration::from_millis(332)).await;
    assert_eq!(ask(&client, "mark").await, over_limit());
    advance(Duration::from_millis(2)).await;
    assert_eq!(ask(&client, "mark").await, "ok");
    assert_eq!(ask(&client, "mark").await, over_limit());
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_differ_from_the_rate() {
    let server = start(marks(RateLimit::new(10, SECOND).burst(1)));
    let client = server.connect("/").await;
    for _ in 0..5 {
        assert_eq!(ask(&client, "mark").await, "ok");
        assert_eq!(ask(&client, "mark").await, over_limit());
        advance(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_named_events_are_limited() {
    let server = start(marks(RateLimit::new(1, SECOND).events(["mark", "more"])));
    let client = server.connect("/").await;
    assert_eq!(ask(&client, "mark").await, "ok");
    assert_eq!(ask(&client, "mark").await, over_limit());
    for _ in 0..5 {
        assert_eq!(ask(&client, "other").await, "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_with_the_same_key_share_the_limit() {
    let limit = RateLimit::new(2, SECOND).per_key(|socket: &Socket, _: &Event| {
        socket.handshake().query("user").map(std::borrow::Cow::into_owned)
    });
    let server = start(Namespace::new("/").wrap(limit).on("mark", async |_, ()| Ack("ok")));
    let as_user = async |user| server.client("/").query("user", user).connect().await.unwrap();
    let (ann, also_ann, bob) = (as_user("ann").await, as_user("ann").await, as_user("bob").await);
    assert_eq!(ask(&ann, "mark").await, "ok");
    assert_eq!(ask(&also_ann, "mark").await, "ok");
    assert_eq!(ask(&ann, "mark").await, over_limit());
    assert_eq!(ask(&also_ann, "mark").await, over_limit());
    assert_eq!(ask(&bob, "mark").await, "ok");
}

#[tokio::test(start_paused = true)]
async fn events_above_the_limit_are_dropped_or_end_the_socket() {
    let lines = Lines::new(Level::DEBUG).await;
    let server = start(marks(RateLimit::new(1, SECOND).policy(RateLimitPolicy::Drop)));
    let client = server.connect("/").await;
    assert_eq!(ask(&client, "mark").await, "ok");
    for _ in 0..2 {
        let dropped = client.emit_with_ack::<Value, _>("mark", &()).await;
        // The client waits five seconds, after which its limit has recovered.
        assert!(matches!(dropped, Err(AckError::Timeout)), "{dropped:?}");
        assert_eq!(ask(&client, "mark").await, "ok");
    }
    let server = start(marks(RateLimit::new(1, SECOND).policy(RateLimitPolicy::Disconnect)));
    let mut client = server.connect("/").await;
    assert_eq!(ask(&client, "mark").await, "ok");
    client.emit("mark", &()).await.unwrap();
    client.disconnected().await;
    assert_eq!(lines.with(&["WARN", "limit hit", "rate_limit"]).len(), 2, "{:#?}", lines.with(&[]));
    assert_eq!(lines.with(&["DEBUG", "limit hit", "rate_limit"]).len(), 1);
}

#[test]
#[should_panic(expected = "a rate limit of zero events")]
fn a_rate_limit_of_zero_is_refused() {
    let _ = RateLimit::new(0, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_cancelled_at_its_timeout() {
    struct Cancelled(Arc<AtomicUsize>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let lines = Lines::new(Level::DEBUG).await;
    let cancelled = Arc::new(AtomicUsize::new(0));
    let counter = cancelled.clone();
    let server = start(Namespace::new("/").wrap(middleware::timeout(SECOND)).on(
        "wait",
        async move |_, millis: u64| {
            let _cancelled = Cancelled(counter);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ack("ok")
        },
    ));
    let client = server.connect("/").await;
    assert_eq!(client.emit_with_ack::<Value, _>("wait", &999).await.unwrap(), "ok");
    let start = Instant::now();
    let answer: Value = client.emit_with_ack("wait", &1001).await.unwrap();
    assert_eq!(answer, json!({ "error": "timeout" }));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(cancelled.load(Ordering::Relaxed), 2);
    let cause = ["WARN", "event handler failed", "wait", "the handler took longer than 1s"];
    assert_eq!(lines.with(&cause).len(), 1, "{:#?}", lines.with(&[]));
}

/// A namespace whose events have a key as their first argument, and the number of calls of its handlers.
fn once(limits: Deduplicate) -> (Namespace, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let next = {
        let calls = calls.clone();
        move || calls.fetch_add(1, Ordering::Relaxed)
    };
    let (count, fail, file, silent) = (next.clone(), next.clone(), next.clone(), next);
    let by_key = limits.by_key(|_: &Socket, event: &Event| event.args.get::<String>(0).ok());
    let namespace = Namespace::new("/")
        .wrap(by_key)
        .on("count", async move |_, _: Value| Ack((count(), "done")))
        .on("fail", async move |_, _: Value| match fail() {
            0 => Err(EventError::public("not yet")),
            calls => Ok(Ack(calls)),
        })
        .on("file", async move |_, _: Value| {
            file();
            Ack(Bytes::from_static(b"file"))
        })
        .on("silent", async move |_, _: Value| {
            silent();
            NoAck
        });
    (namespace, calls)
}

async fn count(client: &TestClient, key: &str) -> usize {
    let (count, done): (usize, String) = client.emit_with_ack("count", key).await.unwrap();
    assert_eq!(done, "done");
    count
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_sent_again_is_handled_once() {
    let (namespace, calls) = once(Deduplicate::new());
    let server = start(namespace);
    let (client, other) = (server.connect("/").await, server.connect("/").await);
    for client in [&client, &client, &other] {
        assert_eq!(count(client, "a").await, 0);
    }
    assert_eq!(count(&other, "b").await, 1);
    // Without a key, each event is handled.
    for expected in 2..4 {
        let (count, _): (usize, String) = client.emit_with_ack("count", &7).await.unwrap();
        assert_eq!(count, expected);
    }
    for _ in 0..2 {
        assert_eq!(client.emit_with_ack::<Bytes, _>("file", "c").await.unwrap(), "file");
        assert!(matches!(client.emit_with_ack::<Value, _>("silent", "d").await, Err(AckError::Timeout)));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}

#[cfg(feature = "msgpack")]
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_repeated_with_a_custom_parser() {
    let (namespace, calls) = once(Deduplicate::new());
    let config = ServerConfig::default().parser(Arc::new(socketio::MsgpackParser::default()) as Arc<_>);
    let server = TestServer::new(Server::with_config(config).namespace(namespace));
    let client = server.connect("/").await;
    for _ in 0..2 {
        assert_eq!(count(&client, "a").await, 0);
        assert_eq!(client.emit_with_ack::<Bytes, _>("file", "c").await.unwrap(), "file");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_failed_is_handled_again() {
    let (namespace, _) = once(Deduplicate::new());
    let server = start(namespace);
    let client = server.connect("/").await;
    let expected = [json!({ "error": "not yet" }), json!(1), json!(1)];
    for expected in expected {
        assert_eq!(client.emit_with_ack::<Value, _>("fail", "a").await.unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_first_one() {
    let (released, calls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (release, count) = (released.clone(), calls.clone());
    let server = start(
        Namespace::new("/")
            .wrap(Deduplicate::new().by_key(|_: &Socket, event: &Event| event.args.get::<String>(0).ok()))
            .on("wait", async move |_, _: String| {
                let call = count.fetch_add(1, Ordering::Relaxed);
                release.notified().await;
                Ack(call)
            })
            .on("release", async move |_, ()| released.notify_one()),
    );
    let client = server.connect("/").await;
    let first = client.emit_with_ack::<usize, _>("wait", "a");
    let second = client.emit_with_ack::<usize, _>("wait", "a");
    let release = async {
        tokio::time::sleep(SECOND).await;
        client.emit("release", &()).await
    };
    let (first, second, released) = tokio::join!(first, second, release);
    released.unwrap();
    assert_eq!((first.unwrap(), second.unwrap()), (0, 0));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_forgotten_at_the_limits() {
    let (namespace, _) = once(Deduplicate::new().ttl(SECOND).max_keys(2));
    let server = start(namespace);
    let client = server.connect("/").await;
    assert_eq!(count(&client, "a").await, 0);
    advance(Duration::from_millis(999)).await;
    assert_eq!(count(&client, "a").await, 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(count(&client, "a").await, 1);
    // The oldest of three keys is forgotten.
    assert_eq!(count(&client, "b").await, 2);
    assert_eq!(count(&client, "a").await, 1);
    assert_eq!(count(&client, "c").await, 3);
    assert_eq!(count(&client, "b").await, 2);
    assert_eq!(count(&client, "a").await, 4);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_forgotten_at_the_limit_of_bytes() {
    // An acknowledgement has ten bytes, `[0,"done"]`.
    for (max, again) in [(20, 0), (19, 2)] {
        let (namespace, _) = once(Deduplicate::new().max_bytes(max));
        let server = start(namespace);
        let client = server.connect("/").await;
        assert_eq!(count(&client, "a").await, 0);
        assert_eq!(count(&client, "b").await, 1);
        assert_eq!(count(&client, "a").await, again, "{max}");
    }
}
