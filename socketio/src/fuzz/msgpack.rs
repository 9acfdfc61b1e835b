//! Fuzzes the encoding and decoding of MessagePack packets.

use engineio::Message;

use crate::{
    Decoder, Frame, MsgpackParser, Packet, PacketKind, Parser, ParserLimits,
    proto::{attachments::resolve, json::check, packet},
};

/// The maximum length of a placeholder in JSON, in bytes.
const PLACEHOLDER: usize = 40;
/// The documented maximum number of bytes of JSON per byte of input.
const GROWTH: usize = 6;

/// Asserts that decoded packets contain JSON of bounded length and do not change when they are encoded and
/// decoded again, and that all JSON text can be encoded.
pub fn msgpack(input: &[u8]) {
    let parser = MsgpackParser::default();
    if let Ok(text) = std::str::from_utf8(input) {
        let written = parser.encode(&Packet::new(PacketKind::Event, "/", None, text));
        assert_eq!(written.is_ok(), text.is_empty() || check(text).is_ok(), "{text}");
    }
    let mut decoder = parser.decoder(ParserLimits::default());
    let Some(packet) = read(&mut *decoder, input) else { return };
    let Packet { payload, attachments, .. } = &packet;
    assert!(payload.is_empty() || check(payload).is_ok(), "{payload}");
    assert!(
        payload.is_empty() || resolve(payload, attachments.len()).as_deref() == Ok(&**payload),
        "{payload}"
    );
    assert!(payload.len() <= GROWTH * input.len() + PLACEHOLDER * attachments.len(), "{payload}");
    // A connection rejects some of these packets, but the check must not panic on any of them.
    let _ = packet::check(packet.kind, packet.id, payload);
    let written = write(&parser, &packet);
    let again = read(&mut *decoder, written.payload()).expect("what was written is read");
    assert_eq!((again.kind, again.id, &again.namespace), (packet.kind, packet.id, &packet.namespace));
    assert_eq!(again.attachments.len(), attachments.len());
    assert_eq!(write(&parser, &again).payload(), written.payload());
}

fn read(decoder: &mut dyn Decoder, bytes: &[u8]) -> Option<Packet<'static>> {
    decoder.decode(Message::Binary(bytes.into())).ok().map(|packet| packet.expect("a message is a packet"))
}

fn write(parser: &MsgpackParser, packet: &Packet<'_>) -> Frame {
    let frames = parser.encode(packet).expect("what was read is written");
    assert_eq!(frames.len(), 1);
    frames.into_iter().next().expect("a frame")
}
