//! Decodes the header of a packet in one pass over borrowed text:
//! <https://socket.io/docs/v4/socket-io-protocol/#packet-encoding>.

use std::borrow::Cow;

use super::{json::plain, leniency};

/// The reserved event names. The official clients refuse to emit events with these names.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Returns `true` if the event name is reserved.
pub(crate) fn is_reserved(event: &str) -> bool {
    RESERVED.contains(&event)
}

/// The type of a [packet](crate::Packet). Equivalent to `PacketType` in Node.js, which has separate types for
/// packets with attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request from a client to join a namespace, or the response of the server.
    Connect,
    /// One side disconnects from the namespace.
    Disconnect,
    /// An event.
    Event,
    /// The acknowledgement of an event.
    Ack,
    /// The refusal of a request to join a namespace. Only servers send packets of this type.
    ConnectError,
}

/// The limits of a packet. See the [`ServerConfig`](crate::ServerConfig) options with the same names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketLimits {
    pub(crate) max_attachments: usize,
    pub(crate) max_namespace_length: usize,
}

/// A packet in the text encoding of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextPacket<'a> {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) attachments: usize,
    /// The JSON text. It is an array for an event or acknowledgement, an object or empty for a CONNECT, and
    /// empty for a DISCONNECT.
    pub(crate) payload: &'a str,
}

/// A protocol violation by a client. The connection of the client is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A custom parser could not decode the message.
    Undecodable,
    UnknownType,
    IllegalAttachments,
    NameTooLong,
    IllegalId,
    InvalidPayload,
    ReservedEvent,
    UnexpectedText,
    UnexpectedBinary,
    NotConnected,
    ConnectedTwice,
    TooManyAttempts,
    TooLarge,
}

impl<'a> TextPacket<'a> {
    pub(crate) fn decode(text: &'a str, limits: PacketLimits) -> Result<Self, Violation> {
        let bytes = text.as_bytes();
        let (kind, binary) = match bytes.first() {
            Some(b'0') => (Kind::Connect, false),
            Some(b'1') => (Kind::Disconnect, false),
            Some(b'2') => (Kind::Event, false),
            Some(b'3') => (Kind::Ack, false),
            Some(b'5') => (Kind::Event, true),
            Some(b'6') => (Kind::Ack, true),
            _ => return Err(Violation::UnknownType),
        };
        let mut at = 1;
        let attachments = if binary {
            let count = number(bytes, &mut at).filter(|_| bytes.get(at) == Some(&b'-'));
            at += 1;
            let count = count.and_then(|count| usize::try_from(count).ok());
            count
                .filter(|count| (1..=limits.max_attachments).contains(count))
                .ok_or(Violation::IllegalAttachments)?
        } else {
            0
        };
        let mut namespace = "/";
        if bytes.get(at) == Some(&b'/') {
            // All bytes before `at` are ASCII, so `at` is a character boundary.
            let len = text[at..].find(',').unwrap_or(text.len() - at);
            namespace = &text[at..at + len];
            at = (at + len + 1).min(text.len());
            // A version 2 client sends its auth payload as a query after the name. The query does not count
            // against the limit.
            let max = limits.max_namespace_length;
            if namespace.len() > max && namespace.find('?').is_none_or(|name| name > max) {
                return Err(Violation::NameTooLong);
            }
        }
        let id = match bytes.get(at) {
            Some(b'0'..=b'9') => Some(number(bytes, &mut at).ok_or(Violation::IllegalId)?),
            _ => None,
        };
        let packet = Self { kind, namespace, id, attachments, payload: &text[at..] };
        check(kind, id, packet.payload)?;
        Ok(packet)
    }
}

/// Checks that the id and the start of the payload of a packet from a client are valid for its kind. The
/// payload is not validated as JSON here, but when it is decoded.
pub(crate) fn check(kind: Kind, id: Option<u64>, payload: &str) -> Result<(), Violation> {
    let first = payload.as_bytes().first();
    let valid = match kind {
        Kind::Connect => matches!(first, None | Some(b'{')) && id.is_none(),
        Kind::Disconnect => first.is_none() && id.is_none(),
        Kind::Event => first == Some(&b'['),
        Kind::Ack => first == Some(&b'[') && id.is_some(),
        Kind::ConnectError => return Err(Violation::UnknownType),
    };
    if valid { Ok(()) } else { Err(Violation::InvalidPayload) }
}

/// Parses decimal digits. Returns `None` if there are no digits or the number is too large.
fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let start = *at;
    let mut value: u64 = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        *at += 1;
    }
    (*at > start).then_some(value)
}

/// Returns the name of an event, which is the first element of the payload, and the byte offset after the
/// name.
pub(crate) fn event_name(payload: &str, max_name_length: usize) -> Result<(Cow<'_, str>, usize), Violation> {
    let bytes = payload.as_bytes();
    let space = bytes[1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    let start = 1 + space;
    let (name, end) = match bytes.get(start) {
        Some(b'"') => string(payload, start)?,
        // The official parser accepts a number as an event name.
        Some(b'0'..=b'9' | b'-') => {
            let len = payload[start..].find([',', ']', ' ']).ok_or(Violation::InvalidPayload)?;
            (Cow::Borrowed(&payload[start..start + len]), start + len)
        }
        _ => return Err(Violation::InvalidPayload),
    };
    if name.len() > max_name_length {
        return Err(Violation::NameTooLong);
    }
    if is_reserved(&name) {
        return Err(Violation::ReservedEvent);
    }
    Ok((name, end))
}

/// Parses the JSON string at `start`. Returns the string and the byte offset after it. The string is borrowed
/// unless it contains an escape.
fn string(payload: &str, start: usize) -> Result<(Cow<'_, str>, usize), Violation> {
    let bytes = payload.as_bytes();
    let mut escaped = false;
    let mut at = start + 1;
    loop {
        at += plain(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => {
                escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
            None => return Err(Violation::InvalidPayload),
        }
    }
    let end = at + 1;
    if !escaped {
        return Ok((Cow::Borrowed(&payload[start + 1..at]), end));
    }
    let name: String = leniency::from_str(&payload[start..end]).map_err(|_| Violation::InvalidPayload)?;
    Ok((Cow::Owned(name), end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::ServerConfig;

    fn decode(text: &str) -> Result<TextPacket<'_>, Violation> {
        TextPacket::decode(text, ServerConfig::default().packet_limits())
    }

    fn name_of(payload: &str) -> Result<(Cow<'_, str>, usize), Violation> {
        event_name(payload, ServerConfig::default().max_name_length)
    }

    fn decoded(text: &str) -> (Kind, &str, Option<u64>, usize, &str) {
        let packet = decode(text).unwrap();
        (packet.kind, packet.namespace, packet.id, packet.attachments, packet.payload)
    }

    #[test]
    fn reads_each_form() {
        assert_eq!(decoded("0"), (Kind::Connect, "/", None, 0, ""));
        assert_eq!(decoded("0{\"a\":1}"), (Kind::Connect, "/", None, 0, "{\"a\":1}"));
        assert_eq!(decoded("0/admin,{}"), (Kind::Connect, "/admin", None, 0, "{}"));
        assert_eq!(decoded("0/admin"), (Kind::Connect, "/admin", None, 0, ""));
        assert_eq!(decoded("1/admin,"), (Kind::Disconnect, "/admin", None, 0, ""));
        assert_eq!(decoded("2[\"a\"]"), (Kind::Event, "/", None, 0, "[\"a\"]"));
        assert_eq!(decoded("2/n,12[\"a\"]"), (Kind::Event, "/n", Some(12), 0, "[\"a\"]"));
        assert_eq!(decoded("30[]"), (Kind::Ack, "/", Some(0), 0, "[]"));
        assert_eq!(decoded("52-/n,7[\"x\"]"), (Kind::Event, "/n", Some(7), 2, "[\"x\"]"));
        assert_eq!(decoded("61-15[]"), (Kind::Ack, "/", Some(15), 1, "[]"));
        assert_eq!(decoded("0/é,"), (Kind::Connect, "/é", None, 0, ""));
    }

    #[test]
    fn refuses_what_the_protocol_forbids() {
        let cases = [
            ("", Violation::UnknownType),
            ("4{\"message\":\"x\"}", Violation::UnknownType),
            ("7", Violation::UnknownType),
            ("é", Violation::UnknownType),
            ("0[]", Violation::InvalidPayload),
            ("0null", Violation::InvalidPayload),
            ("0\"x\"", Violation::InvalidPayload),
            ("01{}", Violation::InvalidPayload),
            ("1{}", Violation::InvalidPayload),
            ("2", Violation::InvalidPayload),
            ("21", Violation::InvalidPayload),
            ("2{}", Violation::InvalidPayload),
            ("2 [\"x\"]", Violation::InvalidPayload),
            ("3[]", Violation::InvalidPayload),
            ("50-[\"x\"]", Violation::IllegalAttachments),
            ("5[\"x\"]", Violation::IllegalAttachments),
            ("511-[\"x\"]", Violation::IllegalAttachments),
            ("5-1-[\"x\"]", Violation::IllegalAttachments),
            ("5+1-[\"x\"]", Violation::IllegalAttachments),
            ("5 1-[\"x\"]", Violation::IllegalAttachments),
            ("51e0-[\"x\"]", Violation::IllegalAttachments),
            ("50x1-[\"x\"]", Violation::IllegalAttachments),
            ("51832742252-[]", Violation::IllegalAttachments),
            ("5999999999999999999999-[]", Violation::IllegalAttachments),
            ("299999999999999999999999[\"x\"]", Violation::IllegalId),
        ];
        for (text, violation) in cases {
            assert_eq!(decode(text), Err(violation), "{text}");
        }
    }

    #[test]
    fn attachments_and_names_are_limited_exactly() {
        let changed = ServerConfig::default().max_attachments(3).max_namespace_length(12).max_name_length(14);
        let cases = [(ServerConfig::default(), 10, 256, 4096), (changed, 3, 12, 14)];
        for (config, attachments, namespace_name, name) in cases {
            let decode = |text: String| {
                TextPacket::decode(&text, config.packet_limits()).map(|packet| packet.attachments)
            };
            let counted = |count: usize| format!("5{count}-[\"x\"]");
            assert_eq!(decode(counted(attachments)), Ok(attachments));
            assert_eq!(decode(counted(attachments + 1)), Err(Violation::IllegalAttachments));
            let namespace = |len: usize| format!("0/{}", "a".repeat(len - 1));
            assert_eq!(decode(namespace(namespace_name)), Ok(0));
            assert_eq!(decode(namespace(namespace_name + 1)), Err(Violation::NameTooLong));
            let query = |len: usize| format!("{}?{}", namespace(len), "a".repeat(1000));
            assert_eq!(decode(query(namespace_name)), Ok(0));
            assert_eq!(decode(query(namespace_name + 1)), Err(Violation::NameTooLong));
            let event = |len: usize| format!("[\"{}\"]", "a".repeat(len));
            assert!(event_name(&event(name), config.max_name_length).is_ok());
            assert_eq!(event_name(&event(name + 1), config.max_name_length), Err(Violation::NameTooLong));
        }
    }

    #[test]
    fn reads_event_names() {
        assert_eq!(name_of("[\"a\",1]"), Ok(("a".into(), 4)));
        assert_eq!(name_of("[ \"a\" ]"), Ok(("a".into(), 5)));
        assert_eq!(name_of(r#"["a\"\u00e9b"]"#), Ok(("a\"éb".into(), 13)));
        // This name was truncated within a surrogate pair.
        assert_eq!(name_of(r#"["a\ud83d"]"#), Ok(("a\u{fffd}".into(), 10)));
        assert_eq!(name_of("[12,1]"), Ok(("12".into(), 3)));
        for bad in ["[]", "[", "[null]", "[{\"toString\":\"foo\"}]", "[true,\"foo\"]", "[\"a", "[\"a\\", "[1"]
        {
            assert_eq!(name_of(bad), Err(Violation::InvalidPayload), "{bad}");
        }
        for name in RESERVED {
            assert_eq!(name_of(&format!("[\"{name}\"]")), Err(Violation::ReservedEvent));
        }
        // An escape must not hide a reserved name.
        assert_eq!(name_of(r#"["\u0063onnect"]"#), Err(Violation::ReservedEvent));
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            if let Ok(packet) = decode(&text) && packet.kind == Kind::Event {
                let _ = name_of(packet.payload);
            }
        }

        #[test]
        fn never_panics_on_what_looks_like_a_packet(text in "[0-6][0-9-]{0,3}(/[a-zé]{0,3},?)?[0-9]{0,3}\\[?[\"\\\\a-z,\\]]{0,9}") {
            if let Ok(packet) = decode(&text) && packet.kind == Kind::Event {
                let _ = name_of(packet.payload);
            }
        }
    }
}
