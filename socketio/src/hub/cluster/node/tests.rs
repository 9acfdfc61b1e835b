//! Tests with messages that were recorded between servers of Node.js.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::hub::{
    acks::AckArgs,
    cluster::{BroadcastFlags, EventPacket, Message, Operation, Reply, ReplyBody, ServerId},
    rooms::Target,
};

/// Returns a message with this type and data, as JSON and as MessagePack.
fn both(kind: u8, data: &str) -> [Vec<u8>; 2] {
    let json = format!(r#"{{"uid":"b3c0db0a9d8d2279","nsp":"/n","type":{kind},"data":{data}}}"#);
    let msgpack = msgpack_from_json(&json, &[]).unwrap();
    [json.into_bytes(), msgpack]
}

#[track_caller]
fn operation(kind: u8, data: &str) -> Operation {
    let [json, msgpack] = both(kind, data).map(|bytes| match decode(&bytes) {
        Ok(Decoded::Message(message)) => {
            assert_eq!((message.from.as_str(), &*message.namespace), ("b3c0db0a9d8d2279", "/n"));
            message.operation
        }
        other => panic!("not a message: {other:?}"),
    });
    assert_eq!(format!("{json:?}"), format!("{msgpack:?}"));
    json
}

#[track_caller]
fn response(kind: u8, data: &str) -> (String, ReplyBody) {
    let [json, msgpack] = both(kind, data).map(|bytes| match decode(&bytes) {
        Ok(Decoded::Reply(reply)) => (reply.request.as_str().to_owned(), reply.body),
        other => panic!("not a response: {other:?}"),
    });
    assert_eq!(format!("{json:?}"), format!("{msgpack:?}"));
    json
}

fn names(target: &Target) -> (Vec<&str>, Vec<String>) {
    let except = target.except().iter().map(ToString::to_string).collect();
    (target.rooms().iter().map(|room| &**room).collect(), except)
}

#[test]
fn broadcasts() {
    let Operation::Broadcast { target, packet, flags } = operation(
        3,
        r#"{"packet":{"type":2,"data":["ev","x"]},"opts":{"rooms":["room1",42],"except":["z"],
        "flags":{"volatile":true,"compress":false,"other":1}}}"#,
    ) else {
        panic!("not a broadcast")
    };
    assert_eq!(names(&target), (vec!["room1", "42"], vec!["z".to_owned()]));
    assert_eq!(packet.parts("/n"), (r#"["ev","x"]"#, vec![]));
    assert!(flags.volatile && flags.uncompressed);

    let Operation::BroadcastWithAck { request, timeout, .. } = operation(
        3,
        r#"{"packet":{"type":2,"data":["withack","q"]},"requestId":"d054760630ed0aed",
        "opts":{"rooms":[],"except":[],"flags":{"timeout":1000}}}"#,
    ) else {
        panic!("not a broadcast with acknowledgements")
    };
    assert_eq!((request.as_str(), timeout), ("d054760630ed0aed", Duration::from_secs(1)));

    // All entries of the options may be absent.
    let Operation::Broadcast { target, flags, .. } =
        operation(3, r#"{"packet":{"type":2,"data":["ev"]},"opts":{}}"#)
    else {
        panic!("not a broadcast")
    };
    assert!(names(&target).0.is_empty() && !flags.volatile && !flags.uncompressed);
}

#[test]
fn operations_on_sockets() {
    let opts = r#""opts":{"rooms":["r"],"except":[],"flags":{}}"#;
    let join = operation(4, &format!(r#"{{{opts},"rooms":["a",7]}}"#));
    assert!(matches!(join, Operation::Join { rooms, .. } if rooms == ["a".into(), "7".into()]));
    let leave = operation(5, &format!(r#"{{{opts},"rooms":[]}}"#));
    assert!(matches!(leave, Operation::Leave { rooms, .. } if rooms.is_empty()));
    for close in [true, false] {
        let disconnect = operation(6, &format!(r#"{{{opts},"close":{close}}}"#));
        assert!(matches!(disconnect, Operation::Disconnect { close: found, .. } if found == close));
    }
    assert!(matches!(operation(6, &format!("{{{opts}}}")), Operation::Disconnect { close: false, .. }));
    let fetch = operation(7, &format!(r#"{{{opts},"requestId":"q"}}"#));
    assert!(matches!(fetch, Operation::Fetch { request, .. } if request.as_str() == "q"));
    let event = operation(9, r#"{"packet":["hello",1],"requestId":"q"}"#);
    assert!(matches!(event, Operation::ServerEvent { request: Some(_), .. }));
    let event = operation(9, r#"{"packet":["hello",1]}"#);
    assert!(matches!(event, Operation::ServerEvent { request: None, .. }));
}

#[test]
fn responses() {
    let first = |body: &ReplyBody| match body {
        ReplyBody::Ack(args) | ReplyBody::Answer(Some(args)) => args.first().map(str::to_owned),
        _ => None,
    };
    for (kind, data, expected) in [
        (10, r#"{"requestId":"q","packet":"pong"}"#, r#""pong""#),
        (12, r#"{"requestId":"q","packet":{"a":[1]}}"#, r#"{"a":[1]}"#),
        (12, r#"{"requestId":"q"}"#, "null"),
    ] {
        let (request, body) = response(kind, data);
        assert_eq!((&*request, first(&body).as_deref()), ("q", Some(expected)));
    }
    let (_, body) = response(11, r#"{"requestId":"q","clientCount":3}"#);
    assert!(matches!(body, ReplyBody::RecipientCount(3)));
    let (_, body) = response(8, r#"{"requestId":"q","sockets":[{"id":"s","rooms":["s",9],"data":{"n":1}}]}"#);
    let ReplyBody::Sockets(found) = body else { panic!("no sockets") };
    assert_eq!(found[0].id(), "s");
}

#[test]
fn messages_without_data() {
    for (kind, is_known) in
        [(1, true), (2, true), (13, true), (0, false), (14, false), (99, false), (255, false)]
    {
        let message = format!(r#"{{"uid":"u","nsp":"/","type":{kind}}}"#);
        let decoded = decode(message.as_bytes()).unwrap();
        assert_eq!(!matches!(decoded, Decoded::Unknown), is_known, "{kind}");
    }
}

#[test]
fn malformed_messages() {
    let rejects = |bytes: &[u8]| {
        assert_eq!(decode(bytes).unwrap_err(), Malformed, "{}", String::from_utf8_lossy(bytes));
    };
    for kind in 3..=12 {
        rejects(format!(r#"{{"uid":"u","nsp":"/","type":{kind}}}"#).as_bytes());
        for data in ["null", "1", r#""text""#, "[]", "{}", r#"{"opts":null}"#, r#"{"requestId":1}"#] {
            for bytes in both(kind, data) {
                rejects(&bytes);
            }
        }
    }
    for (kind, data) in [
        (3, r#"{"packet":{"type":2,"data":["e"]}}"#),
        (3, r#"{"opts":{}}"#),
        (3, r#"{"packet":[2,["e"]],"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":["e"]},"opts":[]}"#),
        (3, r#"{"packet":{"type":0,"data":["e"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":1,"data":["e"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":5,"data":["e"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":"2","data":["e"]},"opts":{}}"#),
        (3, r#"{"packet":{"data":["e"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":"e"},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":[]},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":[{}]},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":["disconnect"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":["connect"]},"opts":{}}"#),
        (3, r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":"a"}}"#),
        (3, r#"{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[null]}}"#),
        (3, r#"{"packet":{"type":2,"data":["e"]},"opts":{"except":{}}}"#),
        (4, r#"{"opts":{}}"#),
        (4, r#"{"opts":{},"rooms":"a"}"#),
        (5, r#"{"rooms":["a"]}"#),
        (6, r#"{"close":true}"#),
        (6, r#"{"opts":{},"close":"yes"}"#),
        (7, r#"{"opts":{}}"#),
        (7, r#"{"requestId":"q"}"#),
        (8, r#"{"requestId":"q","sockets":{}}"#),
        (8, r#"{"requestId":"q","sockets":[["id"]]}"#),
        (9, r#"{"packet":"e"}"#),
        (9, r#"{"packet":[]}"#),
        (11, r#"{"requestId":"q","clientCount":-1}"#),
        (11, r#"{"requestId":"q","clientCount":1.5}"#),
        (11, r#"{"requestId":"q","clientCount":1048577}"#),
    ] {
        for bytes in both(kind, data) {
            rejects(&bytes);
        }
    }
    for message in [
        "",
        "{",
        "{}",
        "null",
        r#"["u","/",3,{}]"#,
        r#"{"nsp":"/","type":1}"#,
        r#"{"uid":1,"nsp":"/","type":1}"#,
        r#"{"uid":"u","type":1}"#,
        r#"{"uid":"u","nsp":"/","type":"1"}"#,
        r#"{"uid":"u","nsp":"/","type":1} "#,
    ] {
        if message.ends_with(' ') {
            // Space after the message is not part of it.
            decode(message.as_bytes()).unwrap();
        } else {
            rejects(message.as_bytes());
        }
    }
    rejects(&[0xc0]);
    rejects(&[0x94, 0xa1, b'u', 0xa1, b'/', 1, 0xc0]);
    let whole = both(7, r#"{"opts":{},"requestId":"q"}"#)[1].clone();
    (0..whole.len()).for_each(|len| rejects(&whole[..len]));
    rejects(&[&whole[..], &[0xc0]].concat());
}

#[test]
fn placeholders_of_the_sender_are_rejected_beside_binary_data() {
    let attachment = [Bytes::from_static(&[1])];
    let binary = r#"["e",{"_placeholder":true,"num":0}]"#;
    event("/", 2, binary, &attachment).unwrap();
    // Clients would disconnect: an attachment is absent, or not announced.
    assert_eq!(
        event("/", 2, r#"["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#, &attachment)
            .unwrap_err(),
        Malformed
    );
    assert_eq!(event("/", 2, r#"["e"]"#, &attachment).unwrap_err(), Malformed);
    let json = r#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["e",{"_placeholder":true,
        "num":0},{"_placeholdes":true,"num":5}]},"opts":{}}}"#;
    let mut bytes = msgpack_from_json(&json.replace('\n', ""), &attachment).unwrap();
    decode(&bytes).unwrap();
    let at = bytes.windows(12).position(|window| window == b"_placeholdes").unwrap();
    bytes[at + 11] = b'r';
    assert_eq!(decode(&bytes).unwrap_err(), Malformed);
}

#[test]
fn what_is_encoded_is_decoded() {
    let target = || Target::new(vec!["a".into(), "b\"#".into()], vec!["c".into()]);
    let packet = || {
        let data = r#"["e",{"deep":[{"_placeholder":true,"num":0},null,1.5,"😀"]}]"#;
        EventPacket::new("/n", data, vec![Bytes::from_static(&[0, 255])]).unwrap()
    };
    let flags = BroadcastFlags { volatile: true, uncompressed: true };
    let timeout = Duration::from_millis(1234);
    let operations = [
        Operation::Broadcast { target: target(), packet: packet(), flags },
        Operation::BroadcastWithAck {
            request: "q".into(),
            target: target(),
            packet: packet(),
            flags,
            timeout,
        },
        Operation::Join { target: target(), rooms: vec!["x".into()] },
        Operation::Leave { target: target(), rooms: vec!["x".into()] },
        Operation::Disconnect { target: target(), close: true },
        Operation::Fetch { request: "q".into(), target: target() },
        Operation::ServerEvent { request: Some("q".into()), packet: packet() },
        Operation::ServerEvent { request: None, packet: packet() },
    ];
    for operation in operations {
        let (from, namespace): (ServerId, Arc<str>) = ("me".into(), "/n".into());
        let message = Message { from: from.clone(), namespace: namespace.clone(), operation };
        let encoded = encode_message(&message).unwrap();
        let bytes = encoded.to_bytes(&from, &namespace).unwrap();
        let Ok(Decoded::Message(decoded)) = decode(&bytes) else { panic!("not a message") };
        assert_eq!(format!("{decoded:?}"), format!("{message:?}"));
        let data = encoded.data_to_msgpack().unwrap();
        let Ok(Decoded::Message(decoded)) = decode_fields("me", "/n", encoded.kind, &data) else {
            panic!("not a message")
        };
        assert_eq!(format!("{decoded:?}"), format!("{message:?}"));
    }
    let cancel = Operation::CancelAcks { request: "q".into() };
    assert!(
        encode_message(&Message { from: "me".into(), namespace: "/n".into(), operation: cancel }).is_none()
    );
}

#[test]
fn acknowledgements_are_encoded_one_by_one() {
    use crate::hub::ack_collector::Outcome;

    let answer = |json: &str| Outcome::Answer(AckArgs::new(json, Vec::new()));
    let outcomes = vec![(0, answer("[1,2]")), (1, Outcome::Timeout), (2, answer("[]"))];
    let reply = Reply {
        from: "me".into(),
        namespace: "/n".into(),
        request: "q".into(),
        body: ReplyBody::Outcomes(outcomes),
    };
    let data = |encoded: &Encoded| {
        assert_eq!(encoded.kind, 12);
        serde_json::from_str::<Value>(&encoded.data).unwrap()
    };
    let encoded: Vec<_> = encode_reply(&reply).iter().map(data).collect();
    let expected = [json!({ "requestId": "q", "packet": 1 }), json!({ "requestId": "q", "packet": null })];
    assert_eq!(encoded, expected);
}
