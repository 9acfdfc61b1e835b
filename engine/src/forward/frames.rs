//! A stream of frames between two servers.

use std::{
    io,
    task::{Context, Poll, ready},
};

use crate::{
    proto::forward::ForwardFrame,
    transport::{stream::Stream, thread_buffers::with_read_buffer},
};

/// The capacity of a buffer that is kept when the buffer is empty.
const MAX_IDLE_CAPACITY: usize = 64 * 1024;

/// A connection that reads and writes many frames at once.
pub(super) struct FrameStream {
    stream: Stream,
    /// Received bytes of an incomplete frame.
    input: Vec<u8>,
    max_frame: usize,
    /// Encoded frames.
    pub(super) output: Vec<u8>,
    /// The number of bytes of `output` that have been written.
    written: usize,
    /// The last call of [`yields`](Self::yields) returned `true`.
    has_yielded: bool,
}

impl FrameStream {
    /// Creates a stream that has already received `input`. Longer frames than `max_frame` are an error.
    pub(super) fn new(stream: Stream, input: Vec<u8>, output: Vec<u8>, max_frame: usize) -> Self {
        Self { stream, input, max_frame, output, written: 0, has_yielded: false }
    }

    /// Reads once, and passes each complete frame and the id of its request to `on_frame`, with the buffer for
    /// responses. Fails at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut on_frame: impl FnMut(u32, ForwardFrame<'_>, &mut Vec<u8>),
    ) -> Poll<io::Result<()>> {
        with_read_buffer(|buffer| {
            let len = ready!(self.stream.poll_read(cx, buffer))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let received = &buffer[..len];
            let mut on_frame = |id, frame: ForwardFrame<'_>| on_frame(id, frame, &mut self.output);
            if self.input.is_empty() {
                let used = decode(received, self.max_frame, &mut on_frame)?;
                self.input.extend_from_slice(&received[used..]);
            } else {
                self.input.extend_from_slice(received);
                let used = decode(&self.input, self.max_frame, &mut on_frame)?;
                self.input.drain(..used);
                shrink(&mut self.input);
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Returns `true` in every second call, and wakes the task again. The tasks that can run then run first, and the
    /// frames that they add are written with the same system call.
    pub(super) fn yields(&mut self, cx: &Context<'_>) -> bool {
        self.has_yielded = !self.has_yielded;
        if self.has_yielded {
            cx.waker().wake_by_ref();
        }
        self.has_yielded
    }

    /// Writes the encoded frames.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let written = ready!(self.stream.poll_write(cx, &self.output[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        if self.written > 0 {
            self.output.clear();
            self.written = 0;
            shrink(&mut self.output);
        }
        self.stream.poll_flush(cx)
    }
}

/// Decodes all complete frames, and returns the number of their bytes.
fn decode(
    bytes: &[u8],
    max_frame: usize,
    on_frame: &mut impl FnMut(u32, ForwardFrame<'_>),
) -> io::Result<usize> {
    let mut used = 0;
    loop {
        match ForwardFrame::decode(&bytes[used..], max_frame) {
            Ok(Some((len, id, frame))) => {
                on_frame(id, frame);
                used += len;
            }
            Ok(None) => return Ok(used),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn shrink(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > MAX_IDLE_CAPACITY {
        *buffer = Vec::new();
    }
}
