//! Tests with messages that were recorded between servers of Node.js.

use std::time::Duration;

use bytes::Bytes;
use socketio::cluster::{AckArgs, BroadcastFlags, ReplyBody, node::msgpack_from_json};

use super::*;
use crate::testing::{
    Decoder, arguments, binary_event, event, hex, json, message, names, only, reply, target,
};

const BROADCAST: &str = "93a63344 69697a7a 83a47479706502a46461746192a26576a178a36e7370a12f
    83a5726f6f6d7391a5726f6f6d31a665786365707490a5666c61677380";
const BROADCAST_WITH_ACK: &str = "85a3756964a6334469697a7aa9726571756573744964a66f7152737158a47479706507
    a67061636b657483a47479706502a46461746192a77769746861636ba171a36e7370a12f
    a46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574cd03e8";
const EMITTER: &str = "93a7656d697474657283a47479706502a46461746193a568656c6c6fa177c40101a36e7370a12f
    83a5726f6f6d7390a5666c61677380a665786365707490";
const REQUESTS: &str = "socket.io-request#/#";
const RESPONSES: &str = "socket.io-response#/#";

fn dialect() -> ClassicDialect {
    ClassicDialect { key: "socket.io".to_owned(), specific_responses: false }
}

fn decoder() -> Decoder<ClassicDialect> {
    Decoder::new(dialect())
}

fn encoded(operation: Operation) -> (String, String, Vec<u8>) {
    only(&dialect().encode(&message("3Diizz", operation)))
}

#[test]
fn broadcasts_are_encoded_as_in_node() {
    let flags = BroadcastFlags::default();
    let packet = event(r#"["ev","x"]"#);
    let (command, channel, payload) =
        encoded(Operation::Broadcast { target: target(&["room1"], &[]), packet: packet.clone(), flags });
    assert_eq!((&*command, &*channel), ("PUBLISH", "socket.io#/#room1#"));
    assert_eq!(payload, hex(BROADCAST));
    for rooms in [&[][..], &["a", "b"]] {
        let operation = Operation::Broadcast { target: target(rooms, &["c"]), packet: packet.clone(), flags };
        assert_eq!(encoded(operation).1, "socket.io#/#");
    }
    let flags = BroadcastFlags { volatile: true, uncompressed: true };
    let (_, _, payload) = encoded(Operation::Broadcast { target: target(&[], &["z"]), packet, flags });
    let options =
        serde_json::json!({ "rooms": [], "except": ["z"], "flags": { "volatile": true, "compress": false } });
    assert_eq!(json(&payload)[2], options);
}

#[test]
fn binary_data_is_encoded_inline() {
    let packet = binary_event(r#"["ev",{"_placeholder":true,"num":0}]"#, &[&[1, 2]]);
    let flags = BroadcastFlags::default();
    let (_, _, payload) = encoded(Operation::Broadcast { target: target(&[], &[]), packet, flags });
    let expected = "93a63344 69697a7a 83a47479706502a46461746192a26576c4020102a36e7370a12f
        83a5726f6f6d7390a665786365707490a5666c61677380";
    assert_eq!(payload, hex(expected));
}

#[test]
fn requests_are_encoded_as_in_node() {
    let (_, channel, payload) = encoded(Operation::BroadcastWithAck {
        request: "oqRsqX".into(),
        target: target(&[], &[]),
        packet: event(r#"["withack","q"]"#),
        flags: BroadcastFlags::default(),
        timeout: Duration::from_secs(1),
    });
    assert_eq!((&*channel, payload), (REQUESTS, hex(BROADCAST_WITH_ACK)));
    let rooms = || vec!["a".into(), "b".into()];
    let in_room = || target(&["room1"], &["z"]);
    let cases = [
        (
            Operation::Join { target: in_room(), rooms: rooms() },
            r#"{"uid":"3Diizz","type":2,"opts":{"rooms":["room1"],"except":["z"]},"rooms":["a","b"]}"#,
        ),
        (
            Operation::Leave { target: in_room(), rooms: rooms() },
            r#"{"uid":"3Diizz","type":3,"opts":{"rooms":["room1"],"except":["z"]},"rooms":["a","b"]}"#,
        ),
        (
            Operation::Disconnect { target: target(&["nobody"], &[]), close: true },
            r#"{"uid":"3Diizz","type":4,"opts":{"rooms":["nobody"],"except":[]},"close":true}"#,
        ),
        (
            Operation::Fetch { request: "P_J5aD".into(), target: target(&[], &[]) },
            r#"{"uid":"3Diizz","requestId":"P_J5aD","type":5,"opts":{"rooms":[],"except":[]}}"#,
        ),
        (
            Operation::ServerEvent { request: None, packet: event(r#"["hello","world"]"#) },
            r#"{"uid":"3Diizz","type":6,"data":["hello","world"]}"#,
        ),
        (
            Operation::ServerEvent { request: Some("QOD-3L".into()), packet: event(r#"["hello","world"]"#) },
            r#"{"uid":"3Diizz","type":6,"data":["hello","world"],"requestId":"QOD-3L"}"#,
        ),
    ];
    for (operation, expected) in cases {
        let (command, channel, payload) = encoded(operation);
        assert_eq!((&*command, &*channel), ("PUBLISH", REQUESTS));
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
    }
    assert!(dialect().encode(&message("3Diizz", Operation::CancelAcks { request: "x".into() })).is_empty());
}

#[test]
fn requests_that_are_answered_are_counted() {
    let fetch = Operation::Fetch { request: "P_J5aD".into(), target: target(&[], &[]) };
    let publishes = dialect().encode(&message("3Diizz", fetch));
    let (request, count) = publishes[0].request.as_ref().unwrap();
    assert_eq!(request.as_str(), "P_J5aD");
    let expected = ["PUBSUB", "NUMSUB", REQUESTS].map(|text| text.as_bytes().to_vec());
    assert_eq!(arguments(count), expected);
    let leave = Operation::Leave { target: target(&[], &[]), rooms: vec!["a".into()] };
    assert!(dialect().encode(&message("3Diizz", leave))[0].request.is_none());
}

#[test]
fn responses_are_encoded_as_in_node() {
    let ack = |json: &str| ReplyBody::Ack(AckArgs::new(json, Vec::new()));
    let bytes = AckArgs::new(r#"[{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(&[1, 2])]);
    let cases = [
        (
            "7:oqRsqX",
            ReplyBody::RecipientCount(1),
            serde_json::json!({ "type": 8, "requestId": "oqRsqX", "clientCount": 1 }),
        ),
        (
            "7:oqRsqX",
            ReplyBody::Recipients(Vec::new()),
            serde_json::json!({ "type": 8, "requestId": "oqRsqX", "clientCount": 0 }),
        ),
        (
            "7:oqRsqX",
            ack(r#"["ackB"]"#),
            serde_json::json!({ "type": 9, "requestId": "oqRsqX", "packet": "ackB" }),
        ),
        ("7:oqRsqX", ack("[]"), serde_json::json!({ "type": 9, "requestId": "oqRsqX", "packet": null })),
        (
            "6:QOD-3L",
            ReplyBody::Answer(Some(AckArgs::new(r#"["pong",2]"#, Vec::new()))),
            serde_json::json!({ "type": 6, "requestId": "QOD-3L", "data": "pong" }),
        ),
        (
            "5:P_J5aD",
            ReplyBody::Sockets(Vec::new()),
            serde_json::json!({ "requestId": "P_J5aD", "sockets": [] }),
        ),
        (
            "1:Q_F5is",
            ReplyBody::Sockets(Vec::new()),
            serde_json::json!({ "requestId": "Q_F5is", "rooms": [] }),
        ),
        ("0:abc", ReplyBody::Sockets(Vec::new()), serde_json::json!({ "requestId": "abc", "sockets": [] })),
    ];
    for (to, body, expected) in cases {
        let (command, channel, payload) = only(&dialect().encode_reply(&"3Diizz".into(), &reply(to, body)));
        assert_eq!((&*command, &*channel), ("PUBLISH", RESPONSES));
        let mut found = json(&payload);
        found.as_object_mut().unwrap().remove("uid");
        assert_eq!(found, expected);
    }
    let publishes = dialect().encode_reply(&"3Diizz".into(), &reply("7:lLKWQG", ReplyBody::Ack(bytes)));
    assert!(only(&publishes).2.ends_with(&hex("a67061636b6574c4020102")));
    // A handler without an answer sends none.
    assert!(dialect().encode_reply(&"3Diizz".into(), &reply("6:x", ReplyBody::Answer(None))).is_empty());
}

#[test]
fn responses_to_one_server() {
    let specific = ClassicDialect { specific_responses: true, ..dialect() };
    let sent = |to: &str| {
        only(&specific.encode_reply(&to.into(), &reply("5:P_J5aD", ReplyBody::Sockets(Vec::new())))).1
    };
    assert_eq!(sent("3Diizz"), "socket.io-response#/#3Diizz#");
    // The emitter and older versions do not name themselves.
    assert_eq!(sent(""), RESPONSES);
}

#[test]
fn channels_are_those_of_node() {
    let channels = dialect().channels(&"3Diizz".into(), "/");
    let expected = [
        Channel::Pattern("socket.io#/#*".to_owned()),
        Channel::Plain(REQUESTS.to_owned()),
        Channel::Plain(RESPONSES.to_owned()),
        Channel::Plain("socket.io-response#/#3Diizz#".to_owned()),
    ];
    assert_eq!(channels, expected);
    let escaped = &dialect().channels(&"3Diizz".into(), r"/a*?[b]\#")[0];
    assert_eq!(*escaped, Channel::Pattern(r"socket.io#/a\*\?\[b\]\\##*".to_owned()));
}

#[tokio::test]
async fn broadcasts_of_node_are_decoded() {
    let has_room = |room: &str| room == "room1";
    let message = decode_broadcast(&"own".into(), &"/".into(), &hex(BROADCAST), has_room).unwrap().unwrap();
    assert_eq!(message.from.as_str(), "3Diizz");
    let Operation::Broadcast { target, packet, flags } = message.operation else { panic!("not a broadcast") };
    assert_eq!(names(target.rooms()), ["room1"]);
    assert_eq!(packet.parts("/"), (r#"["ev","x"]"#, vec![]));
    assert!(!flags.volatile && !flags.uncompressed);

    let decoder = decoder();
    let (from, operation) = decoder.message("socket.io#/#", hex(EMITTER));
    assert_eq!(from, "emitter");
    let Operation::Broadcast { target, packet, .. } = operation else { panic!("{operation:?}") };
    assert!(target.rooms().is_empty());
    let (json, attachments) = packet.parts("/");
    assert_eq!(json, r#"["hello","w",{"_placeholder":true,"num":0}]"#);
    assert_eq!(attachments, [&[1][..]]);

    // No socket is in the room, which is that of the channel or not.
    assert!(matches!(decoder.decode("socket.io#/#", hex(BROADCAST)), Ok(None)));
    assert!(matches!(decoder.decode("socket.io#/#room1#", hex(BROADCAST)), Ok(None)));
    assert!(matches!(decoder.decode("socket.io#/#room1#", b"anything"), Ok(None)));
}

#[tokio::test]
async fn own_broadcasts_are_not_decoded() {
    let decoder = decoder();
    let own = decoder.inbox.server_id().as_str().to_owned();
    let packet = event(r#"["ev","x"]"#);
    let broadcast =
        Operation::Broadcast { target: target(&[], &[]), packet, flags: BroadcastFlags::default() };
    let (_, channel, payload) = only(&dialect().encode(&message(&own, broadcast)));
    assert!(matches!(decoder.decode(&channel, &payload), Ok(None)));
    // The rest is not read.
    assert!(matches!(decoder.decode(&channel, &payload[..own.len() + 3]), Ok(None)));
}

#[tokio::test]
async fn further_elements_of_broadcasts_are_ignored() {
    let decoder = decoder();
    let packet = r#"{"type":2,"data":["ev"],"nsp":"/"}"#;
    let options = r#"{"rooms":[],"except":[],"flags":{}}"#;
    let (from, _) = decoder.message("socket.io#/#", format!(r#"["a",{packet},{options},{{"new":1}},2]"#));
    assert_eq!(from, "a");
}

#[tokio::test]
async fn requests_of_node_are_decoded() {
    let decoder = decoder();
    let (_, operation) = decoder.message(REQUESTS, hex(BROADCAST_WITH_ACK));
    let Operation::BroadcastWithAck { request, packet, timeout, .. } = operation else {
        panic!("{operation:?}")
    };
    assert_eq!((request.as_str(), timeout), ("7:oqRsqX", Duration::from_secs(1)));
    assert_eq!(packet.parts("/").0, r#"["withack","q"]"#);

    let join = r#"{"uid":"3Diizz","type":2,"opts":{"rooms":["room1"],"except":["z"]},"rooms":["a","b"]}"#;
    let (_, operation) = decoder.message(REQUESTS, join);
    let Operation::Join { target, rooms } = operation else { panic!("{operation:?}") };
    assert_eq!((target.rooms(), &*target.except()), (&["room1".into()][..], &["z".into()][..]));
    assert_eq!(names(&rooms), ["a", "b"]);

    // The emitter does not name itself.
    let leave = r#"{"type":3,"opts":{"rooms":[7],"except":[]},"rooms":["q",42]}"#;
    let (from, operation) = decoder.message(REQUESTS, leave);
    let Operation::Leave { target, rooms } = operation else { panic!("{operation:?}") };
    assert_eq!((&*from, target.rooms()), ("", &["7".into()][..]));
    assert_eq!(names(&rooms), ["q", "42"]);

    let disconnect = r#"{"uid":"3Diizz","type":4,"opts":{"rooms":["nobody"],"except":[]},"close":true}"#;
    let (_, operation) = decoder.message(REQUESTS, disconnect);
    assert!(matches!(operation, Operation::Disconnect { close: true, .. }));
    let of_one_socket = r#"{"uid":"3Diizz","requestId":"x","type":4,"sid":"abc","close":false}"#;
    let (_, operation) = decoder.message(REQUESTS, of_one_socket);
    let Operation::Disconnect { target, close: false } = operation else { panic!("{operation:?}") };
    assert_eq!(names(target.rooms()), ["abc"]);

    for (kind, request) in [
        (0, r#"{"uid":"u","requestId":"r","type":0,"rooms":["a"]}"#),
        (1, r#"{"uid":"u","requestId":"r","type":1}"#),
        (5, r#"{"uid":"u","requestId":"r","type":5,"opts":{"rooms":["a"],"except":[]}}"#),
    ] {
        let (_, operation) = decoder.message(REQUESTS, request);
        let Operation::Fetch { request, target } = operation else { panic!("{operation:?}") };
        assert_eq!(request.as_str(), format!("{kind}:r"));
        assert_eq!(target.rooms().len(), usize::from(kind != 1));
    }

    let (from, operation) = decoder.message(REQUESTS, r#"{"uid":"emitter","type":6,"data":["hello","x"]}"#);
    let Operation::ServerEvent { request: None, packet } = operation else { panic!("{operation:?}") };
    assert_eq!((&*from, packet.parts("/").0), ("emitter", r#"["hello","x"]"#));
}

#[tokio::test]
async fn responses_of_node_are_decoded() {
    let decoder = decoder();
    let ack = hex("83a47479706509a9726571756573744964a66f7152737158a67061636b6574a461636b42");
    let response = decoder.reply(RESPONSES, ack);
    assert!(response.from.is_unknown());
    assert_eq!(response.request.as_str(), "oqRsqX");
    assert!(matches!(response.body, ReplyBody::Ack(args) if args.first() == Some(r#""ackB""#)));
    let bytes = hex("83a47479706509a9726571756573744964a6664c4b575147a67061636b6574c4020102");
    let response = decoder.reply("socket.io-response#/#3Diizz#", bytes);
    assert!(matches!(response.body, ReplyBody::Ack(args) if args.attachments() == [&[1, 2][..]]));
    // A client that acknowledges without arguments.
    let nothing = decoder.reply(RESPONSES, r#"{"type":9,"requestId":"x"}"#);
    assert!(matches!(nothing.body, ReplyBody::Ack(args) if args.first() == Some("null")));
    let count = decoder.reply(RESPONSES, r#"{"type":8,"requestId":"oqRsqX","clientCount":3}"#);
    assert!(matches!(count.body, ReplyBody::RecipientCount(3)));
    let answer = decoder.reply(RESPONSES, r#"{"type":6,"requestId":"QOD-3L","data":"pong from B"}"#);
    assert!(matches!(answer.body, ReplyBody::Answer(Some(args)) if args.first() == Some(r#""pong from B""#)));
    let sockets = r#"{"requestId":"P_J5aD","sockets":[{"id":"wA6vqyM35fNK9miGAAAB","handshake":{"headers":{
        "host":"127.0.0.1:32777"},"time":"Fri Nov 20 2026 23:47:56 GMT+0000 (Coordinated Universal Time)",
        "address":"127.0.0.1","xdomain":false,"secure":false,"issued":1795218476301,
        "url":"/socket.io/?EIO=4&transport=websocket","query":{"EIO":"4","transport":"websocket"},"auth":{}},
        "rooms":["wA6vqyM35fNK9miGAAAB",9],"data":{"user":"u","n":1}}]}"#;
    let ReplyBody::Sockets(found) = decoder.reply(RESPONSES, sockets).body else { panic!("no sockets") };
    assert_eq!(found[0].id(), "wA6vqyM35fNK9miGAAAB");
    assert_eq!(names(found[0].rooms()), ["wA6vqyM35fNK9miGAAAB", "9"]);
}

#[tokio::test]
async fn own_messages_and_those_of_other_namespaces_are_ignored() {
    let decoder = decoder();
    let own = decoder.inbox.server_id().as_str().to_owned();
    let broadcast = format!(r#"["{own}",{{"type":2,"data":["e"],"nsp":"/"}},{{}}]"#);
    let payload = msgpack_from_json(&broadcast, &[]).unwrap();
    assert!(matches!(decoder.decode("socket.io#/#", payload), Ok(None)));
    let leave = format!(r#"{{"uid":"{own}","type":4,"opts":{{"rooms":[],"except":[]}}}}"#);
    assert!(matches!(decoder.decode(REQUESTS, leave), Ok(None)));
    let other = msgpack_from_json(r#"["u",{"type":2,"data":["e"],"nsp":"/a"},{}]"#, &[]).unwrap();
    assert!(matches!(decoder.decode("socket.io#/#", other), Ok(None)));
    let without = msgpack_from_json(r#"["u",{"type":2,"data":["e"]},{}]"#, &[]).unwrap();
    decoder.message("socket.io#/#", without);
}

#[tokio::test]
async fn malformed_broadcasts_are_rejected() {
    let decoder = decoder();
    let whole = hex(BROADCAST);
    for len in 0..whole.len() {
        decoder.rejects("socket.io#/#", &whole[..len]);
    }
    decoder.rejects("socket.io#/#", [&whole[..], &[0xc0]].concat());
    for json in [
        "null",
        "1",
        r#""text""#,
        "[]",
        r#"["u"]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"}]"#,
        r#"{"0":"u","1":{"type":2,"data":["e"],"nsp":"/"},"2":{}}"#,
        r#"[1,{"type":2,"data":["e"],"nsp":"/"},{}]"#,
        r#"["u",[2,["e"],"/"],{}]"#,
        r#"["u",{"data":["e"],"nsp":"/"},{}]"#,
        r#"["u",{"type":2,"nsp":"/"},{}]"#,
        r#"["u",{"type":2,"data":"e","nsp":"/"},{}]"#,
        r#"["u",{"type":2,"data":[],"nsp":"/"},{}]"#,
        r#"["u",{"type":2,"data":[null],"nsp":"/"},{}]"#,
        r#"["u",{"type":0,"data":["e"],"nsp":"/"},{}]"#,
        r#"["u",{"type":1,"data":["e"],"nsp":"/"},{}]"#,
        r#"["u",{"type":5,"data":["e"],"nsp":"/"},{}]"#,
        r#"["u",{"type":"2","data":["e"],"nsp":"/"},{}]"#,
        r#"["u",{"type":2,"data":["disconnect"],"nsp":"/"},{}]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"},null]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"},[]]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"},{"rooms":"a"}]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"},{"rooms":[null]}]"#,
        r#"["u",{"type":2,"data":["e"],"nsp":"/"},{"except":{}}]"#,
    ] {
        decoder.rejects("socket.io#/#", msgpack_from_json(json, &[]).unwrap());
    }
}

#[tokio::test]
async fn malformed_requests_and_responses_are_rejected() {
    let decoder = decoder();
    for request in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        r#"{"uid":"u","type":"2"}"#,
        r#"{"uid":1,"type":4,"opts":{}}"#,
        r#"{"uid":"u","type":2,"rooms":["a"]}"#,
        r#"{"uid":"u","type":2,"opts":{}}"#,
        r#"{"uid":"u","type":2,"opts":[],"rooms":["a"]}"#,
        r#"{"uid":"u","type":3,"opts":{},"rooms":"a"}"#,
        r#"{"uid":"u","type":3,"opts":{},"rooms":[{}]}"#,
        r#"{"uid":"u","type":4}"#,
        r#"{"uid":"u","type":5,"opts":{}}"#,
        r#"{"uid":"u","type":5,"requestId":"r"}"#,
        r#"{"uid":"u","type":6}"#,
        r#"{"uid":"u","type":6,"data":"e"}"#,
        r#"{"uid":"u","type":6,"data":[]}"#,
        r#"{"uid":"u","type":7,"requestId":"r","opts":{}}"#,
        r#"{"uid":"u","type":7,"requestId":"r","packet":{"type":2,"data":["e"]}}"#,
        r#"{"uid":"u","type":7,"requestId":"r","packet":{"type":5,"data":["e"]},"opts":{}}"#,
        r#"{"uid":"u","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}"#,
        r#"{"uid":"u","type":99}"#,
        r#"{"uid":"u","type":-1}"#,
    ] {
        decoder.rejects(REQUESTS, request);
    }
    for response in [
        "{}",
        "[]",
        r#"{"requestId":"r"}"#,
        r#"{"requestId":1,"sockets":[]}"#,
        r#"{"requestId":"r","sockets":"x"}"#,
        r#"{"requestId":"r","sockets":[null]}"#,
        r#"{"requestId":"r","sockets":[{}]}"#,
        r#"{"requestId":"r","type":8}"#,
        r#"{"requestId":"r","type":8,"clientCount":-1}"#,
        r#"{"requestId":"r","type":8,"clientCount":1e18}"#,
        r#"{"requestId":"r","type":8,"clientCount":10000000}"#,
    ] {
        decoder.rejects(RESPONSES, response);
    }
}
