//! HTTP/2 by prior knowledge, as served by hyper in the accept loop.

mod limits;
mod raw;
mod websocket;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use engineio::{CloseReason, EngineConfig, RequestBody};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use testkit::{Http2, within};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::support::{Server, WebSocket, eventually, parked};

const OPEN: &str = "/engine.io/?EIO=4&transport=polling";

async fn connect(server: &Server) -> Http2 {
    Http2::over(server.connect().await).await
}

/// Returns the session id of an open packet.
pub(crate) fn sid_of(open: &str) -> &str {
    &open[9..29]
}

#[tokio::test]
async fn a_session_polls_and_posts_over_one_connection() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    assert_eq!(open.status, 200);
    let target = format!("{OPEN}&sid={}", sid_of(&open.body));
    let session = server.session().await;
    for message in ["4one", "4two"] {
        let poll = client.start("GET", &target, "").await;
        parked(&session).await;
        assert_eq!(client.request("POST", &target, message).await.body, "ok");
        assert_eq!(Http2::response(poll).await.body, message);
    }
    // Other connections are served as before.
    let mut websocket = WebSocket::open(&server).await;
    websocket.send("4beside").await;
    assert_eq!(websocket.text().await, "4beside");
}

#[tokio::test]
async fn an_error_of_the_protocol_is_told_as_over_http_1() {
    let server = Server::start(EngineConfig::default()).await;
    let answer = connect(&server).await.get("/engine.io/?EIO=4&transport=polling&sid=unknown").await;
    assert_eq!((answer.status, &*answer.body), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    // There are no upgrades in HTTP/2.
    let answer = connect(&server).await.get("/engine.io/?EIO=4&transport=websocket").await;
    assert_eq!((answer.status, &*answer.body), (400, r#"{"code":3,"message":"Bad request"}"#));
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    for (hosts, status) in [(&["test"][..], 200), (&[], 200), (&["other"], 400), (&["test", "test"], 400)] {
        let request = hosts
            .iter()
            .fold(Request::get(format!("http://test{OPEN}")), |request, host| request.header("host", *host));
        let (response, _) = client.send(request.body(()).unwrap(), true).await;
        assert_eq!(within(response).await.unwrap().status(), status, "{hosts:?}");
    }
}

#[tokio::test]
async fn a_poll_that_is_reset_ends_its_session() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    let session = server.session().await;
    let poll = client.start("GET", &format!("{OPEN}&sid={}", sid_of(&open.body)), "").await;
    parked(&session).await;
    drop(poll);
    assert_eq!(server.end().await, CloseReason::TransportError);
    // The connection goes on.
    assert_eq!(client.get(OPEN).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_goes_ends_its_sessions() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    let session = server.session().await;
    let _poll = client.start("GET", &format!("{OPEN}&sid={}", sid_of(&open.body)), "").await;
    parked(&session).await;
    client.abort();
    assert_eq!(server.end().await, CloseReason::TransportError);
    eventually(|| server.connections().open() == 0).await;
}

#[tokio::test]
async fn a_poll_in_progress_is_answered_before_the_end() {
    let mut server = Server::start(EngineConfig::default()).await;
    let mut client = connect(&server).await;
    let open = client.get(OPEN).await;
    let session = server.session().await;
    let poll = client.start("GET", &format!("{OPEN}&sid={}", sid_of(&open.body)), "").await;
    parked(&session).await;
    let _idle = connect(&server).await;
    let serving = server.shut_down();
    let engine = server.engine.clone();
    let closing = tokio::spawn(async move { engine.close().await });
    assert_eq!(Http2::response(poll).await.body, "1");
    client.ended().await;
    closing.await.unwrap();
    timeout(Duration::from_secs(4), serving).await.expect("nothing is in progress").unwrap().unwrap();
}

/// A body whose frames come through a channel.
struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Sends the frames of the request back, and a trailer of its own.
async fn echo(request: Request<RequestBody>) -> Result<Response<Frames>, Infallible> {
    let (sender, frames) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut trailers = HeaderMap::new();
        while let Some(Ok(frame)) = body.frame().await {
            match frame.into_data() {
                Ok(data) => sender.send(Frame::data(data)).await.unwrap(),
                Err(frame) => trailers = frame.into_trailers().unwrap(),
            }
        }
        trailers.insert("x-end", "reached".parse().unwrap());
        sender.send(Frame::trailers(trailers)).await.unwrap();
    });
    Ok(Response::new(Frames(frames)))
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(echo);
    tokio::spawn(engineio::serve(listener, service).into_future());
    let mut client = Http2::over(TcpStream::connect(address).await.unwrap()).await;
    let (response, mut sender) = client.open("POST", "/").await;
    let (head, mut body) = within(response).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    for part in ["one", "two"] {
        sender.send_data(part.into(), false).unwrap();
        assert_eq!(within(body.data()).await.unwrap().unwrap(), part);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-start", "here".parse().unwrap());
    sender.send_trailers(trailers).unwrap();
    assert!(within(body.data()).await.is_none());
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    let trailer = |name| trailers.get(name).map(HeaderValue::as_bytes);
    assert_eq!((trailer("x-start"), trailer("x-end")), (Some(&b"here"[..]), Some(&b"reached"[..])));
}
