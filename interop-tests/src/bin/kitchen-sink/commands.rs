//! The events that a client may send: one table for all namespaces.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use interop_tests::value::{Value, values};
use serde_json::json;
use socketio::{
    Ack, AckResponse, Args, DecodeError, EmitError, Event, EventError, Namespace, Next, NoAck, Socket,
    WithAckFlag,
};
use tokio::time::sleep;

use crate::{
    ask::{ask, ask_within},
    rooms::{cast, cast_ack, members, room_join, room_kick, room_leave},
    state::State,
};

/// The largest value that a client may request.
const MAX_ANSWER: usize = 64 << 20;

/// Adds the commands to a namespace.
pub(crate) fn commands(namespace: Namespace<State>) -> Namespace<State> {
    namespace
        .on_any(|socket, event, _| socket.data().heard.lock().push(event.to_owned()))
        .wrap(unless_blocked)
        .on("whoami", async |socket, ()| whoami(&socket))
        .on("handshake", async |socket, ()| handshake(&socket))
        .on("stats", async |socket, ()| stats(&socket))
        .on("reasons", async |socket, key: String| Ack(socket.data().app.records.under(&key)))
        .on("echo", echo)
        .on("describe", async |_, args: Args| describe(&args))
        .on("log", async |socket, value: Value| socket.data().log.lock().push(value))
        .on("log-get", async |socket, ()| Ack(socket.data().log.lock().clone()))
        .on("any-get", async |socket, ()| Ack(socket.data().heard.lock().clone()))
        .on("emit-me", async |socket, args: Args| emit_me(&socket, &args))
        .on("burst", async |socket, n: u32| (0..n).try_for_each(|i| socket.emit("burst", &i)))
        .on("burst-bin", async |socket, n: u32| (0..n).try_for_each(|i| emit_numbered(&socket, i)))
        .on("volatile-burst", async |socket, n: u32| volatile_burst(&socket, n))
        .on("tick", tick)
        .on("big", async |_, n: usize| Ack("x".repeat(n.min(MAX_ANSWER))))
        .on("bigbin", async |_, n: usize| {
            Ack((0..=u8::MAX).cycle().take(n.min(MAX_ANSWER)).collect::<Bytes>())
        })
        .on("ack-none", async |_, _: Args| NoAck)
        // A handler returns once, so there is no way to acknowledge twice.
        .on("ack-twice", async |_, ()| Ack("first"))
        .on("ack-later", ack_later)
        .on("ask", ask)
        .on("ask-within", ask_within)
        .on("join", async |socket, room: String| socket.join(room))
        .on("leave", async |socket, room: String| socket.leave(&room))
        .on("rooms", async |socket, ()| Ack(socket.rooms()))
        .on("cast", cast)
        .on("cast-ack", cast_ack)
        .on("members", members)
        .on("room-join", room_join)
        .on("room-leave", room_leave)
        .on("room-kick", room_kick)
        .on("data-set", async |socket, value: Value| *socket.data().data.lock() = value)
        .on("data-get", async |socket, ()| Ack(socket.data().data.lock().clone()))
        .on("bye", async |socket, args: Args| bye(&socket, &args))
        .on("bye-then-emit", async |socket, ()| {
            socket.disconnect();
            let _ = socket.emit("late", &());
        })
        .on("drop", async |socket, ()| socket.session().close())
}

/// Rejects the event `blocked` and passes all other events on.
async fn unless_blocked(
    socket: Socket<State>,
    event: Event,
    next: Next<State>,
) -> Result<AckResponse, EventError> {
    if event.name == "blocked" {
        socket.emit("mw-error", &event.name)?;
        return Err(EventError::public("blocked"));
    }
    next.run(event).await
}

fn whoami(socket: &Socket<State>) -> Ack<serde_json::Value> {
    let session = socket.session();
    Ack(json!({
        "sid": socket.id(),
        "eid": session.id().as_str(),
        "nsp": socket.path(),
        "transport": session.transport().as_str(),
        "protocol": session.protocol(),
        "recovered": socket.recovered(),
    }))
}

fn handshake(socket: &Socket<State>) -> Result<Ack<serde_json::Value>, EventError> {
    let handshake = socket.handshake();
    let query: BTreeMap<_, _> = handshake.queries().collect();
    let headers: BTreeMap<_, _> = handshake.headers().collect();
    let auth: Value = handshake.auth().map_err(|_| EventError::public("the auth payload cannot be read"))?;
    Ok(Ack(json!({ "query": query, "auth": auth, "headers": headers, "url": handshake.url() })))
}

fn stats(socket: &Socket<State>) -> Ack<serde_json::Value> {
    let server = &socket.data().app.server;
    Ack(json!({ "engine": server.session_count(), "sockets": server.socket_count(socket.path()) }))
}

async fn echo(
    socket: Socket<State>,
    WithAckFlag { args, wants_ack }: WithAckFlag<Args>,
) -> Result<Option<Ack<Args>>, EmitError> {
    if wants_ack {
        return Ok(Some(Ack(args)));
    }
    socket.emit("echo", &args)?;
    Ok(None)
}

fn describe(args: &Args) -> Result<Ack<Vec<String>>, DecodeError> {
    let kinds = values(args)?.into_iter().map(|value| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Text(_) => "string".to_owned(),
        Value::Binary(bytes) => format!("binary:{}", bytes.len()),
        Value::List(list) => format!("array:{}", list.len()),
        Value::Object(_) => "object".to_owned(),
    });
    Ok(Ack(kinds.collect()))
}

fn emit_me(socket: &Socket<State>, args: &Args) -> Result<(), EventError> {
    Ok(socket.emit(args.get::<String>(0)?, &args.skip(1))?)
}

fn emit_numbered(socket: &Socket<State>, i: u32) -> Result<(), EmitError> {
    socket.emit("burst", &(i, Bytes::copy_from_slice(&i.to_be_bytes())))
}

fn volatile_burst(socket: &Socket<State>, n: u32) -> Result<(), EmitError> {
    (0..n).try_for_each(|i| socket.volatile().emit("v", &i))?;
    socket.emit("v-end", &())
}

async fn tick(socket: Socket<State>, (n, ms): (u32, u64)) -> Result<(), EmitError> {
    for i in 0..n {
        if !socket.connected() {
            break;
        }
        socket.emit("tick", &i)?;
        sleep(Duration::from_millis(ms)).await;
    }
    Ok(())
}

async fn ack_later(_: Socket<State>, args: Args) -> Result<Ack<Args>, DecodeError> {
    sleep(Duration::from_millis(args.get(0)?)).await;
    Ok(Ack(args.skip(1)))
}

/// Disconnects the socket, or closes the connection if the first argument is `true`.
fn bye(socket: &Socket<State>, args: &Args) {
    if args.get(0).unwrap_or(false) {
        socket.close();
    } else {
        socket.disconnect();
    }
}
