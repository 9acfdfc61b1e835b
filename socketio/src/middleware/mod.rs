//! Ready-made event middleware for [`Namespace::wrap`](crate::Namespace::wrap).
//!
//! | middleware | effect |
//! |---|---|
#![cfg_attr(
    feature = "rate-limit",
    doc = "| [`RateLimit`] | limits the rate of the events of a socket, or of all sockets with the same key |"
)]
#![cfg_attr(
    not(feature = "rate-limit"),
    doc = "| `RateLimit`, with the cargo feature `rate-limit` | limits the rate of the events of a socket |"
)]
//! | [`Deduplicate`] | handles an event that a client sends again only once, and repeats the acknowledgement |
//! | [`timeout`] | cancels handlers that take too long |
//!
//! The middleware that is registered first is the outermost, so a rate limit belongs in front of the others.
//!
//! ```
//! use std::time::Duration;
//! use socketio::{Namespace, middleware};
//!
//! let chat = Namespace::new("/")
//!     .wrap(middleware::timeout(Duration::from_secs(5)))
//!     .on("say", async |socket, text: String| socket.broadcast().emit("said", &text));
//! # let _: Namespace = chat;
//! ```
//!
//! Middleware of an application is an async function. This one runs the handlers in a `tracing` span with the
//! id of the user, in addition to the span of the server:
//!
//! ```
//! use socketio::{Event, Namespace, Next, Socket};
//! use tracing::Instrument;
//!
//! #[derive(Clone)]
//! struct User { id: u64 }
//!
//! let chat = Namespace::with_data("/", User { id: 7 })
//!     .wrap(async |socket: Socket<User>, event: Event, next: Next<User>| {
//!         let span = tracing::info_span!("user", id = socket.data().id);
//!         next.run(event).instrument(span).await
//!     })
//!     .on("say", async |socket, text: String| {
//!         tracing::info!("this line has the field `id`");
//!         socket.broadcast().emit("said", &text)
//!     });
//! ```

// This module may import everything below `testing` and `typescript`, but not those two.

mod deduplicate;
#[cfg(feature = "rate-limit")]
mod rate_limit;

use std::{fmt, time::Duration};

use engineio::BoxFuture;

pub use self::deduplicate::Deduplicate;
#[cfg(feature = "rate-limit")]
pub use self::rate_limit::{RateLimit, RateLimitPolicy};
use crate::{
    event::{AckResponse, error::EventError},
    handles::socket::Socket,
    namespace::middleware::{Event, Next},
};

/// The future that ready-made middleware returns.
pub type MiddlewareFuture = BoxFuture<Result<AckResponse, EventError>>;

/// Returns middleware that cancels the handler of an event, and the middleware inside, if they take longer than `limit`.
///
/// The event is acknowledged with the error `timeout`. The log names the event, and the metrics count a
/// failed handler. The handler is cancelled at its current `.await`; work that it has passed to
/// `tokio::spawn` or `spawn_blocking` continues. Node.js has no equivalent on the server.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use socketio::{Ack, Namespace, middleware};
///
/// # async fn search(text: String) -> Vec<String> { vec![text] }
/// let shop = Namespace::new("/shop")
///     .wrap(middleware::timeout(Duration::from_secs(2)))
///     .on("search", async |_, text: String| Ack(search(text).await));
/// # let _: Namespace = shop;
/// ```
pub fn timeout<D>(
    limit: Duration,
) -> impl Fn(Socket<D>, Event, Next<D>) -> MiddlewareFuture + Clone + Send + Sync + 'static
where
    D: Send + Sync + 'static,
{
    move |_, event, next: Next<D>| {
        Box::pin(async move {
            match tokio::time::timeout(limit, next.run(event)).await {
                Ok(response) => response,
                Err(_) => Err(EventError::internal(TimedOut(limit)).with_message("timeout")),
            }
        })
    }
}

/// The cause of the error of a handler that was cancelled by [`timeout`].
#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler took longer than {:?}", self.0)
    }
}

impl std::error::Error for TimedOut {}
