//! No mistake: the types of both arguments are known from the namespace and from the event.

use socketio::{Namespace, TypedEvent};

const JOIN: TypedEvent<String> = TypedEvent::new("join");

fn main() {
    let _ = Namespace::new("/").on(JOIN, async |socket, room| socket.join(room));
}
