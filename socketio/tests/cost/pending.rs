//! Sessions that are opened but not used.

use std::sync::Arc;

use socketio::{EngineConfig, Namespace, Server, ServerConfig};
use testkit::Http;

use crate::lab::{Host, Lab};

const PENDING: u32 = 500;
/// Maximum size of a pending session.
const MAX_BYTES: i64 = 2048;

/// Opens sessions and returns the connection that was used.
async fn open(host: Arc<Host>, count: usize) -> Http {
    let mut http = Http::connect(&host).await;
    for _ in 0..count {
        assert_eq!(http.get("/socket.io/?EIO=4&transport=polling").await.status, 200);
    }
    http
}

#[test]
fn a_flood_of_handshakes_holds_no_more_than_the_sessions_that_may_be_pending() {
    let engine = EngineConfig::default().max_pending_sessions(PENDING as usize);
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(Namespace::new("/"));
    let lab = Lab::new(io);
    let (_, first) = lab.run(open(lab.host.clone(), PENDING as usize));
    let each = first.bytes_current / i64::from(PENDING);
    println!("{each} bytes for a pending session");
    assert!(each <= MAX_BYTES, "{each} bytes for a pending session");
    let (_, more) = lab.run(open(lab.host.clone(), 4 * PENDING as usize));
    assert_eq!(lab.host.io.session_count(), PENDING as usize);
    let grown = more.bytes_current / i64::from(PENDING);
    assert!(grown <= 64, "{grown} bytes more for each that may be pending");
}
