//! A fuzz target for single packets.

use std::borrow::Cow;

use crate::{
    Frame, Message,
    proto::{
        dialect::Revision,
        packet::{Malformed, Packet},
    },
};

/// Decodes arbitrary bytes as a packet, in both revisions. A decoded message must survive encoding and
/// decoding.
pub fn packet(input: &[u8]) {
    for revision in [Revision::V3, Revision::V4] {
        if let Ok(text) = std::str::from_utf8(input) {
            check(Packet::decode(text, revision), input, revision);
        }
        let binary = Packet::decode_binary(Cow::Borrowed(input), revision);
        assert_eq!(binary, Packet::decode_binary(Cow::Owned(input.to_vec()), revision));
        check(binary, input, revision);
    }
}

fn check(packet: Result<Packet<'_>, Malformed>, input: &[u8], revision: Revision) {
    let Ok(Packet::Message(message)) = packet else { return };
    let mut frame = frame_of(&message);
    if let Message::Binary(bytes) = &message {
        assert!(bytes.len() <= input.len());
        frame.rewrite(revision, true);
    }
    let written = std::str::from_utf8(frame.payload()).expect("text");
    assert_eq!(Packet::decode(written, revision), Ok(Packet::Message(message)));
}

pub(super) fn frame_of(message: &Message<'_>) -> Frame {
    match message {
        Message::Text(text) => Frame::text(text),
        Message::Binary(bytes) => Frame::binary(bytes.to_vec().into()),
    }
}
