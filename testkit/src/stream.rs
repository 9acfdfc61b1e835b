//! The client's side of a connection.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::waiting::PATIENCE;

/// A server that clients can connect to.
pub trait Endpoint {
    /// The default path of requests, with a trailing slash.
    const PATH: &'static str;

    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = Stream> + Send;
}

impl<E: Endpoint + Send + Sync> Endpoint for Arc<E> {
    const PATH: &'static str = E::PATH;

    async fn connect(&self) -> Stream {
        E::connect(self).await
    }
}

/// A byte stream for clients.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to the server under test.
pub struct Stream {
    io: Box<dyn Io>,
    local: Option<SocketAddr>,
    /// The time that an operation may take before the test fails.
    pub patience: Duration,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Stream {
    /// Wraps any stream.
    pub fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), local: None, patience: PATIENCE }
    }

    /// Wraps a TCP stream and sets `TCP_NODELAY`.
    pub fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().ok();
        Self { local, ..Self::new(stream) }
    }

    /// Returns the local address of a TCP stream.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Appends received bytes to the buffer. Returns `false` at the end of the stream. A reset counts as an
    /// end.
    pub async fn read_more(&mut self, received: &mut Vec<u8>) -> bool {
        let read = timeout(self.patience, self.io.read_buf(received)).await;
        read.expect("bytes in time").unwrap_or(0) > 0
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
