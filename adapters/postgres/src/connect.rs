//! Opens connections to Postgres.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Notification};

/// The time within which Postgres must connect and respond.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number and bytes of received notifications that are not yet handled. If they are exceeded, the
/// connection is closed.
const MAX_NOTIFICATIONS: usize = 65_536;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) notifications: Notifications,
    /// The task that drives the connection. It ends when the connection is lost.
    pub(crate) driver: Driver,
}

/// A task that is aborted when the handle is dropped.
#[derive(Debug)]
pub(crate) struct Driver(JoinHandle<()>);

impl Driver {
    /// Waits until the connection is lost.
    pub(crate) async fn lost(&mut self) {
        // An error means that the task has panicked, so the connection is lost as well.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The notifications that were received.
#[derive(Debug)]
pub(crate) struct Notifications {
    receiver: mpsc::Receiver<Notification>,
    bytes: Arc<AtomicUsize>,
}

impl Notifications {
    /// Returns the next notification, or `None` if the connection is lost.
    pub(crate) async fn recv(&mut self) -> Option<Notification> {
        let notification = self.receiver.recv().await?;
        self.bytes.fetch_sub(notification.payload().len(), Ordering::Relaxed);
        Some(notification)
    }
}

/// Opens a connection. Messages need not survive a failure of Postgres, so transactions do not wait for the disk.
pub(crate) async fn open(config: &Config) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
    let opened = timeout(RESPONSE_TIMEOUT, async {
        let opened = connect(config).await?;
        opened.client.batch_execute("SET synchronous_commit TO off").await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(opened)
    });
    opened.await?
}

#[cfg(not(feature = "tls"))]
async fn connect(config: &Config) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    Ok(drive(client, connection))
}

#[cfg(feature = "tls")]
async fn connect(config: &Config) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
    if config.get_ssl_mode() == tokio_postgres::config::SslMode::Disable {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        return Ok(drive(client, connection));
    }
    let (tls, _) = tokio_postgres_rustls::MakeRustlsConnect::with_native_certs()
        .map_err(|errors| format!("no certificates of the system can be loaded: {errors:?}"))?;
    let (client, connection) = config.connect(tls).await?;
    Ok(drive(client, connection))
}

/// Starts the task of a connection.
fn drive<S, T>(client: Client, mut connection: Connection<S, T>) -> Opened
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(MAX_NOTIFICATIONS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queued = bytes.clone();
    let driver = tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            let notification = match message {
                Ok(AsyncMessage::Notification(notification)) => notification,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a connection to Postgres is lost");
                    return;
                }
            };
            let len = notification.payload().len();
            let before = queued.fetch_add(len, Ordering::Relaxed);
            let is_full = before > 0 && before.saturating_add(len) > MAX_BYTES;
            if is_full || sender.try_send(notification).is_err() {
                tracing::warn!("messages of other servers arrive faster than they are handled");
                return;
            }
        }
    });
    Opened { client, notifications: Notifications { receiver, bytes }, driver: Driver(driver) }
}
