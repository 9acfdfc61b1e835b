//! Tests when a client recovers its session and which events it then receives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use socketio::{ConnectError, ConnectionStateRecovery, Handshake, Namespace, Server, ServerConfig, Socket};
use tokio::time;

use super::{Gone, Visitor, config, host, noticed};
use crate::support::{Host, Polling, eventually, log, serve};

fn names(socket: &Socket) -> Vec<String> {
    let mut names: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_client_gets_back_its_socket_and_what_it_missed() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let mut visitor = Visitor::new(&host).await;
    let mut other = Visitor::new(&host).await;
    let (first, bystander) = (connected.next().await, connected.next().await);
    first.join("room").unwrap();
    first.emit("e", &0).unwrap();
    assert_eq!(visitor.event().await, [json!("e"), json!(0)]);

    let gone = visitor.cut();
    eventually(|| !first.connected()).await;
    host.io.of("/").emit("e", &1).unwrap();
    host.io.to("room").emit("e", &2).unwrap();
    host.io.to("elsewhere").emit("no", &()).unwrap();
    host.io.of("/").except("room").emit("no", &()).unwrap();
    bystander.emit("no", &()).unwrap();
    bystander.broadcast().emit("e", &3).unwrap();
    host.io.to(gone.sid.as_str()).emit("e", &4).unwrap();
    host.io.of("/").volatile().emit("no", &()).unwrap();
    drop(host.io.of("/").emit_with_ack::<(), _>("no", &()).unwrap());

    let (mut visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    let second = connected.next().await;
    assert!(second.recovered() && !first.recovered() && second.connected());
    assert_eq!(second.id(), first.id());
    assert_eq!(names(&second), names(&first));
    host.io.to("room").emit("e", &5).unwrap();
    second.emit("end", &()).unwrap();
    assert_eq!(visitor.until("end").await, [1, 2, 3, 4, 5]);

    // Recover a second time. The event emitted while the client was away is received last.
    second.emit("e", &6).unwrap();
    let gone = visitor.cut();
    eventually(|| !second.connected()).await;
    let (mut visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    connected.next().await.emit("end", &()).unwrap();
    assert_eq!(visitor.until("end").await, [6]);
    assert_eq!(other.event().await[0], json!("e"));
}

#[tokio::test]
async fn it_needs_no_event_before() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    host.io.of("/").emit("too early", &()).unwrap();
    let gone = Visitor::new(&host).await.cut();
    let first = connected.next().await;
    host.io.of("/").emit("e", &1).unwrap();
    noticed(&host).await;
    host.io.of("/").emit("e", &2).unwrap();
    let (mut visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    assert_eq!(connected.next().await.id(), first.id());
    host.io.of("/").emit("end", &()).unwrap();
    assert_eq!(visitor.until("end").await, [1, 2]);
}

#[tokio::test]
async fn a_socket_comes_back_once() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let gone = Visitor::new(&host).await.cut();
    noticed(&host).await;
    let (visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    let (first, second) = (connected.next().await, connected.next().await);
    // The same client connects again before the server has noticed the disconnect: the new connection
    // replaces the old one.
    let (mut again, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    let third = connected.next().await;
    assert!(!first.connected() && !second.connected() && third.connected());
    assert_eq!(second.handshake().auth_json(), third.handshake().auth_json());
    assert_eq!(host.io.socket_count("/"), 1);
    third.emit("end", &()).unwrap();
    assert!(again.until("end").await.is_empty());
    drop(visitor);

    again.client.send("41").await;
    eventually(|| !third.connected()).await;
    let (_client, recovered) = gone.come_back(&host).await;
    assert!(!recovered, "it has left for good");
}

#[tokio::test]
async fn a_socket_that_still_lives_ends_first() {
    let (ends, mut ended) = log();
    let (also, (sockets, mut connected)) = (ends.clone(), log());
    let namespace = Namespace::new("/")
        .on_connect(async move |socket: Socket| sockets.note(socket))
        .on_disconnecting(move |socket, reason| ends.note((socket.connected(), reason.as_str())))
        .on_disconnect(async move |socket, reason| also.note((socket.connected(), reason.as_str())));
    let config = config(ConnectionStateRecovery::default());
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let visitor = Visitor::new(&host).await;
    connected.next().await.emit("e", &1).unwrap();
    let gone = Gone { auth: visitor.auth(), sid: visitor.sid, pid: visitor.pid, offset: None };
    let (mut visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    assert_eq!(visitor.event().await, [json!("e"), json!(1)]);
    assert_eq!(ended.take(2).await, [(true, "transport close"), (false, "transport close")]);
    eventually(|| host.io.session_count() == 1).await;
    assert!(connected.next().await.recovered());
}

#[tokio::test]
async fn who_was_disconnected_does_not_come_back() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    for end in [Socket::disconnect, Socket::close] {
        let visitor = Visitor::new(&host).await;
        end(&connected.next().await);
        let (_visitor, recovered) = visitor.cut().come_back(&host).await;
        assert!(!recovered);
        connected.next().await;
    }
    let mut visitor = Visitor::new(&host).await;
    visitor.client.send("41").await;
    let socket = connected.next().await;
    eventually(|| !socket.connected()).await;
    assert!(!visitor.cut().come_back(&host).await.1);
    assert!(!connected.next().await.recovered());

    // This is not an Engine.IO packet.
    let mut visitor = Visitor::new(&host).await;
    let socket = connected.next().await;
    visitor.client.send("x").await;
    eventually(|| !socket.connected()).await;
    assert!(!visitor.cut().come_back(&host).await.1);
    assert!(!connected.next().await.recovered());

    // This is not a Socket.IO packet. The reason is `forced close`, which allows recovery.
    let mut visitor = Visitor::new(&host).await;
    let socket = connected.next().await;
    visitor.client.send("4x").await;
    eventually(|| !socket.connected()).await;
    assert!(visitor.cut().come_back(&host).await.1);
}

#[tokio::test]
async fn doubtful_claims_give_a_new_socket() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let mut visitor = Visitor::new(&host).await;
    connected.next().await.emit("e", &1).unwrap();
    visitor.event().await;
    let offset = visitor.offset.clone().unwrap();
    let gone = visitor.cut();
    noticed(&host).await;
    let pid = &gone.pid;
    let last = &offset[..17];
    for auth in [
        json!({ "pid": "" }),
        json!({ "pid": "aaaaaaaaaaaaaaaaaaaa", "offset": offset }),
        json!({ "pid": gone.sid, "offset": offset }),
        json!({ "pid": 7, "offset": offset }),
        json!({ "pid": null }),
        json!({ "offset": offset }),
        json!({ "pid": pid, "offset": 7 }),
    ] {
        let (_visitor, recovered) = Gone { auth: auth.to_string(), ..gone.clone() }.come_back(&host).await;
        assert!(!recovered, "{auth}");
        assert!(!connected.next().await.recovered());
    }
    let (visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered, "none of them took it");
    let mut gone = visitor.cut();
    // Invalid offsets: malformed ones, and ones that have not been assigned yet.
    for offset in
        ["", "x", &format!("{last}x"), &format!("{last}2"), &format!("{last}é"), &format!("{last}11")]
    {
        eventually(|| host.io.socket_count("/") == 0).await;
        let auth = json!({ "pid": gone.pid, "offset": offset }).to_string();
        let (visitor, recovered) = Gone { auth, ..gone.clone() }.come_back(&host).await;
        assert!(!recovered, "{offset}");
        gone = visitor.cut();
    }
}

#[tokio::test]
async fn an_offset_from_before_a_restart_is_none() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let visitor = Visitor::new(&host).await;
    connected.next().await.emit("e", &1).unwrap();
    let auth = json!({ "pid": visitor.pid, "offset": "other-000000000001" }).to_string();
    let gone = visitor.cut();
    noticed(&host).await;
    let (mut visitor, recovered) = Gone { auth, ..gone }.come_back(&host).await;
    assert!(recovered);
    assert_eq!(visitor.event().await, [json!("e"), json!(1)]);
}

#[tokio::test]
async fn a_socket_belongs_to_its_namespace() {
    let config = config(ConnectionStateRecovery::default());
    let io = Server::with_config(config).namespace(Namespace::new("/")).namespace(Namespace::new("/n"));
    let host = serve(io).await;
    let gone = Visitor::new(&host).await.cut();
    noticed(&host).await;
    let mut client = crate::support::Client::open(&host).await;
    let answer = client.ask(format!("40/n,{}", gone.auth)).await;
    assert!(answer.starts_with("40/n,") && !answer.contains(&gone.sid) && !answer.contains(&gone.pid));
    assert!(gone.come_back(&host).await.1, "it is where it was");
}

async fn with_admission(skip: bool) -> (Host, Arc<AtomicU32>, crate::support::Heard<Socket<Arc<AtomicU32>>>) {
    let asked = Arc::new(AtomicU32::new(0));
    let (count, (sockets, connected)) = (asked.clone(), log());
    let admit = async move |handshake: Handshake| {
        count.fetch_add(1, Ordering::Relaxed);
        if handshake.auth_json().is_some_and(|auth| auth.contains("banned")) {
            return Err(ConnectError::new("banned"));
        }
        Ok(Arc::new(AtomicU32::new(0)))
    };
    let namespace = Namespace::with_auth("/", admit).on_connect(async move |socket| sockets.note(socket));
    let config: ServerConfig = config(ConnectionStateRecovery::default().skip_middlewares(skip));
    (serve(Server::with_config(config).namespace(namespace)).await, asked, connected)
}

#[tokio::test]
async fn the_data_is_the_same_and_the_admission_is_skipped() {
    for (skip, times) in [(true, 1), (false, 2)] {
        let (host, asked, mut connected) = with_admission(skip).await;
        let gone = Visitor::new(&host).await.cut();
        let first = connected.next().await;
        noticed(&host).await;
        first.data().store(7, Ordering::Relaxed);
        assert!(gone.come_back(&host).await.1);
        let second = connected.next().await;
        assert!(Arc::ptr_eq(first.data(), second.data()));
        assert_eq!(asked.load(Ordering::Relaxed), times);
    }
}

#[tokio::test]
async fn an_admission_may_refuse_and_the_socket_stays_where_it_is() {
    let (host, _, mut connected) = with_admission(false).await;
    let gone = Visitor::new(&host).await.cut();
    connected.next().await;
    noticed(&host).await;
    let mut client = crate::support::Client::open(&host).await;
    let auth = gone.auth.replace('}', r#","banned":1}"#);
    assert_eq!(client.ask(format!("40{auth}")).await, r#"44{"message":"banned"}"#);
    assert!(gone.come_back(&host).await.1);
}

#[tokio::test]
async fn a_socket_expires_exactly() {
    for (more, expected) in [(0, true), (1, false)] {
        let second = Duration::from_secs(1);
        let limits = ConnectionStateRecovery::default().max_disconnection_duration(second);
        let (host, mut connected) = host(limits).await;
        time::pause();
        // A busy task keeps the paused clock from advancing to the next timer.
        let busy = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let gone = Visitor::new(&host).await.cut();
        let socket = connected.next().await;
        eventually(|| !socket.connected()).await;
        time::advance(second + Duration::from_millis(more)).await;
        let (_visitor, recovered) = gone.come_back(&host).await;
        assert_eq!(recovered, expected, "{more}");
        busy.abort();
        time::resume();
    }
}

#[tokio::test]
async fn a_room_that_changed_behind_a_lost_event_is_a_doubt() {
    for (lost, expected) in [(false, true), (true, false)] {
        let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
        let mut visitor = Visitor::new(&host).await;
        let socket = connected.next().await;
        socket.emit("e", &1).unwrap();
        if !lost {
            visitor.event().await;
        }
        // Joining a room again does not count as a change.
        socket.join("room").unwrap();
        host.io.to("room").emit("e", &2).unwrap();
        if !lost {
            visitor.event().await;
            socket.join("room").unwrap();
        }
        let gone = visitor.cut();
        noticed(&host).await;
        host.io.to("room").emit("e", &3).unwrap();
        let (mut visitor, recovered) = gone.come_back(&host).await;
        assert_eq!(recovered, expected);
        if expected {
            assert_eq!(visitor.event().await, [json!("e"), json!(3)]);
        }
    }
}

#[tokio::test]
async fn it_works_over_polling() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let gone = Visitor::new(&host).await.cut();
    let first = connected.next().await;
    noticed(&host).await;
    first.namespace().emit("e", &1).unwrap();
    let mut polling = Polling::open(&host).await;
    polling.send(&format!("40{}", gone.auth)).await;
    let payload = polling.poll().await;
    let (answer, event) = payload.split_once('\u{1e}').unwrap();
    assert!(answer.starts_with("40{") && answer.contains(&gone.sid) && answer.contains(&gone.pid));
    assert!(event.starts_with(r#"42["e",1,""#), "{event}");
}
