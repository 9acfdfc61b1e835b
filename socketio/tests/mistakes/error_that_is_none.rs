//! ERROR: `Result<(), Failed>` cannot be sent as an acknowledgement
//! ERROR: an error must implement `std::error::Error`

use socketio::{Namespace, Socket};

struct Failed;

async fn say(_: Socket, _: String) -> Result<(), Failed> {
    Err(Failed)
}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
