//! ERROR: type mismatch in function arguments
//! ERROR: expected function signature `fn(Socket, _) -> _`
//! ERROR: String, Socket) -> _`

use socketio::{Namespace, Socket};

async fn say(_: String, _: Socket) {}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
