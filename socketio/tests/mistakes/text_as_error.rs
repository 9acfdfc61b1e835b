//! ERROR: `Result<(), String>` cannot be sent as an acknowledgement
//! ERROR: an error must implement `Into<EventError>`

use socketio::{Namespace, Socket};

async fn say(_: Socket, text: String) -> Result<(), String> {
    Err(text)
}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
