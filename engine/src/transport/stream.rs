//! The byte stream under a WebSocket.

use std::{
    any::Any,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

#[cfg(feature = "tls")]
use super::tls_stream::TlsStream;
use super::{http_stream::HttpStream, upgrade::Tunnel};

/// The trait of a byte stream.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Any + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Any + Send + Unpin> ReadWrite for T {}

/// A stream taken over from HTTP.
pub(crate) struct Stream {
    io: Io,
    /// The permit of the connection limit. `None` unless the connection was accepted by the crate's own
    /// accept loop.
    _permit: Option<OwnedSemaphorePermit>,
    /// `Some` for a stream of an HTTP/2 connection of the crate's own accept loop. Boxed, because few streams are.
    _tunnel: Option<Box<Tunnel>>,
}

enum Io {
    /// A TCP stream, which is the common case. Reads and writes need no box and no virtual calls.
    Tcp(TcpStream),
    Other(Box<dyn ReadWrite>),
}

impl Stream {
    /// Creates a stream from a connection of the crate's own accept loop.
    pub(crate) fn from_accepted(io: impl ReadWrite + 'static, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..Self::from_io(io) }
    }

    fn from_io(io: impl ReadWrite + 'static) -> Self {
        let mut io = Some(io);
        // The type of the listener is generic, so a TCP stream is detected at run time.
        let tcp = (&mut io as &mut dyn Any).downcast_mut::<Option<TcpStream>>().and_then(Option::take);
        let other = io.map(|io| Io::Other(Box::new(io)));
        let Some(io) = tcp.map(Io::Tcp).or(other) else { unreachable!("it is one or the other") };
        Self::new(io)
    }

    /// Extracts the raw stream from a connection upgraded by hyper, and returns it with the bytes read beyond
    /// the request.
    ///
    /// The wrapper of hyper costs a box and a virtual call for each read. The buffer for extra bytes in the
    /// wrapper keeps 8 KiB allocated even when empty, so the bytes are copied and the buffer is dropped.
    ///
    /// Sets `TCP_NODELAY` on TCP streams, which servers often leave unset. Without this option, a message is
    /// delayed until the previous message is acknowledged by TCP, and clients delay the acknowledgement by 40
    /// milliseconds.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> (Self, Vec<u8>) {
        let upgraded = match Self::from_http_stream::<TcpStream>(upgraded) {
            Ok(stream) => return stream,
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match Self::from_http_stream::<TlsStream<TcpStream>>(upgraded) {
            Ok(stream) => return stream,
            Err(upgraded) => upgraded,
        };
        let upgraded = match downcast::<TcpStream>(upgraded) {
            Ok((stream, rest)) => {
                let _ = stream.set_nodelay(true);
                return (Self::new(Io::Tcp(stream)), rest);
            }
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match downcast::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded) {
            Ok((stream, rest)) => {
                let _ = stream.get_ref().0.set_nodelay(true);
                return (Self::boxed(stream), rest);
            }
            Err(upgraded) => upgraded,
        };
        (Self::boxed(TokioIo::new(upgraded)), Vec::new())
    }

    /// Extracts the stream of a connection that the crate's own accept loop has passed to hyper.
    fn from_http_stream<Io>(upgraded: Upgraded) -> Result<(Self, Vec<u8>), Upgraded>
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let parts = upgraded.downcast::<TokioIo<HttpStream<Io>>>()?;
        let mut rest = parts.read_buf.to_vec();
        let stream = parts.io.into_inner();
        let Some((io, permit, ahead)) = stream.take() else { return Ok((Self::boxed(stream), rest)) };
        rest.extend(ahead);
        // A connection that arrived before the accept loop was started has not inherited the option.
        if let Some(tcp) = tcp_of(&io) {
            let _ = tcp.set_nodelay(true);
        }
        Ok((Self { _permit: permit, ..Self::from_io(io) }, rest))
    }

    pub(crate) fn boxed(io: impl ReadWrite + 'static) -> Self {
        Self::new(Io::Other(Box::new(io)))
    }

    fn new(io: Io) -> Self {
        Self { io, _permit: None, _tunnel: None }
    }

    /// Keeps the HTTP/2 connection open while this stream exists.
    pub(crate) fn with_tunnel(self, tunnel: Option<Tunnel>) -> Self {
        Self { _tunnel: tunnel.map(Box::new), ..self }
    }

    /// Makes dropping the stream reset the connection, so the kernel discards unsent data instead of
    /// continuing to send it to a client that does not read.
    pub(crate) fn reset_on_drop(&self) {
        let tcp = match &self.io {
            Io::Tcp(stream) => Some(stream),
            Io::Other(stream) => tcp_of(&**stream as &dyn Any),
        };
        if let Some(tcp) = tcp {
            let _ = tcp.set_zero_linger();
        }
    }

    /// Returns `true` if the client has closed or reset the connection, as far as the kernel knows without a
    /// read.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.io {
            Io::Tcp(stream) => is_read_closed(stream),
            Io::Other(stream) => tcp_of(&**stream as &dyn Any).is_some_and(is_read_closed),
        }
    }

    /// Returns `true` if dropping the stream is equivalent to a shutdown when no unread data is left. A TLS
    /// stream must send `close_notify` first.
    pub(crate) fn ends_on_drop(&self) -> bool {
        matches!(self.io, Io::Tcp(_))
    }

    fn inner(&mut self) -> Pin<&mut dyn ReadWrite> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream),
            Io::Other(stream) => Pin::new(&mut **stream),
        }
    }

    /// Reads into the buffer and returns the number of bytes. The number is 0 at the end of the stream.
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

/// Returns the TCP stream below a stream of a known type.
fn tcp_of(stream: &dyn Any) -> Option<&TcpStream> {
    #[cfg(feature = "tls")]
    if let Some(stream) = stream.downcast_ref::<TlsStream<TcpStream>>() {
        return Some(stream.get_ref().0);
    }
    #[cfg(feature = "tls")]
    if let Some(stream) = stream.downcast_ref::<tokio_rustls::server::TlsStream<TcpStream>>() {
        return Some(stream.get_ref().0);
    }
    stream.downcast_ref()
}

/// The interval at which a connection that is not read is checked for the end of the client.
pub(crate) const CLOSED_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Returns `true` if the client has closed or reset a connection, as far as the kernel knows without a read. Returns
/// `false` if the connection is not over TCP.
pub(crate) fn is_closed(io: &dyn Any) -> bool {
    tcp_of(io).is_some_and(is_read_closed)
}

fn is_read_closed(tcp: &TcpStream) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    match pin!(tcp.ready(Interest::READABLE)).poll(cx) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

/// Returns the stream below a connection upgraded by hyper or hyper-util, and the bytes read beyond the
/// request.
fn downcast<T>(upgraded: Upgraded) -> Result<(T, Vec<u8>), Upgraded>
where
    TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let upgraded = match auto::upgrade::downcast::<TokioIo<T>>(upgraded) {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf.to_vec())),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<T>>()?;
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response, StatusCode, header};
    use http_body_util::Empty;
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioExecutor;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::mpsc,
    };

    use super::*;

    /// Upgrades a connection with a hyper server. Returns the stream, and the bytes that followed the
    /// request.
    async fn upgraded(is_auto: bool) -> (Stream, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(!server.nodelay().unwrap(), "the server in front has not set it");

        let (sender, mut taken) = mpsc::channel(1);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (upgrade, sender) = (hyper::upgrade::on(&mut request), sender.clone());
            tokio::spawn(async move { sender.send(Stream::from_upgraded(upgrade.await.unwrap())).await });
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, header::HeaderValue::from_static("test"));
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let io = TokioIo::new(server);
        if is_auto {
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection_with_upgrades(io, service).await.unwrap();
            });
        } else {
            tokio::spawn(http1::Builder::new().serve_connection(io, service).with_upgrades());
        }
        let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\nearly";
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(client.read(&mut [0; 1000]).await.unwrap() > 0);
        taken.recv().await.unwrap()
    }

    #[tokio::test]
    async fn a_stream_of_another_server_is_taken_out_and_does_not_delay() {
        for is_auto in [false, true] {
            let (stream, rest) = upgraded(is_auto).await;
            let Io::Tcp(stream) = stream.io else { panic!("it is hidden, auto: {is_auto}") };
            assert!(stream.nodelay().unwrap(), "auto: {is_auto}");
            assert_eq!(rest, b"early", "auto: {is_auto}");
        }
    }
}
