//! The messages on the channel of requests.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use socketio::cluster::{
    Inbound, Message, Operation, RequestId, ServerId, Target,
    node::{Malformed, Object, Options, event, msgpack_from_json, options_json},
};

use super::{
    kind,
    payload::{json, json_or_msgpack, text_and_attachments},
};

/// Encodes a message that is not a broadcast without acknowledgements. Returns `None` if Node.js has no such request. Then
/// the servers give up when the timeout of the request expires.
pub(super) fn encode(message: &Message) -> Option<Vec<u8>> {
    let Message { from, namespace, operation } = message;
    let uid = json(from.as_str());
    let moved = |kind: u8, target: &Target, rooms: &[socketio::Room]| {
        let (options, rooms) = (options_json(target, None, None), json(rooms));
        format!(r#"{{"uid":{uid},"type":{kind},"opts":{options},"rooms":{rooms}}}"#).into_bytes()
    };
    Some(match operation {
        Operation::BroadcastWithAck { request, target, packet, flags, timeout } => {
            let (data, attachments) = packet.parts(namespace);
            let packet = format!(r#"{{"type":2,"data":{data},"nsp":{}}}"#, json(&**namespace));
            let options = options_json(target, Some(*flags), Some(*timeout));
            let (id, kind) = (json(request.as_str()), kind::BROADCAST);
            let json = format!(
                r#"{{"uid":{uid},"requestId":{id},"type":{kind},"packet":{packet},"opts":{options}}}"#
            );
            msgpack_from_json(&json, &attachments).unwrap_or_default()
        }
        Operation::Join { target, rooms } => moved(kind::REMOTE_JOIN, target, rooms),
        Operation::Leave { target, rooms } => moved(kind::REMOTE_LEAVE, target, rooms),
        Operation::Disconnect { target, close } => {
            let (options, kind) = (options_json(target, None, None), kind::REMOTE_DISCONNECT);
            format!(r#"{{"uid":{uid},"type":{kind},"opts":{options},"close":{close}}}"#).into_bytes()
        }
        Operation::Fetch { request, target } => {
            let (options, kind) = (options_json(target, None, None), kind::REMOTE_FETCH);
            let id = json(request.as_str());
            format!(r#"{{"uid":{uid},"requestId":{id},"type":{kind},"opts":{options}}}"#).into_bytes()
        }
        Operation::ServerEvent { request, packet } => {
            let (data, attachments) = packet.parts(namespace);
            let kind = kind::SERVER_SIDE_EMIT;
            let id = request
                .as_ref()
                .map_or_else(String::new, |id| format!(r#","requestId":{}"#, json(id.as_str())));
            json_or_msgpack(format!(r#"{{"uid":{uid},"type":{kind},"data":{data}{id}}}"#), &attachments)
        }
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Packet<'a> {
    r#type: u8,
    #[serde(borrow)]
    data: &'a RawValue,
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

/// Decodes a request. Returns `None` if it is one of this server.
pub(super) fn decode(
    own: &ServerId,
    namespace: &Arc<str>,
    payload: &[u8],
) -> Result<Option<Inbound>, Malformed> {
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
    let from = request.uid.as_deref().unwrap_or_default().into();
    Ok(Some(Inbound::Message(Arc::new(Message { from, namespace: namespace.clone(), operation }))))
}
