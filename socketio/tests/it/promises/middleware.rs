//! Tests that middleware wraps every handler in order, and that the fallback handles events without a
//! handler.

use bytes::Bytes;
use socketio::{Ack, Args, Event, EventError, Namespace, Socket, WithAckFlag};
use tokio::task::yield_now;

use crate::support::{Client, Log, binary, log, serve_namespace, text};

/// Builds a namespace with two middleware functions that record when they are entered and left.
fn nested(notes: &Log<String>) -> Namespace {
    let (outer, inner, handler) = (notes.clone(), notes.clone(), notes.clone());
    Namespace::new("/")
        .wrap(async move |_, event, next| {
            outer.note(format!("outer {} {}", event.name, event.wants_ack()));
            let answer = next.run(event).await;
            outer.note(format!("outer {}", answer.is_ok()));
            answer
        })
        .wrap(async move |socket: Socket, event, next| {
            inner.note(format!("inner {}", event.args.json()));
            if event.name == "blocked" {
                socket.emit("mw-error", &event.name)?;
                return Err(EventError::public("not allowed"));
            }
            yield_now().await;
            next.run(event).await
        })
        .on("sum", async move |_, (a, b): (i32, i32)| {
            handler.note("handler".into());
            Ack(a + b)
        })
        .on("blocked", async |_, _: Args| -> () { panic!("never called") })
        .on("panic", async |_, ()| -> () { panic!("the middleware hears of it") })
}

#[tokio::test]
async fn the_first_is_the_outermost() {
    let (notes, mut heard) = log();
    let host = serve_namespace(nested(&notes)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"427["sum",1,2]"#).await, "437[3]");
    assert_eq!(heard.take(4).await, ["outer sum true", "inner [1,2]", "handler", "outer true"]);

    client.send(r#"42["unknown",{"a":1}]"#).await;
    assert_eq!(heard.take(3).await, ["outer unknown false", r#"inner [{"a":1}]"#, "outer true"]);
    assert!(heard.is_silent());
}

#[tokio::test]
async fn what_middleware_refuses_is_not_handled() {
    let (notes, mut heard) = log();
    let host = serve_namespace(nested(&notes)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"427["blocked",1]"#).await, r#"42["mw-error","blocked"]"#);
    assert_eq!(client.text().await, r#"437[{"error":"not allowed"}]"#);
    assert_eq!(heard.take(3).await, ["outer blocked true", "inner [1]", "outer false"]);
    assert_eq!(client.ask(r#"42["blocked",1]"#).await, r#"42["mw-error","blocked"]"#);

    // Same response as without middleware, and the middleware sees the failure.
    assert_eq!(client.ask(r#"428["panic"]"#).await, r#"438[{"error":"internal error"}]"#);
    let refused = client.ask(r#"429["sum","one",2]"#).await;
    assert!(refused.starts_with(r#"439[{"error":"invalid arguments: "#), "{refused}");
    let last = heard.take(9).await;
    assert_eq!((last[5].as_str(), last[8].as_str()), ("outer false", "outer false"));
}

#[tokio::test]
async fn middleware_may_change_the_event_and_answer_itself() {
    let namespace = Namespace::new("/")
        .wrap(async |_, mut event: Event, next| {
            if event.name == "cached" {
                return Ok(None);
            }
            event.name.make_ascii_lowercase();
            let values = event.args.values::<Bytes>()?.into_iter().rev();
            event.args = Args::from_values(values)?;
            next.run(event)
                .await
                .map(Some)
                .map_err(|error| EventError::public(format!("wrapped: {}", error.message())))
        })
        .on("pair", async |_, args: WithAckFlag<(Bytes, Bytes)>| {
            assert!(args.wants_ack);
            Ack(args.args)
        })
        .on("fail", async |_, _: Args| Err::<(), _>(EventError::public("no")));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    let pair = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    client.write([text(format!(r#"452-1["PAIR",{pair}]"#)), binary("a"), binary("b")].concat()).await;
    assert_eq!(client.text().await, format!("462-1[{pair}]"));
    assert_eq!((client.binary().await, client.binary().await), (b"b".to_vec(), b"a".to_vec()));
    // No acknowledgement is sent for this event.
    client.send(r#"422["cached"]"#).await;
    assert_eq!(client.ask(r#"423["fail"]"#).await, r#"433[{"error":"wrapped: no"}]"#);
}

#[tokio::test]
async fn middleware_that_panics_answers_with_an_error_and_the_session_goes_on() {
    let namespace = Namespace::new("/")
        .wrap(async |_, event, next| {
            assert!(!event.args.is_empty(), "before the handler");
            let answer = next.run(event).await;
            assert!(answer.is_ok(), "after the handler");
            answer
        })
        .max_in_flight(1)
        .on("n", async |_, n: i8| if n < 0 { Err(EventError::public("no")) } else { Ok(Ack(n)) });
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for event in [r#"["n"]"#, r#"["n",-1]"#] {
        assert_eq!(client.ask(format!("421{event}")).await, r#"431[{"error":"internal error"}]"#);
        assert_eq!(client.ask(r#"422["n",7]"#).await, "432[7]");
    }
}

#[tokio::test]
async fn handlers_behind_middleware_start_in_order_and_overlap() {
    let (notes, mut heard) = log();
    let namespace = Namespace::new("/").wrap(async |_, event, next| next.run(event).await).on(
        "n",
        async move |_, n: u32| {
            notes.note(n);
            for _ in 0..n % 3 {
                yield_now().await;
            }
        },
    );
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    client.write((0..1000).flat_map(|n| text(format!(r#"42["n",{n}]"#))).collect::<Vec<u8>>()).await;
    assert_eq!(heard.take(1000).await, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_no_handler_falls_back() {
    for wrapped in [false, true] {
        let mut namespace = Namespace::new("/").on("known", async |_, ()| Ack("known")).fallback(
            async |socket: Socket, event: Event| {
                if event.wants_ack() {
                    return Ok(Some(Ack((event.name, event.args.json().to_owned()))));
                }
                socket.emit(event.name, &event.args).map(|()| None)
            },
        );
        if wrapped {
            namespace = namespace.wrap(async |_, event, next| next.run(event).await);
        }
        let host = serve_namespace(namespace).await;
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(r#"421["known"]"#).await, r#"431["known"]"#);
        assert_eq!(client.ask(r#"422["\u0078",1,[2]]"#).await, r#"432["x","[1,[2]]"]"#);
        let header = r#"451-["y",{"_placeholder":true,"num":0}]"#;
        client.write([text(header), binary("z")].concat()).await;
        assert_eq!((client.text().await.as_str(), client.binary().await), (header, b"z".to_vec()));
        client.send(r#"42["x",nonsense]"#).await;
        assert_eq!(client.ended().await, (1002, "forced close".into()));
    }
}
