//! ERROR: `greeting` does not live long enough
//! ERROR: argument requires that `greeting` is borrowed for `'static`

use socketio::{Ack, Namespace};

fn main() {
    let greeting = String::from("hello");
    let borrowed = &greeting;
    let _ = Namespace::new("/").on("greet", async move |_, ()| Ack(borrowed.len()));
}
