//! Socket.IO over TLS beside an application of axum, for browsers. Prints the port.
//!
//! The header `x-connection` of each response names the connection of its request.

#![expect(clippy::print_stdout, reason = "the line tells the test the port")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        Request, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    middleware::{Next, from_fn},
    response::{Html, Response},
    routing::{any, get},
};
use socketio::{
    Ack, EngineConfig, Namespace, RemoteAddr, Server, ServerConfig, Tls,
    http::{Extensions, HeaderMap, HeaderValue},
};
use tokio::{net::TcpListener, sync::Semaphore};

// Without the link, the browser asks for an icon at some time.
const PAGE: &str = r#"<!doctype html><title>https</title><link rel="icon" href="data:,">"#;
const PIECES: usize = 5;
const PIECE: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let download = Arc::new(Download::default());
    let resumed = Arc::clone(&download);
    let namespace = Namespace::new("/")
        .on("echo", async |_, text: String| Ack(text))
        .on_unit("resume", async move |_| Ack(resumed.resume()));
    let engine =
        EngineConfig::default().headers(|headers, request| name_connection(headers, &request.extensions));
    let io = Server::with_config(ServerConfig::default().engine(engine)).namespace(namespace);
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/download", get(async move || download.body()))
        .route("/version", get(|request: Request| async move { format!("{:?}", request.version()) }))
        .route("/ws", any(websocket))
        .layer(from_fn(with_connection));
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let tls = Tls::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io.serve(tls.listener(listener)).with_fallback(app).await?;
    Ok(())
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

async fn with_connection(request: Request, next: Next) -> Response {
    let extensions = request.extensions().clone();
    let mut response = next.run(request).await;
    name_connection(response.headers_mut(), &extensions);
    response
}

/// Sets `x-connection` to the port of the client, which differs between connections.
fn name_connection(headers: &mut HeaderMap, extensions: &Extensions) {
    if let Some(RemoteAddr(address)) = extensions.get() {
        headers.insert("x-connection", HeaderValue::from(address.port()));
    }
}

/// A response of [`PIECES`] pieces. Each but the first is produced when a client has asked for it.
#[derive(Debug)]
struct Download {
    produced: AtomicUsize,
    requested: Semaphore,
}

impl Default for Download {
    fn default() -> Self {
        Self { produced: AtomicUsize::new(0), requested: Semaphore::new(1) }
    }
}

impl Download {
    fn body(self: Arc<Self>) -> Body {
        Body::from_stream(futures::stream::unfold(self, async |download| {
            if download.produced.load(Ordering::SeqCst) == PIECES {
                return None;
            }
            download.requested.acquire().await.ok()?.forget();
            download.produced.fetch_add(1, Ordering::SeqCst);
            let piece: Result<_, axum::Error> = Ok(Bytes::from(vec![b'x'; PIECE]));
            Some((piece, download))
        }))
    }

    /// Lets the next piece be produced, and returns the number of pieces that were produced before.
    fn resume(&self) -> usize {
        let produced = self.produced.load(Ordering::SeqCst);
        self.requested.add_permits(1);
        produced
    }
}
