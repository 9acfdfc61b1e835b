//! ERROR: mismatched types
//! ERROR: expected reference `&Said`

use serde::Serialize;
use socketio::{EmitError, Socket, TypedEvent};

#[derive(Serialize)]
struct Said {
    text: String,
}

const SAID: TypedEvent<Said> = TypedEvent::new("said");

fn say(socket: &Socket) -> Result<(), EmitError> {
    let said = Said { text: "hello".into() };
    socket.emit(SAID, &said)?;
    socket.emit(SAID, &said.text)
}

fn main() {
    let _ = say;
}
