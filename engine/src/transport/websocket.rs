//! A WebSocket: a stream, its decoder, and the frames on their way out.

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

/// The most frames of the engine itself that wait for a client. One that sends WebSocket pings and does not read is not
/// answered beyond; of all other frames there is one of each kind.
const MAX_OWN: usize = 16;

pub(crate) struct WebSocket {
    pub(crate) stream: Stream,
    pub(crate) decoder: Decoder,
    dialect: Dialect,
    /// Bytes that came and are not decoded yet: the start of a frame, or what waits for the application.
    pub(crate) tail: Vec<u8>,
    /// Whether `tail` may hold a complete frame.
    pub(crate) tail_ready: bool,
    /// If the client takes compressed messages.
    deflate: Option<Box<Deflate>>,
    sending: VecDeque<Frame>,
    /// How much of the first frame has been written.
    offset: usize,
    /// Whether the stream, which may have a buffer of its own as TLS has, holds back what was written.
    unflushed: bool,
    /// The cost of frames that have been written since it was last asked for.
    written: usize,
    /// Whether any byte has been written since the pace was last looked at.
    moved: bool,
    pub(crate) pace: PeerTimeouts,
    closing: Option<Closing>,
}

/// The way to the end of a WebSocket, once the close frame is queued.
struct Closing {
    /// When to stop waiting for the client.
    by: Instant,
    shut_down: bool,
    /// Whether the client has sent its close frame, and nothing behind it.
    has_all: bool,
}

/// What is to be expected of the client when a WebSocket ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// It does not take its messages.
    Unresponsive,
    /// It takes what was sent before the end, and may send more itself.
    Open,
    /// It has sent its close frame, and takes all up to the answer.
    Closing,
}

impl WebSocket {
    pub(crate) fn new(handed: UpgradedParts, dialect: Dialect, deflate: Option<Negotiated>) -> Self {
        let UpgradedParts { stream, answer, rest } = handed;
        let mut sending = VecDeque::new();
        if !answer.is_empty() {
            // It takes the places that the queue will need.
            sending.push_back(Frame::raw(answer));
        }
        let current = dialect.revision == Revision::V4 && !dialect.base64;
        Self {
            stream,
            decoder: Decoder::new(deflate.map(Negotiated::inflate)),
            // What is rewritten for an older client is not compressed too; no client may ask for that.
            deflate: deflate.filter(|_| current).map(|agreed| Box::new(agreed.deflate())),
            dialect,
            tail_ready: !rest.is_empty(),
            tail: rest,
            sending,
            offset: 0,
            unflushed: false,
            written: 0,
            moved: false,
            pace: PeerTimeouts::default(),
            closing: None,
        }
    }

    /// Queues the frames of the session; `self` must have written all before.
    pub(crate) fn queue(&mut self, mut frames: VecDeque<Frame>) {
        if self.dialect.revision == Revision::V3 || self.dialect.base64 {
            self.rewrite(&mut frames);
        }
        if let Some(deflate) = &mut self.deflate {
            // What was saved counts as written: what is left of the cost is counted when the frame has left.
            self.written += deflate.compress(&mut frames);
        }
        if self.sending.is_empty() {
            self.sending = frames;
        } else {
            self.sending.extend(frames);
        }
    }

    /// Puts messages into the form that an older client wants. What then counts nothing any more counts as written:
    /// it is one batch at most.
    fn rewrite(&mut self, frames: &mut VecDeque<Frame>) {
        for frame in frames {
            let cost = frame.cost();
            frame.rewrite(self.dialect.revision, self.dialect.base64);
            self.written += cost - frame.cost();
        }
    }

    /// Queues a frame of the engine itself, ahead of the messages that wait and behind those of its kind; unless one that
    /// says the same waits already, which then answers for both.
    pub(crate) fn queue_first(&mut self, frame: Frame) {
        let own = self.own();
        if !self.sending.range(own.clone()).any(|waiting| waiting.wire() == frame.wire()) {
            self.sending.insert(own.end, frame);
        }
    }

    pub(crate) fn queue_pong(&mut self, payload: &[u8]) {
        let own = self.own();
        if own.len() < MAX_OWN {
            self.sending.insert(own.end, Frame::pong(payload));
        }
    }

    /// The places of the engine's own frames in the queue, of which none has begun to leave: they are few.
    fn own(&self) -> Range<usize> {
        let begun = usize::from(self.offset > 0);
        let own = self.sending.iter().skip(begun).take_while(|frame| !frame.is_message()).count();
        begun..begun + own
    }

    /// The queue, once it is empty: the mailbox goes on with it, so that one small queue serves both.
    pub(crate) fn take_spare(&mut self) -> VecDeque<Frame> {
        if self.sending.is_empty() { std::mem::take(&mut self.sending) } else { VecDeque::new() }
    }

    /// Whether all frames have left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sending.is_empty() && !self.unflushed
    }

    /// The cost of the frames that were written since the last call.
    pub(crate) fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    /// Writes what is queued, many frames with one system call.
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

    /// Writes once: a single text frame from where it lies, anything else gathered in the thread's buffer.
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

    /// Forgets what has been written.
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

    /// Takes note of whether the client takes what waits for it.
    pub(crate) fn watch_writing(&mut self, now: Instant, timeout: Duration) {
        let taken = std::mem::take(&mut self.moved);
        self.pace.offered(now, timeout, taken, !self.is_flushed());
    }

    /// Takes note of whether a message has come in part.
    pub(crate) fn watch_reading(&mut self, now: Instant, timeout: Duration) {
        let partial = !self.tail.is_empty() && !self.tail_ready;
        self.pace.received(now, timeout, partial || self.decoder.is_within_message());
    }

    /// Queues the close frame behind all messages, or in their place if the client does not take them.
    pub(crate) fn close(&mut self, close: Frame, by: Instant, client: PeerState) {
        if self.closing.is_some() {
            return;
        }
        let has_all = client == PeerState::Closing && self.tail.is_empty();
        self.tail = Vec::new();
        self.tail_ready = false;
        if client == PeerState::Unresponsive {
            let mut begun = self.offset > 0;
            // What is not a message says how to read the rest, as the answer to the handshake does.
            self.sending.retain(|frame| std::mem::take(&mut begun) || !frame.is_message());
        }
        self.sending.push_back(close);
        self.closing = Some(Closing { by, shut_down: false, has_all });
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// When to give up on the client.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.closing.as_ref().map_or_else(|| self.pace.deadline(), |closing| Some(closing.by))
    }

    /// Goes on with the end: the close frame leaves, our side of the stream shuts down, and what the client
    /// still sends is read and dropped until it ends its side too. Closing a socket with unread bytes would
    /// reset the connection, and the client might lose the last messages.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>, now: Instant, scratch: &mut [u8]) -> Poll<()> {
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
            if closing.has_all && self.stream.ends_on_drop() {
                return Poll::Ready(());
            }
            if ready!(self.stream.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            closing.shut_down = true;
        }
        loop {
            match ready!(self.stream.poll_read(cx, scratch)) {
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

    /// Takes all that is written, and holds it back for some flushes.
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
        let handed = UpgradedParts { stream, answer: Vec::new(), rest: Vec::new() };
        let mut websocket = WebSocket::new(handed, Dialect::CURRENT, None);
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
