//! The byte stream under a WebSocket.

use std::{
    any::Any,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

/// Anything that reads and writes bytes.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Any + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Any + Send + Unpin> ReadWrite for T {}

/// A stream that HTTP has given up.
pub(crate) struct Stream {
    io: Io,
    /// Its place among the connections of our own accept loop.
    _place: Option<OwnedSemaphorePermit>,
}

enum Io {
    /// The usual one, without a box and without virtual calls.
    Tcp(TcpStream),
    Other(Box<dyn ReadWrite>),
}

impl Stream {
    /// A stream of our own accept loop.
    pub(crate) fn accepted(io: impl ReadWrite + 'static, place: OwnedSemaphorePermit) -> Self {
        let mut io = Some(io);
        // The type of the listener is the user's, and only tells at run time which it is.
        let tcp = (&mut io as &mut dyn Any).downcast_mut::<Option<TcpStream>>().and_then(Option::take);
        let other = io.map(|io| Io::Other(Box::new(io)));
        let Some(io) = tcp.map(Io::Tcp).or(other) else { unreachable!("it is one or the other") };
        Self { io, _place: Some(place) }
    }

    /// Takes the raw stream out of a connection that hyper has upgraded, with the bytes that it has read beyond the
    /// request.
    ///
    /// hyper's own wrapper costs a box and a virtual call for each read, and its rest of bytes pins a read
    /// buffer of 8 KiB even when it is empty: so it is copied, and dropped here.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> (Self, Vec<u8>) {
        let upgraded = match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
        {
            Ok(parts) => return (Self::new(Io::Tcp(parts.io.into_inner())), copy(&parts.read_buf)),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::new(Io::Tcp(parts.io.into_inner())), copy(&parts.read_buf)),
            Err(upgraded) => (Self::boxed(TokioIo::new(upgraded)), Vec::new()),
        }
    }

    pub(crate) fn boxed(io: impl ReadWrite + 'static) -> Self {
        Self::new(Io::Other(Box::new(io)))
    }

    fn new(io: Io) -> Self {
        Self { io, _place: None }
    }

    /// Makes the drop of the stream a reset: the system forgets what it has taken and not sent, instead of offering it
    /// on to a client that takes nothing.
    pub(crate) fn reset_on_drop(&self) {
        if let Io::Tcp(stream) = &self.io {
            let _ = stream.set_zero_linger();
        }
    }

    /// Whether the client has closed or reset the connection, as far as the system knows without reading.
    pub(crate) fn is_closed(&self) -> bool {
        let tcp = match &self.io {
            Io::Tcp(stream) => Some(stream),
            Io::Other(stream) => tcp_of(&**stream),
        };
        let Some(tcp) = tcp else { return false };
        let cx = &mut Context::from_waker(Waker::noop());
        match pin!(tcp.ready(Interest::READABLE)).poll(cx) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Whether a drop ends the stream as a shutdown does, if nothing is left to be read. TLS says goodbye before.
    pub(crate) fn ends_on_drop(&self) -> bool {
        matches!(self.io, Io::Tcp(_))
    }

    fn inner(&mut self) -> Pin<&mut dyn ReadWrite> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream),
            Io::Other(stream) => Pin::new(&mut **stream),
        }
    }

    /// Reads into the buffer and says how many bytes came; none is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        let read = match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Io::Other(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

/// The TCP stream under a stream of a type that is known here.
fn tcp_of(stream: &dyn ReadWrite) -> Option<&TcpStream> {
    let stream = stream as &dyn Any;
    #[cfg(feature = "tls")]
    if let Some(stream) = stream.downcast_ref::<tokio_rustls::server::TlsStream<TcpStream>>() {
        return Some(stream.get_ref().0);
    }
    stream.downcast_ref()
}

fn copy(rest: &Bytes) -> Vec<u8> {
    rest.to_vec()
}
