//! A request body of known length that has not arrived completely, and its sending side.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;

/// A body that is received in parts.
pub(in crate::listen) struct SizedBody {
    pipe: Arc<Mutex<Pipe>>,
    left: u64,
}

/// The channel between a connection and a body. It holds at most one part. The connection reads the next part
/// when the engine polls for it.
#[derive(Default)]
struct Pipe {
    part: Option<Bytes>,
    is_wanted: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

impl SizedBody {
    /// Creates a body of `len` bytes, which must not be zero, and its sending side.
    pub(super) fn new(len: u64) -> (Self, BodySender) {
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        (Self { pipe: pipe.clone(), left: len }, BodySender { pipe, left: len })
    }

    /// Returns the number of bytes that have not been read.
    pub(in crate::listen) fn left(&self) -> u64 {
        self.left
    }

    pub(in crate::listen) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let pipe = &mut *self.pipe.lock();
        if let Some(part) = pipe.part.take() {
            self.left -= part.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        pipe.is_wanted = true;
        pipe.reader = Some(cx.waker().clone());
        if let Some(connection) = pipe.connection.take() {
            connection.wake();
        }
        Poll::Pending
    }
}

/// The sending side of a body, held by the connection.
pub(super) struct BodySender {
    pipe: Arc<Mutex<Pipe>>,
    left: u64,
}

impl BodySender {
    /// Returns `true` if the whole body has been received.
    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// Completes when the engine polls for more of the body.
    pub(super) fn poll_demand(&self, cx: &mut Context<'_>) -> Poll<()> {
        let pipe = &mut *self.pipe.lock();
        if pipe.is_wanted {
            return Poll::Ready(());
        }
        pipe.connection = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Passes the bytes of the body at the start of `input` on. Returns their number.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.left -= len as u64;
        let pipe = &mut *self.pipe.lock();
        pipe.part = Some(Bytes::copy_from_slice(&input[..len]));
        pipe.is_wanted = false;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        len
    }
}
