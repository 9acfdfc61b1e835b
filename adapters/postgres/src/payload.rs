//! The payloads of notifications, as `@socket.io/postgres-adapter` has them: a `ClusterMessage` as JSON, or a
//! reference to a row of the table of attachments, which has the message as MessagePack.

use serde::Deserialize;
use socketio::cluster::{
    ServerId,
    node::{Encoded, Object},
};

/// The maximum length of a notification in bytes.
pub(crate) const MAX_PAYLOAD: usize = 7_999;

/// An encoded message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The payload of a notification.
    Text(String),
    /// The content of a row, and the text of the notification up to the id of the row.
    Attachment { content: Vec<u8>, header: String },
}

/// The end of the text of a notification, after the id of a row.
pub(crate) const HEADER_END: &str = "\"}";

impl Payload {
    /// Encodes a message. Returns `None` if it cannot be encoded.
    pub(crate) fn new(from: &ServerId, namespace: &str, encoded: &Encoded) -> Option<Self> {
        if encoded.attachments.is_empty() {
            let json = encoded.to_bytes(from, namespace)?;
            if json.len() <= MAX_PAYLOAD {
                return Some(Self::Text(String::from_utf8(json).ok()?));
            }
        }
        let content = encoded.to_msgpack(from, namespace)?;
        let uid = serde_json::to_string(from.as_str()).ok()?;
        let header = format!(r#"{{"uid":{uid},"type":{},"attachmentId":""#, encoded.kind);
        Some(Self::Attachment { content, header })
    }
}

/// A reference to a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) uid: String,
    pub(crate) row: i64,
}

impl Reference {
    /// Returns the reference that the payload of a notification is. `None` if it is something else.
    pub(crate) fn parse(payload: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Header {
            uid: String,
            attachment_id: Id,
        }

        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Id {
            Text(String),
            Number(i64),
        }

        // Most messages have no such key, and need not be parsed twice.
        if !payload.contains("\"attachmentId\"") {
            return None;
        }
        let Object(Header { uid, attachment_id }) = serde_json::from_str(payload).ok()?;
        let row = match attachment_id {
            Id::Text(text) => text.parse().ok()?,
            Id::Number(number) => number,
        };
        Some(Self { uid, row })
    }
}

#[cfg(test)]
mod tests {
    use socketio::{
        Room,
        cluster::{
            BroadcastFlags, EventPacket, Message, Operation, Target,
            node::{Decoded, Malformed, decode_in, encode_message},
        },
    };

    use super::*;

    fn broadcast(data: &str, attachments: Vec<bytes::Bytes>) -> Payload {
        let target = Target::new(Vec::<Room>::new(), Vec::new());
        let packet = EventPacket::new("/", data, attachments).unwrap();
        let operation = Operation::Broadcast { target, packet, flags: BroadcastFlags::default() };
        let from = ServerId::from("38f3846ba37e4e08");
        let message = Message { from: from.clone(), namespace: "/".into(), operation };
        Payload::new(&from, "/", &encode_message(&message).unwrap()).unwrap()
    }

    fn decoded(namespace: &str, payload: &[u8]) -> Message {
        match decode_in(namespace, payload) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("not a message: {other:?}"),
        }
    }

    #[test]
    fn heartbeats_are_those_of_node() {
        let from = ServerId::from("38f3846ba37e4e08");
        for (encoded, expected) in [
            (Encoded::initial_heartbeat(), r#"{"uid":"38f3846ba37e4e08","nsp":"/","type":1}"#),
            (Encoded::heartbeat(), r#"{"uid":"38f3846ba37e4e08","nsp":"/","type":2}"#),
            (Encoded::close(), r#"{"uid":"38f3846ba37e4e08","nsp":"/","type":13}"#),
        ] {
            let payload = Payload::new(&from, "/", &encoded);
            assert_eq!(payload, Some(Payload::Text(expected.to_owned())));
        }
        let initial = r#"{"type":1,"uid":"38f3846ba37e4e08","nsp":"/"}"#;
        assert!(
            matches!(decode_in("/", initial.as_bytes()), Ok(Decoded::InitialHeartbeat(id)) if id == from)
        );
        let close = r#"{"type":13,"uid":"38f3846ba37e4e08","nsp":"/"}"#;
        assert!(matches!(decode_in("/", close.as_bytes()), Ok(Decoded::Close(id)) if id == from));
    }

    #[test]
    fn a_broadcast_of_node_is_decoded() {
        let recorded = r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,{"a":null},
            "1970-01-01T00:00:00.000Z"]},"opts":{"rooms":[],"except":[],"flags":{}}},
            "uid":"38f3846ba37e4e08","nsp":"/"}"#;
        let message = decoded("/", recorded.as_bytes());
        assert_eq!(message.from.as_str(), "38f3846ba37e4e08");
        assert!(matches!(message.operation, Operation::Broadcast { .. }));
        assert_eq!(Reference::parse(recorded), None);
        // Messages of another namespace than that of the channel are ignored.
        assert!(matches!(decode_in("/other", recorded.as_bytes()), Ok(Decoded::Unknown)));
    }

    #[test]
    fn a_message_of_the_emitter_has_the_namespace_of_the_channel() {
        let recorded = r#"{"type":3,"data":{"packet":{"type":2,"data":["in",1],"nsp":"/chat"},
            "opts":{"rooms":["r"],"except":[],"flags":{}}},"uid":"emitter"}"#;
        assert_eq!(&*decoded("/chat", recorded.as_bytes()).namespace, "/chat");
    }

    #[test]
    fn references_are_those_of_node() {
        let recorded = r#"{"uid":"38f3846ba37e4e08","type":3,"attachmentId":"1"}"#;
        let expected = Reference { uid: "38f3846ba37e4e08".to_owned(), row: 1 };
        assert_eq!(Reference::parse(recorded), Some(expected));
        let Payload::Attachment { content, header } =
            broadcast(r#"["e",{"_placeholder":true,"num":0}]"#, vec![bytes::Bytes::from_static(&[1, 2])])
        else {
            panic!("no attachment")
        };
        assert_eq!(format!("{header}1{HEADER_END}"), recorded);
        let message = decoded("/", &content);
        let Operation::Broadcast { packet, .. } = message.operation else { panic!("not a broadcast") };
        assert_eq!(packet.parts("/").1, [&[1, 2][..]]);
        for other in [
            r#"{"uid":"u","attachmentId":"x"}"#,
            r#"{"uid":"u","attachmentId":null}"#,
            r#"{"uid":1,"attachmentId":"1"}"#,
            r#"{"attachmentId":"1"}"#,
            r#"["u","attachmentId"]"#,
            r#"{"uid":"u","data":{"attachmentId":"1"}}"#,
            r#"{"uid":"u","attachmentId":"99999999999999999999"}"#,
        ] {
            assert_eq!(Reference::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_reference_in_a_message_is_rejected() {
        // A reference that cannot be parsed is no message either.
        for text in [r#"{"uid":"u","type":3,"attachmentId":"x"}"#, r#"{"type":3,"attachmentId":"1"}"#] {
            assert_eq!(decode_in("/", text.as_bytes()).unwrap_err(), Malformed);
        }
    }

    #[test]
    fn the_length_of_a_notification_is_limited_exactly() {
        let frame = match broadcast(r#"["e",""]"#, vec![]) {
            Payload::Text(text) => text.len(),
            Payload::Attachment { .. } => panic!("a short message"),
        };
        let of_len = |len: usize| broadcast(&format!(r#"["e","{}"]"#, "x".repeat(len - frame)), vec![]);
        assert!(matches!(of_len(MAX_PAYLOAD), Payload::Text(text) if text.len() == MAX_PAYLOAD));
        assert!(matches!(of_len(MAX_PAYLOAD + 1), Payload::Attachment { .. }));
    }
}
