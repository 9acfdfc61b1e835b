//! A client over WebSocket that speaks in packets: what it sends and receives is what stands on the wire.

use futures::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role},
    },
};

use super::{Host, Http, within};

pub(crate) const QUERY: &str = "EIO=4&transport=websocket";

#[derive(Debug)]
pub(crate) struct Client {
    websocket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Opens a session, and takes the open packet.
    pub(crate) async fn open(host: &Host) -> Self {
        Self::open_with(host, QUERY).await
    }

    /// Opens a session with more in the query string.
    pub(crate) async fn open_with(host: &Host, query: &str) -> Self {
        let mut client = Self::connect(host, query).await;
        client.take_open_packet().await;
        client
    }

    /// Opens a session in the namespace `/`.
    pub(crate) async fn join(host: &Host) -> Self {
        let mut client = Self::open(host).await;
        client.enter("/").await;
        client
    }

    /// Opens a WebSocket, for a new session or for one that polls.
    pub(crate) async fn connect(host: &Host, query: &str) -> Self {
        let url = format!("ws://{}/socket.io/?{query}", host.address);
        let (websocket, _) = within(client_async(url, host.connect().await)).await.unwrap();
        Self { websocket }
    }

    /// Opens a session, and sends packets without waiting for anything: all leave in one segment.
    pub(crate) async fn pipelined(host: &Host, frames: &[Vec<u8>]) -> Self {
        let (stream, received) = Http::connect(host).await.upgrade(QUERY, &frames.concat()).await;
        let websocket = WebSocketStream::from_partially_read(stream, received, Role::Client, None).await;
        let mut client = Self { websocket };
        client.take_open_packet().await;
        client
    }

    async fn take_open_packet(&mut self) {
        let open = self.text().await;
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
    }

    /// Joins a namespace; says the id of the socket.
    pub(crate) async fn enter(&mut self, path: &str) -> String {
        let namespace = if path == "/" { String::new() } else { format!("{path},") };
        self.send(format!("40{namespace}")).await;
        let answer = self.text().await;
        let sid = answer.strip_prefix(&format!(r#"40{namespace}{{"sid":""#));
        sid.and_then(|sid| sid.strip_suffix(r#""}"#)).unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Sends a text packet.
    pub(crate) async fn send(&mut self, packet: impl AsRef<str>) {
        within(self.websocket.send(Message::text(packet.as_ref()))).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        within(self.websocket.send(Message::binary(bytes.to_vec()))).await.unwrap();
    }

    /// Sends frames with one write. A server that has found a fault may close before it has read all of them.
    pub(crate) async fn write(&mut self, frames: impl AsRef<[u8]>) {
        let _ = within(self.stream().write_all(frames.as_ref())).await;
    }

    /// The connection below.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.websocket.get_mut()
    }

    /// The next message, or how the connection ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        within(self.websocket.next()).await
    }

    /// The next packet, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Ok(Message::Text(packet))) => packet.as_str().to_owned(),
            other => panic!("no text but {other:?}"),
        }
    }

    /// The next packet, which must be binary.
    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes.into(),
            other => panic!("no attachment but {other:?}"),
        }
    }

    /// Sends a packet, and takes the next that comes.
    pub(crate) async fn ask(&mut self, packet: impl AsRef<str>) -> String {
        self.send(packet).await;
        self.text().await
    }

    /// The close frame that must come next, and then the end of the connection.
    pub(crate) async fn ended(&mut self) -> (u16, String) {
        match self.next().await {
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                let end = self.next().await;
                assert!(end.is_none(), "{end:?}");
                (code.into(), reason.as_str().to_owned())
            }
            other => panic!("no close frame with a code but {other:?}"),
        }
    }

    /// Closes from our side, unless the server has closed, and waits for the end.
    pub(crate) async fn close(mut self) {
        let _ = within(self.websocket.close(None)).await;
        while let Some(Ok(_)) = self.next().await {}
    }
}
