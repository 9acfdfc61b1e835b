//! Tests with messages that were recorded between servers of Node.js.

use std::time::Duration;

use socketio::cluster::{AckArgs, BroadcastFlags, ReplyBody};

use super::*;
use crate::testing::{Decoder, arguments, binary_event, event, hex, json, message, only, reply, target};

const MAIN: &str = "socket.io#/#";
const BINARY: &str = "84a47479706503a46461746182a67061636b657482a47479706502a46461746194a362696ec403010203
    d7ff1d5353006553f100c0a46f70747383a5726f6f6d7390a665786365707490a5666c61677380
    a3756964b062336330646230613964386432323739a36e7370a12f";

fn dialect(mode: SubscriptionMode) -> ShardedDialect {
    ShardedDialect::new("socket.io".to_owned(), mode)
}

fn decoder() -> Decoder<ShardedDialect> {
    Decoder::new(dialect(SubscriptionMode::Dynamic))
}

fn broadcast(rooms: &[&str]) -> Operation {
    let (packet, flags) = (event(r#"["ev","x"]"#), BroadcastFlags::default());
    Operation::Broadcast { target: target(rooms, &[]), packet, flags }
}

fn channel_of(dialect: &ShardedDialect, operation: Operation) -> String {
    only(&dialect.encode(&message("b3c0db0a9d8d2279", operation))).1
}

#[test]
fn messages_are_encoded_as_in_node() {
    let with_ack = Operation::BroadcastWithAck {
        request: "d054760630ed0aed".into(),
        target: target(&[], &[]),
        packet: event(r#"["withack","q"]"#),
        flags: BroadcastFlags::default(),
        timeout: Duration::from_secs(1),
    };
    let in_room = || target(&["room1"], &["z"]);
    let cases = [
        (
            broadcast(&["room1"]),
            r#"{"type":3,"data":{"packet":{"type":2,"data":["ev","x"]},"opts":{"rooms":["room1"],"except":[],
            "flags":{}}},"uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            with_ack,
            r#"{"type":3,"data":{"packet":{"type":2,"data":["withack","q"]},"requestId":"d054760630ed0aed",
            "opts":{"rooms":[],"except":[],"flags":{"timeout":1000}}},"uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            Operation::Join { target: in_room(), rooms: vec!["a".into(), "b".into()] },
            r#"{"type":4,"data":{"opts":{"rooms":["room1"],"except":["z"],"flags":{}},"rooms":["a","b"]},
            "uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            Operation::Leave { target: in_room(), rooms: vec!["a".into()] },
            r#"{"type":5,"data":{"opts":{"rooms":["room1"],"except":["z"],"flags":{}},"rooms":["a"]},
            "uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            Operation::Disconnect { target: in_room(), close: true },
            r#"{"type":6,"data":{"opts":{"rooms":["room1"],"except":["z"],"flags":{}},"close":true},
            "uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            Operation::Fetch { request: "3a8af672e5440b72".into(), target: target(&[], &[]) },
            r#"{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"3a8af672e5440b72"},
            "uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
        (
            Operation::ServerEvent { request: Some("r".into()), packet: event(r#"["hello",1]"#) },
            r#"{"type":9,"data":{"packet":["hello",1],"requestId":"r"},"uid":"b3c0db0a9d8d2279","nsp":"/"}"#,
        ),
    ];
    for (operation, expected) in cases {
        let dialect = dialect(SubscriptionMode::Static);
        let (command, channel, payload) = only(&dialect.encode(&message("b3c0db0a9d8d2279", operation)));
        assert_eq!((&*command, &*channel), ("SPUBLISH", MAIN));
        assert_eq!(payload[0], b'{');
        assert_eq!(json(&payload), serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }
}

#[test]
fn binary_data_is_encoded_as_msgpack() {
    let packet = binary_event(r#"["bin",{"_placeholder":true,"num":0}]"#, &[&[1, 2, 3]]);
    let flags = BroadcastFlags::default();
    let operation = Operation::Broadcast { target: target(&[], &[]), packet, flags };
    let (_, _, payload) =
        only(&dialect(SubscriptionMode::Dynamic).encode(&message("b3c0db0a9d8d2279", operation)));
    assert_eq!(payload[0], 0x84);
    assert!(payload.windows(5).any(|window| window == hex("c403010203")));
}

#[test]
fn channels_of_rooms_depend_on_the_mode() {
    let socket = "wA6vqyM35fNK9miGAAAB";
    let room = |name: &str| format!("socket.io#/#{name}#");
    for (mode, for_room, for_socket) in [
        (SubscriptionMode::Static, MAIN.to_owned(), MAIN.to_owned()),
        (SubscriptionMode::Dynamic, room("r"), MAIN.to_owned()),
        (SubscriptionMode::DynamicPrivate, room("r"), room(socket)),
    ] {
        let dialect = dialect(mode);
        assert_eq!(channel_of(&dialect, broadcast(&["r"])), for_room);
        assert_eq!(channel_of(&dialect, broadcast(&[socket])), for_socket);
        assert_eq!(channel_of(&dialect, broadcast(&[])), MAIN);
        assert_eq!(channel_of(&dialect, broadcast(&["r", "s"])), MAIN);
        let subscribed = |name: &str| dialect.room_channel("/", name).is_some();
        assert_eq!((subscribed("r"), subscribed(socket)), (for_room != MAIN, for_socket != MAIN));
    }
    // Node.js counts UTF-16 code units.
    let dialect = dialect(SubscriptionMode::Dynamic);
    for (name, is_dynamic) in
        [("é".repeat(10), true), ("é".repeat(20), false), ("😀".repeat(10), false), ("😀".repeat(5), true)]
    {
        assert_eq!(dialect.room_channel("/", &name).is_some(), is_dynamic, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn broadcasts_after_a_join_reach_servers_that_are_not_subscribed_yet() {
    let dialect = dialect(SubscriptionMode::Dynamic);
    let join = Operation::Join { target: target(&[], &[]), rooms: vec!["joined".into()] };
    assert_eq!(channel_of(&dialect, join), MAIN);
    assert_eq!(channel_of(&dialect, broadcast(&["joined"])), MAIN);
    assert_eq!(channel_of(&dialect, broadcast(&["other"])), "socket.io#/#other#");
    // Later, the servers are subscribed.
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(channel_of(&dialect, broadcast(&["joined"])), "socket.io#/#joined#");
}

#[test]
fn responses_are_encoded_as_in_node() {
    let args = |json: &str| AckArgs::new(json, Vec::new());
    for (body, kind, data) in [
        (
            ReplyBody::RecipientCount(1),
            11,
            serde_json::json!({ "requestId": "d054760630ed0aed", "clientCount": 1 }),
        ),
        (
            ReplyBody::Ack(args(r#"["ackB",2]"#)),
            12,
            serde_json::json!({ "requestId": "d054760630ed0aed", "packet": "ackB" }),
        ),
        (
            ReplyBody::Sockets(Vec::new()),
            8,
            serde_json::json!({ "requestId": "d054760630ed0aed", "sockets": [] }),
        ),
        (
            ReplyBody::Answer(Some(args("[null]"))),
            10,
            serde_json::json!({ "requestId": "d054760630ed0aed", "packet": null }),
        ),
    ] {
        let publishes = dialect(SubscriptionMode::Dynamic)
            .encode_reply(&"b3c0db0a9d8d2279".into(), &reply("d054760630ed0aed", body));
        let (command, channel, payload) = only(&publishes);
        assert_eq!((&*command, &*channel), ("SPUBLISH", "socket.io#/#b3c0db0a9d8d2279#"));
        let expected = serde_json::json!({ "uid": "responder", "nsp": "/", "type": kind, "data": data });
        assert_eq!(json(&payload), expected);
    }
}

#[test]
fn channels_are_those_of_node() {
    let dialect = dialect(SubscriptionMode::Dynamic);
    let expected = [MAIN, "socket.io#/#b3c0db0a9d8d2279#"].map(|name| Channel::Shard(name.to_owned()));
    assert_eq!(dialect.channels(&"b3c0db0a9d8d2279".into(), "/"), expected);
    assert_eq!(arguments(&dialect.count("/").command), ["PUBSUB", "SHARDNUMSUB", MAIN].map(str::as_bytes));
}

#[tokio::test]
async fn messages_of_node_are_decoded() {
    let decoder = decoder();
    let (from, operation) = decoder.message(MAIN, hex(BINARY));
    assert_eq!(from, "b3c0db0a9d8d2279");
    let Operation::Broadcast { packet, .. } = operation else { panic!("{operation:?}") };
    let (json, attachments) = packet.parts("/");
    assert_eq!(json, r#"["bin",{"_placeholder":true,"num":0},"2023-11-14T22:13:20.123Z",null]"#);
    assert_eq!(attachments, [&[1, 2, 3][..]]);

    let own = decoder.inbox.server_id().as_str();
    for ignored in [
        format!(r#"{{"uid":"{own}","nsp":"/","type":6,"data":{{"opts":{{}},"close":true}}}}"#),
        r#"{"uid":"u","nsp":"/other","type":6,"data":{"opts":{},"close":true}}"#.to_owned(),
        r#"{"uid":"u","nsp":"/","type":1}"#.to_owned(),
        r#"{"uid":"u","nsp":"/","type":99,"data":{}}"#.to_owned(),
    ] {
        assert!(matches!(decoder.decode(MAIN, &ignored), Ok(None)), "{ignored}");
    }
    let count = r#"{"type":11,"data":{"requestId":"d05","clientCount":2},"uid":"u","nsp":"/"}"#;
    let response = decoder.reply("socket.io#/#x#", count);
    assert_eq!((response.from.as_str(), response.request.as_str()), ("u", "d05"));
    assert!(matches!(response.body, ReplyBody::RecipientCount(2)));
}

#[tokio::test]
async fn malformed_messages_are_rejected() {
    let decoder = decoder();
    let whole = hex(BINARY);
    for len in 0..whole.len() {
        decoder.rejects(MAIN, &whole[..len]);
    }
    decoder.rejects(MAIN, [&whole[..], &[0]].concat());
    decoder.rejects(MAIN, [0xc0]);
    decoder.rejects(MAIN, "");
    decoder.rejects(MAIN, "{");
}
