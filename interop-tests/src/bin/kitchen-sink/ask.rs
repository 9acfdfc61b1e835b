//! Events that the server emits and the client acknowledges.

use std::{iter, time::Duration};

use interop_tests::value::{Value, values};
use socketio::{AckError, Args, EventError, Socket};

use crate::state::State;

/// `event, arguments...`: emits the acknowledgement of the client as `ask-result`.
pub(crate) async fn ask(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let event: String = args.get(0)?;
    let answer: Args = socket.emit_with_ack(event, &args.skip(1)).await?;
    Ok(socket.emit("ask-result", &answer)?)
}

/// `milliseconds, event, arguments...`: the result is `null` and the acknowledgement, or `"timeout"`.
pub(crate) async fn ask_within(socket: Socket<State>, args: Args) -> Result<(), EventError> {
    let limit = Duration::from_millis(args.get(0)?);
    let event: String = args.get(1)?;
    let answer: Result<Args, AckError> = socket.emit_with_ack(event, &args.skip(2)).timeout(limit).await;
    match answer {
        Ok(answer) => {
            let result = iter::once(Value::Null).chain(values(&answer)?);
            socket.emit("ask-result", &Args::from_values(result)?)?;
        }
        Err(AckError::Timeout) => socket.emit("ask-result", "timeout")?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
