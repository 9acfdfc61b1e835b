//! Tests that a volatile event is either sent immediately or dropped.

use socketio::{EmitError, Namespace, Socket};

use crate::support::{Client, eventually, log, serve_namespace};

#[tokio::test]
async fn a_volatile_event_does_not_wait_behind_others() {
    let (notes, mut heard) = log();
    let (sockets, mut connected) = log();
    let namespace = Namespace::new("/")
        .on_connect(async move |socket| sockets.note(socket))
        .on_any_outgoing(move |_, event, _| notes.note(event.to_owned()));
    let host = serve_namespace(namespace).await;
    let mut client = Client::join(&host).await;
    let socket: Socket = connected.next().await;

    eventually(|| socket.session().is_writable()).await;
    // Nothing is awaited in between, so the session task cannot write.
    socket.volatile().compress(false).emit("first", &1).unwrap();
    socket.volatile().emit("lost", &2).unwrap();
    socket.compress(false).emit("last", &3).unwrap();
    assert_eq!(client.text().await, r#"42["first",1]"#);
    assert_eq!(client.text().await, r#"42["last",3]"#);
    assert_eq!(heard.so_far(), ["first", "last"]);

    assert!(matches!(socket.volatile().emit("connect", &()), Err(EmitError::ReservedEvent)));
    socket.disconnect();
    assert!(matches!(socket.volatile().emit("late", &()), Err(EmitError::Disconnected)));
    assert_eq!(client.text().await, "41");
}
