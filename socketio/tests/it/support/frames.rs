//! WebSocket frames as bytes, for clients that decide themselves what leaves with one write.

use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame, as a client must send it. A text frame may hold what is not UTF-8.
pub(crate) fn frame(data: Data, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut frame = Frame::message(payload.as_ref().to_vec(), OpCode::Data(data), true);
    frame.header_mut().mask = Some(MASK);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

pub(crate) fn text(packet: impl AsRef<str>) -> Vec<u8> {
    frame(Data::Text, packet.as_ref())
}

pub(crate) fn binary(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(Data::Binary, bytes)
}
