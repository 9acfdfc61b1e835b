//! TLS over another listener.

use std::{collections::VecDeque, fmt, io, sync::Arc, time::Duration};

use http::Extensions;
use parking_lot::RwLock;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, ServerConnection,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::listener::Listener;
use crate::{
    config::listen::ListenConfig, session::handshake_request::Secure, transport::tls_stream::TlsStream,
};

/// The minimum age at which a handshake is aborted in favor of a new client.
const MIN_ABORT_AGE: Duration = Duration::from_secs(1);

crate::__config! {
    /// The limits of TLS handshakes. Every limit is finite by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use engineio::TlsConfig;
    ///
    /// let config = TlsConfig::default().handshake_timeout(Duration::from_secs(5));
    /// ```
    TlsConfig {
        /// The maximum duration of a handshake. Defaults to 10 seconds; then the connection is closed. In
        /// Node.js: `handshakeTimeout` of the HTTPS server, default 120 s.
        handshake_timeout: Duration = Duration::from_secs(10),
        /// The maximum number of concurrent handshakes. Defaults to 256. Beyond this limit, new clients wait
        /// in the accept queue of the system. If the oldest handshake has taken more than a second, it is
        /// aborted in favor of a waiting client.
        max_handshakes: usize = 256,
    }
}

/// The certificate and private key of a server. This type is a handle, with which the certificate can be
/// replaced while the server runs.
///
/// Provides TLS 1.2 and 1.3 through rustls. The cryptography is provided by `ring`, unless the process has
/// installed another default [`CryptoProvider`], or the [`ServerConfig`] was built with another provider.
///
/// # Examples
///
/// ```no_run
/// use engineio::{Listener, Tls};
/// use tokio::net::TcpListener;
///
/// # async fn run() -> std::io::Result<()> {
/// let tls = Tls::from_pem(std::fs::read("chain.pem")?, std::fs::read("key.pem")?)?;
/// let listener = tls.listener(TcpListener::bind("0.0.0.0:443").await?);
/// assert_eq!(listener.local_addr()?.port(), 443);
/// // Later, when the certificate was renewed:
/// tls.reload_pem(std::fs::read("chain.pem")?, std::fs::read("key.pem")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    limits: TlsConfig,
    server: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Creates a handle from a rustls configuration. The ALPN protocols are set to `h2` and `http/1.1`.
    pub fn new(server: ServerConfig) -> Self {
        Self::with_config(server, TlsConfig::default())
    }

    /// Like [`new`](Self::new), with custom limits.
    ///
    /// # Panics
    ///
    /// Panics if a limit is zero.
    #[track_caller]
    pub fn with_config(server: ServerConfig, limits: TlsConfig) -> Self {
        assert!(!limits.handshake_timeout.is_zero(), "handshake_timeout must not be zero");
        assert!(limits.max_handshakes > 0, "max_handshakes must not be zero");
        Self(Arc::new(Inner { limits, server: RwLock::new(with_alpn(server)) }))
    }

    /// Creates a handle from PEM text: a certificate chain that begins with the certificate of the server,
    /// and the private key.
    ///
    /// # Errors
    ///
    /// Returns an error if the certificates or the key cannot be parsed, or if the key does not match the
    /// certificate.
    pub fn from_pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> io::Result<Self> {
        Ok(Self::new(server_config(certificates.as_ref(), key.as_ref())?))
    }

    /// Replaces the certificate and all other rustls options for new connections. Open connections keep the
    /// previous options.
    pub fn reload(&self, server: ServerConfig) {
        *self.0.server.write() = with_alpn(server);
    }

    /// Like [`reload`](Self::reload), from PEM text.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`from_pem`](Self::from_pem). The previous certificate is then
    /// kept.
    pub fn reload_pem(&self, certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> io::Result<()> {
        self.reload(server_config(certificates.as_ref(), key.as_ref())?);
        Ok(())
    }

    /// Adds TLS to a listener.
    pub fn listener<L: Listener>(&self, inner: L) -> TlsListener<L> {
        TlsListener { inner, tls: self.clone(), handshakes: JoinSet::new(), started: VecDeque::new() }
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.server.read().clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

fn with_alpn(mut server: ServerConfig) -> Arc<ServerConfig> {
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(server)
}

fn server_config(certificates: &[u8], key: &[u8]) -> io::Result<ServerConfig> {
    let certificates = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(format!("the certificates cannot be read: {error}")))?;
    if certificates.is_empty() {
        return Err(invalid("there is no certificate in the PEM text".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| invalid(format!("the private key cannot be read: {error}")))?;
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| invalid(format!("the certificate cannot be used: {error}")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// A connection with a completed handshake.
type Accepted<L> = (TlsStream<<L as Listener>::Io>, <L as Listener>::Addr);

/// A listener with TLS, created by [`Tls::listener`]. Each handshake runs in its own task. These tasks are
/// aborted when the listener is dropped.
pub struct TlsListener<L: Listener> {
    inner: L,
    tls: Tls,
    handshakes: JoinSet<io::Result<Accepted<L>>>,
    /// The handshakes in the order of their start, including some that have completed.
    started: VecDeque<(Instant, AbortHandle)>,
}

impl<L: Listener> TlsListener<L> {
    /// Returns the time when another handshake may start because the oldest may then be aborted, or `None` if
    /// a handshake may start immediately.
    fn next_start(&mut self) -> Option<Instant> {
        if self.handshakes.len() < self.tls.0.limits.max_handshakes {
            return None;
        }
        self.started.retain(|(_, handshake)| !handshake.is_finished());
        self.started.front().map(|(start, _)| *start + MIN_ABORT_AGE)
    }

    fn start_handshake(&mut self, io: L::Io, address: L::Addr) {
        let limits = &self.tls.0.limits;
        if self.handshakes.len() >= limits.max_handshakes
            && let Some((_, oldest)) = self.started.pop_front()
        {
            oldest.abort();
        }
        if self.started.len() >= 2 * limits.max_handshakes {
            self.started.retain(|(_, handshake)| !handshake.is_finished());
        }
        let handshake = self.tls.acceptor().accept(io);
        let handshake = tokio::time::timeout(limits.handshake_timeout, handshake);
        let handshake =
            self.handshakes.spawn(async move { Ok((TlsStream::new(handshake.await??), address)) });
        self.started.push_back((Instant::now(), handshake));
    }
}

/// What the client has sent in its TLS handshake: a request extension that [`TlsListener`] adds.
///
/// [`keep_extension`](crate::EngineConfig::keep_extension) makes it available for the time of a session.
///
/// # Examples
///
/// ```
/// use engineio::{EngineConfig, TlsInfo};
/// use http::request::Parts;
///
/// /// Accepts only clients with a certificate, which rustls has verified.
/// async fn has_certificate(request: Parts) -> Result<(), &'static str> {
///     match request.extensions.get::<TlsInfo>() {
///         Some(tls) if !tls.peer_certificates().is_empty() => Ok(()),
///         _ => Err("a certificate is required"),
///     }
/// }
/// let config = EngineConfig::default().allow_request(has_certificate);
/// ```
#[derive(Debug, Clone)]
pub struct TlsInfo(Arc<TlsDetails>);

#[derive(Debug)]
struct TlsDetails {
    server_name: Option<Box<str>>,
    peer_certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    fn new(connection: &ServerConnection) -> Self {
        Self(Arc::new(TlsDetails {
            server_name: connection.server_name().map(Into::into),
            peer_certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
        }))
    }

    /// Returns the name of the server that the client has asked for (SNI, RFC 6066, section 3). Equivalent to
    /// `servername` of a TLS socket in Node.js.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// Returns the certificate chain of the client, which begins with its own certificate. The chain is empty if the
    /// rustls configuration does not request a certificate, or does not require one and the client sent none.
    /// Equivalent to `getPeerCertificate` of a TLS socket in Node.js.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }
}

/// Adds [`Secure`], [`TlsInfo`] and the extensions of the inner listener to each request.
impl<L: Listener> Listener for TlsListener<L> {
    type Io = TlsStream<L::Io>;
    type Addr = L::Addr;

    fn prepare(&self, config: &ListenConfig) -> io::Result<()> {
        self.inner.prepare(config)
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Addr)> {
        loop {
            let next_start = self.next_start();
            let inner = async {
                if let Some(next_start) = next_start {
                    tokio::time::sleep_until(next_start).await;
                }
                self.inner.accept().await
            };
            tokio::select! {
                Some(handshake) = self.handshakes.join_next() => match handshake {
                    Ok(Ok(accepted)) => return Ok(accepted),
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    // The handshake was aborted in favor of a new client.
                    Err(_) => {}
                },
                accepted = inner => {
                    let (io, address) = accepted?;
                    self.start_handshake(io, address);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }

    fn describe(io: &Self::Io, address: &Self::Addr, extensions: &mut Extensions) {
        let (io, connection) = io.get_ref();
        L::describe(io, address, extensions);
        extensions.insert(Secure);
        extensions.insert(TlsInfo::new(connection));
    }
}

impl<L: Listener> fmt::Debug for TlsListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener").field("handshakes", &self.handshakes.len()).finish_non_exhaustive()
    }
}
