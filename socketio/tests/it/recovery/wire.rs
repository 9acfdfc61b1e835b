//! Tests the packets that connection state recovery adds to and expects on the wire.

use serde_bytes::ByteBuf;
use socketio::{ConnectionStateRecovery, Namespace, Server, ServerConfig};

use super::{Visitor, config, host, host_with};
use crate::support::{Client, log, serve, serve_namespace};

/// Splits an event into its arguments and its offset.
fn split(packet: &str) -> (&str, &str) {
    let (args, offset) = packet.strip_suffix("\"]").unwrap().rsplit_once(",\"").unwrap();
    (args, offset)
}

#[tokio::test]
async fn without_the_option_nothing_changes() {
    let (sockets, mut connected) = log();
    let host =
        serve_namespace(Namespace::new("/").on_connect(async move |socket| sockets.note(socket))).await;
    let mut client = Client::join(&host).await;
    let socket: socketio::Socket = connected.next().await;
    assert!(!socket.recovered());
    socket.emit("a", &1).unwrap();
    assert_eq!(client.text().await, r#"42["a",1]"#);
}

#[tokio::test]
async fn events_carry_offsets_that_grow() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let mut client = Visitor::new(&host).await.client;
    let socket = connected.next().await;
    socket.emit("a", &()).unwrap();
    host.io.of("/").emit("b", "x").unwrap();
    host.io.to(socket.id()).compress(false).emit("c", &(1, 2)).unwrap();
    socket.emit_wait("d", &1).await.unwrap();
    let mut last = String::new();
    for expected in [r#"42["a""#, r#"42["b","x""#, r#"42["c",1,2"#, r#"42["d",1"#] {
        let packet = client.text().await;
        let (args, offset) = split(&packet);
        assert_eq!(args, expected);
        assert!(offset > last.as_str(), "{offset} comes after {last}");
        assert_eq!(offset.len(), 18);
        last = offset.to_owned();
    }
}

#[tokio::test]
async fn the_offset_follows_the_placeholders() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let mut client = Visitor::new(&host).await.client;
    let socket = connected.next().await;
    socket.emit("a", &(ByteBuf::from(b"x"), ByteBuf::from(b"y"))).unwrap();
    let packet = client.text().await;
    let placeholders = r#"452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    assert_eq!(split(&packet).0, placeholders);
    assert_eq!((client.binary().await, client.binary().await), (b"x".to_vec(), b"y".to_vec()));
}

#[tokio::test]
async fn volatile_events_say_the_offset_again_and_questions_have_none() {
    let (host, mut connected) = host(ConnectionStateRecovery::default()).await;
    let mut client = Visitor::new(&host).await.client;
    let socket = connected.next().await;
    socket.emit("a", &()).unwrap();
    let packet = client.text().await;
    let first = split(&packet).1.to_owned();
    loop {
        // A volatile event is dropped while the packet before it is still queued, so try until one is sent.
        socket.volatile().emit("v", "text").unwrap();
        host.io.of("/").emit("mark", &()).unwrap();
        let packet = client.text().await;
        if packet.contains("mark") {
            continue;
        }
        let (args, offset) = split(&packet);
        assert_eq!(args, r#"42["v","text""#);
        assert!(offset >= first.as_str());
        break;
    }
    let question = socket.emit_with_ack::<(), _>("q", "text");
    let all = host.io.of("/").emit_with_ack::<(), _>("q", "text").unwrap();
    loop {
        let packet = client.text().await;
        if !packet.contains("mark") {
            assert!(packet.ends_with(r#"["q","text"]"#), "{packet}");
            break;
        }
    }
    assert!(client.text().await.ends_with(r#"["q","text"]"#));
    drop((question, all));
}

#[tokio::test]
async fn observers_see_no_offset() {
    let (seen, mut events) = log();
    let namespace = Namespace::new("/")
        .on_connect(async |socket| {
            socket.emit("own", &1).unwrap();
            socket.namespace().emit("all", &2).unwrap();
        })
        .on_any_outgoing(move |_, event, args| seen.note(format!("{event}{}", args.json())));
    let config = config(ConnectionStateRecovery::default());
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let _client = Visitor::new(&host).await;
    assert_eq!(events.take(2).await, ["own[1]", "all[2]"]);
}

#[tokio::test]
async fn version_2_clients_get_neither_pid_nor_offset() {
    let config = config(ConnectionStateRecovery::default());
    let engine = config.get_engine().clone().allow_eio3(true);
    let config: ServerConfig = config.engine(engine);
    let (host, mut connected) = host_with(config).await;
    let mut client = Client::connect(&host, "EIO=3&transport=websocket").await;
    assert!(client.text().await.starts_with('0'));
    assert_eq!(client.text().await, "40");
    let socket = connected.next().await;
    socket.emit("own", &1).unwrap();
    host.io.of("/").emit("all", &2).unwrap();
    assert_eq!(client.text().await, r#"42["own",1]"#);
    assert_eq!(client.text().await, r#"42["all",2]"#);
}
