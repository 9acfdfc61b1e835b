//! Decodes `ClusterMessage` of Node.js. Input that is not of the expected shape is an error, and has no effect.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, value::RawValue};

use super::kind;
use crate::{
    hub::{
        acks::AckArgs,
        cluster::{BroadcastFlags, EventPacket, Message, Operation, Reply, ReplyBody, RequestId, ServerId},
        rooms::{Room, Target},
    },
    proto::{
        attachments::{ESCAPED_PLACEHOLDER, PLACEHOLDER},
        elements::Elements,
        msgpack,
        packet::is_reserved,
    },
};

/// The maximum number of binary values in a message of another server.
pub(super) const MAX_ATTACHMENTS: usize = 16_384;
/// The maximum number of recipients that a server reports.
const MAX_RECIPIENTS: usize = 1 << 20;

/// A decoded message.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// A message to all servers.
    Message(Message),
    /// A response.
    Reply(Reply),
    /// The first heartbeat of a server, which the other servers respond to with a heartbeat.
    InitialHeartbeat(ServerId),
    /// A heartbeat.
    Heartbeat(ServerId),
    /// A server leaves.
    Close(ServerId),
    /// A type that later versions of Node.js may have, or a message of another namespace than that of the channel.
    Unknown,
}

/// The error that a message has not the shape of a message of Node.js.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message does not have the shape of a message of Node.js")
    }
}

impl std::error::Error for Malformed {}

impl From<serde_json::Error> for Malformed {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// A struct that is decoded from an object. `serde` alone also accepts an array.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    nsp: Option<Cow<'a, str>>,
    r#type: u8,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Decodes a message, which is JSON or MessagePack.
///
/// # Errors
///
/// Returns an error if the message is malformed.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Malformed> {
    decode_envelope(bytes, None)
}

/// Decodes a message of a channel that belongs to one namespace. The message may omit the namespace, but must
/// not name another one.
///
/// # Errors
///
/// Returns an error if the message is malformed.
pub fn decode_in(namespace: &str, bytes: &[u8]) -> Result<Decoded, Malformed> {
    decode_envelope(bytes, Some(namespace))
}

fn decode_envelope(bytes: &[u8], namespace: Option<&str>) -> Result<Decoded, Malformed> {
    let (json, attachments) = text_and_attachments(bytes)?;
    let Object(Envelope { uid, nsp, r#type, data }) = serde_json::from_str(&json)?;
    let nsp = nsp.as_deref().or(namespace).ok_or(Malformed)?;
    if namespace.is_some_and(|namespace| namespace != nsp) {
        return Ok(Decoded::Unknown);
    }
    decode_data(&uid, nsp, r#type, data.map(RawValue::get), attachments)
}

/// Decodes a message whose entries are separate. The data is JSON or MessagePack.
///
/// # Errors
///
/// Returns an error if the message is malformed.
pub fn decode_fields(uid: &str, namespace: &str, kind: u8, data: &[u8]) -> Result<Decoded, Malformed> {
    let (json, attachments) = text_and_attachments(data)?;
    // Check that the text is one JSON value.
    let data: &RawValue = serde_json::from_str(&json)?;
    decode_data(uid, namespace, kind, Some(data.get()), attachments)
}

fn text_and_attachments(bytes: &[u8]) -> Result<(Cow<'_, str>, Vec<Bytes>), Malformed> {
    if bytes.first() == Some(&b'{') {
        return Ok((Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| Malformed)?), Vec::new()));
    }
    let (json, attachments) = msgpack::to_json(bytes, MAX_ATTACHMENTS).map_err(|_| Malformed)?;
    Ok((Cow::Owned(json), attachments))
}

fn decode_data(
    uid: &str,
    namespace: &str,
    kind: u8,
    data: Option<&str>,
    attachments: Vec<Bytes>,
) -> Result<Decoded, Malformed> {
    let from = ServerId::from(uid);
    match kind {
        kind::INITIAL_HEARTBEAT => return Ok(Decoded::InitialHeartbeat(from)),
        kind::HEARTBEAT => return Ok(Decoded::Heartbeat(from)),
        kind::ADAPTER_CLOSE => return Ok(Decoded::Close(from)),
        kind::BROADCAST..=kind::BROADCAST_ACK => {}
        _ => return Ok(Decoded::Unknown),
    }
    let namespace: Arc<str> = namespace.into();
    let data = Data { json: data.ok_or(Malformed)?, namespace: &namespace, attachments };
    if let Some(operation) = data.operation(kind)? {
        return Ok(Decoded::Message(Message { from, namespace, operation }));
    }
    let (request, body) = data.reply(kind)?;
    Ok(Decoded::Reply(Reply { from, namespace, request, body }))
}

struct Data<'a> {
    json: &'a str,
    namespace: &'a str,
    attachments: Vec<Bytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BroadcastData<'a> {
    #[serde(borrow)]
    packet: Object<Packet<'a>>,
    opts: Options,
    request_id: Option<String>,
}

#[derive(Deserialize)]
struct Packet<'a> {
    r#type: u8,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct RoomsData {
    opts: Options,
    rooms: Vec<RoomName>,
}

#[derive(Deserialize)]
struct DisconnectData {
    opts: Options,
    #[serde(default)]
    close: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FetchData {
    opts: Options,
    request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerEventData<'a> {
    #[serde(borrow)]
    packet: &'a RawValue,
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerData<'a> {
    request_id: String,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountData {
    request_id: String,
    client_count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketsData<'a> {
    request_id: String,
    #[serde(borrow)]
    sockets: Vec<&'a RawValue>,
}

impl Data<'_> {
    fn operation(&self, kind: u8) -> Result<Option<Operation>, Malformed> {
        Ok(Some(match kind {
            kind::BROADCAST => {
                let Object(BroadcastData { packet, opts, request_id }) = serde_json::from_str(self.json)?;
                let Object(Packet { r#type, data }) = packet;
                let packet = self.event(r#type, data.get())?;
                opts.into_broadcast(packet, request_id.map(RequestId::from))
            }
            kind::SOCKETS_JOIN | kind::SOCKETS_LEAVE => {
                let Object(RoomsData { opts, rooms }) = serde_json::from_str(self.json)?;
                let (target, rooms) = (opts.target, rooms.into_iter().map(|RoomName(room)| room).collect());
                match kind {
                    kind::SOCKETS_JOIN => Operation::Join { target, rooms },
                    _ => Operation::Leave { target, rooms },
                }
            }
            kind::DISCONNECT_SOCKETS => {
                let Object(DisconnectData { opts, close }) = serde_json::from_str(self.json)?;
                Operation::Disconnect { target: opts.target, close }
            }
            kind::FETCH_SOCKETS => {
                let Object(FetchData { opts, request_id }) = serde_json::from_str(self.json)?;
                Operation::Fetch { request: request_id.into(), target: opts.target }
            }
            kind::SERVER_SIDE_EMIT => {
                let Object(ServerEventData { packet, request_id }) = serde_json::from_str(self.json)?;
                let packet = self.event(2, packet.get())?;
                Operation::ServerEvent { request: request_id.map(RequestId::from), packet }
            }
            _ => return Ok(None),
        }))
    }

    fn reply(&self, kind: u8) -> Result<(RequestId, ReplyBody), Malformed> {
        match kind {
            kind::FETCH_SOCKETS_RESPONSE => {
                let Object(SocketsData { request_id, sockets }) = serde_json::from_str(self.json)?;
                let sockets = sockets.into_iter().map(|socket| super::summary::from_json(socket.get()));
                Ok((request_id.into(), ReplyBody::Sockets(sockets.collect::<Result<_, _>>()?)))
            }
            kind::BROADCAST_CLIENT_COUNT => {
                let Object(CountData { request_id, client_count }) = serde_json::from_str(self.json)?;
                let count = (client_count <= MAX_RECIPIENTS).then_some(client_count).ok_or(Malformed)?;
                Ok((request_id.into(), ReplyBody::RecipientCount(count)))
            }
            kind::SERVER_SIDE_EMIT_RESPONSE | kind::BROADCAST_ACK => {
                let Object(AnswerData { request_id, packet }) = serde_json::from_str(self.json)?;
                let args = ack_args(packet, self.attachments.clone());
                let body = match kind {
                    kind::BROADCAST_ACK => ReplyBody::Ack(args),
                    _ => ReplyBody::Answer(Some(args)),
                };
                Ok((request_id.into(), body))
            }
            _ => Err(Malformed),
        }
    }

    fn event(&self, kind: u8, data: &str) -> Result<EventPacket, Malformed> {
        event(self.namespace, kind, data, &self.attachments)
    }
}

/// Returns the acknowledgement with this JSON text as the first argument. In JavaScript, an acknowledgement
/// without arguments is `undefined`, which adapters leave out.
fn ack_args(first: Option<&RawValue>, attachments: Vec<Bytes>) -> AckArgs {
    AckArgs::new(&format!("[{}]", first.map_or("null", RawValue::get)), attachments)
}

/// Returns the event of a packet. Clients disconnect if they receive another type of packet, a placeholder
/// without attachment, or an attachment without placeholder.
///
/// # Errors
///
/// Returns an error for such packets, and for events with a reserved name.
pub fn event(namespace: &str, kind: u8, data: &str, attachments: &[Bytes]) -> Result<EventPacket, Malformed> {
    const EVENT: u8 = 2;
    if kind != EVENT || !is_event(data, attachments.len()) {
        return Err(Malformed);
    }
    EventPacket::new(namespace, data, attachments.to_vec()).ok_or(Malformed)
}

/// Returns `true` if the JSON text is the array of the name and the arguments of an event, with a placeholder for each
/// attachment.
pub(super) fn is_event(data: &str, attachments: usize) -> bool {
    if attachments > 0 {
        // In a message with attachments, no other object can look like this.
        let placeholder = format!(r#"{{"{PLACEHOLDER}":true,"num":"#);
        // Clients take an object of the sender with such a key for a placeholder too.
        let foreign = format!(r#""{ESCAPED_PLACEHOLDER}":true"#);
        if data.matches(&placeholder).count() != attachments || data.contains(&foreign) {
            return false;
        }
    }
    let Some(name) = data.starts_with('[').then(|| Elements::new(data).next()).flatten() else {
        return false;
    };
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => !is_reserved(plain),
        Some(_) => !serde_json::from_str::<Cow<'_, str>>(name).is_ok_and(|name| is_reserved(&name)),
        // JavaScript allows numbers as names.
        None => name.starts_with(|first: char| first == '-' || first.is_ascii_digit()),
    }
}

/// The options of a broadcast in Node.js.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The sockets.
    pub target: Target,
    /// The delivery options.
    pub flags: BroadcastFlags,
    /// How long the requesting server waits for acknowledgements.
    pub timeout: Option<Duration>,
}

impl Options {
    /// Returns the broadcast of an event, with acknowledgements if there is a request.
    pub fn into_broadcast(self, packet: EventPacket, request: Option<RequestId>) -> Operation {
        let Self { target, flags, timeout } = self;
        match request {
            None => Operation::Broadcast { target, packet, flags },
            Some(request) => {
                let timeout = timeout.unwrap_or_default();
                Operation::BroadcastWithAck { request, target, packet, flags, timeout }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(default)]
            rooms: Vec<RoomName>,
            #[serde(default)]
            except: Vec<RoomName>,
            #[serde(borrow)]
            flags: Option<&'a RawValue>,
        }
        let Object(Raw { rooms, except, flags }) = Object::deserialize(deserializer)?;
        let rooms_of = |names: Vec<RoomName>| names.into_iter().map(|RoomName(room)| room).collect();
        // Usually there are none.
        let flags = flags.map(RawValue::get).filter(|flags| *flags != "{}");
        let flags: Option<Value> = flags.map(serde_json::from_str).transpose().map_err(D::Error::custom)?;
        let flag = |name: &str| flags.as_ref().and_then(|flags| flags.get(name));
        Ok(Self {
            target: Target::new(rooms_of(rooms), rooms_of(except)),
            flags: BroadcastFlags {
                volatile: flag("volatile") == Some(&Value::Bool(true)),
                uncompressed: flag("compress") == Some(&Value::Bool(false)),
            },
            timeout: flag("timeout").and_then(Value::as_u64).map(Duration::from_millis),
        })
    }
}

/// The name of a room, which is a string, or a number in JavaScript.
struct RoomName(Room);

impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = RoomName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a room")
            }

            fn visit_str<E>(self, name: &str) -> Result<RoomName, E> {
                Ok(RoomName(name.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<RoomName, E> {
                Ok(RoomName(number.to_string().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<RoomName, E> {
                Ok(RoomName(number.to_string().into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<RoomName, E> {
                Ok(RoomName(Value::from(number).to_string().into()))
            }
        }

        deserializer.deserialize_any(Name)
    }
}

/// Decodes JSON text leniently as a `T`, for the dialects of brokers.
pub(super) fn lenient<T: DeserializeOwned + Default>(value: Option<&RawValue>) -> T {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
}
