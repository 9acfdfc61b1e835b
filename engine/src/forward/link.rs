//! The HTTP/2 connection to another server.

use std::{net::SocketAddr, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{CONNECT_TIMEOUT, ForwardedBody, Unreachable};

/// The time for which a server counts as unreachable after it could not be connected to. Without it, each request
/// would wait for its own attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The time between two pings, and for the response to a ping. A frozen server ends all requests after both.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The number of bytes that the other server may send in advance on a stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The number of bytes that the other server may send in advance on all streams: the largest value of the RFC. A
/// client that does not read must not hold up the responses to other clients.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The number of streams to which the server has reset, whose late frames are ignored.
const MAX_RESET_STREAMS: usize = 1024;

/// The connection to a server, which is opened by the first request.
pub(super) struct Link {
    address: SocketAddr,
    state: Mutex<State>,
}

enum State {
    Connected(SendRequest<ForwardedBody>),
    /// `None` before the first attempt.
    Failed(Option<Instant>),
}

impl Link {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, state: Mutex::new(State::Failed(None)) }
    }

    /// Returns `false` if the link is not connected, and nobody connects it.
    pub(super) fn is_used(&self) -> bool {
        match self.state.try_lock() {
            Ok(state) => matches!(&*state, State::Connected(sender) if !sender.is_closed()),
            Err(_) => true,
        }
    }

    /// Sends a request. A request that was not sent because the connection has just been closed is sent over another
    /// one.
    pub(super) async fn send(
        &self,
        mut request: Request<ForwardedBody>,
    ) -> Result<Response<Incoming>, Unreachable> {
        for _ in 0..2 {
            let mut sender = self.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        Err("the connection was closed twice".into())
    }

    async fn sender(&self) -> Result<SendRequest<ForwardedBody>, Unreachable> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Connected(sender) if !sender.is_closed() => return Ok(sender.clone()),
            State::Failed(Some(at)) if at.elapsed() < RETRY_AFTER => {
                return Err("the last attempt to connect failed".into());
            }
            _ => {}
        }
        match self.connect().await {
            Ok(sender) => {
                *state = State::Connected(sender.clone());
                Ok(sender)
            }
            Err(error) => {
                *state = State::Failed(Some(Instant::now()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<ForwardedBody>, Unreachable> {
        let stream = connect(self.address).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL)
            .handshake(stream)
            .await?;
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "the connection to another server failed");
            }
        });
        Ok(sender)
    }
}

/// Connects to another server.
pub(super) async fn connect(address: SocketAddr) -> Result<TokioIo<TcpStream>, Unreachable> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}
