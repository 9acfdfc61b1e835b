//! Packets that violate the protocol.

use socketio::{CloseReason, Namespace, Server, Socket};

use super::arena::Arena;
use crate::support::{Client, FIN, TEXT, binary, eventually, frame, log, serve, text};

#[tokio::test]
async fn malformed_packets_end_the_session() {
    let mut arena = Arena::new().await;
    for packet in [
        "4",
        "47",
        "48",
        "49",
        "4x",
        "4é",
        "4 2[\"args\"]",
        "4\0",
        // CONNECT_ERROR, which only a server sends.
        r#"44{"message":"x"}"#,
        "44",
        r#"44/other,{"message":"x"}"#,
        // CONNECT with a payload that is not a JSON object.
        "40/other,[]",
        "40/other,null",
        r#"40/other,"x""#,
        "40/other,7",
        "40/other,{",
        "40/other,{}x",
        "40/other,7{}",
        r#"40/other,{"a":}"#,
        // DISCONNECT with a payload or an id.
        "41{}",
        "411",
        "41[]",
        "41/other,x",
        // EVENT without a name.
        "42",
        "421",
        "42{}",
        "42[]",
        "42[",
        "42[,]",
        "42[null]",
        r#"42[null,"bar"]"#,
        r#"42[true,"foo"]"#,
        r#"42[{"toString":"foo"}]"#,
        r#"42[["args"]]"#,
        "42null",
        r#"42"args""#,
        r#"42 ["args"]"#,
        // EVENT with invalid JSON.
        r#"42["args""#,
        r#"42["args"#,
        r#"42["args]"#,
        r#"42["args",]"#,
        r#"42["args",1"#,
        r#"42["args"]x"#,
        r#"42["args" 1]"#,
        r#"42["args",01]"#,
        r#"42["args",.5]"#,
        r#"42["args",NaN]"#,
        r#"42["args",'x']"#,
        r#"42["args","\x"]"#,
        "42[\"args\",\"\n\"]",
        r#"42["args",{"a"}]"#,
        r#"42["\u00"]"#,
        "42[12",
        "42[1e]",
        // EVENT with invalid JSON that no handler reads.
        r#"42["unit",]"#,
        r#"42["unit"]x"#,
        r#"42["nobody",]"#,
        r#"42["nobody",{]"#,
        r#"42["text","x",]"#,
        // Invalid acknowledgement ids.
        r#"4218446744073709551616["args"]"#,
        r#"4299999999999999999999999999["args"]"#,
        r#"42-1["args"]"#,
        r#"421.5["args"]"#,
        r#"421e3["args"]"#,
        // ACK without an id or an array.
        "43",
        "431",
        "43[]",
        "431{}",
        "431null",
        "431[",
        "431[1,]",
        "4318446744073709551616[]",
        // Reserved names.
        r#"42["connect"]"#,
        r#"42["connect_error"]"#,
        r#"42["disconnect"]"#,
        r#"42["disconnecting","x"]"#,
        r#"42["newListener"]"#,
        r#"42["removeListener"]"#,
        r#"42["\u0063onnect"]"#,
    ] {
        arena.refuses(packet, &[text(packet)]).await;
    }
}

#[tokio::test]
async fn odd_but_legal_packets_do_no_harm() {
    let mut arena = Arena::new().await;
    for packet in [
        // Event names without a special meaning. `error` has crashed other servers.
        r#"42["error","x"]"#,
        r#"42["nobody"]"#,
        r#"42["__proto__"]"#,
        r#"42[""]"#,
        "42[12,1]",
        "42[-1.5e3]",
        r#"42["nobody",{"__proto__":{"x":1}}]"#,
        // Acknowledgements that nobody waits for.
        "431[]",
        r#"4318446744073709551615["x"]"#,
        // Engine.IO packets without a meaning on an open session.
        "3",
        "3probe",
        "5",
        "6",
        "0",
    ] {
        arena.ignores(packet, &[text(packet)]).await;
    }
}

#[tokio::test]
async fn what_is_no_engine_packet_ends_the_session() {
    let mut arena = Arena::new().await;
    for packet in ["", "7", "9", "x", "é", "éabcd", "\u{1e}", "b*", "bAQI", " 4", "-1"] {
        arena.ends(packet, &[text(packet)], 1002, CloseReason::ParseError).await;
    }
    // Only the server sends PING packets.
    arena.ends("2", &[text("2")], 1002, CloseReason::TransportError).await;
    arena.ends("2probe", &[text("2probe")], 1002, CloseReason::TransportError).await;
    arena.refuses("an attachment of no packet, in base64", &[text("b")]).await;
}

#[tokio::test]
async fn frames_that_break_the_rules_end_the_session() {
    let mut arena = Arena::new().await;
    let invalid_utf8 = frame(FIN | TEXT, b"42[\"args\",\"\xff\"]");
    arena.ends("invalid UTF-8", &[invalid_utf8], 1007, CloseReason::TransportError).await;
    let overlong = frame(FIN | TEXT, b"42[\"args\",\"\xc0\x80\"]");
    arena.ends("overlong UTF-8", &[overlong], 1007, CloseReason::TransportError).await;
    let unmasked = vec![0x81, 1, b'3'];
    arena.ends("no mask", &[unmasked], 1002, CloseReason::TransportError).await;
    let mut reserved = text("3");
    reserved[0] |= 0x40;
    arena.ends("a reserved bit", &[reserved], 1002, CloseReason::TransportError).await;
    arena.ends("four bytes", &[b"test".to_vec()], 1002, CloseReason::TransportError).await;
}

#[tokio::test]
async fn packets_before_connect_end_the_session() {
    let mut arena = Arena::new().await;
    for frames in [
        vec![text(r#"42["args"]"#)],
        vec![text("431[]")],
        vec![text("41")],
        vec![text(r#"451-["args",{"_placeholder":true,"num":0}]"#), binary("x")],
        vec![text(r#"461-1[{"_placeholder":true,"num":0}]"#)],
        vec![binary("x")],
        vec![text("4")],
    ] {
        let mut client = Client::open(&arena.host).await;
        client.write(frames.concat()).await;
        assert_eq!(client.ended().await, (1002, "forced close".into()), "{frames:?}");
        arena.is_unharmed().await;
    }
    assert!(arena.handled.is_silent());
}

#[tokio::test]
async fn packets_for_a_namespace_never_joined_end_the_session() {
    let mut arena = Arena::new().await;
    for packet in [
        r#"42/other,["mark"]"#,
        "43/other,1[]",
        "41/other,",
        r#"42/nowhere,["mark"]"#,
        "41/nowhere,",
        r#"451-/other,["mark",{"_placeholder":true,"num":0}]"#,
    ] {
        arena.refuses(packet, &[text(packet)]).await;
    }
    // A refused CONNECT does not count as joined.
    let refused = [text("40/nowhere,"), text(r#"42/nowhere,["mark"]"#)];
    let mut client = arena.client().await;
    client.write(refused.concat()).await;
    assert_eq!(client.text().await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    arena.is_unharmed().await;
}

#[tokio::test]
async fn packets_for_a_namespace_just_left_are_ignored() {
    // Packets may be in flight when the client leaves or the server disconnects it.
    let (sockets, mut connected) = log();
    let (notes, heard) = log();
    let left = Namespace::new("/left")
        .on_connect(async move |socket: Socket| sockets.note(socket))
        .on("note", async move |_, ()| notes.note(()));
    let host =
        serve(Server::new().namespace(left).namespace(Namespace::new("/").on("mark", async |_, ()| ())))
            .await;
    for by_server in [false, true] {
        let mut client = Client::join(&host).await;
        client.enter("/left").await;
        let socket = connected.next().await;
        if by_server {
            socket.disconnect();
            assert_eq!(client.text().await, "41/left,");
        } else {
            client.send("41/left,").await;
            eventually(|| !socket.connected()).await;
        }
        for frames in [
            vec![text(r#"42/left,["note"]"#)],
            vec![text(r#"42/left,7["note"]"#)],
            vec![text("43/left,1[]")],
            vec![text("41/left,")],
            vec![text(r#"451-/left,["note",{"_placeholder":true,"num":0}]"#), binary("x")],
        ] {
            client.write(frames.concat()).await;
            assert_eq!(client.ask(r#"421["mark"]"#).await, "431[]", "{frames:?}");
        }
        client.enter("/left").await;
        connected.next().await;
    }
    assert!(heard.is_silent());
}

#[tokio::test]
async fn a_second_connect_for_a_joined_namespace_ends_the_session() {
    let mut arena = Arena::new().await;
    arena.refuses("40", &[text("40")]).await;
    arena.refuses("40{}", &[text("40/,{}")]).await;
    let mut client = arena.client().await;
    client.enter("/other").await;
    client.write([text("40/other,"), text("40/other,")].concat()).await;
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    arena.is_unharmed().await;
}
