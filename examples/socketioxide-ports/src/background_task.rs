//! A background task that emits to all clients.

use std::time::Duration;

use socketio::{EventError, Namespace, Server};

pub(crate) fn server() -> Server {
    let namespace = Namespace::new("/").on_connect(async |socket| {
        let auth: serde_json::Value = socket.handshake().auth()?;
        Ok::<_, EventError>(socket.emit("welcome", &auth)?)
    });
    Server::new().namespace(namespace)
}

pub(crate) async fn tick(io: Server) {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.tick().await;
    for second in 0_u64.. {
        clock.tick().await;
        let text = format!("{second}s, {} socket connected", io.socket_count("/"));
        // A broadcast without a cluster cannot fail.
        let _ = io.emit("tic tac !", &text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use socketio::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ticks() {
        let server = TestServer::new(server());
        tokio::spawn(tick(server.server().clone()));
        let mut client = server.client("/").auth(&json!({ "name": "Ann" })).connect().await.unwrap();
        assert_eq!(client.expect::<Value>("welcome").await, json!({ "name": "Ann" }));
        assert_eq!(client.expect::<String>("tic tac !").await, "0s, 1 socket connected");
        assert_eq!(client.expect::<String>("tic tac !").await, "1s, 1 socket connected");
    }
}
