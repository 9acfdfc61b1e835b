//! Takes the messages to subscribers out of what Redis sends on a connection.
//!
//! `redis` copies each message several times and passes it through a channel. Most of what a server receives are such
//! messages, and most of these are for rooms that it does not have.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dialect::ChannelKind;

/// The size of the buffer. It grows while a longer message is received.
const BUFFER: usize = 16 * 1024;

/// The number of messages after which the task yields.
const TURN: usize = 64;

/// A message of a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published<'a> {
    pub(super) kind: ChannelKind,
    /// The name of the subscription.
    pub(super) subscription: &'a [u8],
    /// The name of the channel. It differs from that of the subscription if that is a pattern.
    pub(super) channel: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// What a buffer starts with.
#[derive(Debug, PartialEq, Eq)]
enum Start<'a> {
    Message(Published<'a>, usize),
    /// Something else of this length.
    Other(usize),
    Incomplete,
    Invalid,
}

/// A connection. Messages to subscribers are passed to a function, and everything else is read from the connection.
pub(super) struct Filtered<S, F> {
    stream: S,
    receive: F,
    /// The bytes from `start` to `end` were received.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The number of bytes from `start` that can be read.
    readable: usize,
    /// `true` if what was received is not valid. Then nothing is taken out any more.
    is_invalid: bool,
}

impl<S, F: FnMut(Published<'_>)> Filtered<S, F> {
    pub(super) fn new(stream: S, receive: F) -> Self {
        let buffer = vec![0; BUFFER];
        Self { stream, receive, buffer, start: 0, end: 0, readable: 0, is_invalid: false }
    }

    /// Passes messages on until something else can be read, more must be received, or `turn` is 0.
    fn advance(&mut self, turn: &mut usize) {
        while self.readable == 0 && self.start < self.end && *turn > 0 {
            if self.is_invalid {
                self.readable = self.end - self.start;
                return;
            }
            match start(&self.buffer[self.start..self.end]) {
                Start::Message(message, len) => {
                    (self.receive)(message);
                    self.start += len;
                    *turn -= 1;
                }
                Start::Other(len) => self.readable = len,
                Start::Incomplete => return,
                Start::Invalid => self.is_invalid = true,
            }
        }
    }

    /// Makes room for what is received next.
    fn reserve(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER {
                self.buffer = vec![0; BUFFER];
            }
        } else if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end > self.buffer.len() / 2 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
    }
}

impl<S: AsyncRead + Unpin, F: FnMut(Published<'_>) + Unpin> AsyncRead for Filtered<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut turn = TURN;
        loop {
            this.advance(&mut turn);
            if this.readable > 0 {
                break;
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.reserve();
            let mut received = ReadBuf::new(&mut this.buffer[this.end..]);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut received))?;
            let len = received.filled().len();
            if len == 0 {
                // The connection is closed.
                return Poll::Ready(Ok(()));
            }
            this.end += len;
        }
        let len = this.readable.min(read.remaining());
        read.put_slice(&this.buffer[this.start..this.start + len]);
        this.start += len;
        this.readable -= len;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Filtered<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Returns what a buffer starts with.
fn start(bytes: &[u8]) -> Start<'_> {
    let kinds = [
        (&b">4\r\n$8\r\npmessage\r\n"[..], ChannelKind::Pattern),
        (&b">3\r\n$7\r\nmessage\r\n"[..], ChannelKind::Plain),
        (&b">3\r\n$8\r\nsmessage\r\n"[..], ChannelKind::Shard),
    ];
    for (head, kind) in kinds {
        if bytes.starts_with(head) {
            return match message(bytes, head.len(), kind) {
                Ok(Some((message, len))) => Start::Message(message, len),
                Ok(None) => Start::Incomplete,
                Err(Invalid) => Start::Invalid,
            };
        }
    }
    match value_len(bytes) {
        Ok(Some(len)) => Start::Other(len),
        Ok(None) => Start::Incomplete,
        Err(Invalid) => Start::Invalid,
    }
}

/// The bytes are not RESP3.
#[derive(Debug, PartialEq, Eq)]
struct Invalid;

/// Reads the names and the payload of a message. Returns `None` if more must be received.
fn message(
    bytes: &[u8],
    mut at: usize,
    kind: ChannelKind,
) -> Result<Option<(Published<'_>, usize)>, Invalid> {
    let mut texts = [&[][..]; 3];
    let skip = usize::from(kind != ChannelKind::Pattern);
    for text in &mut texts[skip..] {
        let Some((marker, len, start)) = line(bytes, at)? else { return Ok(None) };
        if marker != b'$' {
            return Err(Invalid);
        }
        let end = start.checked_add(usize::try_from(len).map_err(|_| Invalid)?).ok_or(Invalid)?;
        let Some(found) = bytes.get(start..end) else { return Ok(None) };
        (*text, at) = (found, end.checked_add(2).ok_or(Invalid)?);
    }
    if at > bytes.len() {
        return Ok(None);
    }
    let [pattern, channel, payload] = texts;
    let subscription = if kind == ChannelKind::Pattern { pattern } else { channel };
    Ok(Some((Published { kind, subscription, channel, payload }, at)))
}

/// Returns the length of the value that the bytes start with. Returns `None` if more must be received.
fn value_len(bytes: &[u8]) -> Result<Option<usize>, Invalid> {
    let (mut at, mut values) = (0_usize, 1_usize);
    while values > 0 {
        values -= 1;
        let Some((marker, number, start)) = line(bytes, at)? else { return Ok(None) };
        at = start;
        let count = usize::try_from(number).unwrap_or(0);
        match marker {
            b'$' | b'!' | b'=' if number >= 0 => {
                at = start.checked_add(count).and_then(|end| end.checked_add(2)).ok_or(Invalid)?;
            }
            b'*' | b'~' | b'>' => values = values.checked_add(count).ok_or(Invalid)?,
            b'%' => {
                values = count.checked_mul(2).and_then(|count| values.checked_add(count)).ok_or(Invalid)?;
            }
            // Attributes precede a value.
            b'|' => {
                let count = count.checked_mul(2).and_then(|count| count.checked_add(1));
                values = count.and_then(|count| values.checked_add(count)).ok_or(Invalid)?;
            }
            b'$' | b'!' | b'=' | b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            _ => return Err(Invalid),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// Reads a line. Returns its marker, its number, which is 0 if it has none, and the index after it.
fn line(bytes: &[u8], at: usize) -> Result<Option<(u8, i64, usize)>, Invalid> {
    let Some((marker, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    let Some(len) = rest.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
    let end = at + len + 3;
    if end > bytes.len() {
        return Ok(None);
    }
    if bytes[end - 1] != b'\n' {
        return Err(Invalid);
    }
    if !matches!(marker, b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|') {
        return Ok(Some((*marker, 0, end)));
    }
    let number = std::str::from_utf8(&rest[..len]).ok().and_then(|digits| digits.parse().ok());
    Ok(Some((*marker, number.ok_or(Invalid)?, end)))
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
    };

    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const MESSAGES: &[u8] = b">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$4\r\n\r\n>1\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$0\r\n\r\n>3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n";
    const OTHERS: [&[u8]; 12] = [
        b"+OK\r\n",
        b"-ERR it is so\r\n",
        b":-7\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"$-1\r\n",
        b"$5\r\n>3\r\n$\r\n",
        b"%2\r\n+a\r\n*2\r\n:1\r\n$0\r\n\r\n+b\r\n~1\r\n=5\r\ntxt:x\r\n",
        b"|1\r\n+a\r\n:1\r\n*-1\r\n",
        b">3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:1\r\n",
        b"*0\r\n",
    ];

    /// Reads in pieces of a length. Returns the messages, and the other bytes.
    async fn filtered(received: &[u8], piece: usize) -> (Vec<(ChannelKind, Vec<Vec<u8>>)>, Vec<u8>) {
        let messages = Rc::new(RefCell::new(Vec::new()));
        let (mut sender, stream) = duplex(piece);
        let seen = messages.clone();
        let mut filtered = Filtered::new(stream, move |message: Published<'_>| {
            let Published { kind, subscription, channel, payload } = message;
            seen.borrow_mut().push((kind, [subscription, channel, payload].map(<[u8]>::to_vec).to_vec()));
        });
        let mut others = Vec::new();
        let sending = async {
            sender.write_all(received).await.unwrap();
            drop(sender);
        };
        let ((), read) = tokio::join!(sending, filtered.read_to_end(&mut others));
        read.unwrap();
        drop(filtered);
        (Rc::into_inner(messages).unwrap().into_inner(), others)
    }

    #[tokio::test]
    async fn messages_are_taken_out_wherever_the_stream_is_split() {
        let received: Vec<u8> = OTHERS.iter().flat_map(|other| [other, MESSAGES].concat()).collect();
        let strings = |texts: [&str; 3]| texts.map(|text| text.as_bytes().to_vec()).to_vec();
        let expected = [
            (ChannelKind::Pattern, strings(["a*", "abc", "\r\n>1"])),
            (ChannelKind::Plain, strings(["b", "b", ""])),
            (ChannelKind::Shard, strings(["c", "c", "x"])),
        ];
        for piece in [1, 2, 3, 7, 64, 10_000] {
            let (messages, others) = filtered(&received, piece).await;
            assert_eq!(others, OTHERS.concat(), "{piece}");
            let expected: Vec<_> = OTHERS.iter().flat_map(|_| expected.clone()).collect();
            assert_eq!(messages, expected, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_task_yields_after_some_messages() {
        let (mut sender, stream) = duplex(100_000);
        let seen = Cell::new(0);
        sender.write_all(&MESSAGES.repeat(TURN)).await.unwrap();
        let mut filtered = Filtered::new(stream, |_: Published<'_>| seen.set(seen.get() + 1));
        let mut byte = [0];
        for turn in 1..=3 {
            assert!(filtered.read(&mut byte).now_or_never().is_none());
            assert_eq!(seen.get(), turn * TURN);
        }
    }

    #[tokio::test]
    async fn a_message_may_be_longer_than_the_buffer() {
        for len in [BUFFER - 50, BUFFER, 5 * BUFFER] {
            let payload = vec![b'x'; len];
            let head = format!(">3\r\n$7\r\nmessage\r\n$1\r\nb\r\n${len}\r\n");
            let received = [head.as_bytes(), &payload, b"\r\n+OK\r\n", MESSAGES].concat();
            let (messages, others) = filtered(&received, 1_000).await;
            assert_eq!((&messages[0].1[2], messages.len(), &others[..]), (&payload, 4, &b"+OK\r\n"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_not_valid_is_left_to_the_library() {
        for invalid in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"$x\r\n",
            b"+OK\rx",
            b">3\r\n$7\r\nmessage\r\n$-1\r\n",
            b">3\r\n$7\r\nmessage\r\n:1\r\n",
            b"$99999999999999999999\r\n",
        ] {
            let received = [invalid, MESSAGES].concat();
            let (messages, others) = filtered(&received, 5).await;
            assert_eq!((messages.len(), &others), (0, &received));
        }
    }

    #[tokio::test]
    async fn an_incomplete_value_is_not_read() {
        for received in
            [&MESSAGES[..MESSAGES.len() - 1], b"*2\r\n:1\r\n", b"$3\r\nab", b"$9223372036854775807\r\n"]
        {
            assert_eq!(filtered(received, 9).await.1, b"");
        }
    }
}
