//! Socket.IO beside other paths of a hyper server, without a framework.
//!
//! `Server::listen` does all this by itself, with limits for an open port; this is the way for those who have an accept
//! loop of their own.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socketio::{Namespace, RemoteAddr, Server};
use tokio::net::TcpListener;
use tower_layer::Layer;

/// The rest of the application: whatever is not for Socket.IO.
async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("{} is not Socket.IO\n", request.uri().path()))))
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
    // The server as a layer: it takes the requests under its path and hands the others on.
    let service = Server::new().namespace(echo).layer(tower::service_fn(hello));
    loop {
        let (stream, address) = listener.accept().await?;
        // Small packets go out at once instead of waiting for an acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let service = service.clone();
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            // So that `Handshake::address` knows it.
            request.extensions_mut().insert(RemoteAddr(address));
            tower_service::Service::call(&mut service.clone(), request)
        });
        // hyper closes connections that do not send a request in time only if it has a timer.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .with_upgrades();
        tokio::spawn(connection);
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn both_services_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        for (path, expected) in
            [("/other", "/other is not Socket.IO"), ("/socket.io/?EIO=4&transport=polling", r#"0{"sid":""#)]
        {
            let mut client = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
        }
    }
}
