//! No mistake: a handler or a hook may be left to be written.

use socketio::{DisconnectReason, Namespace, Socket};

fn main() {
    let _ = Namespace::new("/")
        .on("say", async |_, _: String| todo!())
        .on_connect(async |_| todo!())
        .on_disconnecting(|_: &Socket, _: DisconnectReason| todo!());
}
