//! Ports of four socketioxide examples. They work with the original frontends, because the packets are the
//! same.
//!
//! ```sh
//! cargo run -p socketioxide-ports -- todo
//! ```

mod background_task;
mod rooms_chat;
mod todo;
mod webrtc;

use std::{env, io};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;

fn app(name: &str) -> Option<Router> {
    Some(match name {
        // Port of `basic-crud-application`.
        "todo" => Router::new().layer(todo::server()),
        // Port of `background-task`.
        "background-task" => {
            let io = background_task::server();
            tokio::spawn(background_task::tick(io.clone()));
            Router::new().layer(io)
        }
        // Port of `react-rooms-chat`.
        "rooms-chat" => rooms_chat::app(),
        // Port of `webrtc-node-app`.
        "webrtc" => Router::new().layer(webrtc::server()),
        _ => return None,
    })
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let name = env::args().nth(1).unwrap_or_default();
    let app = app(&name).ok_or(io::ErrorKind::InvalidInput)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener.tap_io(|stream| _ = stream.set_nodelay(true)), app).await
}
