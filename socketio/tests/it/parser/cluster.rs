//! Tests a cluster of servers whose clients use different encodings.

use bytes::Bytes;
use socketio::{
    Ack, Args, BroadcastOperator, EmitError, EngineConfig, MemoryBus, MsgpackParser, Namespace, Server,
    ServerConfig, Socket,
};

use super::msgpack::{event, join};
use crate::support::{Client, Heard, Host, log, serve, within};

/// Starts a server on the bus that records the packets it sends.
async fn on_bus(bus: &MemoryBus, config: ServerConfig) -> (Host, Heard<String>) {
    let (notes, heard) = log();
    let namespace = Namespace::new("/")
        .on("ask", async |socket: Socket, args: Args| {
            let answer = socket.emit_with_ack::<Args, _>("question", &args).await;
            socket.emit("answered", &answer.unwrap())
        })
        .on_server("tail", async |_, bytes: Bytes| Ack(bytes.slice(1..)))
        .on_server("say", async |sockets: BroadcastOperator, args: Args| sockets.local().emit("said", &args))
        .on_any_outgoing(move |_, event, args| {
            notes.note(format!("{event}{} {}", args.json(), args.attachments().len()));
        });
    (serve(Server::with_cluster(config, bus.clone()).namespace(namespace)).await, heard)
}

/// Two clustered servers, one for JSON and one for MessagePack, with one client each.
struct Pair {
    hosts: [Host; 2],
    sent: [Heard<String>; 2],
    json: Client,
    msgpack: Client,
}

impl Pair {
    async fn new() -> Self {
        let bus = MemoryBus::new();
        let (json, of_json) = on_bus(&bus, ServerConfig::default()).await;
        let config = ServerConfig::default().parser(MsgpackParser::default());
        let (msgpack, of_msgpack) = on_bus(&bus, config).await;
        let clients = (Client::join(&json).await, join(&msgpack).await);
        Self { hosts: [json, msgpack], sent: [of_json, of_msgpack], json: clients.0, msgpack: clients.1 }
    }
}

fn ack(id: u8, data: &[u8]) -> Vec<u8> {
    [&b"\x84\xa2id"[..], &[id], &b"\xa4type\x03\xa4data"[..], data, b"\xa3nsp\xa1/"].concat()
}

fn question(id: u8, data: &[u8]) -> Vec<u8> {
    [b"\x84\xa4type\x02\xa4data", data, b"\xa3nsp\xa1/\xa2id", &[id]].concat()
}

#[tokio::test]
async fn observers_see_the_same_with_any_parser() {
    let mut pair = Pair::new().await;
    let sent = &mut pair.sent[1];
    let asked = b"\x93\xa3ask\xc4\x02ab\x81\xac_placeholder\x01";
    pair.msgpack.send_binary(&event(asked)).await;
    let data = b"\x93\xa8question\xc4\x02ab\x81\xac_placeholder\x01";
    assert_eq!(pair.msgpack.binary().await, question(0, data));
    assert_eq!(sent.next().await, r#"question[{"_placeholder":true,"num":0},{"\u005fplaceholder":1}] 1"#);
    pair.msgpack.send_binary(&ack(0, b"\x91\x07")).await;
    assert_eq!(pair.msgpack.binary().await, event(b"\x92\xa8answered\x07"));
    assert_eq!(sent.next().await, "answered[7] 0");
    pair.hosts[1].io.of("/").volatile().compress(false).local().emit("n", &()).unwrap();
    assert_eq!(pair.msgpack.binary().await, event(b"\x91\xa1n"));
    assert_eq!(sent.next().await, "n[] 0");
}

#[tokio::test]
async fn broadcasts_reach_clients_in_the_encoding_of_their_server() {
    let mut pair = Pair::new().await;
    for from in 0..2 {
        let io = &pair.hosts[from].io;
        io.emit("news", &("tea", 1)).unwrap();
        assert_eq!(pair.json.text().await, r#"42["news","tea",1]"#);
        assert_eq!(pair.msgpack.binary().await, event(b"\x93\xa4news\xa3tea\x01"));
        io.of("/").compress(false).emit("file", &(Bytes::from_static(b"abc"), 2)).unwrap();
        assert_eq!(pair.json.text().await, r#"451-["file",{"_placeholder":true,"num":0},2]"#);
        assert_eq!(pair.json.binary().await, b"abc");
        assert_eq!(pair.msgpack.binary().await, event(b"\x93\xa4file\xc4\x03abc\x02"));
        for sent in &mut pair.sent {
            let file = r#"file[{"_placeholder":true,"num":0},2] 1"#;
            assert_eq!(sent.take(2).await, [r#"news["tea",1] 0"#, file]);
        }
    }
}

#[tokio::test]
async fn acknowledgements_come_from_clients_of_both() {
    let mut pair = Pair::new().await;
    for from in 0..2 {
        let request = pair.hosts[from]
            .io
            .of("/")
            .emit_with_ack::<(String, Bytes), _>("question", &Bytes::from_static(b"abc"));
        let request = request.unwrap();
        // Both servers have assigned the same acknowledgement id.
        let (text, id) = (pair.json.text().await, from as u8);
        assert_eq!(text, format!(r#"451-{id}["question",{{"_placeholder":true,"num":0}}]"#));
        assert_eq!(pair.json.binary().await, b"abc");
        pair.json.send(format!(r#"461-{id}["json",{{"_placeholder":true,"num":0}}]"#)).await;
        pair.json.send_binary(b"j").await;
        assert_eq!(pair.msgpack.binary().await, question(id, b"\x92\xa8question\xc4\x03abc"));
        pair.msgpack.send_binary(&ack(id, b"\x92\xa7msgpack\xc4\x01m")).await;
        let all = within(request).await;
        assert!(all.missing.is_empty() && all.missing_servers.is_empty(), "{all:?}");
        let mut answers: Vec<_> = all.answers.into_iter().map(|(_, answer)| answer).collect();
        answers.sort_unstable();
        let expected = [("json", "j"), ("msgpack", "m")].map(|(of, b)| (of.to_owned(), Bytes::from(b)));
        assert_eq!(answers, expected);
    }
}

#[tokio::test]
async fn servers_understand_each_other() {
    let mut pair = Pair::new().await;
    for host in &pair.hosts {
        let abc = Bytes::from_static(b"abc");
        let all = within(host.io.server_side_emit_with_ack::<Bytes, _>("tail", &abc)).await.unwrap();
        assert_eq!(all.answers.len(), 1, "{all:?}");
        assert_eq!(all.answers[0].1, "bc");
        host.io.server_side_emit("say", &("hi", Bytes::from_static(b"x"))).unwrap();
    }
    assert_eq!(pair.json.text().await, r#"451-["said","hi",{"_placeholder":true,"num":0}]"#);
    assert_eq!(pair.json.binary().await, b"x");
    assert_eq!(pair.msgpack.binary().await, event(b"\x93\xa4said\xa2hi\xc4\x01x"));
}

#[tokio::test]
async fn producers_wait_and_events_are_lost_as_with_json() {
    let (sockets, mut connected) = log();
    let engine = EngineConfig::default().max_buffered_hard(1_000_000_usize);
    let config = ServerConfig::default().parser(MsgpackParser::default()).engine(engine);
    let namespace = Namespace::new("/").on_connect(async move |socket| sockets.note(socket));
    let host = serve(Server::with_config(config).namespace(namespace)).await;
    let mut client = join(&host).await;
    let socket: Socket = connected.next().await;
    within(socket.emit_wait("n", &1)).await.unwrap();
    assert_eq!(client.binary().await, event(b"\x92\xa1n\x01"));
    // Nothing is awaited in between, so the session task cannot run.
    socket.emit("first", &()).unwrap();
    socket.volatile().emit("lost", &()).unwrap();
    socket.emit("last", &()).unwrap();
    assert_eq!(client.binary().await, event(b"\x91\xa5first"));
    assert_eq!(client.binary().await, event(b"\x91\xa4last"));
    let file = Bytes::from(vec![0; 600_000]);
    socket.emit("file", &file).unwrap();
    assert!(matches!(socket.emit("file", &file), Err(EmitError::Full)));
}
