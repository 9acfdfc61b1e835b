//! The byte stream under a WebSocket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use super::accepted::Accepted;

/// Anything that reads and writes bytes.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// A stream that was taken back from hyper.
pub(crate) enum Stream {
    /// The usual one, without a box and without virtual calls; with its place among the connections of our own
    /// accept loop.
    Tcp {
        stream: TcpStream,
        _place: Option<OwnedSemaphorePermit>,
    },
    Other(Box<dyn ReadWrite>),
}

impl Stream {
    /// Takes the raw stream out of an upgraded connection, with the bytes that hyper has read beyond the request.
    ///
    /// hyper's own wrapper costs a box and a virtual call for each read, and its rest of bytes pins a read
    /// buffer of 8 KiB even when it is empty: so it is copied, and dropped here.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> (Self, Vec<u8>) {
        // That of our own accept loop, or of one like it.
        let upgraded = match upgraded.downcast::<TokioIo<Accepted<TcpStream>>>() {
            Ok(parts) => {
                let Accepted { io, place, .. } = parts.io.into_inner();
                return (Self::Tcp { stream: io, _place: Some(place) }, copy(&parts.read_buf));
            }
            Err(upgraded) => upgraded,
        };
        let upgraded = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
        {
            Ok(parts) => return (Self::tcp(parts.io.into_inner()), copy(&parts.read_buf)),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::tcp(parts.io.into_inner()), copy(&parts.read_buf)),
            Err(upgraded) => (Self::Other(Box::new(TokioIo::new(upgraded))), Vec::new()),
        }
    }

    fn tcp(stream: TcpStream) -> Self {
        Self::Tcp { stream, _place: None }
    }

    /// Makes the drop of the stream a reset: the system forgets what it has taken and not sent, instead of offering it
    /// on to a client that takes nothing.
    pub(crate) fn reset_on_drop(&self) {
        if let Self::Tcp { stream, .. } = self {
            let _ = stream.set_zero_linger();
        }
    }

    fn inner(&mut self) -> Pin<&mut dyn ReadWrite> {
        match self {
            Self::Tcp { stream, .. } => Pin::new(stream),
            Self::Other(stream) => Pin::new(&mut **stream),
        }
    }

    /// Reads into the buffer and says how many bytes came; none is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        let read = match self {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp { stream, .. } => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

fn copy(rest: &Bytes) -> Vec<u8> {
    rest.to_vec()
}
