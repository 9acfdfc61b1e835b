//! ERROR: `u64` cannot be sent as an acknowledgement
//! ERROR: must return `()`, `Ack<T>`

use socketio::{Namespace, Socket};

async fn say(_: Socket, _: String) -> u64 {
    1
}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
