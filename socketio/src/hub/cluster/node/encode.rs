//! Encodes messages as `ClusterMessage` of Node.js.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;

use super::kind;
use crate::{
    hub::{
        ack_collector::Outcome,
        acks::AckArgs,
        cluster::{BroadcastFlags, EventPacket, Message, Operation, Reply, ReplyBody, RequestId, ServerId},
        rooms::{Room, Target},
    },
    proto::msgpack,
};

/// A `ClusterMessage` without its sender: the type and the JSON text of its data. Binary data in the text is
/// replaced by placeholders.
#[derive(Debug)]
#[non_exhaustive]
pub struct Encoded {
    /// The type of the message.
    pub kind: u8,
    /// The JSON text of the data, which is an object.
    pub data: String,
    /// The binary data that the placeholders refer to.
    pub attachments: Vec<Bytes>,
}

impl Encoded {
    /// Returns the first heartbeat of a server, which the other servers respond to with a heartbeat.
    pub fn initial_heartbeat() -> Self {
        Self::empty(kind::INITIAL_HEARTBEAT)
    }

    /// Returns a heartbeat.
    pub fn heartbeat() -> Self {
        Self::empty(kind::HEARTBEAT)
    }

    /// Returns the message of a server that leaves.
    pub fn close() -> Self {
        Self::empty(kind::ADAPTER_CLOSE)
    }

    fn empty(kind: u8) -> Self {
        Self { kind, data: String::new(), attachments: Vec::new() }
    }

    /// Returns the whole message: as JSON, or as MessagePack if it contains binary data. `None` if the message cannot
    /// be encoded.
    pub fn to_bytes(&self, from: &ServerId, namespace: &str) -> Option<Vec<u8>> {
        if self.attachments.is_empty() {
            return Some(self.json(from, namespace).into_bytes());
        }
        self.to_msgpack(from, namespace)
    }

    /// Returns the whole message as MessagePack. `None` if the message cannot be encoded.
    pub fn to_msgpack(&self, from: &ServerId, namespace: &str) -> Option<Vec<u8>> {
        msgpack::from_json(&self.json(from, namespace), &self.attachments).ok()
    }

    /// Returns the whole message as JSON, with placeholders of binary data.
    fn json(&self, from: &ServerId, namespace: &str) -> String {
        let mut json = String::with_capacity(self.data.len() + namespace.len() + 80);
        let Self { kind, data, .. } = self;
        // Writing to a string cannot fail.
        let _ = write!(json, r#"{{"uid":{},"nsp":{},"type":{kind}"#, text(from.as_str()), text(namespace));
        if !data.is_empty() {
            let _ = write!(json, r#","data":{data}"#);
        }
        json.push('}');
        json
    }

    /// Returns the data alone, as MessagePack.
    pub fn data_to_msgpack(&self) -> Option<Vec<u8>> {
        msgpack::from_json(&self.data, &self.attachments).ok()
    }
}

/// Encodes a message to all servers. Returns `None` for an operation that Node.js does not have.
pub fn encode_message(message: &Message) -> Option<Encoded> {
    let namespace = &message.namespace;
    let encoded = |kind, data| Some(Encoded { kind, data, attachments: Vec::new() });
    match &message.operation {
        Operation::Broadcast { target, packet, flags } => {
            let options = options_json(target, Some(*flags), None);
            Some(broadcast(namespace, packet, &options, None))
        }
        Operation::BroadcastWithAck { request, target, packet, flags, timeout } => {
            let options = options_json(target, Some(*flags), Some(*timeout));
            Some(broadcast(namespace, packet, &options, Some(request)))
        }
        Operation::Join { target, rooms } => encoded(kind::SOCKETS_JOIN, rooms_data(target, rooms)),
        Operation::Leave { target, rooms } => encoded(kind::SOCKETS_LEAVE, rooms_data(target, rooms)),
        Operation::Disconnect { target, close } => {
            let options = options_json(target, Some(BroadcastFlags::default()), None);
            encoded(kind::DISCONNECT_SOCKETS, format!(r#"{{"opts":{options},"close":{close}}}"#))
        }
        Operation::Fetch { request, target } => {
            let options = options_json(target, Some(BroadcastFlags::default()), None);
            let request = text(request.as_str());
            encoded(kind::FETCH_SOCKETS, format!(r#"{{"opts":{options},"requestId":{request}}}"#))
        }
        Operation::ServerEvent { request, packet } => {
            let (data, attachments) = packet.parts(namespace);
            let request = request_entry(request.as_ref());
            let data = format!(r#"{{"packet":{data}{request}}}"#);
            Some(Encoded { kind: kind::SERVER_SIDE_EMIT, data, attachments })
        }
        Operation::CancelAcks { .. } => None,
    }
}

fn broadcast(namespace: &str, packet: &EventPacket, options: &str, request: Option<&RequestId>) -> Encoded {
    let (event, attachments) = packet.parts(namespace);
    let request = request_entry(request);
    let data = format!(r#"{{"packet":{{"type":2,"data":{event}}},"opts":{options}{request}}}"#);
    Encoded { kind: kind::BROADCAST, data, attachments }
}

fn rooms_data(target: &Target, rooms: &[Room]) -> String {
    let options = options_json(target, Some(BroadcastFlags::default()), None);
    format!(r#"{{"opts":{options},"rooms":{}}}"#, list(rooms))
}

fn request_entry(request: Option<&RequestId>) -> String {
    request.map_or_else(String::new, |request| format!(r#","requestId":{}"#, text(request.as_str())))
}

/// Encodes a response. An acknowledgement that failed has no encoding in Node.js.
pub fn encode_reply(reply: &Reply) -> Vec<Encoded> {
    let request = text(reply.request.as_str());
    let encoded = |kind, data| vec![Encoded { kind, data, attachments: Vec::new() }];
    let count = |count: usize| {
        let data = format!(r#"{{"requestId":{request},"clientCount":{count}}}"#);
        encoded(kind::BROADCAST_CLIENT_COUNT, data)
    };
    let answer = |kind, args: &AckArgs| Encoded {
        kind,
        data: format!(r#"{{"requestId":{request},"packet":{}}}"#, args.first().unwrap_or("null")),
        attachments: args.attachments().to_vec(),
    };
    match &reply.body {
        ReplyBody::Recipients(recipients) => count(recipients.len()),
        ReplyBody::RecipientCount(number) => count(*number),
        ReplyBody::Outcomes(outcomes) => {
            let answers = outcomes.iter().filter_map(|(_, outcome)| match outcome {
                Outcome::Answer(args) => Some(answer(kind::BROADCAST_ACK, args)),
                _ => None,
            });
            answers.collect()
        }
        ReplyBody::Ack(args) => vec![answer(kind::BROADCAST_ACK, args)],
        ReplyBody::Sockets(sockets) => {
            let sockets: Vec<String> = sockets.iter().map(super::summary::to_json).collect();
            let data = format!(r#"{{"requestId":{request},"sockets":[{}]}}"#, sockets.join(","));
            encoded(kind::FETCH_SOCKETS_RESPONSE, data)
        }
        ReplyBody::Answer(args) => {
            args.iter().map(|args| answer(kind::SERVER_SIDE_EMIT_RESPONSE, args)).collect()
        }
    }
}

/// Encodes a target as the options of a broadcast in Node.js. Without flags, the entry `flags` is omitted.
pub fn options_json(target: &Target, flags: Option<BroadcastFlags>, timeout: Option<Duration>) -> String {
    let (rooms, except) = (list(target.rooms()), list(&target.except()));
    let Some(BroadcastFlags { volatile, uncompressed }) = flags else {
        return format!(r#"{{"rooms":{rooms},"except":{except}}}"#);
    };
    let mut entries = Vec::new();
    if volatile {
        entries.push(r#""volatile":true"#.to_owned());
    }
    if uncompressed {
        entries.push(r#""compress":false"#.to_owned());
    }
    entries.extend(timeout.map(|timeout| format!(r#""timeout":{}"#, timeout.as_millis())));
    format!(r#"{{"rooms":{rooms},"except":{except},"flags":{{{}}}}}"#, entries.join(","))
}

fn list(rooms: &[Room]) -> String {
    // Serializing strings cannot fail.
    serde_json::to_string(rooms).unwrap_or_default()
}

fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
