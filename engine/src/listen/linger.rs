//! The end of a connection whose client may still be sending.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// The maximum time for the client to read the last response before the connection is closed.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Shuts down the sending side of a stream, and reads until the client closes its side. Closing with unread
/// bytes would send a reset, which may overtake the response. The number of bytes is not limited, because
/// most of an oversized body may already be in transit.
pub(super) async fn lingering_close(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let closed = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, closed).await;
}
