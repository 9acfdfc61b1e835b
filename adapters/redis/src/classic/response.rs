//! The messages on the channels of responses.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use socketio::cluster::{
    AckArgs, AckOutcome, Inbound, Reply, ReplyBody, ServerId, SocketSummary,
    node::{Malformed, Object, msgpack_from_json, summary_from_json, summary_to_json},
};

use super::{
    kind,
    payload::{json, json_or_msgpack, text_and_attachments},
};

/// The maximum number of recipients that a server reports.
const MAX_RECIPIENTS: usize = 1 << 20;

/// Encodes a response. The entry `uid` is not in the responses of Node.js, which ignores it.
pub(super) fn encode(reply: &Reply) -> Vec<Vec<u8>> {
    let uid = json(reply.from.as_str());
    let (requested, id) = reply.request.as_str().split_once(':').unwrap_or_default();
    let id = json(id);
    let count = |count: usize| {
        let kind = kind::BROADCAST_CLIENT_COUNT;
        vec![format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"clientCount":{count}}}"#).into_bytes()]
    };
    let ack = |args: &AckArgs| {
        let (kind, first) = (kind::BROADCAST_ACK, args.first().unwrap_or("null"));
        let ack = format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"packet":{first}}}"#);
        msgpack_from_json(&ack, args.attachments()).unwrap_or_default()
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
                let answer = format!(r#"{{"uid":{uid},"type":{kind},"requestId":{id},"data":{first}}}"#);
                json_or_msgpack(answer, args.attachments())
            });
            answer.collect()
        }
        _ => Vec::new(),
    }
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

/// Decodes a response.
pub(super) fn decode(namespace: &Arc<str>, payload: &[u8]) -> Result<Inbound, Malformed> {
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
    Ok(Inbound::Reply(Reply { from, namespace: namespace.clone(), request: answer.request_id.into(), body }))
}
