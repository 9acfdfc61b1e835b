//! Kernel buffers of connections whose clients do not read.

use std::time::Duration;

use engineio::{CloseReason, EngineConfig, Frame, ListenConfig, Listener};
use socket2::{SockRef, Socket};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    time::timeout,
};

use crate::support::{Http, Server, eventually};

/// Writes to a client that never reads and that connected before the accept loop ran. Returns the value of
/// the socket option on the connection and the number of bytes the kernel accepted.
async fn taken(config: ListenConfig) -> (u32, usize) {
    let mut listener = config.bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(16 * 1024).unwrap();
    let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = Listener::accept(&mut listener).await.unwrap();
    assert!(stream.nodelay().unwrap());

    let mut taken = 0;
    while timeout(Duration::from_millis(50), stream.writable()).await.is_ok() {
        taken += stream.try_write(&[0; 4096]).unwrap_or(0);
    }
    (SockRef::from(&stream).tcp_notsent_lowat().unwrap(), taken)
}

#[tokio::test]
async fn the_system_takes_little_for_a_client_that_does_not_read() {
    // The total includes the receive buffer of the client.
    let (lowat, taken_by_default) = taken(ListenConfig::default()).await;
    assert_eq!(lowat, 64 * 1024);
    assert!(taken_by_default < 128 * 1024, "{taken_by_default}");

    let (lowat, taken) = taken(ListenConfig::default().tcp_notsent_lowat(300_000)).await;
    assert_eq!(lowat, 300_000);
    assert!((300_000..400_000).contains(&taken), "{taken}");
}

#[tokio::test]
async fn the_accept_loop_prepares_its_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let twin: Socket = SockRef::from(&listener).try_clone().unwrap();
    let connect = Box::new(|| panic!("nobody connects"));
    let config = ListenConfig::default().tcp_notsent_lowat(20_000);
    let _server = Server::on(listener, None, connect, EngineConfig::default(), config);
    eventually(|| twin.tcp_notsent_lowat().unwrap() == 20_000).await;
}

#[tokio::test]
async fn a_client_that_did_not_take_the_end_is_reset() {
    let config = EngineConfig::default().max_buffered(1000_usize).close_timeout(Duration::from_millis(50));
    let mut server = Server::start(config).await;
    let (mut stream, _) = Http::connect(&server).await.upgrade("EIO=4&transport=websocket").await;
    let session = server.session().await;
    let frame = Frame::text(&"x".repeat(10_000));
    while session.send(std::slice::from_ref(&frame)).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.end().await, CloseReason::SlowConsumer);
    eventually(|| server.connections().open() == 0).await;
    // Bytes that already reached the client remain readable. Bytes in the server's send buffer are discarded.
    let end = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
