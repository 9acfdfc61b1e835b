//! ERROR: function is expected to take 2 arguments, but it takes 3 arguments

use socketio::{Namespace, Socket};

async fn say(_: Socket, _: String, _: String) {}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
