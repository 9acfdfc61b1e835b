//! The broadcasts of `@socket.io/redis-adapter`: an array of the id of the server, the packet and the options, as
//! MessagePack. They are the most frequent messages, so they are encoded and decoded without a value or a text in
//! between.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use rmp::encode::{write_array_len, write_map_len, write_str, write_uint};

use super::decode::{MAX_ATTACHMENTS, Malformed, Options, is_event};
use crate::{
    hub::{
        cluster::{BroadcastFlags, EventPacket, Message, Operation, ServerId},
        rooms::{Room, Target},
    },
    proto::{
        encode::Frames,
        json::MAX_DEPTH,
        msgpack::{self, Reader},
        parser::ParseError,
    },
};

/// The type of packets that are events.
const EVENT: u8 = 2;
/// The depth that remains in the elements of the array, and in their entries.
const IN_ARRAY: usize = MAX_DEPTH - 1;
const IN_PACKET: usize = IN_ARRAY - 1;
/// The size of all but the data, the names of rooms and the namespace, and some room for the lengths of values.
const ENVELOPE: usize = 192;

impl From<ParseError> for Malformed {
    fn from(_: ParseError) -> Self {
        Self
    }
}

/// Encodes a broadcast of `@socket.io/redis-adapter`. Returns `None` if the event is not JSON, if it is nested too
/// deeply, or if it is longer than 4 GiB.
pub fn encode_broadcast(
    from: &ServerId,
    namespace: &str,
    target: &Target,
    packet: &EventPacket,
    flags: BroadcastFlags,
) -> Option<Vec<u8>> {
    let (data, attachments) = packet.parts(namespace);
    let rooms: usize = target.rooms().iter().chain(&*target.except()).map(|room| room.len() + 5).sum();
    let binary: usize = attachments.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(data.len() + binary + rooms + namespace.len() + ENVELOPE);
    // Writing to a vector cannot fail.
    let _ = write_array_len(&mut out, 3);
    let _ = write_str(&mut out, from.as_str());
    let _ = write_map_len(&mut out, 3);
    let _ = write_str(&mut out, "type");
    let _ = write_uint(&mut out, EVENT.into());
    let _ = write_str(&mut out, "data");
    let mut out = msgpack::append(out, data, &attachments).ok()?;
    let _ = write_str(&mut out, "nsp");
    let _ = write_str(&mut out, namespace);
    write_options(&mut out, target, flags);
    Some(out)
}

fn write_options(
    out: &mut Vec<u8>,
    target: &Target,
    BroadcastFlags { volatile, uncompressed }: BroadcastFlags,
) {
    let _ = write_map_len(out, 3);
    for (key, rooms) in [("rooms", target.rooms()), ("except", &target.except())] {
        let _ = write_str(out, key);
        let _ = write_array_len(out, rooms.len() as u32);
        for room in rooms {
            let _ = write_str(out, room);
        }
    }
    let _ = write_str(out, "flags");
    let _ = write_map_len(out, u32::from(volatile) + u32::from(uncompressed));
    for (key, is_set, value) in [("volatile", volatile, true), ("compress", uncompressed, false)] {
        if is_set {
            let _ = write_str(out, key);
            let _ = rmp::encode::write_bool(out, value);
        }
    }
}

/// Decodes a broadcast of `@socket.io/redis-adapter`. Returns `None` if it is one of this server, if it is for another
/// namespace, or if `has_room` returns `false` for all its rooms. Then the event is not decoded.
///
/// # Errors
///
/// Returns an error if the message is malformed.
pub fn decode_broadcast(
    own: &ServerId,
    namespace: &Arc<str>,
    bytes: &[u8],
    has_room: impl Fn(&str) -> bool,
) -> Result<Option<Message>, Malformed> {
    let mut reader = Reader(bytes);
    let elements = reader.array()?;
    let uid = reader.string()?;
    if uid == own.as_str().as_bytes() {
        return Ok(None);
    }
    if elements < 3 {
        return Err(Malformed);
    }
    let packet = Packet::read(&mut reader)?;
    let Options { target, flags, .. } = options(&mut reader)?;
    // Further elements are reserved.
    for _ in 3..elements {
        reader.pass(IN_ARRAY)?;
    }
    if !reader.0.is_empty() {
        return Err(Malformed);
    }
    let rooms = target.rooms();
    if !rooms.is_empty() && !rooms.iter().any(|room| has_room(room)) {
        return Ok(None);
    }
    let Some(packet) = packet.decode(namespace)? else { return Ok(None) };
    let operation = Operation::Broadcast { target, packet, flags };
    Ok(Some(Message { from: ServerId::from(&*text(uid)), namespace: namespace.clone(), operation }))
}

/// The bytes of the values of a packet.
struct Packet<'a> {
    kind: &'a [u8],
    data: &'a [u8],
    nsp: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let [kind, data, nsp] = entries(reader, [b"type", b"data", b"nsp"])?;
        Ok(Self { kind: kind.ok_or(Malformed)?, data: data.ok_or(Malformed)?, nsp })
    }

    /// Returns the event, or `None` if it is for another namespace.
    fn decode(&self, namespace: &str) -> Result<Option<EventPacket>, Malformed> {
        let nsp = match self.nsp {
            None | Some([NIL]) => Cow::Borrowed("/"),
            Some(nsp) => text(Reader(nsp).string()?),
        };
        let is_event_type = match self.kind {
            [EVENT] => true,
            // Other encodings than the shortest one.
            kind => msgpack::to_json(kind, 0)?.0 == "2",
        };
        if !is_event_type {
            return Err(Malformed);
        }
        if nsp != namespace {
            return Ok(None);
        }
        let event = Frames::written_event(namespace, |buffer, start| {
            let (buffer, attachments) =
                msgpack::append_json(self.data, buffer, IN_PACKET, MAX_ATTACHMENTS).ok()?;
            let json = std::str::from_utf8(buffer.get(start..)?).ok()?;
            is_event(json, attachments.len()).then_some((buffer, attachments))
        });
        event.map(|event| Some(EventPacket(event))).ok_or(Malformed)
    }
}

/// Reads a map. Returns the bytes of the values of three keys. Ignores other keys.
fn entries<'a>(reader: &mut Reader<'a>, keys: [&[u8]; 3]) -> Result<[Option<&'a [u8]>; 3], Malformed> {
    let mut values = [None; 3];
    for _ in 0..reader.map()? {
        let key = reader.string()?;
        let value = reader.pass(IN_PACKET)?;
        if let Some(at) = keys.iter().position(|known| *known == key)
            && values[at].replace(value).is_some()
        {
            return Err(Malformed);
        }
    }
    Ok(values)
}

const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;

/// Decodes the options of a broadcast.
fn options(reader: &mut Reader<'_>) -> Result<Options, Malformed> {
    let [rooms, except, flags] = entries(reader, [b"rooms", b"except", b"flags"])?;
    let target = Target::new(names(rooms)?, names(except)?);
    let mut options = Options { target, ..Options::default() };
    let mut reader = Reader(flags.unwrap_or_default());
    // Flags that are not a map are none.
    for _ in 0..reader.map().unwrap_or(0) {
        let key = reader.pass(IN_PACKET)?;
        let value = reader.pass(IN_PACKET)?;
        match Reader(key).string() {
            Ok(b"volatile") => options.flags.volatile = value == [TRUE],
            Ok(b"compress") => options.flags.uncompressed = value == [FALSE],
            Ok(b"timeout") => {
                let milliseconds = msgpack::to_json(value, 0).ok().and_then(|(json, _)| json.parse().ok());
                options.timeout = milliseconds.map(Duration::from_millis);
            }
            _ => {}
        }
    }
    Ok(options)
}

/// Decodes a list of rooms. A name is a string, or a number in JavaScript.
fn names(list: Option<&[u8]>) -> Result<Vec<Room>, Malformed> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let mut reader = Reader(list);
    let len = reader.array()?;
    let name = |_| {
        let value = reader.pass(IN_PACKET)?;
        if let Ok(name) = Reader(value).string() {
            return Ok(Room::from(text(name)));
        }
        let (json, _) = msgpack::to_json(value, 0)?;
        let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        is_number.then(|| Room::from(json)).ok_or(Malformed)
    };
    (0..len).map(name).collect()
}

/// Returns the text of a string. Invalid UTF-8 is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::hub::cluster::node::{Decoded, decode, msgpack_from_json};

    fn read(bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        decode_broadcast(&"own".into(), &"/n".into(), bytes, |_| true)
    }

    /// Decodes the packet and the options as a broadcast of this adapter, and as a `ClusterMessage`.
    fn both(packet: &Value, options: &Value) -> [Result<String, Malformed>; 2] {
        let array = msgpack_from_json(&json!(["u", packet, options]).to_string(), &[]).unwrap();
        let data = json!({ "packet": packet, "opts": options });
        let message = json!({ "uid": "u", "nsp": "/n", "type": 3, "data": data }).to_string();
        let other = decode(&msgpack_from_json(&message, &[]).unwrap()).map(|decoded| match decoded {
            Decoded::Message(message) => format!("{message:?}"),
            other => panic!("{other:?}"),
        });
        [read(&array).map(|message| format!("{:?}", message.expect("it is for this namespace"))), other]
    }

    fn names() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            "[a-z]{0,40}".prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            Just(json!(1.5)),
            Just(json!(null)),
        ];
        prop_oneof![9 => prop::collection::vec(name, 0..20).prop_map(Value::from), 1 => Just(json!({}))]
    }

    fn flags() -> impl Strategy<Value = Value> {
        let flag = || prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!(1)), Just(json!({}))];
        let entries = (flag(), flag(), flag());
        let map = entries.prop_map(
            |(volatile, compress, other)| json!({ "volatile": volatile, "compress": compress, "x": other }),
        );
        prop_oneof![Just(json!({})), map, Just(json!(null)), Just(json!([1]))]
    }

    fn data() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(json!(null)),
        ];
        let value = leaf.prop_recursive(4, 40, 20, |value| {
            prop_oneof![
                prop::collection::vec(value.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{0,12}", value, 0..20).prop_map(|map| json!(map)),
            ]
        });
        let name = prop_oneof![
            4 => Just(json!("event")),
            1 => Just(json!(7)),
            1 => Just(json!("disconnect")),
            1 => Just(json!("a\\\"b")),
            1 => Just(json!([])),
        ];
        (name, prop::collection::vec(value, 0..4)).prop_map(|(name, mut args)| {
            args.insert(0, name);
            Value::from(args)
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_messages_of_other_adapters(
            kind in prop_oneof![9 => Just(2), 1 => 0..300],
            data in data(),
            (rooms, except, flags) in (names(), names(), flags()),
        ) {
            let packet = json!({ "type": kind, "data": data, "nsp": "/n" });
            let options = json!({ "rooms": rooms, "except": except, "flags": flags });
            let [broadcast, message] = both(&packet, &options);
            prop_assert_eq!(broadcast, message);
        }
    }

    #[test]
    fn entries_may_be_in_any_order_and_more_may_follow() {
        let packet = r#"{"x":[{}],"nsp":"/n","data":["e",[1]],"type":2}"#;
        let json = format!(r#"["u",{packet},{{"y":1,"flags":7}},{{"a":[]}},2]"#);
        let message = read(&msgpack_from_json(&json, &[]).unwrap()).unwrap().unwrap();
        let Operation::Broadcast { target, packet, .. } = message.operation else {
            panic!("not a broadcast")
        };
        assert!(target.rooms().is_empty());
        assert_eq!(packet.parts("/n").0, r#"["e",[1]]"#);
    }

    #[test]
    fn events_for_others_are_not_decoded() {
        let bytes = |uid: &str, namespace: &str, room: &str| {
            let packet = EventPacket::new(namespace, r#"["e"]"#, Vec::new()).unwrap();
            let target = Target::new(vec!["a".into(), room.into()], Vec::new());
            encode_broadcast(&uid.into(), namespace, &target, &packet, BroadcastFlags::default()).unwrap()
        };
        let read = |bytes: &[u8]| decode_broadcast(&"own".into(), &"/n".into(), bytes, |room| room == "b");
        assert!(read(&bytes("other", "/n", "b")).unwrap().is_some());
        assert!(read(&bytes("other", "/n", "c")).unwrap().is_none());
        assert!(read(&bytes("own", "/n", "b")).unwrap().is_none());
        assert!(read(&bytes("other", "/m", "b")).unwrap().is_none());
    }

    #[test]
    fn depth_is_limited_exactly() {
        let broadcast = |depth: usize| {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let data = msgpack_from_json(&format!(r#"["e",{nested}]"#), &[]).unwrap();
            [&b"\x93\xa1u\x83\xa4type\x02\xa4data"[..], &data, b"\xa3nsp\xa2/n\x80"].concat()
        };
        assert!(read(&broadcast(IN_PACKET - 1)).unwrap().is_some());
        assert!(read(&broadcast(IN_PACKET)).is_err());
    }
}
