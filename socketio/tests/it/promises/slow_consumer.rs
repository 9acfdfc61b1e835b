//! Tests the slow-consumer policies, and that no event is dropped unless a policy says so.

use socketio::{
    AckError, EmitError, EngineConfig, Limit, Namespace, Server, ServerConfig, SlowConsumerPolicy, Socket,
};

use crate::support::{Heard, Host, Polling, log, payload, serve, within};

const LIMIT: usize = 10_000;

/// Connects a client that does not poll, to a namespace with the given policy.
async fn unpolled(
    policy: Option<SlowConsumerPolicy>,
    default: SlowConsumerPolicy,
) -> (Host, Polling, Socket, Heard<String>) {
    let (connected, mut sockets) = log();
    let (left, ends) = log();
    let mut namespace = Namespace::new("/")
        .on_connect(async move |socket: Socket| connected.note(socket))
        .on_disconnect(async move |_, reason| left.note(reason.to_string()));
    if let Some(policy) = policy {
        namespace = namespace.slow_consumer(policy);
    }
    let engine =
        EngineConfig::default().max_buffered(LIMIT).max_buffered_hard(2 * LIMIT).slow_consumer(default);
    let host = serve(Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace)).await;
    let client = Polling::join(&host).await;
    let socket = sockets.next().await;
    (host, client, socket, ends)
}

/// Emits until one more event would exceed `max_buffered`, and returns the number of events that fit.
fn fill(socket: &Socket) -> u32 {
    fill_to(socket, LIMIT)
}

fn fill_to(socket: &Socket, limit: usize) -> u32 {
    let mut n = 0;
    let each = {
        emit(socket, n).unwrap();
        socket.session().buffered()
    };
    while socket.session().buffered() + each <= limit {
        n += 1;
        emit(socket, n).unwrap();
    }
    n + 1
}

fn emit(socket: &Socket, n: u32) -> Result<(), EmitError> {
    socket.emit("n", &format!("{n:04}"))
}

fn packets(numbers: std::ops::Range<u32>) -> String {
    let packets: Vec<_> = numbers.map(|n| format!(r#"42["n","{n:04}"]"#)).collect();
    payload(&packets.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_emit_above_the_hard_limit_fails_and_a_broadcast_disconnects_by_default() {
    let (host, mut client, socket, mut ends) = unpolled(None, SlowConsumerPolicy::default()).await;
    let fit = fill_to(&socket, 2 * LIMIT);
    assert!(matches!(emit(&socket, fit), Err(EmitError::Full)));
    // The emit returned an error, so nothing was lost silently and the client stays connected.
    let mut polled = client.poll().await;
    while polled.len() < packets(0..fit).len() {
        polled = format!("{polled}\u{1e}{}", client.poll().await);
    }
    assert_eq!(polled, packets(0..fit));
    assert!(socket.connected() && ends.is_silent());

    fill_to(&socket, 2 * LIMIT);
    socket.namespace().emit("n", "a broadcast").unwrap();
    assert_eq!(ends.next().await, "transport error");
    assert_eq!((host.io.limit_hits(Limit::MaxBufferedHard), host.io.dropped_packets()), (2, 0));
}

#[tokio::test]
async fn a_namespace_may_refuse_the_newest() {
    let (host, mut client, socket, ends) =
        unpolled(Some(SlowConsumerPolicy::DropNewest), SlowConsumerPolicy::default()).await;
    let fit = fill(&socket);
    assert!(matches!(emit(&socket, fit), Err(EmitError::Full)));
    socket.namespace().emit("n", "a broadcast").unwrap();
    assert_eq!(client.poll().await, packets(0..fit));
    assert_eq!(host.io.dropped_packets(), 2);
    emit(&socket, fit).unwrap();
    assert_eq!(client.poll().await, packets(fit..fit + 1));
    assert!(socket.connected() && ends.is_silent());
}

#[tokio::test]
async fn a_server_may_drop_the_oldest() {
    let (host, mut client, socket, ends) = unpolled(None, SlowConsumerPolicy::DropOldest).await;
    let fit = fill(&socket);
    emit(&socket, fit).unwrap();
    socket.namespace().emit("n", &format!("{:04}", fit + 1)).unwrap();
    assert_eq!(client.poll().await, packets(2..fit + 2));
    assert_eq!(host.io.dropped_packets(), 2);
    assert!(socket.connected() && ends.is_silent());
}

#[tokio::test]
async fn an_event_with_an_acknowledgement_is_never_dropped() {
    for policy in [SlowConsumerPolicy::DropNewest, SlowConsumerPolicy::DropOldest] {
        let (host, mut client, socket, ends) = unpolled(Some(policy), SlowConsumerPolicy::default()).await;
        let fit = fill(&socket);
        // Above `max_buffered`, the policy drops events, but an event that requests an acknowledgement is
        // queued.
        let asked = socket.emit_with_ack::<(), _>("question", &"?".repeat(LIMIT - 500));
        let polled = client.poll().await;
        assert!(polled.starts_with(&packets(0..fit)) && polled.contains(r#"420["question""#));
        drop(asked);
        // Above the hard limit, it is rejected.
        let _first = socket.emit_with_ack::<(), _>("question", &"?".repeat(2 * LIMIT - 1000));
        let asked = socket.emit_with_ack::<(), _>("question", &"?".repeat(1000));
        assert!(matches!(asked.await, Err(AckError::Emit(EmitError::Full))));
        assert!(socket.connected() && ends.is_silent());
        assert_eq!(host.io.dropped_packets(), 0);
    }
}

#[tokio::test]
async fn an_event_may_wait_for_room() {
    let (host, mut client, socket, _ends) = unpolled(None, SlowConsumerPolicy::default()).await;
    let fit = fill(&socket);
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.emit_wait("n", &format!("{fit:04}")).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(client.poll().await, packets(0..fit));
    within(waiting).await.unwrap().unwrap();
    assert_eq!(client.poll().await, packets(fit..fit + 1));
    assert_eq!(host.io.limit_hits(Limit::MaxBuffered), 0);
}

#[tokio::test]
async fn whoever_waits_hears_of_the_end() {
    for leave in [Socket::close as fn(&Socket), Socket::disconnect] {
        let (_host, mut client, socket, _ends) = unpolled(None, SlowConsumerPolicy::default()).await;
        // Leaves room for a DISCONNECT packet.
        emit(&socket, 0).unwrap();
        let large = "x".repeat(LIMIT);
        let waiting = tokio::spawn({
            let socket = socket.clone();
            async move { socket.emit_wait("n", &large).await }
        });
        tokio::task::yield_now().await;
        leave(&socket);
        assert!(client.poll().await.starts_with(&packets(0..1)));
        let ended = within(waiting).await.unwrap();
        assert!(matches!(ended, Err(EmitError::Disconnected)), "{ended:?}");
    }
}
