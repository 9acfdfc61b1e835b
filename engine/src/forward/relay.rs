//! A WebSocket between a client and the server of its session.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::Upgraded;
use tokio::{
    sync::watch,
    time::{Sleep, sleep, timeout},
};

use crate::transport::{stream::Stream, thread_buffers::with_read_buffer, upgrade::UpgradedParts};

/// The maximum number of bytes that are read before they are written.
const MAX_UNWRITTEN: usize = 16 * 1024;

/// Copies in both directions until the other server has closed its connection, the client reads nothing for
/// `write_timeout`, or this server closes.
///
/// The other server decides when the session ends. It learns from its own connection that the client has closed, or
/// does not read.
pub(super) async fn relay(
    client: UpgradedParts,
    server: impl Future<Output = hyper::Result<Upgraded>>,
    write_timeout: Duration,
    mut closing: watch::Receiver<bool>,
) {
    let relay = async {
        let (server, received) = Stream::from_upgraded(server.await?);
        let UpgradedParts { stream, answer, rest } = client;
        let mut relay = Relay {
            client: stream,
            server,
            up: Direction { unwritten: rest, ..Direction::default() },
            down: Direction { unwritten: [answer, received].concat(), ..Direction::default() },
            stalled: None,
            write_timeout,
        };
        poll_fn(|cx| relay.poll(cx)).await;
        let _ = timeout(write_timeout, poll_fn(|cx| relay.client.poll_shutdown(cx))).await;
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        _ = relay => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

struct Relay {
    client: Stream,
    server: Stream,
    /// From the client to the server.
    up: Direction,
    /// From the server to the client.
    down: Direction,
    /// `Some` while the client does not read.
    stalled: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
}

impl Relay {
    /// Completes when the client has received everything from the server, or reads nothing for too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.up.has_ended && self.up.poll_copy(cx, &mut self.client, &mut self.server).is_ready() {
            self.up.has_ended = true;
        }
        if self.up.has_ended && !self.up.is_shut_down {
            self.up.is_shut_down = self.server.poll_shutdown(cx).is_ready();
        }
        let unwritten = self.down.unwritten.len();
        if self.down.poll_copy(cx, &mut self.server, &mut self.client).is_ready() {
            return Poll::Ready(());
        }
        if self.down.unwritten.is_empty() {
            self.stalled = None;
            return Poll::Pending;
        }
        if self.down.unwritten.len() != unwritten {
            self.stalled = None;
        }
        self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout))).as_mut().poll(cx)
    }
}

/// One direction of a relay.
#[derive(Default)]
struct Direction {
    /// Bytes that have been read from one stream, and not been written to the other. Empty, and without an
    /// allocation, while the reader keeps up.
    unwritten: Vec<u8>,
    /// `true` if written bytes may be buffered by TLS.
    is_unflushed: bool,
    has_ended: bool,
    is_shut_down: bool,
}

impl Direction {
    /// Completes at the end of the stream, and when one of the connections has failed.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.unwritten.is_empty() {
                let written = ready!(to.poll_write(cx, &self.unwritten))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.is_unflushed = true;
                if written == self.unwritten.len() {
                    self.unwritten = Vec::new();
                } else {
                    self.unwritten.drain(..written);
                }
                continue;
            }
            let read = with_read_buffer(|buffer| {
                let max = MAX_UNWRITTEN.min(buffer.len());
                let len = ready!(from.poll_read(cx, &mut buffer[..max]))?;
                let written = match to.poll_write(cx, &buffer[..len]) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                };
                self.is_unflushed |= written > 0;
                self.unwritten.extend_from_slice(&buffer[written..len]);
                Poll::Ready(io::Result::Ok(len))
            });
            match read? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(to.poll_flush(cx))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
