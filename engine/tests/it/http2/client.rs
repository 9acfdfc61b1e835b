//! A client that follows the protocol.

use bytes::Bytes;
use h2::{
    SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::Request;
use testkit::within;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

pub(crate) struct Http2 {
    pub(super) sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response with its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Http2 {
    /// Starts HTTP/2 on a stream.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = within(client::handshake(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Sends the head of a request.
    pub(super) async fn open(&mut self, method: &str, target: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let uri = format!("http://test{target}");
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        self.send(request, false).await
    }

    pub(super) async fn send(
        &mut self,
        request: Request<()>,
        is_end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.sender = within(self.sender.clone().ready()).await.unwrap();
        self.sender.send_request(request, is_end).unwrap()
    }

    /// Sends a request.
    pub(super) async fn start(&mut self, method: &str, target: &str, body: &str) -> ResponseFuture {
        let (response, mut sender) = self.open(method, target).await;
        sender.send_data(body.to_owned().into(), true).unwrap();
        response
    }

    /// Reads a response.
    pub(super) async fn response(response: ResponseFuture) -> Answer {
        let (head, mut stream) = within(response).await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(data) = within(stream.data()).await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        Answer { status: head.status.as_u16(), body: String::from_utf8(body).unwrap() }
    }

    pub(super) async fn request(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let response = self.start(method, target, body).await;
        Self::response(response).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "").await
    }

    /// Drops the connection.
    pub(super) fn abort(self) {
        self.connection.abort();
    }

    /// Waits until the server closes the connection. Consumes the client, because the connection also ends when no
    /// request can follow.
    pub(super) async fn ended(mut self) {
        within(self.closed()).await;
    }

    /// Like [`ended`](Self::ended), without a limit of time.
    pub(super) async fn closed(&mut self) {
        let _ = (&mut self.connection).await.unwrap();
    }
}
