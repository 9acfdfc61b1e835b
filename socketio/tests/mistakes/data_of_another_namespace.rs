//! ERROR: type mismatch in function arguments
//! ERROR: expected function signature `fn(Socket<User>, _) -> _`
//! ERROR: found function signature `fn(Socket<Admin>,

use socketio::{Handshake, Namespace, ConnectError, Socket};

struct User;
struct Admin;

async fn sign_in(_: Handshake) -> Result<User, ConnectError> {
    Ok(User)
}

async fn say(_: Socket<Admin>, _: String) {}

fn main() {
    let _ = Namespace::with_auth("/", sign_in).on("say", say);
}
