//! A WebSocket, which consists of a stream, a decoder, and a queue of outgoing frames.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::stream::Stream;
use crate::{
    proto::{
        deflate::{Deflate, Negotiated},
        dialect::{Dialect, Revision},
        frame::Frame,
        websocket::Decoder,
    },
    transport::{peer_timeouts::PeerTimeouts, thread_buffers::with_write_buffer, upgrade::UpgradedParts},
};

/// The maximum number of queued control frames. When the maximum is reached, no pongs are sent for WebSocket
/// pings. Of all other kinds of control frames, at most one frame is queued.
const MAX_CONTROL_FRAMES: usize = 16;

pub(crate) struct WebSocket {
    pub(crate) stream: Stream,
    pub(crate) decoder: Decoder,
    dialect: Dialect,
    /// Bytes that are received but not decoded yet. They are the start of a frame, or frames that remain
    /// undecoded while the application does not accept messages.
    tail: Vec<u8>,
    /// `true` if `tail` may hold a complete frame.
    pub(crate) unread_ready: bool,
    /// `Some` if the client accepts compressed messages.
    deflate: Option<Box<Deflate>>,
    sending: VecDeque<Frame>,
    /// The number of bytes of the first frame that are written.
    offset: usize,
    /// `true` if the stream, for example a TLS stream, still buffers written bytes.
    unflushed: bool,
    /// The cost of the frames written since the last `take_written`.
    written: usize,
    /// `true` if any byte was written since the last `update_write_timeout`.
    moved: bool,
    pub(crate) timeouts: PeerTimeouts,
    /// Boxed, because most connections are not closing.
    closing: Option<Box<Closing>>,
}

/// The state of a closing WebSocket, from the moment its close frame is queued.
struct Closing {
    /// The deadline for the client to close its side.
    by: Instant,
    shut_down: bool,
    /// `true` if the client has sent its close frame and no bytes after the close frame.
    client_done: bool,
}

/// The expected behavior of the client when a WebSocket closes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// The client is not expected to read, so queued messages are discarded.
    Unresponsive,
    /// The client reads the messages sent before the close, and may still send bytes.
    Open,
    /// The client has sent its close frame, and reads until it receives the reply.
    Closing,
}

impl WebSocket {
    pub(crate) fn new(parts: UpgradedParts, dialect: Dialect, deflate: Option<Negotiated>) -> Self {
        let UpgradedParts { stream, answer, rest } = parts;
        let mut sending = VecDeque::new();
        if !answer.is_empty() {
            // Later frames reuse the slot of the response in the queue.
            sending.push_back(Frame::raw(answer));
        }
        let current = dialect.revision == Revision::V4 && !dialect.base64;
        Self {
            stream,
            decoder: Decoder::new(deflate.map(Negotiated::inflate)),
            // Rewritten frames are not compressed, so compression is disabled for clients that need rewritten
            // frames.
            deflate: deflate.filter(|_| current).map(|agreed| Box::new(agreed.deflate())),
            dialect,
            unread_ready: !rest.is_empty(),
            tail: rest,
            sending,
            offset: 0,
            unflushed: false,
            written: 0,
            moved: false,
            timeouts: PeerTimeouts::default(),
            closing: None,
        }
    }

    /// Appends the messages of the session to the queue.
    pub(crate) fn queue(&mut self, mut frames: VecDeque<Frame>) {
        if self.dialect.revision == Revision::V3 || self.dialect.base64 {
            self.rewrite(&mut frames);
        }
        if let Some(deflate) = &mut self.deflate {
            // The saved bytes count as written immediately, and the remaining cost counts once the frame is
            // written.
            self.written += deflate.compress(&mut frames);
        }
        if self.sending.is_empty() {
            self.sending = frames;
        } else {
            self.sending.extend(frames);
        }
    }

    /// Rewrites messages for a client with protocol 3 or without binary support. If the cost of a frame
    /// decreases, the difference counts as written. The total difference is at most the cost of one batch.
    fn rewrite(&mut self, frames: &mut VecDeque<Frame>) {
        for frame in frames {
            let cost = frame.cost();
            frame.rewrite(self.dialect.revision, self.dialect.base64);
            self.written += cost - frame.cost();
        }
    }

    /// Queues a control frame after other control frames and before all messages. Does nothing if an equal
    /// frame is already queued.
    pub(crate) fn queue_control(&mut self, frame: Frame) {
        let control = self.control_range();
        if !self.sending.range(control.clone()).any(|waiting| waiting.wire() == frame.wire()) {
            self.sending.insert(control.end, frame);
        }
    }

    pub(crate) fn queue_pong(&mut self, payload: &[u8]) {
        let control = self.control_range();
        if control.len() < MAX_CONTROL_FRAMES {
            self.sending.insert(control.end, Frame::pong(payload));
        }
    }

    /// Returns the range of the control frames at the front of the queue, without a partially written frame.
    /// There are only few control frames.
    fn control_range(&self) -> Range<usize> {
        let begun = usize::from(self.offset > 0);
        let control = self.sending.iter().skip(begun).take_while(|frame| !frame.is_message()).count();
        begun..begun + control
    }

    /// Returns the allocation of the queue if it is empty, so that the mailbox can reuse a small one.
    pub(crate) fn take_empty_queue(&mut self) -> VecDeque<Frame> {
        if self.sending.is_empty() { std::mem::take(&mut self.sending) } else { VecDeque::new() }
    }

    /// Returns the frames that are being written.
    pub(crate) fn sending(&mut self) -> &mut VecDeque<Frame> {
        &mut self.sending
    }

    /// Returns `true` if part of a frame is written, so that a close frame cannot follow before its end.
    pub(crate) fn is_within_frame(&self) -> bool {
        self.offset > 0
    }

    /// Makes dropping the WebSocket reset the connection.
    pub(crate) fn reset_on_drop(&self) {
        self.stream.reset_on_drop();
    }

    /// Returns `true` if all frames are written and flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sending.is_empty() && !self.unflushed
    }

    /// Returns the cost of the frames written since the last call.
    pub(crate) fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    /// Writes the queue, with many frames per system call.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        while !self.sending.is_empty() {
            let written = ready!(self.poll_write(cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        let flushed = self.stream.poll_flush(cx);
        self.unflushed = flushed.is_pending();
        flushed
    }

    /// Writes once. A single text frame and the rest of a large frame are written without a copy. Otherwise,
    /// the frames are gathered in the thread's buffer.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, sending, offset, .. } = self;
        let Some(first) = sending.front() else { return Poll::Ready(Ok(0)) };
        let (head, body) = first.wire();
        let alone = sending.len() == 1 && head.is_empty();
        with_write_buffer(|buffer| {
            let large = first.wire_len() - *offset > buffer.capacity();
            if alone || (large && *offset >= head.len()) {
                return stream.poll_write(cx, &body[*offset - head.len()..]);
            }
            let mut skip = *offset;
            for frame in sending.iter() {
                let (head, body) = frame.wire();
                for part in [head, body] {
                    let part = &part[skip.min(part.len())..];
                    skip = skip.saturating_sub(head.len());
                    let room = buffer.capacity() - buffer.len();
                    buffer.extend_from_slice(&part[..part.len().min(room)]);
                }
                skip = 0;
                if buffer.len() == buffer.capacity() {
                    break;
                }
            }
            stream.poll_write(cx, buffer)
        })
    }

    /// Removes written bytes from the queue.
    fn advance(&mut self, written: usize) {
        self.offset += written;
        self.moved = true;
        while let Some(frame) = self.sending.front()
            && self.offset >= frame.wire_len()
        {
            self.offset -= frame.wire_len();
            self.written += frame.cost();
            self.sending.pop_front();
        }
    }

    /// Reads once, unless kept bytes may contain a complete frame. Returns `None` if the client has closed its side.
    ///
    /// The input to decode is the returned slice, or [`take_kept`](Self::take_kept) if that is not empty. The caller
    /// decodes it in place and returns the rest with [`keep`](Self::keep).
    #[inline]
    pub(crate) fn poll_read<'a>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'a mut [u8],
    ) -> Poll<Option<&'a mut [u8]>> {
        if self.unread_ready {
            return Poll::Ready(Some(&mut []));
        }
        let read = match ready!(self.stream.poll_read(cx, buffer)) {
            Ok(read) if read > 0 => &mut buffer[..read],
            _ => return Poll::Ready(None),
        };
        if !self.tail.is_empty() {
            // The start of a frame was kept.
            self.tail.extend_from_slice(read);
        }
        Poll::Ready(Some(read))
    }

    /// Removes the kept bytes.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.tail)
    }

    /// Keeps the input that was not decoded, from `used` on. Kept bytes are not copied again.
    #[inline]
    pub(crate) fn keep(&mut self, read: &[u8], mut kept: Vec<u8>, used: usize) {
        if kept.is_empty() {
            self.tail.extend_from_slice(&read[used..]);
        } else if used < kept.len() {
            kept.drain(..used);
            self.tail = kept;
        }
    }

    /// Updates the write timeout.
    pub(crate) fn update_write_timeout(&mut self, now: Instant, timeout: Duration) {
        let taken = std::mem::take(&mut self.moved);
        self.timeouts.on_write(now, timeout, taken, !self.is_flushed());
    }

    /// Updates the timeout of an incomplete message.
    pub(crate) fn update_message_timeout(&mut self, now: Instant, timeout: Duration) {
        let partial = !self.tail.is_empty() && !self.unread_ready;
        self.timeouts.on_read(now, timeout, partial || self.decoder.is_within_message());
    }

    /// Queues the close frame after all messages. If the client is not expected to read, the close frame
    /// replaces the messages.
    pub(crate) fn close(&mut self, close: Frame, by: Instant, client: PeerState) {
        if self.closing.is_some() {
            return;
        }
        let client_done = client == PeerState::Closing && self.tail.is_empty();
        self.tail = Vec::new();
        self.unread_ready = false;
        if client == PeerState::Unresponsive {
            let mut begun = self.offset > 0;
            // Control frames are kept, because the handshake response may be one of these frames, and without
            // the response the client cannot read the close frame.
            self.sending.retain(|frame| std::mem::take(&mut begun) || !frame.is_message());
        }
        self.sending.push_back(close);
        self.closing = Some(Box::new(Closing { by, shut_down: false, client_done }));
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Returns the next deadline for the client.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.closing.as_ref().map_or_else(|| self.timeouts.deadline(), |closing| Some(closing.by))
    }

    /// Continues the close. Sends the close frame, shuts down the sending side, and discards received bytes
    /// until the client closes the connection. Closing a socket with unread bytes would reset the connection,
    /// and the client might lose the last messages.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>, now: Instant, buffer: &mut [u8]) -> Poll<()> {
        if self.closing.as_ref().is_none_or(|closing| closing.by <= now) {
            if !self.is_flushed() {
                self.stream.reset_on_drop();
            }
            return Poll::Ready(());
        }
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        if let Some(closing) = &mut self.closing
            && !closing.shut_down
        {
            if closing.client_done && self.stream.ends_on_drop() {
                return Poll::Ready(());
            }
            if ready!(self.stream.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            closing.shut_down = true;
        }
        loop {
            match ready!(self.stream.poll_read(cx, buffer)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Waker,
    };

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// A stream that accepts all writes and completes only after a number of flushes.
    struct Holding(Arc<AtomicUsize>);

    impl AsyncRead for Holding {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let left = self.0.load(Ordering::Relaxed);
            if left == 0 {
                return Poll::Ready(Ok(()));
            }
            self.0.store(left - 1, Ordering::Relaxed);
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_the_stream_holds_back_is_flushed_without_another_write() {
        let flushes = Arc::new(AtomicUsize::new(2));
        let stream = Stream::boxed(Holding(flushes.clone()));
        let parts = UpgradedParts { stream, answer: Vec::new(), rest: Vec::new() };
        let mut websocket = WebSocket::new(parts, Dialect::CURRENT, None);
        websocket.queue([Frame::text("held back")].into());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(websocket.poll_flush(cx).is_pending());
        assert!(!websocket.is_flushed());
        assert!(websocket.poll_flush(cx).is_pending());
        assert!(websocket.poll_flush(cx).is_ready());
        assert!(websocket.is_flushed());
        assert_eq!(flushes.load(Ordering::Relaxed), 0);
    }
}
