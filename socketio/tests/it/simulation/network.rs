//! Connections to the server that misbehave.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socketio::Server;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split},
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::history::Record;

/// What happens to all connections of a client at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sky {
    Clear,
    /// Bytes are swallowed, and so are ends.
    Silent,
    /// Nothing is taken any more.
    Stalled,
    /// Connections end.
    Cut,
}

/// What happens to one connection, once so many bytes have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Pause(Duration),
    Stall,
    Swallow,
    Cut,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Requests,
    /// A WebSocket that is to take a session over.
    Probe,
    /// A WebSocket that carries the session from the start.
    WebSocket,
}

/// One direction of a connection.
struct Way {
    rng: StdRng,
    max_chunk: usize,
    /// How often a chunk is late, and how much.
    late: f64,
    delay: u64,
    fault: Option<(usize, Fault)>,
    swallows: bool,
}

/// The network of one client.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) door: Door,
    pub(crate) sky: watch::Receiver<Sky>,
    /// Becomes `true` when the run is over: then nothing of the network stays.
    pub(crate) over: watch::Receiver<bool>,
    pub(crate) record: Record,
    pub(crate) must_live: bool,
}

/// A connection was cut.
struct Cut;

/// Where connections reach the server.
pub(crate) type Door = mpsc::Sender<ServerEnd>;

/// Starts the accept loop of a server, which ends when the run is over.
pub(crate) fn serve(server: Server, mut over: watch::Receiver<bool>) -> Door {
    let (door, connections) = mpsc::channel(1000);
    tokio::spawn(async move {
        tokio::select! {
            end = server.serve(connections) => end.expect("no error"),
            _ = over.wait_for(|&over| over) => {}
        }
    });
    door
}

impl Network {
    /// Opens a connection.
    pub(crate) fn connect(&self, purpose: Purpose, rng: &mut StdRng) -> DuplexStream {
        let room = [16, 200, 4096, 65536][rng.random_range(0..4)];
        let (client, near) = duplex(room);
        let (far, server) = duplex(room);
        let reset = Arc::new(AtomicBool::new(false));
        let end = ServerEnd { stream: server, reset: reset.clone() };
        self.door.try_send(end).expect("the server accepts");
        let ways = (self.way(purpose, true, room, rng), self.way(purpose, false, room, rng));
        let ends_by_reset = rng.random_bool(0.5);
        let network = self.clone();
        tokio::spawn(async move {
            if network.carry(near, far, ways).await.is_err() && ends_by_reset {
                // The server's task runs later.
                reset.store(true, Ordering::Relaxed);
            }
        });
        client
    }

    fn way(&self, purpose: Purpose, up: bool, room: usize, rng: &mut StdRng) -> Way {
        let max_chunk = [1, 3, 64, 500, 4096, 4096][rng.random_range(0..6)].min(room);
        // What is split into bytes is late less often: no poll may take as long as an upgrade may.
        let late = match max_chunk {
            0..64 => 0.001,
            64..4096 => 0.05,
            _ => 0.5,
        };
        let delay = [1, 10, 100][rng.random_range(0..3)];
        let early = rng.random_bool(0.5);
        let anywhere = rng.random_range(0..if early { 300 } else { 3000 });
        let fault = if !self.must_live {
            rng.random_bool(0.05).then(|| {
                let fault = [Fault::Stall, Fault::Swallow, Fault::Cut, Fault::Cut][rng.random_range(0..4)];
                (anywhere, fault)
            })
        } else if purpose == Purpose::Probe && rng.random_bool(0.1) {
            // Before the client hears the answer to its probe, it goes on polling.
            let fault = [Fault::Stall, Fault::Swallow, Fault::Cut, Fault::Cut][rng.random_range(0..4)];
            Some((rng.random_range(0..if up { 200 } else { 130 }), fault))
        } else {
            None
        };
        let pause = rng
            .random_bool(0.1)
            .then(|| (anywhere, Fault::Pause(Duration::from_millis(rng.random_range(1..1000)))));
        let rng = StdRng::seed_from_u64(rng.random());
        Way { rng, max_chunk, late, delay, fault: fault.or(pause), swallows: false }
    }

    /// Carries bytes both ways until both have ended, or the connection is cut.
    async fn carry(
        mut self,
        near: DuplexStream,
        far: DuplexStream,
        (up, down): (Way, Way),
    ) -> Result<(), Cut> {
        let (near_read, near_write) = split(near);
        let (far_read, far_write) = split(far);
        let (sky, record) = (self.sky.clone(), self.record.clone());
        let heard = move || record.lock().heard = Some(Instant::now());
        let both = async {
            let up = up.carry(near_read, far_write, sky.clone(), heard);
            let down = down.carry(far_read, near_write, sky.clone(), || ());
            tokio::try_join!(up, down).map(|_| ())
        };
        let is_cut = |sky: &Sky| *sky == Sky::Cut;
        tokio::select! {
            biased;
            _ = self.over.wait_for(|over| *over) => Err(Cut),
            Ok(_) = self.sky.wait_for(is_cut) => Err(Cut),
            ended = both => ended,
        }
    }
}

impl Way {
    async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        sky: watch::Receiver<Sky>,
        heard: impl Fn(),
    ) -> Result<(), Cut> {
        let mut buffer = [0; 4096];
        let mut passed = 0;
        loop {
            if let Some((at, fault)) = self.fault
                && passed >= at
            {
                self.fault = None;
                match fault {
                    Fault::Pause(pause) => sleep(pause).await,
                    Fault::Stall => std::future::pending().await,
                    Fault::Swallow => self.swallows = true,
                    Fault::Cut => return Err(Cut),
                }
            }
            let mut most = self.rng.random_range(1..=self.max_chunk);
            if let Some((at, _)) = self.fault {
                most = most.min(at - passed);
            }
            let read = from.read(&mut buffer[..most]).await.unwrap_or(0);
            if self.rng.random_bool(self.late) {
                sleep(Duration::from_millis(self.rng.random_range(1..=self.delay))).await;
            }
            let now = *sky.borrow();
            if now == Sky::Stalled {
                std::future::pending::<()>().await;
            }
            if self.swallows || now == Sky::Silent {
                if read == 0 {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if read == 0 {
                let _ = to.shutdown().await;
                return Ok(());
            }
            passed += read;
            to.write_all(&buffer[..read]).await.map_err(|_| Cut)?;
            heard();
        }
    }
}

/// The server's end of a connection: an end of the stream may be a reset.
pub(crate) struct ServerEnd {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(())))
            && buf.filled().len() == before
            && self.reset.load(Ordering::Relaxed)
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
