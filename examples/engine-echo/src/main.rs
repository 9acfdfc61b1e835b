//! An echo server on the Engine.IO layer alone, without Socket.IO. Start it with `cargo run -p engine-echo` and
//! open <http://127.0.0.1:3000>.
//!
//! Write a protocol of your own in this way: the engine opens sessions, keeps the heartbeat, and upgrades
//! long-polling to WebSocket; the application decides what the messages mean.

use std::{convert::Infallible, io, sync::Arc, task::Context};

use engineio::{
    Application, CloseReason, Connection, Engine, EngineConfig, Frame, HandshakeRequest, Message,
    RequestBody, ResponseBody, SessionHandle,
};
use http::{Request, Response, StatusCode, header};
use tokio::net::TcpListener;
use tower::Service;

const PATH: &str = "/engine.io/";

/// Creates one [`EchoConnection`] for each session.
struct Echo;

struct EchoConnection(SessionHandle);

impl Application for Echo {
    type Connection = EchoConnection;

    fn on_connect(&self, session: SessionHandle, _: Arc<HandshakeRequest>) -> EchoConnection {
        EchoConnection(session)
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        let frame = match message {
            Message::Text(text) => Frame::text(text),
            Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
        };
        // Fails if the session has closed, which needs no echo.
        let _ = self.0.send(&[frame]);
    }

    fn on_close(&mut self, _: CloseReason) {}
}

/// Passes requests under [`PATH`] to the engine, and responds to all others with the page.
async fn respond(
    mut engine: Engine<Echo>,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, Infallible> {
    if request.uri().path() == PATH {
        return engine.call(request).await;
    }
    let mut response = Response::new(ResponseBody::default());
    if request.uri().path() == "/" {
        *response.body_mut() = include_str!("../page/index.html").into();
        let html = header::HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what the program is started for")]
async fn main() -> io::Result<()> {
    let engine = Engine::new(Echo, EngineConfig::default());
    let service = tower::service_fn({
        let engine = engine.clone();
        move |request| respond(engine.clone(), request)
    });
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("echo: http://{}", listener.local_addr()?);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    engineio::serve(listener, service)
        .with_short_path(&engine, PATH)
        .with_graceful_shutdown(interrupted)
        .await?;
    engine.close().await;
    Ok(())
}
