//! Tests that a panic in a parser affects only one emit or one connection.

use std::{sync::Arc, time::Duration};

use socketio::{
    Decoder, EmitError, Frame, MemoryBus, Message, Namespace, Packet, PacketKind, ParseError, Parser,
    ParserLimits, Server, ServerConfig,
};

use crate::support::{Client, Host, serve, within};

/// Encodes a packet of the namespace `/` as `<kind><JSON>`. Panics if the packet contains a bomb.
#[derive(Debug)]
struct Explosive {
    makes_decoders: bool,
}

impl Parser for Explosive {
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
        assert!(!packet.payload.contains("bomb"), "while encoding");
        Ok(vec![Frame::text(&format!("{}{}", packet.kind as u8, packet.payload))])
    }

    fn decoder(&self, _: ParserLimits) -> Box<dyn Decoder> {
        assert!(self.makes_decoders, "while making a decoder");
        Box::new(ExplosiveDecoder)
    }
}

struct ExplosiveDecoder;

impl Decoder for ExplosiveDecoder {
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        let Message::Text(text) = message else { return Err(ParseError::new("not text")) };
        assert!(!text.contains("bomb"), "while decoding");
        let kind = if text.starts_with('0') { PacketKind::Connect } else { PacketKind::Event };
        Ok(Some(Packet::new(kind, "/", None, text[1..].to_owned())))
    }
}

async fn host(makes_decoders: bool, bus: &MemoryBus) -> Host {
    let config = ServerConfig::default()
        .parser(Arc::new(Explosive { makes_decoders }) as Arc<dyn Parser>)
        .requests_timeout(Duration::from_millis(200));
    let namespace = Namespace::new("/").on("mark", async |socket, ()| socket.emit("mark", &()));
    serve(Server::with_cluster(config, bus.clone()).namespace(namespace)).await
}

async fn join(host: &Host) -> Client {
    let mut client = Client::open(host).await;
    client.send("40").await;
    assert!(client.text().await.starts_with(r#"40{"sid":""#));
    client
}

#[tokio::test]
async fn one_emit_fails() {
    let host = host(true, &MemoryBus::new()).await;
    let mut client = join(&host).await;
    let error = host.io.emit("bomb", &()).unwrap_err();
    assert!(matches!(&error, EmitError::Encode(error) if error.to_string() == "the parser panicked"));
    assert_eq!(client.ask(r#"42["mark"]"#).await, r#"42["mark"]"#);
}

#[tokio::test]
async fn one_connection_ends() {
    let host = host(true, &MemoryBus::new()).await;
    let mut other = join(&host).await;
    let mut client = join(&host).await;
    client.send(r#"42["bomb"]"#).await;
    assert_eq!(client.ended().await.0, 1002);
    assert_eq!(other.ask(r#"42["mark"]"#).await, r#"42["mark"]"#);
    assert_eq!(host.io.socket_count("/"), 1);
}

#[tokio::test]
async fn who_has_no_decoder_is_turned_away() {
    let host = host(false, &MemoryBus::new()).await;
    let mut client = Client::open(&host).await;
    client.send("40").await;
    assert_eq!(client.ended().await.0, 1002);
    assert_eq!(host.io.socket_count("/"), 0);
}

#[tokio::test]
async fn a_broadcast_of_another_server_is_lost_and_the_next_arrives() {
    let bus = MemoryBus::new();
    let host = host(true, &bus).await;
    let mut client = join(&host).await;
    let other = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(Namespace::new("/"));
    other.emit("bomb", &()).unwrap();
    let asked =
        other.of("/").emit_with_ack::<(), _>("bomb", &()).unwrap().timeout(Duration::from_millis(200));
    let all = within(asked).await;
    assert_eq!(all.missing_servers.len(), 1, "{all:?}");
    other.emit("news", &1).unwrap();
    assert_eq!(client.text().await, r#"42["news",1]"#);
}
