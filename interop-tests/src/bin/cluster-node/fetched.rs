//! The sockets of all servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, UNIX_EPOCH},
};

use interop_tests::value::Value;
use serde_json::json;
use socketio::{Ack, Args, BroadcastOperator, EventError, FetchError, RemoteSocket, Socket};

use crate::{state::State, target::Target};

/// Returns the found sockets, and a message if servers did not respond.
fn found(result: Result<Vec<RemoteSocket>, FetchError>) -> (Option<String>, Vec<RemoteSocket>) {
    let (error, mut sockets) = match result {
        Ok(sockets) => (None, sockets),
        Err(error) => (Some(error.to_string()), error.sockets),
    };
    sockets.sort_by(|one, other| one.id().cmp(other.id()));
    (error, sockets)
}

/// Returns the ids of the sockets in any of the rooms, or of all sockets if there are no rooms.
pub(crate) async fn members(
    socket: Socket<State>,
    rooms: Vec<String>,
) -> Result<Ack<Vec<String>>, EventError> {
    let recipients = rooms.into_iter().fold(socket.namespace(), BroadcastOperator::to);
    let (_, sockets) = found(recipients.fetch_sockets().await);
    Ok(Ack(sockets.iter().map(|socket| socket.id().to_owned()).collect()))
}

/// `target`: the descriptions of the sockets.
pub(crate) async fn fetch(socket: Socket<State>, args: Args) -> Result<Ack<serde_json::Value>, EventError> {
    let target: Target = if args.is_empty() { Target::default() } else { args.get(0)? };
    let (error, sockets) = found(target.recipients(&socket).fetch_sockets().await);
    let sockets: Vec<_> = sockets.iter().map(description).collect();
    Ok(Ack(json!({ "error": error, "sockets": sockets })))
}

fn description(socket: &RemoteSocket) -> serde_json::Value {
    let mut rooms: Vec<&str> = socket.rooms().iter().map(|room| &**room).collect();
    rooms.sort_unstable();
    let handshake = socket.handshake();
    let issued = handshake.issued().duration_since(UNIX_EPOCH).unwrap_or_default();
    let auth: serde_json::Value = handshake.auth().unwrap_or_default();
    json!({
        "id": socket.id(),
        "rooms": rooms,
        "data": socket.data::<serde_json::Value>().unwrap_or_default(),
        "handshake": {
            "headers": handshake.headers().collect::<BTreeMap<_, _>>(),
            "query": handshake.queries().collect::<BTreeMap<_, _>>(),
            "auth": auth,
            "url": handshake.url(),
            "address": handshake.address().map(|address| address.ip().to_string()),
            "time": handshake.time(),
            "issued": issued.as_millis() as u64,
            "secure": handshake.secure(),
            "xdomain": handshake.cross_domain(),
        },
    })
}

/// The sorted names of all rooms of the cluster, or `null` if the adapter of Node.js cannot list them.
pub(crate) async fn all_rooms(socket: Socket<State>) -> Ack<(serde_json::Value,)> {
    if !socket.data().app.lists_rooms {
        return Ack((serde_json::Value::Null,));
    }
    let (_, sockets) = found(socket.namespace().fetch_sockets().await);
    let rooms: BTreeSet<&str> = sockets.iter().flat_map(RemoteSocket::rooms).map(|room| &**room).collect();
    Ack((json!(rooms),))
}

/// `id, op, arguments...`: does something with a socket on any server.
pub(crate) async fn remote(socket: Socket<State>, args: Args) -> Result<Ack<(Value,)>, EventError> {
    let (id, operation): (String, String) = (args.get(0)?, args.get(1)?);
    let (_, sockets) = found(socket.namespace().to(&id).fetch_sockets().await);
    let Some(remote) = sockets.into_iter().find(|socket| socket.id() == id) else {
        return Ok(Ack((Value::Null,)));
    };
    match &*operation {
        "emit" => remote.emit(args.get::<String>(2)?, &args.skip(3))?,
        "join" => remote.join([args.get::<String>(2)?])?,
        "leave" => remote.leave([args.get::<String>(2)?])?,
        "disconnect" if args.get(2).unwrap_or(false) => remote.close()?,
        "disconnect" => remote.disconnect()?,
        "ask" => {
            let timeout = Duration::from_millis(args.get(2)?);
            let request = remote.emit_with_ack::<Args, _>(args.get::<String>(3)?, &args.skip(4))?;
            let all = request.timeout(timeout).await;
            let answer = all.answers.first().map(|(_, answer)| answer);
            let response = match answer {
                Some(answer) if !answer.is_empty() => answer.get(0)?,
                _ => Value::Null,
            };
            let timed_out = Value::Bool(answer.is_none());
            let entries = [("timedOut", timed_out), ("response", response)];
            let entries = entries.map(|(name, value)| (name.to_owned(), value)).to_vec();
            return Ok(Ack((Value::Object(entries),)));
        }
        other => return Err(EventError::public(format!("unknown operation `{other}`"))),
    }
    Ok(Ack((Value::Bool(true),)))
}
