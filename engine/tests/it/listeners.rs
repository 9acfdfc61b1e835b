//! Every kind of listener supports every transport.

use engineio::{CloseReason, EngineConfig, ListenConfig, TransportKind};

use crate::support::{Connect, Http, Polling, Server, Stream, WebSocket, Wire, eventually};

/// Checks long-polling, a WebSocket, and the upgrade from polling to the WebSocket.
pub(crate) async fn carries_everything(server: &mut Server) {
    let mut polling = Polling::open(server).await;
    let session = server.session().await;
    polling.send("4by polling").await;
    assert_eq!(polling.poll().await, "4by polling");

    let mut websocket = WebSocket::upgrade(server, &polling).await;
    websocket.send("4upgraded").await;
    assert_eq!(websocket.text().await, "4upgraded");
    assert_eq!(session.transport(), TransportKind::WebSocket);
    // The message is larger than the buffers of a socket.
    let long = format!("4{}", "x".repeat(900_000));
    websocket.send(long.clone()).await;
    assert_eq!(websocket.text().await, long);
    assert_eq!(websocket.finish().await.0, 1000);
    assert_eq!(server.end().await, CloseReason::TransportClose);

    let mut websocket = WebSocket::open(server).await;
    websocket.send("4by WebSocket").await;
    assert_eq!(websocket.text().await, "4by WebSocket");
    drop(websocket);
    assert_eq!(server.end().await, CloseReason::TransportClose);
    drop(polling);
    eventually(|| server.connections().open() == 0).await;
}

/// Returns what the application sees of a request, which is the peer address and whether the connection uses
/// TLS.
pub(crate) async fn told(server: &Server) -> String {
    let query = "EIO=4&transport=websocket&reflect=1";
    let mut client = Wire::from_parts(Http::connect(server).await.upgrade(query).await);
    assert!(client.text().await.starts_with("0{"));
    client.text().await
}

#[tokio::test]
async fn tcp() {
    let mut server = Server::start(EngineConfig::default()).await;
    carries_everything(&mut server).await;
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets() {
    use tokio::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("engineio-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let connect: Connect = {
        let path = path.clone();
        Box::new(move || {
            let path = path.clone();
            Box::pin(async move { Stream::new(UnixStream::connect(path).await.unwrap()) })
        })
    };
    let mut server = Server::on(
        listener,
        None,
        connect,
        EngineConfig::default(),
        ListenConfig::default().max_connections(3_usize),
    );
    carries_everything(&mut server).await;
    assert!(told(&server).await.ends_with(r#", Some("test"), None, false)"#));

    eventually(|| server.connections().open() == 0).await;
    let _inside = [server.connect().await, server.connect().await, server.connect().await];
    let answer = Http::connect(&server).await.get("EIO=4&transport=polling").await;
    assert_eq!(answer.status, 503);
    std::fs::remove_file(path).unwrap();
}
