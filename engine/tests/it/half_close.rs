//! Clients that shut down or reset their side of a connection while a response is pending.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use engineio::{ChannelListener, CloseReason, Connections, EngineConfig, ListenConfig, RequestBody};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::support::{Http, Polling, Server, Stream, eventually, http, parked};

const OPEN: &str = "EIO=4&transport=polling";

async fn server() -> Server {
    Server::start(EngineConfig::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_post_is_answered_though_its_client_sends_nothing_more() {
    let server = server().await;
    let mut answered = 0;
    for _ in 0..200 {
        let mut client = Polling::open(&server).await;
        client.post.start("POST", &client.query, "", "4hello").await;
        client.post.shut_down().await;
        let answer = client.post.rest().await;
        answered += usize::from(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"));
        // The message was delivered despite the half-close.
        assert_eq!(client.poll().await, "4hello");
    }
    assert_eq!(answered, 200);
}

#[tokio::test]
async fn all_complete_posts_are_answered() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    // The connection still processes the first request when it reads the FIN that follows the others.
    let bodies = ["4one", "4two", "4three"];
    for body in bodies {
        client.post.start("POST", &client.query, "", body).await;
    }
    client.post.send("POST /engine.io/ HTTP/1.1\r\nHost: te").await;
    client.post.shut_down().await;
    for _ in bodies {
        assert_eq!(client.post.response().await.body, "ok");
    }
    assert_eq!(client.post.rest().await, "");
    let mut got = String::new();
    while got.len() < bodies.concat().len() {
        got += &client.poll().await.replace('\u{1e}', "");
    }
    assert_eq!(got, bodies.concat());
}

#[tokio::test]
async fn a_post_that_waits_for_its_session_is_answered() {
    let server = server().await;
    let mut client = Polling::open(&server).await;
    // The closed gate blocks the POST after its first packet.
    client.post.start("POST", &client.query, "", "4pause\u{1e}4later").await;
    client.post.shut_down().await;
    let gate = server.gate();
    eventually(|| gate.is_closed()).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert!(client.post.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.poll().await, "4later");
}

#[tokio::test]
async fn a_post_that_breaks_off_ends_the_session() {
    let mut server = server().await;
    let client = Polling::open(&server).await;
    let mut post = Http::connect(&server).await;
    post.send(format!(
        "POST /engine.io/?{} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n4a",
        client.query
    ))
    .await;
    post.shut_down().await;
    // The short path closes the connection without a response.
    let answer = post.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert_eq!(server.end().await, CloseReason::TransportError);
}

/// Node.js behaves the same. Its HTTP server aborts a request when the client shuts down the connection,
/// because `allowHalfOpen` is off for HTTP servers.
#[tokio::test]
async fn the_end_of_a_client_that_polls_ends_the_session() {
    let mut server = server().await;
    let mut client = Polling::open(&server).await;
    let session = server.session().await;
    client.start_poll().await;
    parked(&session).await;
    client.get.shut_down().await;
    assert_eq!(client.get.rest().await, "");
    assert_eq!(server.end().await, CloseReason::TransportError);
    eventually(|| server.connections().open() == 1).await;
}

#[tokio::test]
async fn a_reset_behind_a_poll_frees_its_descriptor() {
    // The server reads at most the size of a request head behind the poll, then stops reading.
    let max_head = ListenConfig::default().get_max_head();
    let [fits, full, more] = [max_head - 1, max_head, 2 * max_head].map(|len| "x".repeat(len));
    for (behind, is_reset) in [
        ("", true),
        ("\r\n", true),
        ("G", true),
        ("GET / HTTP/1.1\r\n", false),
        (&fits, true),
        (&full, true),
        (&full, false),
        (&more, true),
        (&more, false),
    ] {
        let mut server = server().await;
        let client = Polling::open(&server).await;
        let session = server.session().await;
        let stream = TcpStream::connect(server.address()).await.unwrap();
        if is_reset {
            stream.set_zero_linger().unwrap();
        }
        let mut get = http(Stream::tcp(stream));
        get.send(format!("GET /engine.io/?{} HTTP/1.1\r\nHost: test\r\n\r\n{behind}", client.query)).await;
        parked(&session).await;
        get.send(behind).await;
        drop(get);
        assert_eq!(server.end().await, CloseReason::TransportError, "{} bytes", behind.len());
        // Both connections belong to the client that opened the session.
        eventually(|| server.connections().open() == 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_request_is_read_up_to_the_size_of_a_head() {
    const ROOM: usize = 100;
    const MAX_HEAD: usize = 500;
    let (mut client, connection) = duplex(ROOM);
    let (door, listener) = mpsc::channel(1);
    door.try_send(connection).unwrap();
    let connections = Connections::new(ListenConfig::default().max_head(MAX_HEAD));
    let service = tower::service_fn(async |_: Request<RequestBody>| {
        pending::<()>().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    tokio::spawn(
        engineio::serve(ChannelListener::new(listener), service).with_connections(connections).into_future(),
    );
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut taken = 0;
    while timeout(Duration::from_millis(10), client.write_all(b"x")).await.is_ok() {
        taken += 1;
    }
    // hyper has received what arrived together with the request.
    assert!((MAX_HEAD + ROOM..=MAX_HEAD + 2 * ROOM).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn a_service_may_take_its_time_for_a_complete_request() {
    let (mut client, connection) = duplex(4096);
    let (door, listener) = mpsc::channel(1);
    door.try_send(connection).unwrap();
    let service = tower::service_fn(async |request: Request<RequestBody>| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        sleep(Duration::from_secs(3)).await;
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    tokio::spawn(engineio::serve(ChannelListener::new(listener), service).into_future());
    for part in ["PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe", "llo"] {
        client.write_all(part.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(5), client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn an_open_is_answered_though_its_client_sends_nothing_more() {
    let server = server().await;
    let mut http = Http::connect(&server).await;
    http.start("GET", OPEN, "", "").await;
    http.shut_down().await;
    assert!(http.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

/// A response body whose chunks arrive through a channel.
struct Parts(mpsc::Receiver<&'static str>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part.into()))))
    }
}

/// Connects to a service with a streaming response. Returns the client's stream, the sender for the chunks,
/// and the connection counters.
async fn streaming() -> (TcpStream, mpsc::Sender<&'static str>, Connections) {
    let (parts, body) = mpsc::channel(10);
    let body = Arc::new(Mutex::new(Some(body)));
    let service = tower::service_fn(move |_: Request<RequestBody>| {
        let body = body.lock().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(Parts(body))) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Connections::default();
    tokio::spawn(engineio::serve(listener, service).with_connections(connections.clone()).into_future());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    parts.send("first").await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"first\r\n") {
        stream.read_buf(&mut read).await.unwrap();
    }
    (stream, parts, connections)
}

#[tokio::test]
async fn a_reset_while_an_answer_comes_frees_its_descriptor() {
    let (stream, parts, connections) = streaming().await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    eventually(|| connections.open() == 0).await;
    assert!(parts.is_closed());
}

#[tokio::test]
async fn an_answer_goes_on_though_its_client_sends_nothing_more() {
    let (mut stream, parts, _) = streaming().await;
    stream.shutdown().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    parts.send("second").await.unwrap();
    drop(parts);
    let mut rest = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "6\r\nsecond\r\n0\r\n\r\n");
}
