//! What connections come from.

use std::{future::Future, io};

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host},
    sync::mpsc,
};

use crate::{config::listen::ListenConfig, session::handshake_request::RemoteAddr};

/// A source of connections for [`serve`](crate::serve): TCP, Unix sockets, TLS on top of either, or one of your own.
///
/// # Examples
///
/// A channel is one too, whose connections another task brings, such as a test, from memory:
///
/// ```
/// use engineio::Listener;
/// use tokio::{io::{DuplexStream, duplex}, sync::mpsc};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (door, mut listener) = mpsc::channel::<DuplexStream>(1);
/// let (client, server) = duplex(4096);
/// door.send(server).await.ok();
/// let (connection, ()) = listener.accept().await?;
/// # drop((client, connection));
/// # Ok(())
/// # }
/// ```
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// Where a connection comes from.
    type Addr: Send + Sync + 'static;

    /// Sets what the connections are to have of the options. [`serve`](crate::serve) calls it once, before the first
    /// connection is accepted. Nothing by default.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not know an option; that is logged, and connections are accepted all the
    /// same.
    fn prepare(&self, config: &ListenConfig) -> io::Result<()> {
        let _ = config;
        Ok(())
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// Returns an error if that fails; it is tried again.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel-safe: no connection may be lost with the future.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Addr)>> + Send;

    /// The address that it accepts connections on.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not tell.
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Adds to a request what there is to know about its connection, as [`RemoteAddr`]. Nothing by default.
    fn describe(address: &Self::Addr, extensions: &mut Extensions) {
        let _ = (address, extensions);
    }
}

/// How many connections may wait to be accepted: enough for all clients that reconnect at once.
const BACKLOG: u32 = 4096;

impl ListenConfig {
    /// Listens on an address, with the options that [`serve`](crate::serve) would set on a listener later: connections that
    /// came before it did so would not have them. Up to 4,096 connections may wait to be accepted, or `somaxconn` of the
    /// system if that is less.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such address, or if it cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// Nothing listens if the future is dropped before it is ready.
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
            // If that fails, it fails again when it is served, and is logged there.
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

/// Sets what connections inherit of their listener, so that it costs nothing for each of them.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn set_inherited(socket: &socket2::SockRef<'_>, config: &ListenConfig) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(config.tcp_notsent_lowat)
}

/// Sets `TCP_NODELAY` and [`tcp_notsent_lowat`](field@ListenConfig::tcp_notsent_lowat), and tells the [`RemoteAddr`].
/// Connections that came before would not have the options: see [`ListenConfig::bind`].
impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = std::net::SocketAddr;

    #[cfg(any(target_os = "android", target_os = "linux"))]
    fn prepare(&self, config: &ListenConfig) -> io::Result<()> {
        set_inherited(&socket2::SockRef::from(self), config)
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        let (stream, address) = Self::accept(self).await?;
        // Without it, small messages would wait for the acknowledgement of earlier ones.
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Self::local_addr(self)
    }

    fn describe(address: &Self::Addr, extensions: &mut Extensions) {
        extensions.insert(RemoteAddr(*address));
    }
}

/// Tells no address: the client is a process of this machine, such as a proxy.
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

/// Takes connections from whoever has the other end of a channel, and waits on when nobody has it any more.
impl<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static> Listener for mpsc::Receiver<Io> {
    type Io = Io;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(Io, ())> {
        match self.recv().await {
            Some(connection) => Ok((connection, ())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
