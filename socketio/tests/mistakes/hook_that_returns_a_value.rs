//! ERROR: `bool` cannot be returned by a hook
//! ERROR: this hook must return `()` or `Result<(), E>`

use socketio::Namespace;

fn main() {
    let _ = Namespace::new("/").on_connect(async |socket| socket.connected());
}
