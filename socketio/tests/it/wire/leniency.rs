//! Tests JSON that JavaScript produces but Rust types reject: lone surrogates, and integers written as
//! floats.

use std::{borrow::Cow, collections::BTreeMap, fmt::Debug};

use serde::Deserialize;
use serde_json::Value;
use socketio::{Ack, Args, ConnectError, FromArgs, Handshake, Namespace, Server, Socket};

use crate::support::{Client, Heard, log, serve, serve_namespace, within};

#[derive(Deserialize, Debug)]
struct Said {
    text: String,
    #[serde(default)]
    count: u8,
}

/// An internally tagged enum, which serde deserializes through a buffer.
#[allow(dead_code, reason = "it is printed")]
#[derive(Deserialize, Debug)]
#[serde(tag = "kind")]
enum Tagged {
    Said(Said),
}

/// Registers a handler that acknowledges with the `Debug` output of its arguments.
fn show<T: FromArgs + Debug + Send + 'static>(namespace: Namespace, event: &str) -> Namespace {
    namespace.on(event, async |_, args: T| Ack(format!("{args:?}")))
}

/// Sends each event and checks its acknowledgement.
async fn shown(namespace: Namespace, events: &[(&str, &str)]) {
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for (event, shown) in events {
        let expected = format!("431[{}]", serde_json::to_string(shown).unwrap());
        assert_eq!(client.ask(format!("421[{event}]")).await, expected, "{event}");
    }
}

#[tokio::test]
async fn a_lone_surrogate_becomes_a_replacement_character() {
    let namespace = show::<String>(Namespace::new("/"), "text");
    let namespace = show::<char>(namespace, "char");
    let namespace = show::<Said>(namespace, "said");
    let namespace = show::<Tagged>(namespace, "tagged");
    let namespace = show::<Value>(namespace, "value");
    let namespace = show::<(u8, Cow<'static, str>)>(namespace, "second");
    let namespace = show::<BTreeMap<String, u8>>(namespace, "map");
    let namespace = show::<()>(namespace, "a\u{fffd}");
    let namespace = namespace.on("args", async |_, args: Args| {
        Ack(format!("{} {:?}", args.json(), args.get::<String>(0).unwrap()))
    });
    let events = [
        (r#""text","cut \ud83d""#, "\"cut \u{fffd}\""),
        (r#""text","\uDE00cut""#, "\"\u{fffd}cut\""),
        (r#""text","\ud83d\ud83d\ude00\ude00""#, "\"\u{fffd}\u{1f600}\u{fffd}\""),
        (r#""text","\\ud83d\ud83d\n\u0041""#, "\"\\\\ud83d\u{fffd}\\nA\""),
        (r#""char","\ud83d""#, "'\u{fffd}'"),
        (r#""said",{"text":"\udfff"}"#, "Said { text: \"\u{fffd}\", count: 0 }"),
        (r#""said",{"text":"a","\ud800":"x"}"#, "Said { text: \"a\", count: 0 }"),
        (r#""tagged",{"kind":"Said","text":"\ud800"}"#, "Said(Said { text: \"\u{fffd}\", count: 0 })"),
        (r#""value",{"\ud800":["\udc00"]}"#, "Object {\"\u{fffd}\": Array [String(\"\u{fffd}\")]}"),
        (r#""second",1,"\ud83dx""#, "(1, \"\u{fffd}x\")"),
        (r#""map",{"a\ud83d":1}"#, "{\"a\u{fffd}\": 1}"),
        (r#""args","\ud83d""#, "[\"\\ud83d\"] \"\u{fffd}\""),
        // Event names may contain lone surrogates as well.
        (r#""a\ud83d""#, "()"),
    ];
    shown(namespace, &events).await;
}

#[tokio::test]
async fn a_whole_number_may_be_written_as_a_float() {
    let namespace = show::<i64>(Namespace::new("/"), "int");
    let namespace = show::<u64>(namespace, "unsigned");
    let namespace = show::<i128>(namespace, "large");
    let namespace = show::<(u8, f64)>(namespace, "both");
    let namespace = show::<Vec<Option<u8>>>(namespace, "list");
    let namespace = show::<Tagged>(namespace, "tagged");
    let namespace = show::<Value>(namespace, "value");
    let events = [
        (r#""int",7.0"#, "7"),
        (r#""int",-7.00"#, "-7"),
        (r#""int",1e3"#, "1000"),
        (r#""int",1.5E+1"#, "15"),
        (r#""int",1500e-2"#, "15"),
        (r#""int",-0.0"#, "0"),
        (r#""int",-0"#, "0"),
        (r#""int",0e9999999999"#, "0"),
        (r#""int",-9223372036854775808.0"#, "-9223372036854775808"),
        // Integers above 2^53 keep every digit.
        (r#""unsigned",9007199254740993.0"#, "9007199254740993"),
        (r#""unsigned",18446744073709551615.0"#, "18446744073709551615"),
        (r#""large",-1e3"#, "-1000"),
        (r#""both",2.0,0.5"#, "(2, 0.5)"),
        (r#""list",[1.0,null,2]"#, "[Some(1), None, Some(2)]"),
        (r#""tagged",{"kind":"Said","text":"7.0","count":7.0}"#, "Said(Said { text: \"7.0\", count: 7 })"),
        // A type that accepts floats receives the float.
        (r#""value",7.0"#, "Number(7.0)"),
    ];
    shown(namespace, &events).await;
}

#[tokio::test]
async fn a_number_that_is_not_whole_or_out_of_range_is_refused() {
    let namespace = show::<i64>(Namespace::new("/"), "i64");
    let namespace = show::<u64>(namespace, "u64");
    let namespace = show::<u8>(namespace, "u8");
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for (event, numbers) in [
        ("i64", &["7.5", "1e-1", "9223372036854775808.0", "-9223372036854775809.0", "1e99", "1e999"][..]),
        ("u64", &["4503599627370497.4", "18446744073709551616.0", "-1.0", "1e20", "1e9999999999"]),
        ("u8", &["256.0", "1e3", "-1.0", "0.1e0", "15e-1"]),
    ] {
        for number in numbers {
            let answer = client.ask(format!(r#"421["{event}",{number}]"#)).await;
            assert!(answer.starts_with(r#"431[{"error":"invalid arguments: "#), "{event} {number}: {answer}");
        }
    }
}

#[tokio::test]
async fn auth_is_read_in_the_same_way() {
    async fn door(handshake: Handshake) -> Result<String, ConnectError> {
        let Said { text, count } = handshake.auth()?;
        Ok(format!("{text} {count}"))
    }
    let who = async |socket: Socket<String>, (): ()| Ack(socket.data().clone());
    let host = serve(Server::new().namespace(Namespace::with_auth("/", door).on("who", who))).await;
    let mut client = Client::open(&host).await;
    let answer = client.ask(r#"40{"text":"\ud83d","count":1.5}"#).await;
    assert!(answer.starts_with(r#"44{"message":"invalid auth: "#), "{answer}");
    assert!(client.ask(r#"40{"text":"\ud83d","count":7.0}"#).await.starts_with("40{"));
    assert_eq!(client.ask(r#"421["who"]"#).await, "431[\"\u{fffd} 7\"]");
}

#[tokio::test]
async fn acknowledgements_are_read_in_the_same_way() {
    let (sockets, mut connected): (_, Heard<Socket>) = log();
    let host = serve_namespace(Namespace::new("/").on_connect(async move |s| sockets.note(s))).await;
    let mut client = Client::join(&host).await;
    let socket = connected.next().await;
    let request = socket.emit_with_ack::<(String, u8), _>("question", &());
    let question = client.text().await;
    let id = question.strip_prefix("42").and_then(|packet| packet.strip_suffix(r#"["question"]"#)).unwrap();
    client.send(format!(r#"43{id}["\ud83d",7.0]"#)).await;
    assert_eq!(within(request).await.unwrap(), ("\u{fffd}".to_owned(), 7));
}
