//! The limit on sessions per address, on a virtual clock.

use std::{io, net::SocketAddr, time::Duration};

use engineio::{EngineConfig, Limit, ListenConfig, Listener, RemoteAddr};
use http::Extensions;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time::sleep,
};

use crate::support::{Http, Polling, Server, Stream, UPGRADE, WebSocket, http};

/// A listener of in-memory connections with chosen peer addresses.
struct Net(mpsc::Receiver<(DuplexStream, SocketAddr)>);

impl Listener for Net {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok(connection),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn describe(_: &DuplexStream, address: &SocketAddr, extensions: &mut Extensions) {
        extensions.insert(RemoteAddr(*address));
    }
}

/// Returns a server whose clients have the address `10.0.0.1`, and a function that connects from other
/// addresses.
fn server(config: EngineConfig) -> (Server, impl AsyncFn(&str) -> Http) {
    let (door, net) = mpsc::channel(16);
    let connect = async |door: mpsc::Sender<_>, address: SocketAddr| {
        let (ours, theirs) = duplex(64 * 1024);
        door.send((theirs, address)).await.unwrap();
        let mut stream = Stream::new(ours);
        stream.patience = Duration::from_hours(1);
        stream
    };
    let own = door.clone();
    let server = Server::on(
        Net(net),
        None,
        Box::new(move || Box::pin(connect(own.clone(), "10.0.0.1:1000".parse().unwrap()))),
        config,
        ListenConfig::default(),
    );
    let from = async move |address: &str| http(connect(door.clone(), address.parse().unwrap()).await);
    (server, from)
}

/// Requests a session over each transport and expects a rejection.
async fn refused(server: &Server) {
    for (query, headers) in [("EIO=4&transport=polling", ""), ("EIO=4&transport=websocket", UPGRADE)] {
        let answer = Http::connect(server).await.request("GET", query, headers, "").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_an_address_are_limited_exactly() {
    let (server, from) = server(EngineConfig::default().max_sessions_per_address(2));
    let mut polling = Polling::open(&server).await;
    let websocket = WebSocket::open(&server).await;
    refused(&server).await;
    assert_eq!(server.engine.limit_hits(Limit::MaxSessionsPerAddress), 2);
    assert_eq!(server.engine.session_count(), 2);
    // The port is not part of the address.
    for (address, status) in
        [("10.0.0.1:2000", 429), ("[::ffff:10.0.0.1]:1000", 429), ("10.0.0.2:1000", 200), ("[::1]:1000", 200)]
    {
        assert_eq!(from(address).await.get("EIO=4&transport=polling").await.status, status, "{address}");
    }

    sleep(Duration::from_secs(1)).await;
    refused(&server).await;
    polling.send("4alive").await;
    assert_eq!(polling.poll().await, "4alive");
    websocket.finish().await;
    let another = WebSocket::open(&server).await;
    refused(&server).await;
    sleep(Duration::from_secs(1)).await;
    polling.send("1").await;
    another.finish().await;
    // Both sessions are closed.
    let _both = [WebSocket::open(&server).await, WebSocket::open(&server).await];
    refused(&server).await;
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_take_all_handshakes() {
    let config = EngineConfig::default().max_handshakes_per_second(10).max_sessions_per_address(3);
    let (server, from) = server(config);
    for _ in 0..3 {
        let mut others = from("10.0.0.2:1000").await;
        let mut statuses = Vec::new();
        for _ in 0..20 {
            let open = Http::connect(&server).await.get("EIO=4&transport=polling").await;
            if open.status == 200 {
                let sid = &open.body[r#"0{"sid":""#.len()..][..20];
                let query = format!("EIO=4&transport=polling&sid={sid}");
                Http::connect(&server).await.request("POST", &query, "", "1").await;
            }
            statuses.push(open.status);
        }
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 3, "{statuses:?}");
        assert_eq!(others.get("EIO=4&transport=polling").await.status, 200);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(server.engine.limit_hits(Limit::MaxHandshakesPerSecond), 0);
}
