//! Connections without TLS, whose bytes are seen before `redis` parses them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    task::AbortHandle,
};

/// A stream of bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A connection without TLS.
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Plain {
    /// Connects. Returns `None` if the address demands TLS.
    pub(super) async fn connect(addr: &ConnectionAddr) -> io::Result<Option<Self>> {
        Ok(match addr {
            ConnectionAddr::Tcp(host, port) => Some(Self::Tcp(TcpStream::connect((&**host, *port)).await?)),
            ConnectionAddr::Unix(path) => Some(Self::Unix(UnixStream::connect(path).await?)),
            _ => None,
        })
    }

    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

/// A connection, which is closed on drop.
pub(crate) struct OpenConnection {
    pub(crate) commands: MultiplexedConnection,
    /// The task that reads and writes. `None` if it ends with the last clone of `commands`.
    driver: Option<AbortHandle>,
}

impl OpenConnection {
    /// Introduces this server to Redis, and starts the task that reads and writes.
    pub(super) async fn start(
        info: &RedisConnectionInfo,
        stream: impl Stream,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let (commands, driver) = MultiplexedConnection::new_with_config(info, stream, config).await?;
        Ok(Self { commands, driver: Some(tokio::spawn(driver).abort_handle()) })
    }
}

impl From<MultiplexedConnection> for OpenConnection {
    fn from(commands: MultiplexedConnection) -> Self {
        Self { commands, driver: None }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}
