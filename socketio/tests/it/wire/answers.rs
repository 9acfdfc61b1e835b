//! Tests how return values of handlers are encoded as acknowledgements.

use std::num::ParseIntError;

use socketio::{Ack, EventError, JoinError, Namespace, NoAck, Socket, WithAckFlag};

use crate::support::{Client, log, serve_namespace};

async fn parse(_: Socket, text: String) -> Result<Ack<u8>, EventError> {
    match text.as_str() {
        "" => Err(EventError::public("say \"something\"")),
        text => Ok(Ack(text.parse()?)),
    }
}

#[tokio::test]
async fn each_kind_of_return_value_has_its_answer() {
    let namespace = Namespace::new("/")
        .on("unit", async |_, ()| ())
        .on("one", async |_, ()| Ack(1))
        .on("two", async |_, ()| Ack((1, "b")))
        .on("list", async |_, ()| Ack(vec![1, 2]))
        .on("nothing", async |_, ()| Ack(()))
        .on("none", async |_, ()| Ack(None::<u8>))
        .on("ok", async |_, ()| Ok::<_, JoinError>(()))
        .on("some", async |_, ()| Some(Ack("x")))
        .on("ok some", async |_, ()| Ok::<_, EventError>(Some(Ack(true))))
        .on("err", async |_, ()| Err::<(), _>(JoinError::TooManyRooms))
        .on("public", async |_, ()| Err::<Ack<u8>, _>(EventError::public("no")))
        .on("parse", parse)
        .on("unwritable", async |_, ()| Ack(std::collections::HashMap::from([((1, 2), 3)])))
        .on("no ack", async |_, ()| NoAck)
        .on("no some", async |_, ()| None::<Ack<u8>>)
        .on("no ok", async |_, ()| Ok::<_, ParseIntError>(NoAck));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for (event, answer) in [
        (r#""unit""#, "[]"),
        (r#""one""#, "[1]"),
        (r#""two""#, r#"[1,"b"]"#),
        (r#""list""#, "[[1,2]]"),
        (r#""nothing""#, "[]"),
        (r#""none""#, "[null]"),
        (r#""ok""#, "[]"),
        (r#""some""#, r#"["x"]"#),
        (r#""ok some""#, "[true]"),
        (r#""err""#, r#"[{"error":"the socket is in too many rooms"}]"#),
        (r#""public""#, r#"[{"error":"no"}]"#),
        (r#""parse","7""#, "[7]"),
        (r#""parse","""#, r#"[{"error":"say \"something\""}]"#),
        (r#""parse","x""#, r#"[{"error":"internal error"}]"#),
        (r#""unwritable""#, r#"[{"error":"internal error"}]"#),
    ] {
        assert_eq!(client.ask(format!("427[{event}]")).await, format!("437{answer}"), "{event}");
        // Without an id, no acknowledgement is sent.
        client.send(format!("42[{event}]")).await;
    }
    for event in ["no ack", "no some", "no ok", "no handler"] {
        client.send(format!(r#"428["{event}"]"#)).await;
    }
    assert_eq!(client.ask(r#"429["unit"]"#).await, "439[]");
}

#[tokio::test]
async fn ids_are_given_back_as_they_came() {
    let host = serve_namespace(Namespace::new("/n").on("x", async |_, ()| ())).await;
    let mut client = Client::open(&host).await;
    client.enter("/n").await;
    for id in ["0", "1", "18446744073709551615"] {
        assert_eq!(client.ask(format!(r#"42/n,{id}["x"]"#)).await, format!("43/n,{id}[]"));
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_answered_and_the_handler_does_not_run() {
    #[derive(Debug, serde::Deserialize)]
    struct Say {
        text: String,
    }
    let (notes, heard) = log();
    let namespace = Namespace::new("/")
        .on("say", {
            let notes = notes.clone();
            async move |_, say: Say| notes.note(say.text)
        })
        .on("sum", async move |_, (a, b): (u8, u8)| notes.note(format!("{a}{b}")))
        .on("fine", async |_, ()| ());
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    for event in [
        r#""say""#,
        r#""say",null"#,
        r#""say","text""#,
        r#""say",{}"#,
        r#""say",{"text":7}"#,
        r#""say",{"text":1e400}"#,
        r#""sum",1"#,
        r#""sum",[1,2]"#,
        r#""sum",1,256"#,
        r#""sum",1,-1"#,
        r#""sum",1,1.5"#,
        r#""sum",1,1e400"#,
    ] {
        let answer = client.ask(format!("421[{event}]")).await;
        assert!(answer.starts_with(r#"431[{"error":"invalid arguments: "#), "{event}: {answer}");
        client.send(format!("42[{event}]")).await;
        assert_eq!(client.ask(r#"422["fine"]"#).await, "432[]");
    }
    assert!(heard.is_silent());
}

#[tokio::test]
async fn a_handler_knows_whether_it_is_asked() {
    let asked = async |socket: Socket, WithAckFlag { args, wants_ack }: WithAckFlag<u8>| {
        if wants_ack {
            return Ok(Some(Ack(args)));
        }
        socket.emit("not asked", &args).map(|()| None)
    };
    let host = serve_namespace(Namespace::new("/").on("asked", asked)).await;
    let mut client = Client::join(&host).await;
    assert_eq!(client.ask(r#"421["asked",7]"#).await, "431[7]");
    assert_eq!(client.ask(r#"42["asked",7]"#).await, r#"42["not asked",7]"#);
}
