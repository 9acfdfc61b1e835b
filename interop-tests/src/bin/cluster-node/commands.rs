//! The events that a client may send.

use std::time::Duration;

use interop_tests::value::Value;
use serde::Serialize;
use serde_json::json;
use socketio::{Ack, Args, EmitError, EventError, JoinError, Namespace, Socket};
use tokio::time::sleep;

use crate::{
    fetched::{all_rooms, fetch, members, remote},
    server_events::{sse, sse_ack, sse_log},
    state::State,
    target::{Rooms, Target, Where},
};

/// Adds the commands to a namespace.
pub(crate) fn commands(namespace: Namespace<State>) -> Namespace<State> {
    namespace
        .on("whoami", async |socket, ()| whoami(&socket))
        .on("stats", async |socket, ()| stats(&socket))
        .on("echo", async |_, args: Args| Ack(args))
        .on("emit-me", async |socket, args: Args| emit_me(&socket, &args))
        .on("join", async |socket, room: String| socket.join(room))
        .on("leave", async |socket, room: String| socket.leave(&room))
        .on("rooms", async |socket, ()| Ack(socket.rooms()))
        .on("data-set", async |socket, value: Value| *socket.data().value.lock() = Some(value))
        .on("data-get", async |socket, ()| Ack((socket.data().value.lock().clone(),)))
        .on("bye", async |socket, args: Args| bye(&socket, &args))
        .on("drop", async |socket, ()| socket.session().close())
        .on("cast", cast)
        .on("cast-burst", cast_burst)
        .on("cast-ack", cast_ack)
        .on("members", members)
        .on("fetch", fetch)
        .on("remote", remote)
        .on("room-join", room_join)
        .on("room-leave", room_leave)
        .on("room-kick", room_kick)
        .on("join-cast", join_cast)
        .on("sse", sse)
        .on("sse-ack", sse_ack)
        .on("sse-log", async |socket, ()| sse_log(&socket))
        .on("servers", servers)
        .on("all-rooms", async |socket, ()| all_rooms(socket).await)
}

fn whoami(socket: &Socket<State>) -> Ack<serde_json::Value> {
    Ack(json!({
        "node": socket.data().app.name,
        "sid": socket.id(),
        "nsp": socket.path(),
        "transport": socket.session().transport().as_str(),
        "recovered": socket.recovered(),
    }))
}

fn stats(socket: &Socket<State>) -> Ack<serde_json::Value> {
    let server = &socket.data().app.server;
    Ack(json!({ "engine": server.session_count(), "sockets": server.socket_count(socket.path()) }))
}

fn emit_me(socket: &Socket<State>, args: &Args) -> Result<(), EventError> {
    Ok(socket.emit(args.get::<String>(0)?, &args.skip(1))?)
}

/// Disconnects the socket, or closes the connection if the first argument is `true`.
fn bye(socket: &Socket<State>, args: &Args) {
    if args.get(0).unwrap_or(false) {
        socket.close();
    } else {
        socket.disconnect();
    }
}

/// `target, event, arguments...`
async fn cast(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let target: Target = args.get(0)?;
    Ok(sent(target.recipients(&socket).emit(args.get::<String>(1)?, &args.skip(2)))?)
}

/// Ignores that some clients do not receive the event, because the queue to them or to their servers is full.
pub(crate) fn sent(result: Result<(), EmitError>) -> Result<(), EmitError> {
    match result {
        Err(EmitError::Full | EmitError::ClusterFull) => Ok(()),
        other => other,
    }
}

/// Like [`sent`], for rooms.
fn moved(result: Result<(), JoinError>) -> Result<(), JoinError> {
    match result {
        Err(JoinError::ClusterFull) => Ok(()),
        other => other,
    }
}

/// `target, event, from, n, arguments...`: sends the event `n` times, numbered from `from`.
async fn cast_burst(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let target: Target = args.get(0)?;
    let (event, from, n): (String, u64, u64) = (args.get(1)?, args.get(2)?, args.get(3)?);
    let recipients = target.recipients(&socket);
    let rest = interop_tests::value::values(&args.skip(4))?;
    for i in from..from.saturating_add(n) {
        let values = std::iter::once(Value::Number(i.into())).chain(rest.iter().cloned());
        sent(recipients.clone().emit(event.clone(), &Args::from_values(values)?))?;
    }
    Ok(())
}

/// `target, event, arguments...`: acknowledges with the first argument of each acknowledgement.
async fn cast_ack(socket: Socket<State>, args: Args) -> Result<Ack<Acknowledged>, EventError> {
    let target: Target = args.get(0)?;
    let recipients = target.recipients(&socket);
    let all = recipients.emit_with_ack::<Args, _>(args.get::<String>(1)?, &args.skip(2))?.await;
    let first = |answer: &Args| if answer.is_empty() { Ok(Value::Null) } else { answer.get(0) };
    let responses = all.answers.iter().map(|(_, answer)| first(answer)).collect::<Result<Vec<Value>, _>>()?;
    let timed_out = !all.missing.is_empty() || !all.missing_servers.is_empty();
    Ok(Ack(Acknowledged { timed_out, responses }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged {
    timed_out: bool,
    responses: Vec<Value>,
}

/// `where, rooms`: all sockets there join the rooms.
async fn room_join(socket: Socket<State>, (place, rooms): (Where, Rooms)) -> Result<(), EventError> {
    Ok(moved(place.recipients(&socket).sockets_join(rooms.names()))?)
}

/// `where, rooms`: all sockets there leave the rooms.
async fn room_leave(socket: Socket<State>, (place, rooms): (Where, Rooms)) -> Result<(), EventError> {
    Ok(sent(place.recipients(&socket).sockets_leave(rooms.names()))?)
}

/// `where, close`: acknowledges, then disconnects all sockets there, which may include the sender.
async fn room_kick(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let (place, close): (Where, bool) = (args.get(0)?, args.get(1).unwrap_or(false));
    // An acknowledgement is sent after the handler returns, so the sender must not be disconnected before.
    tokio::spawn(async move {
        sleep(Duration::from_millis(10)).await;
        let sockets = place.recipients(&socket);
        if close { sockets.close_sockets() } else { sockets.disconnect_sockets() }
    });
    Ok(())
}

/// `where, room, event, arguments...`: all sockets there join the room, which then receives the event.
async fn join_cast(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let (place, room): (Where, String) = (args.get(0)?, args.get(1)?);
    moved(place.recipients(&socket).sockets_join([&room]))?;
    Ok(sent(socket.namespace().to(&room).emit(args.get::<String>(2)?, &args.skip(3)))?)
}

async fn servers(socket: Socket<State>, (): ()) -> Result<Ack<usize>, EventError> {
    // Without the broker, this server is alone.
    Ok(Ack(socket.namespace().server_count().await.unwrap_or(1)))
}
