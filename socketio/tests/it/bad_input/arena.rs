//! A server with one well-behaved client (the canary) and misbehaving clients.

use bytes::Bytes;
use serde_json::Value;
use socketio::{Ack, Args, CloseReason, DisconnectReason, Namespace, Server, ServerConfig, Socket};

use crate::support::{Client, Heard, Host, log, serve};

pub(crate) struct Arena {
    pub(crate) host: Host,
    /// A well-behaved client. Its session must survive whatever other clients send.
    canary: Client,
    chirps: u32,
    pub(crate) handled: Heard<String>,
    reasons: Heard<DisconnectReason>,
}

impl Arena {
    pub(crate) async fn new() -> Self {
        Self::with_config(ServerConfig::default()).await
    }

    pub(crate) async fn with_config(config: ServerConfig) -> Self {
        let (notes, handled) = log();
        let (ends, reasons) = log();
        let args = async move |_: Socket, args: Args| notes.note(args.json().to_owned());
        let namespace = Namespace::new("/")
            .on("args", args)
            .on("echo", async |socket, args: Args| socket.emit("echo", &args))
            .on("value", async |_, value: Value| Ack(value))
            .on("text", async |_, text: String| Ack(text))
            .on("bytes", async |_, bytes: Bytes| Ack(bytes.len()))
            .on("unit", async |_, ()| ())
            .on("mark", async |_, ()| ())
            .on_disconnect(async move |_, reason| ends.note(reason));
        let other = Namespace::new("/other").on("mark", async |_, ()| ());
        let cage = Namespace::new("/canary").on("chirp", async |_, n: u32| Ack(n));
        let io = Server::with_config(config).namespace(namespace).namespace(other).namespace(cage);
        let host = serve(io).await;
        let mut canary = Client::open(&host).await;
        canary.enter("/canary").await;
        Self { host, canary, chirps: 0, handled, reasons }
    }

    /// Connects a client to the namespace `/`.
    pub(crate) async fn client(&self) -> Client {
        Client::join(&self.host).await
    }

    /// Checks that the server still responds to the canary.
    pub(crate) async fn is_unharmed(&mut self) {
        self.chirps += 1;
        let n = self.chirps;
        assert_eq!(
            self.canary.ask(format!(r#"42/canary,{n}["chirp",{n}]"#)).await,
            format!("43/canary,{n}[{n}]")
        );
    }

    /// Checks that `frames` close the session of a client in `/` with this close code and reason.
    pub(crate) async fn ends(&mut self, what: &str, frames: &[Vec<u8>], code: u16, reason: CloseReason) {
        let mut client = self.client().await;
        client.write(frames.concat()).await;
        // Close code 1009 (message too big) is sent without a reason, as in Node.js.
        let told = if code == 1009 { "" } else { reason.as_str() };
        assert_eq!(client.ended().await, (code, told.to_owned()), "{what}");
        assert_eq!(self.reasons.next().await, DisconnectReason::Closed(reason), "{what}");
        assert!(self.handled.is_silent(), "{what}");
        self.is_unharmed().await;
    }

    /// Checks that `frames` violate the protocol.
    pub(crate) async fn refuses(&mut self, what: &str, frames: &[Vec<u8>]) {
        self.ends(what, frames, 1002, CloseReason::Violation).await;
    }

    /// Checks that `frames` have no effect: the next packet of the client is acknowledged as usual.
    pub(crate) async fn ignores(&mut self, what: &str, frames: &[Vec<u8>]) {
        let mut client = self.client().await;
        client.write(frames.concat()).await;
        assert_eq!(client.ask(r#"42999["mark"]"#).await, "43999[]", "{what}");
        assert!(self.handled.is_silent(), "{what}");
        self.is_unharmed().await;
        client.close().await;
        assert_eq!(self.reasons.next().await.as_str(), "transport close", "{what}");
    }
}
