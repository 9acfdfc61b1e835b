//! A WebSocket client that is known to be right: tungstenite's.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    self, Bytes, Error, Message,
    protocol::{CloseFrame, Role, frame::coding::CloseCode},
};

use super::{Http, Polling, Server, Stream};

pub(crate) struct WebSocket(tungstenite::WebSocket<Blocking>);

impl WebSocket {
    /// Opens a session, and takes the open packet.
    pub(crate) async fn open(server: &Server) -> Self {
        let mut websocket = Self::connect(server, "EIO=4&transport=websocket").await;
        assert!(websocket.text().await.starts_with("0{"));
        websocket
    }

    /// Takes a polling session over; the client must not be polling.
    pub(crate) async fn upgrade(server: &Server, polling: &Polling) -> Self {
        let mut websocket = Self::connect(server, &polling.upgrade_query()).await;
        websocket.send("2probe").await;
        assert_eq!(websocket.text().await, "3probe");
        websocket.send("5").await;
        websocket
    }

    pub(crate) async fn connect(server: &Server, query: &str) -> Self {
        let (stream, received) = Http::connect(server).await.upgrade(query).await;
        let stream = Blocking { stream, waker: Waker::noop().clone() };
        Self(tungstenite::WebSocket::from_partially_read(stream, received, Role::Client, None))
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::Text(text.into().into())).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        self.send_message(Message::Binary(bytes.into())).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        let mut message = Some(message);
        self.run(|websocket| match message.take() {
            Some(message) => websocket.send(message),
            None => websocket.flush(),
        })
        .await
        .unwrap();
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Message, Error> {
        self.run(tungstenite::WebSocket::read).await
    }

    /// The next message, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Ok(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("no text but {other:?}"),
        }
    }

    /// The close frame that must come next.
    pub(crate) async fn close(&mut self) -> (u16, String) {
        match self.next().await {
            Ok(Message::Close(Some(CloseFrame { code, reason }))) => (code.into(), reason.to_string()),
            other => panic!("no close frame but {other:?}"),
        }
    }

    /// Closes from our side, and waits for the answer.
    pub(crate) async fn finish(mut self) -> (u16, String) {
        let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        self.send_message(Message::Close(Some(close))).await;
        self.close().await
    }

    async fn run<T>(
        &mut self,
        mut step: impl FnMut(&mut tungstenite::WebSocket<Blocking>) -> tungstenite::Result<T>,
    ) -> tungstenite::Result<T> {
        let patience = self.0.get_ref().stream.patience;
        let run = poll_fn(|cx| {
            self.0.get_mut().waker.clone_from(cx.waker());
            match step(&mut self.0) {
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                result => Poll::Ready(result),
            }
        });
        timeout(patience, run).await.expect("a WebSocket in time")
    }
}

/// A stream for a library that knows only blocking ones: it "would block" where ours is pending.
struct Blocking {
    stream: Stream,
    waker: Waker,
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Blocking {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        let cx = &mut Context::from_waker(&self.waker);
        blocking(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl Write for Blocking {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let cx = &mut Context::from_waker(&self.waker);
        blocking(Pin::new(&mut self.stream).poll_write(cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        let cx = &mut Context::from_waker(&self.waker);
        blocking(Pin::new(&mut self.stream).poll_flush(cx))
    }
}
