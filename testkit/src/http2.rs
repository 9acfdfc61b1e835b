//! An HTTP/2 client that follows the protocol, with prior knowledge.

use bytes::Bytes;
use h2::{
    SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};

use crate::within;

/// A connection for concurrent requests.
#[derive(Debug)]
pub struct Http2 {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A response with its body.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Http2 {
    /// Starts HTTP/2 on a stream.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = within(client::handshake(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Sends the head of a request.
    pub async fn open(&mut self, method: &str, target: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let uri = format!("http://test{target}");
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        self.send(request, false).await
    }

    /// Sends a GET request without reading the response.
    pub async fn open_get(&mut self, target: &str) -> ResponseFuture {
        let (response, mut sender) = self.open("GET", target).await;
        sender.send_data(Bytes::new(), true).unwrap();
        response
    }

    /// Sends a head.
    pub async fn send(&mut self, request: Request<()>, is_end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        self.sender = within(self.sender.clone().ready()).await.unwrap();
        self.sender.send_request(request, is_end).unwrap()
    }

    /// Sends a request.
    pub async fn start(&mut self, method: &str, target: &str, body: &str) -> ResponseFuture {
        let (response, mut sender) = self.open(method, target).await;
        sender.send_data(body.to_owned().into(), true).unwrap();
        response
    }

    /// Reads a response.
    pub async fn response(response: ResponseFuture) -> Answer {
        let (head, mut stream) = within(response).await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(data) = within(stream.data()).await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        Answer { status: head.status.as_u16(), body: String::from_utf8(body).unwrap() }
    }

    /// Sends a request and reads the response.
    pub async fn request(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let response = self.start(method, target, body).await;
        Self::response(response).await
    }

    /// Sends a GET request and reads the response.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "").await
    }

    /// Drops the connection.
    pub fn abort(self) {
        self.connection.abort();
    }

    /// Waits until the server closes the connection. Consumes the client, because the connection also ends when no
    /// request can follow.
    pub async fn ended(mut self) {
        within(self.closed()).await;
    }

    /// Like [`ended`](Self::ended), without a limit of time.
    pub async fn closed(&mut self) {
        let _ = (&mut self.connection).await.unwrap();
    }
}
