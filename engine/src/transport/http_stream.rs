//! The stream of a connection that hyper serves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::{stream::is_closed, thread_buffers::with_read_buffer};

/// A handle of a stream. hyper owns one handle and reads and writes through it. The task of the connection owns
/// another one, with which it reads what follows a request, and takes the stream back at the end.
pub(crate) struct HttpStream<Io>(Arc<Mutex<Inner<Io>>>);

struct Inner<Io> {
    /// `None` once a session has taken the stream over.
    io: Option<Io>,
    permit: Option<OwnedSemaphorePermit>,
    /// Bytes that were read before hyper asked for them.
    input: Vec<u8>,
    read_closed: bool,
    /// Set when hyper receives bytes from the stream.
    received: Arc<AtomicBool>,
    /// The number of bytes written.
    written: u64,
    /// The last write or flush returned `Pending`.
    is_stalled: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + 'static> HttpStream<Io> {
    /// Creates a stream whose first bytes are `input`.
    pub(crate) fn new(
        io: Io,
        permit: OwnedSemaphorePermit,
        input: Vec<u8>,
        received: Arc<AtomicBool>,
    ) -> Self {
        received.store(!input.is_empty(), Ordering::Relaxed);
        Self(Arc::new(Mutex::new(Inner {
            io: Some(io),
            permit: Some(permit),
            input,
            read_closed: false,
            received,
            written: 0,
            is_stalled: false,
        })))
    }

    /// Returns another handle.
    pub(crate) fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// Returns the number of bytes written so far if the client does not take more at present.
    pub(crate) fn stalled_at(&self) -> Option<u64> {
        let inner = self.0.lock();
        inner.is_stalled.then_some(inner.written)
    }

    /// Returns `true` if the end of the stream was read.
    pub(crate) fn is_read_closed(&self) -> bool {
        self.0.lock().read_closed
    }

    /// Returns `true` if the client has closed or reset the connection, as far as the kernel knows without a read.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().io.as_ref().is_some_and(|io| is_closed(io))
    }

    /// Reads until `then` has a result for the bytes that hyper has not received yet, which it must have for `max`
    /// bytes. Its second argument is `true` at the end of the stream.
    pub(crate) fn poll_peek<T>(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        then: impl Fn(&[u8], bool) -> Option<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let inner = self.0.lock();
            if let Some(result) = then(&inner.input, inner.read_closed) {
                return Poll::Ready(Ok(result));
            }
            drop(inner);
            ready!(self.poll_ahead(cx, max))?;
        }
    }

    /// Reads once what follows a request, while hyper does not read. Returns `false` if nothing more is to be read,
    /// because `max` bytes are waiting or because the client has shut down its sending side.
    pub(crate) fn poll_ahead(&self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<bool>> {
        let inner = &mut *self.0.lock();
        let room = max.saturating_sub(inner.input.len());
        let Some(io) = inner.io.as_mut().filter(|_| room > 0 && !inner.read_closed) else {
            return Poll::Ready(Ok(false));
        };
        with_read_buffer(|buffer| {
            let room = room.min(buffer.len());
            let mut buffer = ReadBuf::new(&mut buffer[..room]);
            ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
            inner.read_closed = buffer.filled().is_empty();
            inner.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(!inner.read_closed))
        })
    }

    /// Takes the stream out of all handles, with the permit of the connection and the bytes that were read ahead.
    /// Returns `None` if it was taken before.
    pub(crate) fn take(&self) -> Option<(Io, Option<OwnedSemaphorePermit>, Vec<u8>)> {
        let mut inner = self.0.lock();
        let io = inner.io.take()?;
        Some((io, inner.permit.take(), std::mem::take(&mut inner.input)))
    }
}

impl<Io: Unpin> Inner<Io> {
    /// Writes to the stream or flushes it, and records whether it stalls.
    fn write<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut Io>) -> Poll<io::Result<T>>,
        len: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let result = write(Pin::new(io));
        self.is_stalled = result.is_pending();
        if let Poll::Ready(Ok(result)) = &result {
            self.written += len(result) as u64;
        }
        result
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for HttpStream<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.lock();
        if !inner.input.is_empty() {
            let len = inner.input.len().min(buffer.remaining());
            buffer.put_slice(&inner.input[..len]);
            if len == inner.input.len() {
                inner.input = Vec::new();
            } else {
                inner.input.drain(..len);
            }
            return Poll::Ready(Ok(()));
        }
        let Some(io) = inner.io.as_mut().filter(|_| !inner.read_closed) else { return Poll::Ready(Ok(())) };
        let before = buffer.filled().len();
        ready!(Pin::new(io).poll_read(cx, buffer))?;
        inner.read_closed = buffer.filled().len() == before;
        inner.received.store(!inner.read_closed, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for HttpStream<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().write(|io| io.poll_write(cx, bytes), |&len| len)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(|io| io.poll_write_vectored(cx, parts), |&len| len)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().write(|io| io.poll_flush(cx), |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.lock().io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
