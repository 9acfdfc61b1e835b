//! Opens connections to Redis.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use socketio_broker::Shared;
use tokio::time::timeout;

/// The time within which Redis must connect and respond.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a connection. Returns `None` if Redis cannot be reached, which is logged once until Redis is
/// connected again.
pub(crate) async fn connect(
    client: &Client,
    shared: &Shared,
    config: AsyncConnectionConfig,
) -> Option<MultiplexedConnection> {
    let config = config.set_connection_timeout(Some(RESPONSE_TIMEOUT));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    // The timeout of `config` does not include the commands that follow the connection.
    let connected: RedisResult<_> = timeout(RESPONSE_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|elapsed| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed).into()));
    match connected {
        Ok(connection) => Some(connection),
        Err(error) if shared.set_unreachable() => {
            tracing::warn!(%error, "cannot connect to Redis; trying again until it succeeds");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "cannot connect to Redis");
            None
        }
    }
}
