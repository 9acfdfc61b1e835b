//! A client counts as slow if it reads nothing for some time, not if its queue is long for a moment.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, Limit, SendError, SessionHandle, SlowConsumerPolicy};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Polling, Server, WebSocket, Wire, eventually, frame};

const SECOND: Duration = Duration::from_secs(1);
const KIB: usize = 1024;

/// Sets all other timeouts out of reach.
fn config() -> EngineConfig {
    let never = Duration::from_hours(100);
    EngineConfig::default().ping_interval(never).write_timeout(never)
}

fn large(len: usize) -> Frame {
    Frame::text(&"x".repeat(len))
}

/// Opens sessions, each with a WebSocket.
async fn open_all(server: &mut Server, count: usize) -> (Vec<Wire>, Vec<SessionHandle>) {
    let (mut clients, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..count {
        clients.push(Wire::open(server).await);
        sessions.push(server.session().await);
    }
    (clients, sessions)
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_above_max_buffered_for_the_grace() {
    let mut server = Server::with_buffers(config(), KIB);
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    for _ in 0..2 {
        // The queue is above the limit for slightly less than the grace period.
        for _ in 0..20 {
            session.send(&[large(100 * KIB)]).unwrap();
        }
        assert!(session.is_backlogged());
        sleep(29 * SECOND).await;
        for _ in 0..20 {
            assert_eq!(client.frame().await.unwrap().1.len(), 100 * KIB + 1);
        }
        eventually(|| session.buffered() == 0).await;
        assert!(!session.is_backlogged());
    }
    // A queue below the limit has no deadline.
    session.send(&[large(1000 * KIB)]).unwrap();
    assert!(!session.is_backlogged());
    sleep(1000 * SECOND).await;
    assert!(server.no_more_ends());
    assert_eq!(server.engine.limit_hits(Limit::SlowConsumerGrace), 0);

    let start = Instant::now();
    session.send(&[large(100 * KIB)]).unwrap();
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(server.engine.limit_hits(Limit::SlowConsumerGrace), 1);
    // The message whose transmission had started is completed.
    assert_eq!(client.frame().await.unwrap().1.len(), 1000 * KIB + 1);
    let (code, reason) = client.ended().await;
    assert_eq!(code, 1008);
    assert_eq!(reason, "slow consumer: slow_consumer_grace (30s above 1048576 bytes)");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_as_much_as_max_buffered_within_the_grace_is_not_slow() {
    let config = config().max_buffered(10 * KIB).slow_consumer_grace(10 * SECOND);
    let mut server = Server::with_buffers(config, KIB);
    let mut client = Wire::open(&server).await;
    let session = server.session().await;
    for _ in 0..1000 {
        session.send(&[large(KIB)]).unwrap();
    }
    // The queue stays above the limit for ten times the grace period, but the client keeps reading.
    for _ in 0..200 {
        sleep(SECOND / 2).await;
        client.frame().await.unwrap();
        assert!(session.is_backlogged());
    }
    assert!(server.no_more_ends());
    // A slightly lower rate is too low.
    let start = Instant::now();
    while server.no_more_ends() && start.elapsed() < 100 * SECOND {
        sleep(2 * SECOND).await;
        if timeout(SECOND, client.frame()).await.is_err() {
            break;
        }
    }
    assert!(start.elapsed() <= 22 * SECOND, "{:?}", start.elapsed());
    assert_eq!(server.engine.limit_hits(Limit::SlowConsumerGrace), 1);
}

#[tokio::test]
async fn the_hard_limit_is_exact_and_an_emit_beyond_it_cuts_nobody() {
    let cost = Frame::text("message").cost();
    let config = config().max_buffered(3 * cost).max_buffered_hard(7 * cost);
    let mut server = Server::in_memory(config);
    let client = Polling::open(&server).await;
    let session = server.session().await;
    for _ in 0..7 {
        session.send(&[Frame::text("message")]).unwrap();
    }
    assert_eq!(session.send(&[Frame::text("message")]), Err(SendError::Full));
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedHard), 1);
    assert!(server.no_more_ends());
    // Messages sent with `Disconnect` must not be dropped silently, so the session is closed.
    let refused = session.send_with(&[Frame::text("message")], SlowConsumerPolicy::Disconnect);
    assert_eq!(refused, Err(SendError::Full));
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedHard), 2);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_counts_once_in_the_budget_of_the_server() {
    let frame = large(KIB * KIB);
    let config = config().max_buffered(2 * frame.cost()).max_buffered_total(10 * KIB * KIB);
    let mut server = Server::with_buffers(config, KIB);
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..50 {
        clients.push(WebSocket::open(&server).await);
        sessions.push(server.session().await);
    }
    for session in &sessions {
        session.send_with(std::slice::from_ref(&frame), SlowConsumerPolicy::Disconnect).unwrap();
    }
    sleep(SECOND).await;
    assert!(server.no_more_ends());
    for client in &mut clients {
        assert_eq!(client.text().await.len(), KIB * KIB + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_ends_the_session_that_holds_most_for_the_longest_time() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(MIB).max_buffered_total(15 * MIB + MIB / 2);
    let mut server = Server::with_buffers(config, KIB);
    let (mut clients, sessions) = open_all(&mut server, 3).await;
    let [greedy, moderate, modest] = [&sessions[0], &sessions[1], &sessions[2]];
    for _ in 0..10 {
        greedy.send(&[large(MIB)]).unwrap();
    }
    sleep(SECOND).await;
    for _ in 0..5 {
        moderate.send(&[large(MIB)]).unwrap();
    }
    sleep(SECOND).await;
    // The budget is used up. The heaviest queue gets no more of it, and other sessions get room at the
    // expense of that queue.
    assert_eq!(greedy.send(&[large(MIB)]), Err(SendError::Full));
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 1);
    assert!(server.no_more_ends());
    sleep(SECOND).await;
    modest.send(&[large(MIB / 2)]).unwrap();
    modest.send(&[large(MIB / 4)]).unwrap();
    assert_eq!(greedy.send(&[large(1)]), Err(SendError::Closed));
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 2);
    for _ in 0..5 {
        assert_eq!(clients[1].frame().await.unwrap().1.len(), MIB + 1);
    }
    assert_eq!(clients[2].frame().await.unwrap().1.len(), MIB / 2 + 1);
    assert_eq!(clients[2].frame().await.unwrap().1.len(), MIB / 4 + 1);
    assert!(server.no_more_ends());
    // The message that was being written is not completed, because its memory is needed.
    clients[0].cut().await;
}

#[tokio::test(start_paused = true)]
async fn an_evicted_client_that_was_owed_nothing_yet_is_told_the_limit() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(MIB).max_buffered_total(4 * MIB);
    let mut server = Server::with_buffers(config, KIB);
    let (mut clients, sessions) = open_all(&mut server, 2).await;
    for session in &sessions {
        // The task of the session does not run in between, so nothing is written.
        for _ in 0..3 {
            session.send(&[large(MIB)]).unwrap();
        }
    }
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert_eq!(clients[0].ended().await, (1008, "slow consumer: max_buffered_total (4194304 bytes)".into()));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_being_written_is_freed_by_an_eviction_at_once() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(2 * MIB).max_buffered_total(4 * MIB + MIB / 2);
    let mut server = Server::with_buffers(config, KIB);
    let (_clients, sessions) = open_all(&mut server, 8).await;
    for session in &sessions[..4] {
        session.send(&[large(MIB)]).unwrap();
    }
    // Each client has received the beginning of its message.
    sleep(SECOND).await;
    // Each further message ends the session of one client, even within the same instant.
    for (evicted, session) in sessions[4..].iter().enumerate() {
        session.send(&[large(MIB)]).unwrap();
        let open = sessions.iter().filter(|session| session.send(&[]).is_ok()).count();
        assert_eq!(open, 7 - evicted);
    }
    for _ in 0..4 {
        assert_eq!(server.end().await, CloseReason::SlowConsumer);
    }
    assert!(server.no_more_ends());
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 4);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_while_the_budget_is_nearly_used_up() {
    const MIB: usize = KIB * KIB;
    const INTERVAL: Duration = Duration::from_millis(250);
    let config = config().max_buffered(MIB).max_buffered_total(8 * MIB);
    let mut server = Server::with_buffers(config, KIB);
    let (_clients, sessions) = open_all(&mut server, 9).await;
    let light = &sessions[8];
    for session in &sessions[..6] {
        session.send(&[large(MIB)]).unwrap();
    }
    assert!(!sessions[0].is_congested(|| false) && !light.is_congested(|| true));
    sessions[6].send(&[large(MIB)]).unwrap();
    // The last eighth of the budget is left for requests that have begun. A client that was never owed much may go
    // on, whether the others read or not.
    assert!(sessions[0].is_congested(|| false) && light.is_congested(|| true));
    assert!(!light.is_congested(|| false));
    // If nobody reads, one request at a time may begin, ...
    for _ in 0..3 {
        sleep(INTERVAL).await;
        assert!(!light.is_congested(|| true));
        assert!(light.is_congested(|| true));
    }
    assert!(server.no_more_ends());
    // ... and after a second, a session ends in favour of the others.
    sleep(INTERVAL).await;
    light.is_congested(|| true);
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert!(!light.is_congested(|| true) && !sessions[1].is_congested(|| false));
    sleep(10 * SECOND).await;
    assert!(server.no_more_ends());
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_count_in_the_budget() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(MIB).max_buffered_total(4 * MIB);
    let mut server = Server::with_buffers(config, KIB);
    let mut sessions = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Polling::open(&server).await;
        let session = server.session().await;
        session.send(&[large(MIB - KIB)]).unwrap();
        client.start_poll().await;
        eventually(|| session.buffered() == 0).await;
        sessions.push(session);
        clients.push(client);
    }
    // Four responses are in flight, so no room is left for a queue above its own limit.
    sessions[0].send(&[large(MIB - KIB)]).unwrap();
    assert_eq!(sessions[0].send(&[large(MIB)]), Err(SendError::Full));
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 1);
    for client in &mut clients {
        assert_eq!(client.polled().await.len(), MIB - KIB + 1);
    }
    sessions[0].send(&[large(MIB)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_clients_below_their_own_limit_do_not_exceed_the_budget() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(MIB).max_buffered_total(4 * MIB);
    let mut server = Server::with_buffers(config, KIB);
    let (_clients, sessions) = open_all(&mut server, 6).await;
    let fill = |session: &SessionHandle, sizes: &[usize]| {
        sizes.iter().try_for_each(|&size| session.send(&[large(size)]))
    };
    for session in &sessions[..4] {
        fill(session, &[MIB / 2, MIB / 2 - KIB]).unwrap();
    }
    // One of the first sessions ends in favour of this one.
    fill(&sessions[4], &[MIB / 2, MIB / 2 - KIB]).unwrap();
    // No further one ends at once. Half of `max_buffered` is accepted.
    fill(&sessions[5], &[MIB / 4, MIB / 4 - KIB]).unwrap();
    assert_eq!(sessions[5].send(&[large(2 * KIB)]), Err(SendError::Full));
    assert_eq!(server.engine.limit_hits(Limit::MaxBufferedTotal), 1);
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    assert!(server.no_more_ends());
    sleep(SECOND).await;
    sessions[5].send(&[large(2 * KIB)]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_room_count_in_the_budget() {
    const MIB: usize = KIB * KIB;
    let config = config().max_buffered(MIB).max_buffered_total(4 * MIB);
    let mut server = Server::with_buffers(config, KIB);
    let (_clients, sessions) = open_all(&mut server, 2).await;
    let (waiting, other) = (sessions[0].clone(), &sessions[1]);
    waiting.send(&[large(MIB - KIB)]).unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let session = waiting.clone();
            tokio::spawn(async move { session.send_wait(&[large(MIB - KIB)]).await })
        })
        .collect();
    sleep(SECOND).await;
    other.send(&[large(MIB / 2)]).unwrap();
    // The messages of the first session use up the budget, so it ends in favour of the other one.
    let _ = other.send(&[large(MIB)]);
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), Err(SendError::Closed));
    }
    assert_eq!(other.send(&[large(MIB)]), Ok(()));
}

/// A heartbeat so short that a client would soon notice a missing ping.
fn fast() -> EngineConfig {
    EngineConfig::default().ping_interval(SECOND).ping_timeout(SECOND * 2)
}

#[tokio::test(start_paused = true)]
async fn pings_go_on_while_nothing_is_read() {
    let mut server = Server::in_memory(fast());
    let mut client = Wire::open(&server).await;
    client.send(frame(0x81, "4pause")).await;
    for second in 1..=250 {
        let start = Instant::now();
        assert_eq!(client.text().await, "2", "{second}");
        assert!(start.elapsed() <= SECOND);
        client.send(frame(0x81, "3")).await;
    }
    assert!(server.no_more_ends());
    server.gate().open();
    client.send(frame(0x81, "4heard")).await;
    while client.text().await != "4heard" {}

    let mut polling = Polling::open(&server).await;
    polling.post.start("POST", &polling.query, "", "4pause\u{1e}4heard").await;
    for _ in 0..250 {
        let start = Instant::now();
        assert_eq!(polling.poll().await, "2");
        assert!(start.elapsed() <= SECOND);
    }
    assert!(server.no_more_ends());
    server.gate().open();
    assert_eq!(polling.post.response().await.body, "ok");
    assert_eq!(polling.poll().await, "4heard");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_polling_ends_although_nothing_is_read() {
    let mut server = Server::in_memory(fast());
    let mut client = Polling::open(&server).await;
    client.post.start("POST", &client.query, "", "4pause\u{1e}4heard").await;
    assert_eq!(client.poll().await, "2");
    let start = Instant::now();
    assert_eq!(server.end().await, CloseReason::PingTimeout);
    assert!(start.elapsed() <= 4 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_in_time() {
    let mut server = Server::in_memory(fast());
    let mut client = Wire::open(&server).await;
    client.send([frame(0x81, "4pause"), frame(0x81, "4never")].concat()).await;
    let start = Instant::now();
    assert_eq!(server.end().await, CloseReason::PingTimeout);
    assert_eq!(start.elapsed().as_secs(), 300);
    assert_eq!(server.engine.limit_hits(Limit::ReadPauseTimeout), 1);
}

#[tokio::test]
async fn a_client_that_closes_its_connection_is_noticed_although_nothing_is_read() {
    let mut server = Server::start(EngineConfig::default()).await;
    for resets in [false, true] {
        let mut client = Wire::open(&server).await;
        client.send([frame(0x81, "4pause"), frame(0x81, "4unread")].concat()).await;
        let gate = server.gate();
        eventually(|| gate.is_closed()).await;
        let start = Instant::now();
        if resets {
            drop(client);
        } else {
            client.shut_down().await;
        }
        assert_eq!(server.end().await, CloseReason::TransportClose);
        assert!(start.elapsed() < SECOND);
        gate.open();
    }
}

#[tokio::test]
async fn a_websocket_that_probes_is_read_while_messages_are_not() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = Polling::open(&server).await;
    client.post.start("POST", &client.query, "", "4pause\u{1e}4heard").await;
    let gate = server.gate();
    eventually(|| gate.is_closed()).await;
    let mut probe = Wire::connect(&server, &client.upgrade_query()).await;
    probe.send(frame(0x81, "2probe")).await;
    assert_eq!(probe.text().await, "3probe");
    gate.open();
    assert!(server.no_more_ends());
}
