//! A server under test and the ways to connect to it.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use engineio::{CloseReason, Connections, Engine, EngineConfig, ListenConfig, Listener, SessionHandle};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use testkit::{Endpoint, Http, Stream, eventually, waiting::PATIENCE};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::app::{Echo, Latch};

/// The path at which polls and POSTs are handled without the service.
pub(crate) const PATH: &str = "/engine.io/";
/// Opens a connection to the server.
pub(crate) type Connect = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Stream> + Send>> + Send + Sync>;
/// Only a test that hangs lets this much virtual time pass.
const VIRTUAL_PATIENCE: Duration = Duration::from_hours(1);

pub(crate) struct Server {
    pub(crate) engine: Engine<Echo>,
    place: Place,
    sessions: mpsc::Receiver<SessionHandle>,
    ends: mpsc::Receiver<CloseReason>,
}

enum Place {
    Socket {
        address: Option<SocketAddr>,
        connect: Connect,
        connections: Connections,
        end: Option<oneshot::Sender<()>>,
        serving: Option<JoinHandle<io::Result<()>>>,
    },
    /// The size of the buffers in bytes.
    Memory(usize),
}

impl Endpoint for Server {
    const PATH: &'static str = PATH;

    async fn connect(&self) -> Stream {
        self.connect().await
    }
}

impl Server {
    /// Serves on a loopback socket.
    pub(crate) async fn start(config: EngineConfig) -> Self {
        Self::listen(config, ListenConfig::default()).await
    }

    /// Serves on a loopback socket with custom limits.
    pub(crate) async fn listen(config: EngineConfig, listen: ListenConfig) -> Self {
        // The first clients may connect before the accept loop runs, and have the options nevertheless.
        let listener = listen.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect: Connect = Box::new(move || {
            Box::pin(async move { Stream::tcp(TcpStream::connect(address).await.unwrap()) })
        });
        Self::on(listener, Some(address), connect, config, listen)
    }

    /// Serves on any listener.
    pub(crate) fn on(
        listener: impl Listener + 'static,
        address: Option<SocketAddr>,
        connect: Connect,
        config: EngineConfig,
        listen: ListenConfig,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let connections = Connections::new(listen.short_path(testkit::uses_short_path()));
        let place = Place::Socket {
            address,
            connect,
            connections: connections.clone(),
            end: Some(end),
            serving: None,
        };
        let mut server = Self::new(config, place);
        let ended = async { drop(ended.await) };
        let serve = engineio::serve(listener, server.engine.clone())
            .with_short_path(&server.engine, PATH)
            .with_connections(connections)
            .with_graceful_shutdown(ended);
        let task = tokio::spawn(serve.into_future());
        if let Place::Socket { serving, .. } = &mut server.place {
            *serving = Some(task);
        }
        server
    }

    /// Shuts down the accept loop and returns its task.
    pub(crate) fn shut_down(&mut self) -> JoinHandle<io::Result<()>> {
        match &mut self.place {
            Place::Socket { end, serving, .. } => {
                *end = None;
                serving.take().unwrap()
            }
            Place::Memory(_) => panic!("a server in memory accepts nothing"),
        }
    }

    /// Returns the counters of the accept loop.
    pub(crate) fn connections(&self) -> &Connections {
        match &self.place {
            Place::Socket { connections, .. } => connections,
            Place::Memory(_) => panic!("a server in memory accepts nothing"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.place {
            Place::Socket { address, .. } => address.unwrap(),
            Place::Memory(_) => panic!("a server in memory has no address"),
        }
    }

    /// Serves in-memory connections. Nothing waits for the kernel, so a virtual clock advances only when
    /// every task is idle.
    pub(crate) fn in_memory(config: EngineConfig) -> Self {
        Self::with_buffers(config, 64 * 1024)
    }

    /// Like [`in_memory`](Self::in_memory), with buffers of `size` bytes.
    pub(crate) fn with_buffers(config: EngineConfig, size: usize) -> Self {
        Self::new(config, Place::Memory(size))
    }

    fn new(config: EngineConfig, place: Place) -> Self {
        let (echo, sessions, ends) = Echo::new();
        Self { engine: Engine::new(echo, config), place, sessions, ends }
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Stream {
        match self.place {
            Place::Socket { ref connect, .. } => connect().await,
            Place::Memory(size) => {
                let (ours, theirs) = tokio::io::duplex(size);
                let service = TowerToHyperService::new(self.engine.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(theirs), service);
                tokio::spawn(connection.with_upgrades());
                let mut stream = Stream::new(ours);
                stream.patience = VIRTUAL_PATIENCE;
                stream
            }
        }
    }

    pub(crate) fn gate(&self) -> Arc<Latch> {
        self.engine.application().gate.clone()
    }

    /// Returns the next session that opens.
    pub(crate) async fn session(&mut self) -> SessionHandle {
        let session = timeout(self.patience(), self.sessions.recv()).await;
        session.expect("a session in time").unwrap()
    }

    /// Returns the close reason of the next session that closes.
    pub(crate) async fn end(&mut self) -> CloseReason {
        timeout(self.patience(), self.ends.recv()).await.expect("an end in time").unwrap()
    }

    /// Returns `true` if no session closed that the test has not asked for.
    pub(crate) fn no_more_ends(&mut self) -> bool {
        self.ends.try_recv().is_err()
    }

    fn patience(&self) -> Duration {
        match self.place {
            Place::Socket { .. } => PATIENCE,
            Place::Memory(_) => VIRTUAL_PATIENCE,
        }
    }
}

/// Wraps a stream in an HTTP client.
pub(crate) fn http(stream: Stream) -> Http {
    Http::new(stream, PATH)
}

/// Waits until a poll is pending or the WebSocket has nothing left to write, that is, until the session task
/// is idle.
pub(crate) async fn parked(session: &SessionHandle) {
    eventually(|| session.send_volatile(&[])).await;
}
