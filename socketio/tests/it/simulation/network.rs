//! A simulated network that disturbs the connections to the server.

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

/// A condition that applies to all connections of a client at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sky {
    Clear,
    /// Bytes and closes are dropped silently.
    Silent,
    /// No bytes are read.
    Stalled,
    /// All connections are cut.
    Cut,
}

/// A fault of one connection, which starts after a given number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Pause(Duration),
    Stall,
    Swallow,
    Cut,
}

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Requests,
    /// A WebSocket that probes for an upgrade.
    Probe,
    /// A WebSocket that is used from the start of the session.
    WebSocket,
}

/// One direction of a connection.
struct Way {
    rng: StdRng,
    max_chunk: usize,
    /// The probability that a chunk is delayed. `delay` is the maximum delay in milliseconds.
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
    /// `true` when the run is over, which ends all tasks of the network.
    pub(crate) over: watch::Receiver<bool>,
    pub(crate) record: Record,
    pub(crate) must_live: bool,
}

/// The connection was cut.
struct Cut;

/// Sends new connections to the server's accept loop.
pub(crate) type Door = mpsc::Sender<ServerEnd>;

/// Starts the accept loop of a server. The loop ends when the run is over.
pub(crate) fn serve(server: Server, mut over: watch::Receiver<bool>) -> Door {
    let (door, connections) = mpsc::channel(1000);
    tokio::spawn(async move {
        tokio::select! {
            end = server.serve(socketio::ChannelListener::new(connections)).into_future() => end.expect("no error"),
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
                // The server task runs later, so it sees the flag.
                reset.store(true, Ordering::Relaxed);
            }
        });
        client
    }

    fn way(&self, purpose: Purpose, up: bool, room: usize, rng: &mut StdRng) -> Way {
        let max_chunk = [1, 3, 64, 500, 4096, 4096][rng.random_range(0..6)].min(room);
        // Small chunks are delayed less often, because many delayed chunks would make a poll take longer than
        // the upgrade timeout.
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
            // The fault must occur before the client receives the probe response. Until then, the client
            // continues to poll.
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

    /// Copies bytes in both directions until both have ended or the connection is cut.
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

/// The server's end of a connection. The end of its stream may be reported as a reset.
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
