//! Tests event arguments of every shape, received and sent.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use socketio::{Ack, Args, EmitError, FromArgs, Namespace, Room, Socket, ToArgs, TypedEvent, WithAckFlag};

use crate::support::{Client, Heard, Host, log, serve_namespace, within};

async fn pair() -> (Host, Client, Socket) {
    let (sockets, mut connected): (_, Heard<Socket>) = log();
    let host = serve_namespace(Namespace::new("/").on_connect(async move |s| sockets.note(s))).await;
    let client = Client::join(&host).await;
    let socket = connected.next().await;
    (host, client, socket)
}

/// Emits through every API that can emit, and checks that all of them send the same packet.
async fn emitted<T: ToArgs + ?Sized>(host: &Host, client: &mut Client, socket: &Socket, args: &T) -> String {
    socket.emit("e", args).unwrap();
    socket.namespace().emit("e", args).unwrap();
    host.io.to(socket.id()).emit(String::from("e"), args).unwrap();
    drop(socket.emit_with_ack::<(), T>(&String::from("e"), args));
    let packet = client.text().await;
    assert_eq!(client.text().await, packet);
    assert_eq!(client.text().await, packet);
    let with_id = client.text().await;
    let id = with_id[2..].find('[').unwrap();
    assert!(id > 0);
    assert_eq!(format!("42{}", &with_id[2 + id..]), packet);
    packet
}

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Said {
    text: String,
    tags: Vec<String>,
}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct Newtype((u8, u8));

#[derive(Serialize)]
struct TupleStruct(u8, u8);

#[derive(Serialize)]
enum Shape {
    Empty,
    One(u8),
    Two(u8, u8),
    Named { a: u8 },
}

macro_rules! written {
    ($host:expr, $client:expr, $socket:expr; $($args:expr => $packet:expr;)*) => {
        $(assert_eq!(emitted(&$host, &mut $client, &$socket, $args).await, $packet);)*
    };
}

#[tokio::test]
async fn a_tuple_is_several_arguments_and_anything_else_is_one() {
    let (host, mut client, socket) = pair().await;
    let said = Said { text: "a\"\u{1}é😀".into(), tags: vec!["x".into()] };
    written! { host, client, socket;
        &() => r#"42["e"]"#;
        &1 => r#"42["e",1]"#;
        &-1.5 => r#"42["e",-1.5]"#;
        &f64::NAN => r#"42["e",null]"#;
        &u64::MAX => r#"42["e",18446744073709551615]"#;
        &true => r#"42["e",true]"#;
        "text" => r#"42["e","text"]"#;
        &String::from("text") => r#"42["e","text"]"#;
        &'c' => r#"42["e","c"]"#;
        &None::<u8> => r#"42["e",null]"#;
        &Some((1, 2)) => r#"42["e",[1,2]]"#;
        &(1, "b") => r#"42["e",1,"b"]"#;
        &((1, 2),) => r#"42["e",[1,2]]"#;
        &vec![1, 2] => r#"42["e",[1,2]]"#;
        [1, 2].as_slice() => r#"42["e",[1,2]]"#;
        &[1, 2] => r#"42["e",1,2]"#;
        &said => r#"42["e",{"text":"a\"\u0001é😀","tags":["x"]}]"#;
        &HashMap::from([("k", 1)]) => r#"42["e",{"k":1}]"#;
        &Unit => r#"42["e",null]"#;
        &Newtype((1, 2)) => r#"42["e",[1,2]]"#;
        &TupleStruct(1, 2) => r#"42["e",[1,2]]"#;
        &Shape::Empty => r#"42["e","Empty"]"#;
        &Shape::One(1) => r#"42["e",{"One":1}]"#;
        &Shape::Two(1, 2) => r#"42["e",{"Two":[1,2]}]"#;
        &Shape::Named { a: 1 } => r#"42["e",{"Named":{"a":1}}]"#;
        &serde_json::json!({"b": [null, 1e3]}) => r#"42["e",{"b":[null,1000.0]}]"#;
        &*RawValue::from_string("[1e400, \"\\ud800\"]".into()).unwrap() => r#"42["e",[1e400, "\ud800"]]"#;
        &Room::from("lobby") => r#"42["e","lobby"]"#;
        &Duration::from_millis(1500) => r#"42["e",{"secs":1,"nanos":500000000}]"#;
        &format_args!("{}-{}", 1, 2) => r#"42["e","1-2"]"#;
        &Args::from_values([1, 2]).unwrap() => r#"42["e",1,2]"#;
        &Args::from_values([(1, 2)]).unwrap() => r#"42["e",[1,2]]"#;
        &Args::from_values([(); 0]).unwrap() => r#"42["e"]"#;
    }
}

#[tokio::test]
async fn the_largest_integers_are_one_argument_too() {
    let (host, mut client, socket) = pair().await;
    written! { host, client, socket;
        &(u128::MAX, i128::MIN) =>
            r#"42["e",340282366920938463463374607431768211455,-170141183460469231731687303715884105728]"#;
        &u128::MAX => r#"42["e",340282366920938463463374607431768211455]"#;
        &i128::MIN => r#"42["e",-170141183460469231731687303715884105728]"#;
    }
}

#[tokio::test]
async fn names_of_events_may_be_anything_but_reserved() {
    let (host, mut client, socket) = pair().await;
    for name in ["", "a\"b\\c\n", "größe", "error", "message", "12", &"x".repeat(1000)] {
        socket.emit(name, &1).unwrap();
        host.io.emit(name.to_owned(), &1).unwrap();
        let expected = format!("42[{},1]", serde_json::to_string(name).unwrap());
        assert_eq!(client.text().await, expected);
        assert_eq!(client.text().await, expected);
    }
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert!(matches!(socket.emit(name, &1), Err(EmitError::ReservedEvent)), "{name}");
        assert!(matches!(socket.broadcast().emit(name, &1), Err(EmitError::ReservedEvent)), "{name}");
        assert!(matches!(host.io.emit(name.to_owned(), &1), Err(EmitError::ReservedEvent)), "{name}");
        assert!(within(socket.emit_with_ack::<(), _>(name, &1)).await.is_err(), "{name}");
    }
    let unwritable = HashMap::from([((1, 2), 3)]);
    assert!(matches!(socket.emit("e", &unwritable), Err(EmitError::Encode(_))));
    assert!(matches!(socket.emit("e", &(1, &unwritable)), Err(EmitError::Encode(_))));
    socket.emit("end", &()).unwrap();
    assert_eq!(client.text().await, r#"42["end"]"#, "nothing was sent for what failed");
}

/// Registers a handler that acknowledges with the `Debug` output of its arguments.
fn show<T: FromArgs + std::fmt::Debug + Send + 'static>(namespace: Namespace, event: &str) -> Namespace {
    namespace.on(event, async |_, args: T| Ack(format!("{args:?}")))
}

#[tokio::test]
async fn arguments_are_read_as_the_type_that_the_handler_takes() {
    type Untyped = (Value, Box<RawValue>);
    let namespace = Namespace::new("/");
    let namespace = show::<()>(namespace, "unit");
    let namespace = show::<i64>(namespace, "int");
    let namespace = show::<(i128, u128)>(namespace, "large");
    let namespace = show::<String>(namespace, "text");
    let namespace = show::<Option<u8>>(namespace, "option");
    let namespace = show::<(u8, Option<u8>)>(namespace, "pair");
    let namespace = show::<Vec<u8>>(namespace, "list");
    let namespace = show::<Said>(namespace, "said");
    let namespace = show::<Untyped>(namespace, "untyped");
    let namespace = show::<WithAckFlag<Args>>(namespace, "args");
    let namespace = show::<()>(namespace, "12");
    let host = serve_namespace(show::<()>(namespace, "größe \"1\"")).await;
    let mut client = Client::join(&host).await;
    for (event, shown) in [
        (r#""unit""#, "()"),
        (r#""unit",1,{}"#, "()"),
        (r#""int",-7"#, "-7"),
        (r#" "int" , -7 , "more" "#, "-7"),
        (
            r#""large",-170141183460469231731687303715884105728,340282366920938463463374607431768211455"#,
            "(-170141183460469231731687303715884105728, 340282366920938463463374607431768211455)",
        ),
        (r#""text","a\u00e9\n""#, r#""aé\n""#),
        (r#""option""#, "None"),
        (r#""option",null"#, "None"),
        (r#""option",7"#, "Some(7)"),
        (r#""pair",1,null"#, "(1, None)"),
        (r#""pair",1,2,3"#, "(1, Some(2))"),
        (r#""list",[1,2]"#, "[1, 2]"),
        (r#""said",{"tags":[],"text":"t","more":1}"#, r#"Said { text: "t", tags: [] }"#),
        (
            r#""untyped",{"b":1,"a":2},{"b": 1e400,"a":"\ud800"}"#,
            r#"(Object {"a": Number(2), "b": Number(1)}, RawValue({"b": 1e400,"a":"\ud800"}))"#,
        ),
        (
            r#""args", 1e400 , "\ud800",[ ] "#,
            r#"WithAckFlag { args: Args { json: "[ 1e400 , \"\\ud800\",[ ] ]", attachments: 0 }, wants_ack: true }"#,
        ),
        (r#""args""#, r#"WithAckFlag { args: Args { json: "[]", attachments: 0 }, wants_ack: true }"#),
        ("12", "()"),
        (r#""12""#, "()"),
        (r#""gr\u00f6\u00dfe \"1\"""#, "()"),
    ] {
        let expected = format!("431[{}]", serde_json::to_string(shown).unwrap());
        assert_eq!(client.ask(format!("421[{event}]")).await, expected, "{event}");
    }
}

#[tokio::test]
async fn a_typed_event_is_the_same_both_ways() {
    const SAID: TypedEvent<Said> = TypedEvent::new("said");
    const MOVED: TypedEvent<(u8, u8)> = TypedEvent::new("moved");
    let namespace = Namespace::new("/")
        .on(SAID, async |socket, said| socket.emit(SAID, &said))
        .on(MOVED, async |socket, to| socket.emit(MOVED, &to));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for packet in [r#"42["said",{"text":"t","tags":["a"]}]"#, r#"42["moved",1,2]"#] {
        assert_eq!(client.ask(packet).await, packet);
    }
}

#[tokio::test]
async fn what_is_passed_on_unread_stays_as_it_is() {
    let namespace = Namespace::new("/")
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on("ack", async |_, args: Args| Ack(args))
        .on("rest", async |socket, args: Args| {
            socket.emit(args.get::<String>(0)?, &args.skip(1)).map_err(socketio::EventError::internal)
        });
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for args in [
        "",
        ",null",
        ",1e400,-0,0.10",
        r#","\ud800\uDFFF\u0000""#,
        r#",{"a":1,"a":2,"__proto__":{}}"#,
        ",12345678901234567890123, [ ] ,{ }",
        ",\"\u{2028}\u{7f}😀\"",
    ] {
        assert_eq!(client.ask(format!(r#"42["echo"{args}]"#)).await, format!(r#"42["echo"{args}]"#));
        let inner = args.strip_prefix(',').unwrap_or_default();
        assert_eq!(client.ask(format!(r#"421["ack"{args}]"#)).await, format!("431[{inner}]"));
    }
    let packet = r#"42["rest","any name",1e400,"\ud800"]"#;
    assert_eq!(client.ask(packet).await, r#"42["any name",1e400,"\ud800"]"#);
    assert_eq!(client.ask(r#"421["rest","connect"]"#).await, r#"431[{"error":"internal error"}]"#);
}
