//! Tests recovery with a custom parser.

use std::sync::Arc;

use serde_json::json;
use socketio::{
    ConnectionStateRecovery, Decoder, EmitError, Frame, Message, Packet, PacketKind, ParseError, Parser,
    ParserLimits,
};

use super::{Visitor, config, host_with, noticed};

/// The default encoding of a packet in the namespace `/`, followed by a space. Fails for the event `bomb`
/// once it has an offset.
#[derive(Debug)]
pub(super) struct Spaced;

impl Spaced {
    pub(super) fn shared() -> Arc<dyn Parser> {
        Arc::new(Self)
    }
}

impl Parser for Spaced {
    fn encode(&self, packet: &Packet<'_>) -> Result<Vec<Frame>, ParseError> {
        // The event is emitted without arguments, so this matches only the packet with the offset appended.
        if packet.payload.starts_with(r#"["bomb",""#) {
            return Err(ParseError::new("a bomb"));
        }
        let text = format!("{}{} ", packet.kind as u8, packet.payload);
        let attachments = packet.attachments.iter().cloned().map(Frame::binary);
        Ok(std::iter::once(Frame::text(&text)).chain(attachments).collect())
    }

    fn decoder(&self, _: ParserLimits) -> Box<dyn Decoder> {
        Box::new(SpacedDecoder)
    }
}

struct SpacedDecoder;

impl Decoder for SpacedDecoder {
    fn decode(&mut self, message: Message<'_>) -> Result<Option<Packet<'static>>, ParseError> {
        let Message::Text(text) = message else { return Err(ParseError::new("not text")) };
        let kind = if text.starts_with('0') { PacketKind::Connect } else { PacketKind::Event };
        Ok(Some(Packet::new(kind, "/", None, text[1..].to_owned())))
    }
}

fn spaced() -> socketio::ServerConfig {
    config(ConnectionStateRecovery::default()).parser(Spaced::shared())
}

#[tokio::test]
async fn a_client_gets_back_what_it_missed_as_the_parser_has_it() {
    let (host, mut connected) = host_with(spaced()).await;
    let mut visitor = Visitor::new(&host).await;
    let first = connected.next().await;
    first.join("room").unwrap();
    first.emit("e", &1).unwrap();
    assert_eq!(visitor.event().await, [json!("e"), json!(1)]);
    let gone = visitor.cut();
    noticed(&host).await;
    let bytes = bytes::Bytes::from_static(b"abc");
    host.io.to("room").compress(false).emit("e", &(2, bytes)).unwrap();
    host.io.to("elsewhere").emit("no", &()).unwrap();
    host.io.emit("e", &3).unwrap();

    let (mut visitor, recovered) = gone.come_back(&host).await;
    assert!(recovered);
    let second = connected.next().await;
    assert_eq!(second.id(), first.id());
    second.emit_wait("e", &4).await.unwrap();
    let packet = visitor.client.text().await;
    assert!(packet.starts_with(r#"42["e",2,{"_placeholder":true,"num":0},""#), "{packet}");
    assert!(packet.ends_with("\"] "), "{packet}");
    assert_eq!(visitor.client.binary().await, b"abc");
    assert_eq!(visitor.event().await, [json!("e"), json!(3)]);
    assert_eq!(visitor.event().await, [json!("e"), json!(4)]);
}

#[tokio::test]
async fn an_event_that_it_cannot_encode_with_its_offset_is_the_error_of_the_emit() {
    let (host, mut connected) = host_with(spaced()).await;
    let visitor = Visitor::new(&host).await;
    let socket = connected.next().await;
    let is_encode = |result| matches!(result, Err(EmitError::Encode(error)) if error.to_string() == "a bomb");
    assert!(is_encode(host.io.emit("bomb", &())));
    assert!(is_encode(socket.emit("bomb", &())));
    assert!(is_encode(socket.emit_wait("bomb", &()).await));
    let (mut visitor, recovered) = visitor.cut().come_back(&host).await;
    assert!(recovered);
    host.io.emit("end", &()).unwrap();
    assert_eq!(visitor.event().await, [json!("end")], "nothing of it was sent or kept");
}
