//! ERROR: `Said` cannot be read from the arguments of an event
//! ERROR: implement `serde::Deserialize` for it

use socketio::{Namespace, Socket};

struct Said;

async fn say(_: Socket, _: Said) {}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
