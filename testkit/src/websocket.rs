//! A WebSocket client based on tungstenite, as a known correct implementation.

use futures::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use crate::{Endpoint, Http, Polling, Stream};

const QUERY: &str = "EIO=4&transport=websocket";

/// A client that sends and receives packets without interpreting them.
#[derive(Debug)]
pub struct WebSocket(WebSocketStream<Stream>);

impl WebSocket {
    /// Opens a session and reads the open packet.
    pub async fn open<E: Endpoint>(server: &E) -> Self {
        Self::open_with(server, QUERY).await
    }

    /// Opens a session with a custom query string and reads the open packet.
    pub async fn open_with<E: Endpoint>(server: &E, query: &str) -> Self {
        let mut websocket = Self::connect(server, query).await;
        websocket.take_open_packet().await;
        websocket
    }

    /// Opens a session and joins the Socket.IO namespace `/`.
    pub async fn join<E: Endpoint>(server: &E) -> Self {
        let mut websocket = Self::open(server).await;
        websocket.enter("/").await;
        websocket
    }

    /// Upgrades a polling session, which must not have a pending poll.
    pub async fn upgrade<E: Endpoint>(server: &E, polling: &Polling) -> Self {
        let mut websocket = Self::connect(server, &polling.upgrade_query()).await;
        assert_eq!(websocket.ask("2probe").await, "3probe");
        websocket.send("5").await;
        websocket
    }

    /// Opens a session and sends frames in the same segment, without waiting for a response.
    pub async fn pipelined<E: Endpoint>(server: &E, frames: &[Vec<u8>]) -> Self {
        let parts = Http::connect(server).await.upgrade_with(QUERY, frames.concat()).await;
        let mut websocket = Self::from_parts(parts).await;
        websocket.take_open_packet().await;
        websocket
    }

    /// Opens a WebSocket for a new session or for an existing polling session.
    pub async fn connect<E: Endpoint>(server: &E, query: &str) -> Self {
        Self::from_parts(Http::connect(server).await.upgrade(query).await).await
    }

    async fn from_parts((stream, received): (Stream, Vec<u8>)) -> Self {
        Self(WebSocketStream::from_partially_read(stream, received, Role::Client, None).await)
    }

    async fn take_open_packet(&mut self) {
        let open = self.text().await;
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
    }

    /// Joins a Socket.IO namespace and returns the socket id.
    pub async fn enter(&mut self, path: &str) -> String {
        let namespace = if path == "/" { String::new() } else { format!("{path},") };
        let response = self.ask(format!("40{namespace}")).await;
        let sid = response.strip_prefix(&format!(r#"40{namespace}{{"sid":""#));
        sid.and_then(|sid| sid.strip_suffix(r#""}"#)).unwrap_or_else(|| panic!("{response}")).to_owned()
    }

    /// Sends a text packet.
    pub async fn send(&mut self, packet: impl AsRef<str>) {
        self.send_message(Message::text(packet.as_ref())).await;
    }

    /// Sends a binary packet.
    pub async fn send_binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.send_message(Message::binary(bytes.as_ref().to_vec())).await;
    }

    /// Sends any message.
    pub async fn send_message(&mut self, message: Message) {
        let patience = self.0.get_ref().patience;
        timeout(patience, self.0.send(message)).await.expect("the server reads in time").unwrap();
    }

    /// Sends frames in one write. Errors are ignored, because a server that detects a violation may close
    /// before it has read all frames.
    pub async fn write(&mut self, frames: impl AsRef<[u8]>) {
        let patience = self.0.get_ref().patience;
        let _ = timeout(patience, self.stream().write_all(frames.as_ref()))
            .await
            .expect("the server reads in time");
    }

    /// Returns the underlying stream.
    pub fn stream(&mut self) -> &mut Stream {
        self.0.get_mut()
    }

    /// Reads the next message. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Fails at the end of the connection.
    pub async fn next(&mut self) -> Result<Message, Error> {
        let patience = self.0.get_ref().patience;
        let next = timeout(patience, self.0.next()).await.expect("a message in time");
        next.unwrap_or(Err(Error::ConnectionClosed))
    }

    /// Reads the next packet, which must be text.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Ok(Message::Text(packet)) => packet.as_str().to_owned(),
            other => panic!("no text but {other:?}"),
        }
    }

    /// Reads the next packet, which must be binary.
    pub async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Ok(Message::Binary(bytes)) => bytes.into(),
            other => panic!("no attachment but {other:?}"),
        }
    }

    /// Sends a packet and returns the next one received.
    pub async fn ask(&mut self, packet: impl AsRef<str>) -> String {
        self.send(packet).await;
        self.text().await
    }

    /// Reads the close frame, which must come next, and the end of the connection. Returns the code and the
    /// reason.
    pub async fn ended(&mut self) -> (u16, String) {
        match self.next().await {
            Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                let end = self.next().await;
                assert!(matches!(end, Err(Error::ConnectionClosed)), "{end:?}");
                (code.into(), reason.as_str().to_owned())
            }
            other => panic!("no close frame with a code but {other:?}"),
        }
    }

    /// Closes the connection and returns the close frame of the server.
    pub async fn finish(mut self) -> (u16, String) {
        let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        self.send_message(Message::Close(Some(close))).await;
        self.ended().await
    }

    /// Closes the connection unless the server has closed it, and waits for its end.
    pub async fn close(mut self) {
        let patience = self.0.get_ref().patience;
        let _ = timeout(patience, self.0.close(None)).await.expect("the server reads in time");
        while self.next().await.is_ok() {}
    }
}
