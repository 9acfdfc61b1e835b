//! A server on a thread of its own, so that its allocations can be measured.

use std::{net::SocketAddr, sync::Arc};

use allocation_counter::{AllocationInfo, measure};
use socketio::Server;
use testkit::{Endpoint, Stream, within};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::yield_now,
};

/// A server that accepts connections.
pub(crate) struct Host {
    pub(crate) io: Server,
    address: SocketAddr,
}

impl Endpoint for Host {
    const PATH: &'static str = "/socket.io/";

    async fn connect(&self) -> Stream {
        Stream::tcp(within(TcpStream::connect(self.address)).await.unwrap())
    }
}

async fn serve(io: Server) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(io.clone().serve(listener).into_future());
    Host { io, address }
}

pub(crate) struct Lab {
    /// Driven on the thread of the test while the test waits for the clients.
    server: Runtime,
    clients: Runtime,
    pub(crate) host: Arc<Host>,
}

impl Lab {
    pub(crate) fn new(io: Server) -> Self {
        let server = Builder::new_current_thread().enable_all().build().unwrap();
        let clients = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let host = Arc::new(server.block_on(serve(io)));
        Self { server, clients, host }
    }

    /// Runs `clients` on another thread. Returns the output and what the server allocated until it was idle.
    pub(crate) fn run<F>(&self, clients: F) -> (F::Output, AllocationInfo)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // The task of the clients is created and dropped outside of the measurement.
        let mut task = self.clients.spawn(clients);
        let mut output = None;
        let info = measure(|| {
            output = Some(self.server.block_on(async {
                let output = (&mut task).await.unwrap();
                rest().await;
                output
            }));
        });
        (output.unwrap(), info)
    }

    /// Runs `run` on the thread of the server before any of its tasks. Returns what `run` itself allocated.
    pub(crate) fn on_server(&self, run: impl FnOnce()) -> AllocationInfo {
        let info = self.server.block_on(async { measure(run) });
        self.server.block_on(rest());
        info
    }

    /// Runs `run` concurrently with the tasks of the server. Returns what all of them allocated.
    pub(crate) fn beside_server(&self, run: impl Future<Output = ()>) -> AllocationInfo {
        measure(|| self.server.block_on(run))
    }

    /// Returns the number of alive tasks of the server.
    pub(crate) fn tasks(&self) -> usize {
        self.server.metrics().num_alive_tasks()
    }
}

/// Yields many times, so that every task that is ready has run.
async fn rest() {
    for _ in 0..1000 {
        yield_now().await;
    }
}
