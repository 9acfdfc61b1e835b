//! Fuzzes the decoding of single packets and their arguments.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{
    Args, ServerConfig,
    proto::{
        args::{ArgsError, FromArgs, RawArgs},
        attachments::{Attachments, resolve},
        encode::{Carrier, Encoder},
        json::check,
        packet::{Kind, TextPacket, event_name},
    },
};

static CONFIG: LazyLock<ServerConfig> = LazyLock::new(ServerConfig::default);

/// Decodes the arguments of a packet into several types. Asserts that undecoded arguments do not change when
/// they are encoded and decoded again.
pub fn socketio_packet(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(packet) = TextPacket::decode(text, CONFIG.packet_limits()) else { return };
    assert!(packet.attachments <= CONFIG.max_attachments);
    assert!(packet.namespace.starts_with('/') && text.ends_with(packet.payload));
    let (name, args_offset) = match packet.kind {
        Kind::Connect | Kind::Disconnect | Kind::ConnectError => return,
        Kind::Ack => ("".into(), 1),
        Kind::Event => match event_name(packet.payload, CONFIG.max_name_length) {
            Ok(found) => found,
            Err(_) => return,
        },
    };
    assert!(name.len() <= CONFIG.max_name_length);
    let attachments: Vec<_> = (0..packet.attachments).map(|n| Bytes::from(vec![n as u8; n])).collect();
    // The connection resolves placeholders when all attachments have arrived. This does not change the
    // position of the event name.
    let Ok(payload) = resolve(packet.payload, attachments.len()) else { return };
    let packet = TextPacket { payload: &payload, ..packet };
    let is_json = check(&payload).is_ok();
    assert!(attachments.is_empty() || is_json);
    let raw = RawArgs {
        payload: &payload,
        args_offset,
        attachments: Attachments::Shared(&attachments),
        wants_ack: packet.id.is_some(),
    };
    into_types(raw, is_json);
    given(raw, &attachments);
    let Ok(unparsed) = Args::from_args(raw) else { return assert!(!is_json) };
    if is_json {
        again(&packet, &name, &unparsed);
    }
}

/// Checks that the same text is malformed or well-formed for all types.
fn into_types(raw: RawArgs<'_>, is_json: bool) {
    fn read<T: FromArgs>(raw: RawArgs<'_>, is_json: bool) {
        match T::from_args(raw) {
            // `serde_json` ignores the depth of skipped values.
            Ok(_) => {
                assert!(serde_json::from_str::<IgnoredAny>(raw.payload).is_ok(), "more than JSON was read");
            }
            Err(ArgsError::Malformed) => assert!(!is_json, "JSON was refused"),
            Err(ArgsError::Mismatch(_)) => {}
        }
    }
    read::<()>(raw, is_json);
    read::<Value>(raw, is_json);
    read::<Bytes>(raw, is_json);
    read::<(String, Option<Bytes>)>(raw, is_json);
    read::<(f64, Vec<Bytes>, bool)>(raw, is_json);
    read::<(u8, String)>(raw, is_json);
}

/// Checks that shared and owned attachments are decoded to the same value.
fn given(raw: RawArgs<'_>, attachments: &[Bytes]) {
    let kept = <Vec<Bytes>>::from_args(raw).ok();
    let mut attachments = attachments.to_vec();
    let raw = RawArgs { attachments: attachments.as_mut_slice().into(), ..raw };
    assert_eq!(<Vec<Bytes>>::from_args(raw).ok(), kept);
}

/// Encodes the packet with its arguments, and checks that decoding returns the same packet.
fn again(packet: &TextPacket<'_>, name: &str, unparsed: &Args) {
    let carrier = match (packet.kind, packet.id) {
        (Kind::Ack, Some(id)) => Carrier::Ack { id },
        (_, id) => Carrier::Event { name, id },
    };
    let frames = Encoder::plain(packet.namespace).args(carrier, unparsed).expect("text is written as it is");
    let [text, attachments @ ..] = frames.as_slice() else { panic!("no packet") };
    assert!(attachments.iter().map(engineio::Frame::payload).eq(unparsed.attachments()));
    let text = std::str::from_utf8(text.payload()).expect("text");
    let read = TextPacket::decode(text.strip_prefix('4').expect("a message"), CONFIG.packet_limits())
        .expect("a packet");
    assert_eq!((read.kind, read.id), (packet.kind, packet.id));
    assert_eq!((read.namespace, read.attachments), (packet.namespace, packet.attachments));
    let (again, args_offset) = match read.kind {
        Kind::Event => event_name(read.payload, CONFIG.max_name_length).expect("a name"),
        _ => ("".into(), 1),
    };
    assert_eq!(again, name);
    let attachments = Attachments::Shared(unparsed.attachments());
    let raw = RawArgs { payload: read.payload, args_offset, attachments, wants_ack: read.id.is_some() };
    let again = Args::from_args(raw).expect("arguments");
    assert_eq!(again.json().trim_ascii(), unparsed.json().trim_ascii());
    assert_eq!(again.len(), unparsed.len());
}
