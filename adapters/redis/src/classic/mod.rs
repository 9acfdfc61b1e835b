//! The dialect of `createAdapter` of `@socket.io/redis-adapter`: `PUBLISH` and `PSUBSCRIBE`.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use socketio::cluster::{
    AckArgs, AckOutcome, Inbound, Inbox, Message, Operation, Reply, ReplyBody, RequestId, ServerId,
    SocketSummary, Target,
    node::{
        Malformed, Object, Options, event, msgpack_from_json, msgpack_to_json, options_json,
        summary_from_json, summary_to_json,
    },
};

use crate::dialect::{Channel, Count, Dialect, Publish};

/// The maximum number of binary values in a message of another server.
const MAX_ATTACHMENTS: usize = 16_384;
/// The maximum number of recipients that a server reports.
const MAX_RECIPIENTS: usize = 1 << 20;

/// The types of requests and responses.
mod kind {
    pub(super) const SOCKETS: u8 = 0;
    pub(super) const ALL_ROOMS: u8 = 1;
    pub(super) const REMOTE_JOIN: u8 = 2;
    pub(super) const REMOTE_LEAVE: u8 = 3;
    pub(super) const REMOTE_DISCONNECT: u8 = 4;
    pub(super) const REMOTE_FETCH: u8 = 5;
    pub(super) const SERVER_SIDE_EMIT: u8 = 6;
    pub(super) const BROADCAST: u8 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 8;
    pub(super) const BROADCAST_ACK: u8 = 9;
}

#[derive(Debug)]
pub(crate) struct ClassicDialect {
    pub(crate) key: String,
    pub(crate) specific_responses: bool,
}

impl ClassicDialect {
    fn request_channel(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.key)
    }

    fn response_channel(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.key)
    }

    fn response_channel_of(&self, namespace: &str, id: &ServerId) -> String {
        format!("{}-response#{namespace}#{}#", self.key, id.as_str())
    }

    fn request(&self, namespace: &str, payload: &[u8], request: Option<&RequestId>) -> Vec<Publish> {
        let channel = self.request_channel(namespace);
        vec![Publish::plain(&channel, payload).requesting(request, self.count(namespace))]
    }
}

impl Dialect for ClassicDialect {
    fn channels(&self, id: &ServerId, namespace: &str) -> Vec<Channel> {
        vec![
            Channel::Pattern(escape(&format!("{}#{namespace}#", self.key)) + "*"),
            Channel::Plain(self.request_channel(namespace)),
            Channel::Plain(self.response_channel(namespace)),
            Channel::Plain(self.response_channel_of(namespace, id)),
        ]
    }

    fn watchdog(&self, id: &ServerId) -> Channel {
        Channel::Plain(format!("{}-watchdog#{}#", self.key, id.as_str()))
    }

    fn count(&self, namespace: &str) -> Count {
        Count::plain(&self.request_channel(namespace))
    }

    fn encode(&self, message: &Message) -> Vec<Publish> {
        let Message { from, namespace, operation } = message;
        let uid = text(from.as_str());
        let moved = |kind: u8, target: &Target, rooms: &[socketio::Room]| {
            let (options, rooms) = (options_json(target, None, None), json(rooms));
            let json = format!(r#"{{"uid":{uid},"type":{kind},"opts":{options},"rooms":{rooms}}}"#);
            self.request(namespace, json.as_bytes(), None)
        };
        match operation {
            Operation::Broadcast { target, packet, flags } => {
                let (data, attachments) = packet.parts(namespace);
                let packet = packet_json(namespace, data);
                let options = options_json(target, Some(*flags), None);
                let json = format!("[{uid},{packet},{options}]");
                let channel = match target.rooms() {
                    [room] => format!("{}#{namespace}#{room}#", self.key),
                    _ => format!("{}#{namespace}#", self.key),
                };
                let payload = msgpack_from_json(&json, &attachments).ok();
                payload.into_iter().map(|payload| Publish::plain(&channel, &payload)).collect()
            }
            Operation::BroadcastWithAck { request, target, packet, flags, timeout } => {
                let (data, attachments) = packet.parts(namespace);
                let packet = packet_json(namespace, data);
                let options = options_json(target, Some(*flags), Some(*timeout));
                let id = text(request.as_str());
                let kind = kind::BROADCAST;
                let json = format!(
                    r#"{{"uid":{uid},"requestId":{id},"type":{kind},"packet":{packet},"opts":{options}}}"#
                );
                let payload = msgpack_from_json(&json, &attachments).unwrap_or_default();
                self.request(namespace, &payload, Some(request))
            }
            Operation::Join { target, rooms } => moved(kind::REMOTE_JOIN, target, rooms),
            Operation::Leave { target, rooms } => moved(kind::REMOTE_LEAVE, target, rooms),
            Operation::Disconnect { target, close } => {
                let (options, kind) = (options_json(target, None, None), kind::REMOTE_DISCONNECT);
                let json = format!(r#"{{"uid":{uid},"type":{kind},"opts":{options},"close":{close}}}"#);
                self.request(namespace, json.as_bytes(), None)
            }
            Operation::Fetch { request, target } => {
                let (options, kind) = (options_json(target, None, None), kind::REMOTE_FETCH);
                let id = text(request.as_str());
                let json = format!(r#"{{"uid":{uid},"requestId":{id},"type":{kind},"opts":{options}}}"#);
                self.request(namespace, json.as_bytes(), Some(request))
            }
            Operation::ServerEvent { request, packet } => {
                let (data, attachments) = packet.parts(namespace);
                let kind = kind::SERVER_SIDE_EMIT;
                let id = request
                    .as_ref()
                    .map_or_else(String::new, |id| format!(r#","requestId":{}"#, text(id.as_str())));
                let json = format!(r#"{{"uid":{uid},"type":{kind},"data":{data}{id}}}"#);
                let payload = json_or_msgpack(json, &attachments);
                self.request(namespace, &payload, request.as_ref())
            }
            // Node.js has no such request. The servers give up when the timeout of the request expires.
            _ => Vec::new(),
        }
    }

    fn encode_reply(&self, to: &ServerId, reply: &Reply) -> Vec<Publish> {
        let namespace = &*reply.namespace;
        let channel = if self.specific_responses && !to.is_unknown() {
            self.response_channel_of(namespace, to)
        } else {
            self.response_channel(namespace)
        };
        response(reply).iter().map(|payload| Publish::plain(&channel, payload)).collect()
    }

    fn decode(
        &self,
        inbox: &Inbox,
        namespace: &str,
        channel: &[u8],
        payload: &[u8],
    ) -> Result<Option<Inbound>, Malformed> {
        let channel = std::str::from_utf8(channel).map_err(|_| Malformed)?;
        if let Some(room) = room_of(channel, &self.key, namespace) {
            let is_wanted = room.is_empty() || inbox.may_have_room(namespace, room);
            return if is_wanted { broadcast(inbox.server_id(), namespace, payload) } else { Ok(None) };
        }
        if channel == self.request_channel(namespace) {
            return request(inbox.server_id(), namespace, payload);
        }
        answer(namespace, payload).map(Some)
    }
}

/// Returns the room in the name of a channel of broadcasts, which is empty if there is none.
fn room_of<'a>(channel: &'a str, key: &str, namespace: &str) -> Option<&'a str> {
    let room = channel.strip_prefix(key)?.strip_prefix('#')?.strip_prefix(namespace)?.strip_prefix('#')?;
    if room.is_empty() { Some(room) } else { room.strip_suffix('#') }
}

fn escape(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    for letter in pattern.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn packet_json(namespace: &str, data: &str) -> String {
    format!(r#"{{"type":2,"data":{data},"nsp":{}}}"#, text(namespace))
}

fn text(text: &str) -> String {
    json(text)
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    // Serializing strings cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Node.js accepts MessagePack as well as JSON, and only MessagePack can contain binary data.
fn json_or_msgpack(json: String, attachments: &[Bytes]) -> Vec<u8> {
    if attachments.is_empty() {
        return json.into_bytes();
    }
    msgpack_from_json(&json, attachments).unwrap_or_default()
}

/// Encodes a response. The entry `uid` is not in the responses of Node.js, which ignores it.
fn response(reply: &Reply) -> Vec<Vec<u8>> {
    let uid = text(reply.from.as_str());
    let (requested, id) = reply.request.as_str().split_once(':').unwrap_or_default();
    let id = text(id);
    let count = |count: usize| {
        let kind = kind::BROADCAST_CLIENT_COUNT;
        vec![format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"clientCount":{count}}}"#).into_bytes()]
    };
    let ack = |args: &AckArgs| {
        let (kind, first) = (kind::BROADCAST_ACK, args.first().unwrap_or("null"));
        let json = format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"packet":{first}}}"#);
        msgpack_from_json(&json, args.attachments()).unwrap_or_default()
    };
    match &reply.body {
        ReplyBody::Recipients(recipients) => count(recipients.len()),
        ReplyBody::RecipientCount(number) => count(*number),
        ReplyBody::Ack(args) => vec![ack(args)],
        ReplyBody::Outcomes(outcomes) => {
            let answers = outcomes.iter().filter_map(|(_, outcome)| match outcome {
                AckOutcome::Answer(args) => Some(ack(args)),
                _ => None,
            });
            answers.collect()
        }
        ReplyBody::Sockets(sockets) => {
            let answer = if requested == kind::ALL_ROOMS.to_string() {
                let mut rooms: Vec<_> = sockets.iter().flat_map(SocketSummary::rooms).collect();
                rooms.sort_unstable();
                rooms.dedup();
                format!(r#""rooms":{}"#, json(&rooms))
            } else if requested == kind::SOCKETS.to_string() {
                let ids: Vec<_> = sockets.iter().map(SocketSummary::id).collect();
                format!(r#""sockets":{}"#, json(&ids))
            } else {
                let sockets: Vec<String> = sockets.iter().map(summary_to_json).collect();
                format!(r#""sockets":[{}]"#, sockets.join(","))
            };
            vec![format!(r#"{{"uid":{uid},"requestId":{id},{answer}}}"#).into_bytes()]
        }
        ReplyBody::Answer(args) => {
            let answer = args.iter().map(|args| {
                let (kind, first) = (kind::SERVER_SIDE_EMIT, args.first().unwrap_or("null"));
                let json = format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"data":{first}}}"#);
                json_or_msgpack(json, args.attachments())
            });
            answer.collect()
        }
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Packet<'a> {
    r#type: u8,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    nsp: Option<Cow<'a, str>>,
}

/// The array of a broadcast: the id of the server, the packet and the options.
struct Broadcast<'a>(String, Packet<'a>, Options);

impl<'de> Deserialize<'de> for Broadcast<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Broadcast<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of three elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Broadcast<'de>, A::Error> {
                let missing = || A::Error::custom("an element is missing");
                let uid = elements.next_element()?.ok_or_else(missing)?;
                let Object(packet) = elements.next_element()?.ok_or_else(missing)?;
                let options = elements.next_element()?.ok_or_else(missing)?;
                // Further elements are reserved.
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Broadcast(uid, packet, options))
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

/// Returns `true` if a broadcast is one of this server, which Redis sends back. Does not decode it.
fn is_own(own: &ServerId, payload: &[u8]) -> bool {
    // An array of three elements, and a string of up to 31 bytes, or of up to 255.
    let uid = match payload {
        [0x93, marker @ 0xa0..=0xbf, rest @ ..] => rest.get(..usize::from(marker & 0x1f)),
        [0x93, 0xd9, len, rest @ ..] => rest.get(..usize::from(*len)),
        _ => None,
    };
    uid == Some(own.as_str().as_bytes())
}

fn broadcast(own: &ServerId, namespace: &str, payload: &[u8]) -> Result<Option<Inbound>, Malformed> {
    if is_own(own, payload) {
        return Ok(None);
    }
    let (json, attachments) = text_and_attachments(payload)?;
    let Broadcast(uid, packet, options) = serde_json::from_str(&json)?;
    if uid == own.as_str() || packet.nsp.as_deref().unwrap_or("/") != namespace {
        return Ok(None);
    }
    let event = event(namespace, packet.r#type, packet.data.get(), &attachments)?;
    let operation = options.into_broadcast(event, None);
    Ok(Some(message(&uid, namespace, operation)))
}

fn message(from: &str, namespace: &str, operation: Operation) -> Inbound {
    Inbound::Message(Arc::new(Message { from: from.into(), namespace: namespace.into(), operation }))
}

fn text_and_attachments(payload: &[u8]) -> Result<(Cow<'_, str>, Vec<Bytes>), Malformed> {
    if matches!(payload.first(), Some(b'{' | b'[')) {
        return Ok((Cow::Borrowed(std::str::from_utf8(payload).map_err(|_| Malformed)?), Vec::new()));
    }
    let (json, attachments) = msgpack_to_json(payload, MAX_ATTACHMENTS).map_err(|_| Malformed)?;
    Ok((Cow::Owned(json), attachments))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "requestId")]
    id: Option<Cow<'a, str>>,
    r#type: u8,
    opts: Option<Options>,
    /// The list of rooms of types 2 and 3.
    rooms: Option<Vec<serde_json::Value>>,
    #[serde(default)]
    close: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    /// The socket and the room of types 2 to 4 in versions before 6.1.
    sid: Option<String>,
    room: Option<String>,
}

impl Request<'_> {
    /// Returns the id that the response is encoded for: the type, and the id that the sender has chosen.
    fn id(&self) -> Result<RequestId, Malformed> {
        let id = self.id.as_deref().ok_or(Malformed)?;
        Ok(format!("{}:{id}", self.r#type).into())
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match (&self.sid, self.opts.take()) {
            (Some(sid), None) => Ok(Target::new(vec![sid.into()], Vec::new())),
            (_, options) => options.map(|options| options.target).ok_or(Malformed),
        }
    }

    fn rooms(&mut self) -> Result<Vec<socketio::Room>, Malformed> {
        let rooms = match (self.rooms.take(), self.room.take()) {
            (Some(rooms), _) => rooms,
            (None, Some(room)) => vec![room.into()],
            (None, None) => return Err(Malformed),
        };
        let name = |room: &serde_json::Value| match room {
            serde_json::Value::String(name) => Ok(name.into()),
            serde_json::Value::Number(number) => Ok(number.to_string().into()),
            _ => Err(Malformed),
        };
        rooms.iter().map(name).collect()
    }
}

fn request(own: &ServerId, namespace: &str, payload: &[u8]) -> Result<Option<Inbound>, Malformed> {
    let (json, attachments) = text_and_attachments(payload)?;
    let Object(mut request): Object<Request<'_>> = serde_json::from_str(&json)?;
    if request.uid.as_deref() == Some(own.as_str()) {
        return Ok(None);
    }
    let operation = match request.r#type {
        kind::SOCKETS => {
            let rooms = request.rooms().unwrap_or_default();
            Operation::Fetch { request: request.id()?, target: Target::new(rooms, Vec::new()) }
        }
        kind::ALL_ROOMS => Operation::Fetch { request: request.id()?, target: Target::default() },
        kind::REMOTE_JOIN => Operation::Join { target: request.target()?, rooms: request.rooms()? },
        kind::REMOTE_LEAVE => Operation::Leave { target: request.target()?, rooms: request.rooms()? },
        kind::REMOTE_DISCONNECT => Operation::Disconnect { target: request.target()?, close: request.close },
        kind::REMOTE_FETCH => Operation::Fetch { request: request.id()?, target: request.target()? },
        kind::SERVER_SIDE_EMIT => {
            let data = request.data.ok_or(Malformed)?;
            let packet = event(namespace, 2, data.get(), &attachments)?;
            let id = request.id.is_some().then(|| request.id()).transpose()?;
            Operation::ServerEvent { request: id, packet }
        }
        kind::BROADCAST => {
            let Object(packet): Object<Packet<'_>> =
                serde_json::from_str(request.packet.ok_or(Malformed)?.get())?;
            let packet = event(namespace, packet.r#type, packet.data.get(), &attachments)?;
            request.opts.take().ok_or(Malformed)?.into_broadcast(packet, Some(request.id()?))
        }
        _ => return Err(Malformed),
    };
    Ok(Some(message(request.uid.as_deref().unwrap_or_default(), namespace, operation)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    request_id: String,
    r#type: Option<u8>,
    client_count: Option<usize>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    sockets: Option<Vec<&'a RawValue>>,
}

fn answer(namespace: &str, payload: &[u8]) -> Result<Inbound, Malformed> {
    let (json, attachments) = text_and_attachments(payload)?;
    let Object(answer): Object<Answer<'_>> = serde_json::from_str(&json)?;
    let args = |first: Option<&RawValue>| {
        AckArgs::new(&format!("[{}]", first.map_or("null", RawValue::get)), attachments)
    };
    let body = match answer.r#type {
        Some(kind::BROADCAST_CLIENT_COUNT) => {
            let count = answer.client_count.filter(|count| *count <= MAX_RECIPIENTS);
            ReplyBody::RecipientCount(count.ok_or(Malformed)?)
        }
        Some(kind::BROADCAST_ACK) => ReplyBody::Ack(args(answer.packet)),
        Some(kind::SERVER_SIDE_EMIT) => ReplyBody::Answer(Some(args(answer.data))),
        _ => {
            let sockets = answer.sockets.ok_or(Malformed)?;
            let sockets = sockets.into_iter().map(|socket| summary_from_json(socket.get()));
            ReplyBody::Sockets(sockets.collect::<Result<_, _>>()?)
        }
    };
    let from = answer.uid.map_or_else(ServerId::unknown, |uid| ServerId::from(&*uid));
    Ok(Inbound::Reply(Reply { from, namespace: namespace.into(), request: answer.request_id.into(), body }))
}

#[cfg(test)]
mod tests;
