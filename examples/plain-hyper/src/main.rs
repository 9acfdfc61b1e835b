//! Socket.IO next to other paths of a hyper server, without a framework.
//!
//! Use this setup if you need your own accept loop. `Server::listen` does the same, and adds limits for
//! public ports.

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

/// Handles all requests that are not for Socket.IO.
async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("{} is not Socket.IO\n", request.uri().path()))))
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    let echo = Namespace::new("/").on("echo", async |socket, text: String| socket.emit("echo", &text));
    // As a layer, the server handles requests under its path and passes all others to the inner service.
    let service = Server::new().namespace(echo).layer(tower::service_fn(hello));
    loop {
        let (stream, address) = listener.accept().await?;
        // Disables Nagle's algorithm, so that small packets are sent without delay.
        stream.set_nodelay(true)?;
        let service = service.clone();
        let service = tower::service_fn(move |mut request: Request<Incoming>| {
            // Makes the address available as `Handshake::address`.
            request.extensions_mut().insert(RemoteAddr(address));
            tower_service::Service::call(&mut service.clone(), request)
        });
        // hyper needs a timer to enforce its timeout for request headers.
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
