//! Broadcasts whose recipients the client chooses.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use socketio::{Ack, AckError, Args, BroadcastOperator, EventError, Socket};
use tokio::time::sleep;

use crate::{state::State, value::Value};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    via: Via,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    local: bool,
    /// In milliseconds, for acknowledgements.
    timeout: Option<u64>,
}

impl Options {
    fn recipients(self, socket: &Socket<State>) -> BroadcastOperator {
        let mut recipients = match self.via {
            Via::Socket => socket.broadcast(),
            Via::Nsp => socket.namespace(),
        };
        for room in self.to {
            recipients = recipients.to(room);
        }
        for room in self.except {
            recipients = recipients.except(room);
        }
        if self.volatile {
            recipients = recipients.volatile();
        }
        if self.local {
            recipients = recipients.local();
        }
        recipients
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// The sender is left out.
    Socket,
    #[default]
    Nsp,
}

/// `options, event, arguments...`
pub(crate) async fn cast(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let options: Options = args.get(0)?;
    let event: String = args.get(1)?;
    Ok(options.recipients(&socket).emit(event, &args.skip(2))?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Responses {
    timed_out: bool,
    responses: Vec<Value>,
}

/// `options, event, arguments...`: answers with the first argument of each acknowledgement, as Node does.
pub(crate) async fn cast_ack(socket: Socket<State>, args: Args) -> Result<Ack<Responses>, EventError> {
    let options: Options = args.get(0)?;
    let event: String = args.get(1)?;
    let timeout = options.timeout;
    let mut request = options.recipients(&socket).emit_with_ack::<Args, _>(event, &args.skip(2))?;
    if let Some(timeout) = timeout {
        request = request.timeout(Duration::from_millis(timeout));
    }
    let all = request.await;
    let first = |answer: &Args| if answer.is_empty() { Ok(Value::Null) } else { answer.get(0) };
    let responses = all.answers.iter().map(|(_, answer)| first(answer)).collect::<Result<_, _>>()?;
    let timed_out = all.missing.iter().any(|(_, error)| matches!(error, AckError::Timeout));
    Ok(Ack(Responses { timed_out, responses }))
}

fn in_rooms(socket: &Socket<State>, rooms: Vec<String>) -> BroadcastOperator {
    rooms.into_iter().fold(socket.namespace(), BroadcastOperator::to)
}

/// The ids of the sockets in any of the rooms, or of all.
pub(crate) async fn members(
    socket: Socket<State>,
    rooms: Vec<String>,
) -> Result<Ack<Vec<String>>, EventError> {
    let sockets = in_rooms(&socket, rooms).fetch_sockets().await?;
    let mut ids: Vec<String> = sockets.iter().map(|socket| socket.id().to_owned()).collect();
    ids.sort_unstable();
    Ok(Ack(ids))
}

/// `room, other`: all in the one join the other.
pub(crate) async fn room_join(
    socket: Socket<State>,
    (room, other): (String, String),
) -> Result<(), EventError> {
    Ok(socket.namespace().to(room).sockets_join([other])?)
}

/// `room, other`: all in the one leave the other.
pub(crate) async fn room_leave(
    socket: Socket<State>,
    (room, other): (String, String),
) -> Result<(), EventError> {
    Ok(socket.namespace().to(room).sockets_leave([other])?)
}

/// `room, close`: acknowledges, then disconnects all in the room, the sender too if it is there.
pub(crate) async fn room_kick(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let (room, close): (String, bool) = (args.get(0)?, args.get(1).unwrap_or(false));
    // What a handler returns is sent when it has ended, which a socket that has left could not be told.
    tokio::spawn(async move {
        sleep(Duration::from_millis(10)).await;
        socket.namespace().to(room).disconnect_sockets(close)
    });
    Ok(())
}
