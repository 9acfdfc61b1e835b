//! Testing handlers: clients that live in the process of the server, without sockets and without sleeps.
//!
//! A [`TestServer`] wraps the [`Server`](crate::Server) of the application as it is. Its clients speak the real
//! protocol: each request goes through the same service as one from a socket, origin checks, hooks and admission
//! included, and each event is a packet. They use long-polling, which needs nothing but requests. All time is that of
//! tokio, so in a test with a paused clock a timeout of a minute costs nothing:
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
//! Wait for what is to happen, never for time: an acknowledgement says that the handler has returned,
//! [`expect`](TestClient::expect) that an event has come. That nothing comes is shown by the next event that does, or
//! by [`expect_nothing`](TestClient::expect_nothing).

mod client;
mod server;
mod wire;

pub use client::{TestClient, TestEvent};
pub use server::{Connect, TestServer};
