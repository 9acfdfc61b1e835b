//! Socket.IO as a layer around a hyper service, with a separate accept loop.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socketio::{Namespace, Server};
use tokio::net::TcpListener;
use tower_layer::Layer;

async fn home(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hyper")))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
    let service = Server::new().namespace(echo).layer(tower::service_fn(home));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Needed for long-polling only. The server sets it for WebSocket connections.
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()))
            .with_upgrades();
        tokio::spawn(connection);
    }
}
