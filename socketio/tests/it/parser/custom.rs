//! Tests a stateful custom parser, and invalid packets returned by its decoder.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use socketio::{
    Ack, AckError, Args, ConnectError, Decoder, EmitError, EngineConfig, Frame, Message, Namespace, Packet,
    PacketKind, ParseError, Parser, ParserLimits, Server, ServerConfig, Socket,
};

use crate::support::{Client, Host, Polling, payload, serve};

/// Encodes a packet as two text messages: `<kind> <namespace> [id]`, then the payload. Attachments are not
/// supported.
#[derive(Debug, Default)]
struct Halves {
    encoded: AtomicUsize,
}

impl Parser for Halves {
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        if !packet.attachments.is_empty() {
            return Err(ParseError::new("no attachments here"));
        }
        if packet.payload.contains("silence") {
            return Ok(Vec::new());
        }
        let id = packet.id.map(|id| format!(" {id}")).unwrap_or_default();
        let head = format!("{:?} {}{id}", packet.kind, packet.namespace);
        Ok(vec![Frame::text(&head), Frame::text(&packet.payload)])
    }

    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decoder> {
        assert_eq!((limits.max_bytes, limits.max_depth), (1000, 128));
        Box::new(Joining(None))
    }
}

struct Joining(Option<Packet<'static>>);

impl Decoder for Joining {
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        let text = match message {
            Message::Text(text) => text,
            // Adds an attachment that the packet does not announce, to test how the server handles it.
            Message::Binary(bytes) => {
                let packet = self.0.take().ok_or(ParseError::new("no head"))?;
                self.0 = Some(packet.attachments(vec![bytes.into_owned().into()]));
                return Ok(None);
            }
        };
        if let Some(head) = self.0.take() {
            let packet = Packet::new(head.kind, head.namespace, head.id, text.to_owned());
            return Ok(Some(packet.attachments(head.attachments)));
        }
        let mut words = text.split(' ');
        let kind = match words.next() {
            Some("Connect") => PacketKind::Connect,
            Some("Disconnect") => PacketKind::Disconnect,
            Some("Event") => PacketKind::Event,
            Some("Ack") => PacketKind::Ack,
            Some("ConnectError") => PacketKind::ConnectError,
            _ => return Err(ParseError::new("unknown kind")),
        };
        let namespace = words.next().unwrap_or("/").to_owned();
        self.0 = Some(Packet::new(kind, namespace, words.next().and_then(|id| id.parse().ok()), ""));
        Ok(None)
    }
}

async fn host() -> (Host, Arc<Halves>) {
    let parser = Arc::new(Halves::default());
    let namespace = Namespace::new("/")
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on("ack", async |_, args: Args| Ack(args))
        .on("bytes", async |socket: Socket, ()| match socket.emit("b", &bytes::Bytes::from_static(b"x")) {
            Err(EmitError::Encode(error)) => Ack(error.to_string()),
            other => panic!("{other:?}"),
        })
        .on("ask", async |socket: Socket, ()| {
            let answer: Result<String, AckError> = socket.emit_with_ack("question", &1).await;
            socket.emit("answer", &answer.unwrap())
        })
        .on("kick", async |socket: Socket, ()| socket.disconnect());
    let refusing = Namespace::with_auth("/no", async |_| Err::<(), _>(ConnectError::new("no entry")));
    let config = ServerConfig::default()
        .parser(parser.clone() as Arc<dyn Parser>)
        .engine(EngineConfig::default().max_http_buffer_size(1000));
    let host = serve(Server::with_config(config).namespace(namespace).namespace(refusing)).await;
    (host, parser)
}

async fn send(client: &mut Client, head: &str, payload: &str) {
    client.send(format!("4{head}")).await;
    client.send(format!("4{payload}")).await;
}

/// Reads the two messages of the next packet.
async fn take(client: &mut Client) -> (String, String) {
    let [head, payload] = [client.text().await, client.text().await];
    (head[1..].to_owned(), payload[1..].to_owned())
}

async fn join(host: &Host) -> Client {
    let mut client = Client::open(host).await;
    send(&mut client, "Connect /", "").await;
    let (head, payload) = take(&mut client).await;
    assert_eq!(head, "Connect /");
    assert!(payload.starts_with(r#"{"sid":""#), "{payload}");
    client
}

#[tokio::test]
async fn every_kind_of_packet_goes_through_it() {
    let (host, _) = host().await;
    let mut client = join(&host).await;
    send(&mut client, "Event /", r#"["echo",1,"é"]"#).await;
    assert_eq!(take(&mut client).await, ("Event /".into(), r#"["echo",1,"é"]"#.into()));
    send(&mut client, "Event / 7", r#"["ack",[2]]"#).await;
    assert_eq!(take(&mut client).await, ("Ack / 7".into(), "[[2]]".into()));
    send(&mut client, "Event /", r#"["ask"]"#).await;
    assert_eq!(take(&mut client).await, ("Event / 0".into(), r#"["question",1]"#.into()));
    send(&mut client, "Ack / 0", r#"["because"]"#).await;
    assert_eq!(take(&mut client).await, ("Event /".into(), r#"["answer","because"]"#.into()));
    send(&mut client, "Connect /no", "{}").await;
    assert_eq!(take(&mut client).await, ("ConnectError /no".into(), r#"{"message":"no entry"}"#.into()));
    send(&mut client, "Event /", r#"["kick"]"#).await;
    assert_eq!(take(&mut client).await, ("Disconnect /".into(), String::new()));
    send(&mut client, "Connect /", "").await;
    assert_eq!(take(&mut client).await.0, "Connect /");
    send(&mut client, "Disconnect /", "").await;
    client.close().await;
    host.deserted("/").await;
}

#[tokio::test]
async fn a_broadcast_is_encoded_once_for_all_transports() {
    let (host, parser) = host().await;
    let mut clients = [join(&host).await, join(&host).await, join(&host).await];
    let mut polling = Polling::open(&host).await;
    polling.send(payload(&["4Connect /", "4"])).await;
    assert!(polling.poll().await.contains("4Connect /"));
    let before = parser.encoded.load(Ordering::Relaxed);
    host.io.emit("news", "tea").unwrap();
    for client in &mut clients {
        assert_eq!(take(client).await, ("Event /".into(), r#"["news","tea"]"#.into()));
    }
    assert_eq!(polling.poll().await, payload(&["4Event /", r#"4["news","tea"]"#]));
    assert_eq!(parser.encoded.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn what_it_cannot_encode_is_the_error_of_the_emit() {
    let (host, _) = host().await;
    let mut client = join(&host).await;
    send(&mut client, "Event / 1", r#"["bytes"]"#).await;
    assert_eq!(take(&mut client).await, ("Ack / 1".into(), r#"["no attachments here"]"#.into()));
}

#[tokio::test]
async fn a_packet_of_no_message_is_the_error_of_the_emit() {
    let (host, _) = host().await;
    let mut client = join(&host).await;
    let error = host.io.emit("silence", &()).unwrap_err();
    assert!(matches!(&error, EmitError::Encode(error) if error.to_string() == "the parser made no message"));
    host.io.emit("news", "tea").unwrap();
    assert_eq!(take(&mut client).await, ("Event /".into(), r#"["news","tea"]"#.into()));
}

#[tokio::test]
async fn what_it_decodes_is_checked() {
    let (host, _) = host().await;
    let deep = format!(r#"["echo",{}{}]"#, "[".repeat(128), "]".repeat(128));
    for (head, payload) in [
        ("Event /", ""),
        ("Event /", "{}"),
        ("Event /", "[]"),
        ("Event /", r#"["echo""#),
        ("Event /", r#"["echo",1]x"#),
        ("Event /", r#"["nobody's",1"#),
        ("Event /", r#"["disconnect"]"#),
        ("Event /", &*deep),
        ("Event /elsewhere", r#"["echo"]"#),
        ("Ack /", "[]"),
        ("Ack / 1", ""),
        ("Ack / 1", "[1"),
        ("Disconnect /", "{}"),
        ("Disconnect / 1", ""),
        ("Connect /", "{}"),
        ("Connect /n", "[]"),
        ("Connect /n", r#"{"a"}"#),
        ("ConnectError /", r#"{"message":"x"}"#),
    ] {
        let mut client = join(&host).await;
        send(&mut client, head, payload).await;
        let (code, _) = client.ended().await;
        assert_eq!(code, 1002, "{head} {payload}");
    }
    let mut client = join(&host).await;
    client.send("4Nothing").await;
    assert_eq!(client.ended().await.0, 1002);
    host.deserted("/").await;
}

#[tokio::test]
async fn attachments_are_checked_too() {
    let (host, _) = host().await;
    let mut client = join(&host).await;
    client.send("4Event / 3").await;
    client.send_binary(b"abc").await;
    client.send(r#"4["bytes",{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(take(&mut client).await.0, "Ack / 3");

    client.send("4Connect /no").await;
    client.send_binary(b"abc").await;
    client.send(r#"4{"token":{"_placeholder":true,"num":0}}"#).await;
    let refusal = r#"{"message":"auth must not hold binary data"}"#;
    assert_eq!(take(&mut client).await, ("ConnectError /no".into(), refusal.into()));

    let [first, second] = [0, 1].map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#));
    for broken in [second, format!("[{first},{first}]")] {
        let mut client = join(&host).await;
        client.send("4Event /").await;
        client.send_binary(b"abc").await;
        client.send(format!(r#"4["echo",{broken}]"#)).await;
        assert_eq!(client.ended().await.0, 1002, "{broken}");
    }
}
