//! The server under test.

use std::{io, net::SocketAddr};

use socketio::{Namespace, Server};
use testkit::{Endpoint, Stream, eventually, within};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running server.
pub(crate) struct Host {
    pub(crate) io: Server,
    pub(crate) address: SocketAddr,
    pub(crate) serving: JoinHandle<io::Result<()>>,
}

impl Endpoint for Host {
    const PATH: &'static str = "/socket.io/";

    async fn connect(&self) -> Stream {
        Stream::tcp(self.connect().await)
    }
}

pub(crate) async fn serve(io: Server) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(io.clone().serve(listener).into_future());
    Host { io, address, serving }
}

/// Serves one namespace with the default options.
pub(crate) async fn serve_namespace<D: Send + Sync + 'static>(namespace: Namespace<D>) -> Host {
    serve(Server::new().namespace(namespace)).await
}

impl Host {
    /// Opens a TCP connection to the server.
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = within(TcpStream::connect(self.address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Waits until there is no session, and no socket in the namespace.
    pub(crate) async fn deserted(&self, path: &str) {
        eventually(|| self.io.session_count() == 0 && self.io.socket_count(path) == 0).await;
    }
}
