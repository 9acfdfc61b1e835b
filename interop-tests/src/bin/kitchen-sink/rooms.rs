//! Broadcasts with recipients that the client chooses.

use std::time::Duration;

use interop_tests::value::Value;
use serde::{Deserialize, Serialize};
use socketio::{Ack, AckError, Args, BroadcastOperator, EventError, Socket};
use tokio::time::sleep;

use crate::state::State;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    via: Via,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    local: bool,
    /// The timeout of acknowledgements in milliseconds.
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
    /// Excludes the sender.
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

/// `options, event, arguments...`: acknowledges with the first argument of each acknowledgement, as Node.js
/// does.
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

/// Returns the ids of the sockets in any of the rooms, or of all sockets if there are no rooms.
pub(crate) async fn members(
    socket: Socket<State>,
    rooms: Vec<String>,
) -> Result<Ack<Vec<String>>, EventError> {
    let sockets = in_rooms(&socket, rooms).fetch_sockets().await?;
    let mut ids: Vec<String> = sockets.iter().map(|socket| socket.id().to_owned()).collect();
    ids.sort_unstable();
    Ok(Ack(ids))
}

/// `room, other`: all sockets in `room` join `other`.
pub(crate) async fn room_join(
    socket: Socket<State>,
    (room, other): (String, String),
) -> Result<(), EventError> {
    Ok(socket.namespace().to(room).sockets_join([other])?)
}

/// `room, other`: all sockets in `room` leave `other`.
pub(crate) async fn room_leave(
    socket: Socket<State>,
    (room, other): (String, String),
) -> Result<(), EventError> {
    Ok(socket.namespace().to(room).sockets_leave([other])?)
}

/// `room, close`: acknowledges, then disconnects all sockets in the room, which may include the sender.
pub(crate) async fn room_kick(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let (room, close): (String, bool) = (args.get(0)?, args.get(1).unwrap_or(false));
    // An acknowledgement is sent after the handler returns, so the sender must not be disconnected before.
    tokio::spawn(async move {
        sleep(Duration::from_millis(10)).await;
        let sockets = socket.namespace().to(room);
        if close { sockets.close_sockets() } else { sockets.disconnect_sockets() }
    });
    Ok(())
}
