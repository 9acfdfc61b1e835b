//! Tests that bytes at any depth are sent and received as attachments after the packet.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use socketio::{Ack, Args, Namespace, Socket};

use crate::support::{Client, Host, Polling, Tree, base64, payload, serve, serve_namespace};

#[derive(Serialize, Deserialize)]
struct Upload {
    name: String,
    data: Bytes,
    parts: Vec<ByteBuf>,
    note: Option<Bytes>,
}

async fn host() -> Host {
    let namespace = Namespace::new("/")
        .on("one", async |socket, bytes: Bytes| socket.emit("one", &bytes))
        .on("upload", async |socket, (a, b): (Upload, Option<Upload>)| socket.emit("upload", &(b, a)))
        .on("args", async |socket, args: Args| socket.emit("args", &args))
        .on("ack", async |_, args: Args| Ack((args.len(), args.get::<Bytes>(1).unwrap())))
        .on("value", async |_, value: serde_json::Value| Ack(value))
        .on("tree", async |socket, tree: Tree| socket.emit("tree", &tree))
        .on("ignore", async |_, ()| ())
        .on("vec", async |_, bytes: Vec<u8>| Ack(bytes.len()));
    let beside = Namespace::new("/n").on("one", async |_, bytes: Bytes| Ack(bytes));
    serve(socketio::Server::new().namespace(namespace).namespace(beside)).await
}

/// Expands `<0>`, `<1>` and so on to placeholder objects.
fn whole(packet: &str) -> String {
    packet.replace('<', r#"{"_placeholder":true,"num":"#).replace('>', "}")
}

async fn send(client: &mut Client, packet: &str, attachments: &[&[u8]]) {
    client.send(whole(packet)).await;
    for attachment in attachments {
        client.send_binary(attachment).await;
    }
}

/// Receives a packet and its attachments.
async fn take(client: &mut Client, packet: &str, attachments: &[&[u8]]) {
    assert_eq!(client.text().await, whole(packet));
    for attachment in attachments {
        assert_eq!(client.binary().await, *attachment);
    }
}

#[tokio::test]
async fn a_single_attachment() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    let large = vec![7; 100_000];
    for bytes in [&b"abc"[..], b"", &[0, 0xff, 0xfe], &large] {
        let packet = r#"451-["one",<0>]"#;
        send(&mut client, packet, &[bytes]).await;
        take(&mut client, packet, &[bytes]).await;
    }
}

#[tokio::test]
async fn attachments_at_any_depth_are_matched_by_number_and_not_by_order() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    let packet = r#"454-["upload",{"note":{"num":3,"_placeholder":true},"parts":[<2>,<0>],"data":<1>,"name":"n"},null]"#;
    send(&mut client, packet, &[b"zero", b"one", b"two", b"three"]).await;
    let answer = r#"454-["upload",null,{"name":"n","data":<0>,"parts":[<1>,<2>],"note":<3>}]"#;
    take(&mut client, answer, &[b"one", b"two", b"zero", b"three"]).await;
}

#[tokio::test]
async fn an_attachment_that_is_not_named_is_dropped() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    let packet = r#"452-["upload",{"name":"","data":<1>,"parts":[]},null]"#;
    send(&mut client, packet, &[b"unused", b"used"]).await;
    let answer = r#"451-["upload",null,{"name":"","data":<0>,"parts":[],"note":null}]"#;
    take(&mut client, answer, &[b"used"]).await;
}

#[tokio::test]
async fn a_placeholder_may_be_written_in_any_way() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    for placeholder in [
        r#"{"num":0,"_placeholder":true}"#,
        r#"{ "_placeholder" : true , "num" : 0 }"#,
        r#"{"_placeholder":true,"num":0,"more":[{}]}"#,
        r#"{"more":1,"_placeholder":false,"num":7,"num":0,"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":0.0}"#,
    ] {
        for (event, before, after) in [("one", "", ""), ("tree", r#"[{"a":"#, "}]"), ("args", "[1,", "]")] {
            send(&mut client, &format!(r#"451-["{event}",{before}{placeholder}{after}]"#), &[b"abc"]).await;
            take(&mut client, &format!(r#"451-["{event}",{before}<0>{after}]"#), &[b"abc"]).await;
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_placeholder_is_data() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    for data in [
        r#"{"_placeholder":"true","num":0}"#,
        r#"{"_placeholder":false,"num":0}"#,
        r#"{"_placeholder":1}"#,
        r#"{"_placeholder":[],"num":"splice"}"#,
        r#"{"_placeholder":{"_placeholder":false},"num":{}}"#,
    ] {
        // Sent in a packet with an attachment, and in a packet without one.
        let escaped = data.replace("_placeholder", r"\u005fplaceholder");
        send(&mut client, &format!(r#"451-1["value",{data},<0>]"#), &[b"abc"]).await;
        let answer: serde_json::Value = serde_json::from_str(&client.text().await[3..]).unwrap();
        assert_eq!(answer, serde_json::from_str::<serde_json::Value>(&format!("[{data}]")).unwrap());
        let tree = format!(r#"451-["tree",[{data},<0>]]"#);
        send(&mut client, &tree, &[b"abc"]).await;
        take(&mut client, &tree.replacen(data, &escaped, 1), &[b"abc"]).await;
        send(&mut client, &format!(r#"451-["args",{data},<0>]"#), &[b"abc"]).await;
        take(&mut client, &format!(r#"451-["args",{escaped},<0>]"#), &[b"abc"]).await;
        send(&mut client, &format!(r#"451-2["one",{data},<0>]"#), &[b"abc"]).await;
        assert!(client.text().await.starts_with(r#"432[{"error":"invalid arguments: "#), "{data}");
    }
    // Values inside of such an object are parsed as usual.
    send(&mut client, r#"451-["tree",{"_placeholder":[<0>]}]"#, &[b"abc"]).await;
    take(&mut client, r#"451-["tree",{"\u005fplaceholder":[<0>]}]"#, &[b"abc"]).await;
}

#[tokio::test]
async fn acknowledgements_carry_attachments_too() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    client.enter("/n").await;
    send(&mut client, r#"451-12["ack","x",<0>]"#, &[b"abc"]).await;
    take(&mut client, "461-12[2,<0>]", &[b"abc"]).await;
    send(&mut client, r#"451-/n,3["one",<0>]"#, &[b"abc"]).await;
    take(&mut client, "461-/n,3[<0>]", &[b"abc"]).await;
}

#[tokio::test]
async fn what_is_passed_on_unread_keeps_its_attachments() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    let packet = r#"4510-["args",[<9>,{"x":<0>}],1e400]"#;
    let attachments: Vec<[u8; 1]> = (0..10).map(|n| [n]).collect();
    let attachments: Vec<&[u8]> = attachments.iter().map(<[u8; 1]>::as_slice).collect();
    send(&mut client, packet, &attachments).await;
    take(&mut client, packet, &attachments).await;
}

#[tokio::test]
async fn a_type_that_holds_no_bytes_gets_none() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    send(&mut client, r#"451-1["value",{"a":[<0>]}]"#, &[b"abc"]).await;
    assert!(client.text().await.starts_with(r#"431[{"error":"invalid arguments: "#));
    send(&mut client, r#"451-2["value",{"a":1},<0>]"#, &[b"abc"]).await;
    assert_eq!(client.text().await, r#"432[{"a":1}]"#);
    send(&mut client, r#"451-3["ignore",<0>]"#, &[b"abc"]).await;
    assert_eq!(client.text().await, "433[]");
    // An array of numbers is not an attachment and stays an array of numbers.
    assert_eq!(client.ask(r#"424["vec",[1,2,3]]"#).await, "434[3]");
    // Packets without attachments contain no placeholders. The server escapes its own keys of that name so
    // that clients do not read them as placeholders.
    let answer = client.ask(whole(r#"425["value",<7>]"#)).await;
    assert_eq!(answer, whole("435[<7>]").replace("_placeholder", r"\u005fplaceholder"));
}

#[tokio::test]
async fn a_broadcast_carries_its_attachments_to_everyone() {
    let namespace = Namespace::new("/").on("share", async |socket: Socket, bytes: Bytes| {
        socket.namespace().emit(
            "shared",
            &(&bytes, Upload { name: "n".into(), data: bytes.clone(), parts: Vec::new(), note: None }),
        )
    });
    let host = serve_namespace(namespace).await;
    let mut clients = [Client::join(&host).await, Client::join(&host).await];
    let mut polling = Polling::join(&host).await;
    send(&mut clients[0], r#"451-["share",<0>]"#, &[b"abc"]).await;
    let packet = r#"452-["shared",<0>,{"name":"n","data":<1>,"parts":[],"note":null}]"#;
    for client in &mut clients {
        take(client, packet, &[b"abc", b"abc"]).await;
    }
    let attachment = format!("b{}", base64(*b"abc"));
    let packet = whole(packet);
    let parts = [&packet, &attachment, &attachment].map(String::as_str);
    assert_eq!(polling.poll().await, payload(&parts));
}

#[tokio::test]
async fn long_polling_carries_attachments_as_base64() {
    let host = host().await;
    let mut client = Polling::join(&host).await;
    let [first, second] = [[0, 0xff, 0x10], *b"abc"].map(|bytes| format!("b{}", base64(bytes)));
    let packet = whole(r#"452-["args",<0>,<1>]"#);
    let parts = [&packet, &first, &second].map(String::as_str);
    // The packet and its attachments are sent in one body, then in one body each.
    client.send(payload(&parts)).await;
    assert_eq!(client.poll().await, payload(&parts));
    for part in parts {
        client.send(part).await;
    }
    assert_eq!(client.poll().await, payload(&parts));
}
