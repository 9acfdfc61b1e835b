//! ERROR: `()` is not a future

use socketio::{Namespace, Socket};

fn say(_: Socket, _: String) {}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
