//! Socket.IO as a layer ("hoop") of salvo. The handlers of salvo receive all other requests.

use salvo::{Listener as _, Router, conn::TcpListener, handler, http::ReqBody, prelude::TowerLayerCompat};
use socketio::{Namespace, Server};

#[handler]
async fn home() -> &'static str {
    "salvo"
}

#[tokio::main]
async fn main() {
    let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
    let io = Server::new().namespace(echo).compat::<ReqBody>();
    let router = Router::new().hoop(io).path("{*path}").goal(home);
    let acceptor = TcpListener::new("127.0.0.1:3000").bind().await;
    salvo::Server::new(acceptor).serve(router).await;
}
