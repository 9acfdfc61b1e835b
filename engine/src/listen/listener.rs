//! The sources of connections for the accept loop.

use std::{future::Future, io};

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host},
    sync::mpsc,
};

use crate::{config::listen::ListenConfig, session::handshake_request::RemoteAddr};

/// A source of connections for [`serve`](crate::serve): TCP, Unix sockets, TLS over another listener, or a
/// custom implementation. Applications may implement this trait.
///
/// # Examples
///
/// A listener that tells the application the process at the other end of a Unix socket:
///
/// ```
/// # #[cfg(unix)] {
/// use std::io;
/// use engineio::Listener;
/// use http::Extensions;
/// use tokio::net::{UnixListener, UnixStream, unix::{SocketAddr, UCred}};
///
/// struct Local(UnixListener);
///
/// impl Listener for Local {
///     type Io = UnixStream;
///     type Addr = SocketAddr;
///
///     async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
///         self.0.accept().await
///     }
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
///     fn describe(stream: &UnixStream, _: &SocketAddr, extensions: &mut Extensions) {
///         if let Ok(process) = stream.peer_cred() {
///             extensions.insert::<UCred>(process);
///         }
///     }
/// }
/// # }
/// ```
pub trait Listener: Send + 'static {
    /// The type of the connections.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// The type of the peer addresses.
    type Addr: Send + Sync + 'static;

    /// Applies the socket options of the configuration. [`serve`](crate::serve) calls this method once,
    /// before it accepts the first connection. The default implementation does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not support an option. [`serve`](crate::serve) logs the error and
    /// accepts connections nevertheless.
    fn prepare(&self, config: &ListenConfig) -> io::Result<()> {
        let _ = config;
        Ok(())
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// Returns an error if no connection could be accepted. [`serve`](crate::serve) then retries.
    ///
    /// # Cancel safety
    ///
    /// Implementations must be cancel safe: dropping the future must not lose a connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not provide the address.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Adds extensions that describe the connection, such as [`RemoteAddr`], to a request. The default
    /// implementation does nothing. Called at least once for each connection, and possibly for each request.
    fn describe(io: &Self::Io, address: &Self::Addr, extensions: &mut Extensions) {
        let _ = (io, address, extensions);
    }
}

/// The length of the accept queue, enough for a burst of reconnecting clients.
const BACKLOG: u32 = 4096;

impl ListenConfig {
    /// Binds a listener with the socket options of this configuration. On a listener that is bound in another
    /// way, [`serve`](crate::serve) sets the options later, and connections that have already arrived lack
    /// the options. Up to 4,096 connections may wait to be accepted, or `somaxconn` of the system if that is
    /// less.
    ///
    /// # Errors
    ///
    /// Returns an error if the address cannot be resolved or bound.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. If the future is dropped before it completes, no listener remains bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use engineio::ListenConfig;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let listener = ListenConfig::default().bind("127.0.0.1:0").await?;
    /// println!("listening on {}", listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn bind(&self, address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut failed = io::Error::from(io::ErrorKind::InvalidInput);
        for address in lookup_host(address).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            // An error is ignored here, because the same call in `prepare` fails again and its error is
            // logged.
            #[cfg(any(target_os = "android", target_os = "linux"))]
            let _ = set_inherited(&socket2::SockRef::from(&socket), self);
            match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// Sets the options on the listener. Connections inherit them, which saves a system call per connection.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn set_inherited(socket: &socket2::SockRef<'_>, config: &ListenConfig) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(config.tcp_notsent_lowat)
}

/// Sets `TCP_NODELAY` and [`tcp_notsent_lowat`](ListenConfig::tcp_notsent_lowat), and provides the
/// [`RemoteAddr`] of each connection. Connections that arrive before [`serve`](crate::serve) is called lack
/// the options unless the listener was bound with [`ListenConfig::bind`].
impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    #[cfg(any(target_os = "android", target_os = "linux"))]
    fn prepare(&self, config: &ListenConfig) -> io::Result<()> {
        set_inherited(&socket2::SockRef::from(self), config)
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        let (stream, address) = Self::accept(self).await?;
        // Without `TCP_NODELAY`, small messages would wait for the TCP acknowledgement of earlier messages.
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }

    fn describe(_: &Self::Io, address: &Self::Addr, extensions: &mut Extensions) {
        extensions.insert(RemoteAddr(*address));
    }
}

/// Provides no [`RemoteAddr`], because the peer is a process on the same machine, such as a proxy.
#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        Self::accept(self).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }
}

/// A listener that accepts the connections that another task sends through a channel, for example in-memory
/// connections of a test.
///
/// # Examples
///
/// ```
/// use engineio::{ChannelListener, Listener};
/// use tokio::{io::{DuplexStream, duplex}, sync::mpsc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (sender, receiver) = mpsc::channel::<DuplexStream>(1);
/// let mut listener = ChannelListener::new(receiver);
/// let (client, server) = duplex(4096);
/// sender.send(server).await.ok();
/// let (connection, ()) = listener.accept().await?;
/// # drop((client, connection));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChannelListener<Io>(mpsc::Receiver<Io>);

impl<Io> ChannelListener<Io> {
    /// Creates a listener from the receiver of a channel.
    pub fn new(receiver: mpsc::Receiver<Io>) -> Self {
        Self(receiver)
    }
}

/// [`accept`](Listener::accept) stays pending when all senders are dropped.
impl<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static> Listener for ChannelListener<Io> {
    type Io = Io;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(Io, ())> {
        match self.0.recv().await {
            Some(connection) => Ok((connection, ())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
