//! ERROR: future cannot be sent between threads safely
//! ERROR: future returned by `say` is not `Send`
//! ERROR: which is not `Send`

use std::{future::ready, rc::Rc};

use socketio::{Namespace, Socket};

async fn say(_: Socket, text: String) {
    let text = Rc::new(text);
    ready(()).await;
    drop(text);
}

fn main() {
    let _ = Namespace::new("/").on("say", say);
}
