//! WebSocket over HTTP/2 (RFC 8441), which is a stream that an extended CONNECT opens.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use engineio::{CloseReason, Connections, EngineConfig, ListenConfig, RequestBody, TransportKind};
use h2::{Reason, RecvStream, SendStream, ext::Protocol};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::Empty;
use testkit::{
    Http2,
    frames::{close_frame, take, text},
    within,
};
use tokio::net::{TcpListener, TcpStream};

use super::{OPEN, connect, sid_of};
use crate::support::{Server, eventually};

const TARGET: &str = "/engine.io/?EIO=4&transport=websocket";

/// A WebSocket over a stream of an HTTP/2 connection.
struct Tunnel {
    sender: SendStream<Bytes>,
    body: RecvStream,
    received: Vec<u8>,
}

fn handshake(target: &str) -> http::request::Builder {
    Request::connect(format!("http://test{target}"))
        .version(Version::HTTP_2)
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
}

impl Tunnel {
    /// Requests a WebSocket. Returns the status and the headers of the response with the stream.
    async fn ask(client: &mut Http2, request: http::request::Builder) -> (u16, HeaderMap, Self) {
        let (response, sender) = client.send(request.body(()).unwrap(), false).await;
        let (head, body) = within(response).await.unwrap().into_parts();
        (head.status.as_u16(), head.headers, Self { sender, body, received: Vec::new() })
    }

    async fn open(client: &mut Http2, target: &str) -> Self {
        let (status, _, tunnel) = Self::ask(client, handshake(target)).await;
        assert_eq!(status, 200);
        tunnel
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.sender.send_data(bytes.into(), false).unwrap();
    }

    /// Returns the next frame, or `None` at the end of the stream.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(frame) = take(&mut self.received) {
                return Some(frame);
            }
            let data = within(self.body.data()).await?.unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.received.extend(data);
        }
    }

    async fn text(&mut self) -> String {
        let (first, text) = self.frame().await.unwrap();
        assert_eq!(first, 0x81);
        String::from_utf8(text).unwrap()
    }

    /// Sends a message in pieces that fit into frames of HTTP/2, and expects it back.
    async fn echoes(&mut self, message: &str) {
        for piece in text(format!("4{message}")).chunks(16_000) {
            self.send(piece.to_vec());
        }
        assert_eq!(self.text().await, format!("4{message}"));
    }
}

#[tokio::test]
async fn a_session_opens_echoes_and_closes() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let (status, headers, mut tunnel) = Tunnel::ask(&mut client, handshake(TARGET)).await;
    assert_eq!(status, 200);
    let names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["date"]);
    assert!(tunnel.text().await.starts_with("0{"));
    let session = server.session().await;
    assert_eq!(session.transport(), TransportKind::WebSocket);
    for message in ["hello".to_owned(), "x".repeat(500_000)] {
        tunnel.echoes(&message).await;
    }
    // The connection serves other requests and WebSockets beside.
    let mut other = Tunnel::open(&mut client, TARGET).await;
    assert!(other.text().await.starts_with("0{"));
    assert_eq!(client.get(OPEN).await.status, 200);
    tunnel.send(close_frame(1000));
    assert_eq!(tunnel.frame().await, Some((0x88, vec![3, 232])));
    assert_eq!(tunnel.frame().await, None);
    assert_eq!(server.end().await, CloseReason::TransportClose);
    other.send(text("4beside"));
    assert_eq!(other.text().await, "4beside");
    // A client may reset the stream.
    other.sender.send_reset(Reason::CANCEL);
    assert_eq!(server.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn a_polling_session_upgrades_on_the_same_connection() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    let session = server.session().await;
    let mut tunnel = Tunnel::open(&mut client, &format!("{TARGET}&sid={}", sid_of(&open.body))).await;
    tunnel.send(text("2probe"));
    assert_eq!(tunnel.text().await, "3probe");
    tunnel.send(text("5"));
    tunnel.send(text("4hello"));
    assert_eq!(tunnel.text().await, "4hello");
    assert_eq!(session.transport(), TransportKind::WebSocket);
    // As over HTTP/1, another one is closed.
    let mut second = Tunnel::open(&mut client, &format!("{TARGET}&sid={}", sid_of(&open.body))).await;
    assert_eq!(second.frame().await.unwrap().0, 0x88);
}

#[cfg(feature = "forwarding")]
#[tokio::test]
async fn a_session_of_another_server_is_upgraded() {
    let (mut owner, other) = (crate::forwarding::server().await, crate::forwarding::server().await);
    let polling = crate::support::Polling::open(&owner).await;
    let session = owner.session().await;
    let target = format!("{TARGET}&sid={}", polling.sid);
    let mut client = connect(&other).await;
    let mut tunnel = Tunnel::open(&mut client, &target).await;
    tunnel.send(text("2probe"));
    assert_eq!(tunnel.text().await, "3probe");
    tunnel.send(text("5"));
    for message in ["hello".to_owned(), "x".repeat(100_000)] {
        tunnel.echoes(&message).await;
    }
    assert_eq!(session.transport(), TransportKind::WebSocket);
    // The connection serves other requests beside, and requests that the other server refuses.
    let gone = target.replace(&polling.sid[..20], "AAAAAAAAAAAAAAAAAAAA");
    let (status, _, _) = Tunnel::ask(&mut client, handshake(&gone)).await;
    assert_eq!(status, 400);
    assert_eq!(client.get(OPEN).await.status, 200);
    tunnel.send(close_frame(1000));
    assert_eq!(tunnel.frame().await, Some((0x88, vec![3, 232])));
    assert_eq!(tunnel.frame().await, None);
    assert_eq!(owner.end().await, CloseReason::TransportClose);
    // A client may reset the stream.
    let polling = crate::support::Polling::open(&owner).await;
    let mut tunnel = Tunnel::open(&mut client, &format!("{TARGET}&sid={}", polling.sid)).await;
    tunnel.send(text("2probe"));
    assert_eq!(tunnel.text().await, "3probe");
    tunnel.send(text("5"));
    tunnel.send(text("4hello"));
    assert_eq!(tunnel.text().await, "4hello");
    tunnel.sender.send_reset(Reason::CANCEL);
    assert_eq!(owner.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn a_handshake_is_checked_as_over_http_1() {
    let server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let plain = |target: &str| {
        Request::connect(format!("http://test{target}")).extension(Protocol::from_static("websocket"))
    };
    for (name, request, status) in [
        ("another origin", handshake(TARGET).header("origin", "http://evil.example"), 403),
        ("its own origin", handshake(TARGET).header("origin", "http://test"), 200),
        ("no version", plain(TARGET), 400),
        ("another version", plain(TARGET).header("sec-websocket-version", "8"), 400),
        ("an unknown session", handshake(&format!("{TARGET}&sid=unknown")), 400),
        ("the other transport", handshake(OPEN), 400),
        ("another protocol", handshake(TARGET).extension(Protocol::from_static("connect-udp")), 400),
    ] {
        assert_eq!(Tunnel::ask(&mut client, request).await.0, status, "{name}");
    }
    // A CONNECT has no body. hyper ends the connection.
    let request = handshake(TARGET).header("content-length", "5").body(()).unwrap();
    let (response, _sender) = client.send(request, false).await;
    assert!(within(response).await.is_err());
}

#[tokio::test]
async fn a_connection_is_idle_after_its_last_websocket() {
    let listen = ListenConfig::default().keep_alive_timeout(Duration::from_millis(50));
    let config = EngineConfig::default().ping_interval(Duration::from_millis(100));
    let server = Server::listen(config, listen).await;
    let mut client = connect(&server).await;
    let mut tunnel = Tunnel::open(&mut client, TARGET).await;
    assert!(tunnel.text().await.starts_with("0{"));
    for _ in 0..3 {
        assert_eq!(tunnel.text().await, "2");
        tunnel.send(text("3"));
    }
    tunnel.send(close_frame(1000));
    while tunnel.frame().await.is_some() {}
    client.ended().await;
    eventually(|| server.connections().open() == 0).await;
}

#[tokio::test]
async fn a_shutdown_closes_websockets_and_their_connection() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let mut tunnel = Tunnel::open(&mut client, TARGET).await;
    assert!(tunnel.text().await.starts_with("0{"));
    let serving = server.shut_down();
    let engine = server.engine.clone();
    let closing = tokio::spawn(async move { engine.close().await });
    assert_eq!(tunnel.frame().await.unwrap().0, 0x88);
    tunnel.send(close_frame(1001));
    drop(tunnel);
    closing.await.unwrap();
    within(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_service_gets_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(async |mut request: Request<RequestBody>| {
        assert_eq!(request.extensions().get::<hyper::ext::Protocol>().unwrap().as_str(), "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let (mut reader, mut writer) = tokio::io::split(&mut io);
            tokio::io::copy(&mut reader, &mut writer).await
        });
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    // The service's WebSocket does not count as idle either.
    let connections = Connections::new(ListenConfig::default().keep_alive_timeout(Duration::from_millis(1)));
    tokio::spawn(engineio::serve(listener, service).with_connections(connections).into_future());
    let mut client = Http2::over(TcpStream::connect(address).await.unwrap()).await;
    let mut tunnel = Tunnel::open(&mut client, "/other").await;
    for _ in 0..20 {
        tunnel.send(vec![0x81, 2, b'h', b'i']);
        assert_eq!(tunnel.text().await, "hi");
        tokio::task::yield_now().await;
    }
}
