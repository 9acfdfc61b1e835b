//! Provides clients to test handlers in the process of the server, without network sockets and sleeps.
//!
//! This module may import `server` and all layers below `server`. No other module may import this module.
//!
//! A [`TestServer`] wraps the unmodified [`Server`](crate::Server) of the application. Its clients use the
//! real protocol: each request passes through the same service as a network request, including origin checks,
//! hooks and authentication, and each event is encoded as a packet. The clients use long-polling, which needs
//! only requests. All timeouts use the clock of Tokio, so if the clock is paused, a timeout of a minute takes
//! no real time:
//!
//! ```
//! use socketio::{Ack, EventError, Namespace, Server, Socket, testing::TestServer};
//!
//! async fn say(socket: Socket, (room, text): (String, String)) -> Result<Ack<usize>, EventError> {
//!     socket.to(room).emit("said", &text)?;
//!     Ok(Ack(text.len()))
//! }
//!
//! fn chat() -> Server {
//!     let namespace = Namespace::new("/chat")
//!         .on("join", async |socket, room: String| socket.join(room))
//!         .on("say", say);
//!     Server::new().namespace(namespace)
//! }
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let server = TestServer::new(chat());
//! let (ann, mut bob) = (server.connect("/chat").await, server.connect("/chat").await);
//! let () = bob.emit_with_ack("join", "lobby").await.unwrap();
//!
//! let length: usize = ann.emit_with_ack("say", &("lobby", "hello")).await.unwrap();
//! assert_eq!(length, 5);
//! assert_eq!(bob.expect::<String>("said").await, "hello");
//! # }
//! ```
//!
//! Tests should wait for events instead of sleeping. When an acknowledgement arrives, the handler has
//! returned; when [`expect`](TestClient::expect) returns, the event has arrived. To check that an event does
//! not arrive, check that the next event has another name, or use
//! [`expect_nothing`](TestClient::expect_nothing).
//!
//! [`check_broker`] tests a broker of your own.

mod client;
mod conformance;
mod server;
mod wire;

pub use client::{TestClient, TestEvent};
pub use conformance::check_broker;
pub use server::{Connect, TestServer};
