//! HTTP/1.1 as served by hyper in the accept loop, with arbitrary services, on a virtual clock.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use engineio::{ChannelListener, Connections, ListenConfig, RequestBody};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

type HttpResponse = Response<BoxBody<Bytes, io::Error>>;

/// Returns a listener that yields this connection.
fn one<Io>(connection: Io) -> ChannelListener<Io> {
    let (door, listener) = mpsc::channel(1);
    door.try_send(connection).ok().unwrap();
    ChannelListener::new(listener)
}

/// Serves a connection with a function and returns the client's end of the connection.
fn serve<F, Fut>(room: usize, answer: F) -> DuplexStream
where
    F: Fn(Request<RequestBody>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HttpResponse> + Send + 'static,
{
    let (client, server) = duplex(room);
    let service = tower::service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    tokio::spawn(engineio::serve(one(server), service).into_future());
    client
}

fn whole(body: impl Into<Bytes>) -> HttpResponse {
    Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed())
}

/// Responds with the path and the body of the request.
async fn echo(request: Request<RequestBody>) -> HttpResponse {
    let path = request.uri().path().to_owned();
    match request.into_body().collect().await {
        Ok(body) => whole([path.as_bytes(), b":", &body.to_bytes()].concat()),
        Err(error) => {
            assert!(matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
            let mut answer = whole("");
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            answer
        }
    }
}

/// A body of several chunks and unknown length.
struct Parts(VecDeque<&'static str>);

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.0.pop_front() {
            Some("") => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(part) => Poll::Ready(Some(Ok(Frame::data(part.into())))),
            None => Poll::Ready(None),
        }
    }
}

async fn parts(_: Request<RequestBody>) -> HttpResponse {
    Response::new(Parts(["", "one", "", "two", "", "", "three"].into()).boxed())
}

/// Sends the bytes and returns everything the server writes until it is idle, with `Date` headers removed.
async fn exchange(client: &mut DuplexStream, bytes: &[u8]) -> String {
    client.write_all(bytes).await.unwrap();
    received(client).await
}

async fn received(client: &mut DuplexStream) -> String {
    let mut received = Vec::new();
    while let Ok(Ok(read)) = timeout(Duration::from_millis(1), client.read_buf(&mut received)).await
        && read > 0
    {}
    let text = String::from_utf8(received).unwrap();
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn closing(body: &str) -> String {
    ok(body).replacen("Content-Length", "Connection: close\r\nContent-Length", 1)
}

async fn is_over(client: &mut DuplexStream) -> bool {
    matches!(timeout(Duration::from_secs(2), client.read(&mut [0])).await, Ok(Ok(0)))
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order() {
    let mut client = serve(4096, echo);
    let get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(exchange(&mut client, get.as_bytes()).await, ok("/a:"));
    let pipelined = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n\
                     POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\nGET /e";
    let answers = [ok("/b:one"), ok("/c:"), ok("/d:two")].concat();
    assert_eq!(exchange(&mut client, pipelined.as_bytes()).await, answers);
    assert_eq!(exchange(&mut client, b" HTTP/1.1\r\nHost: a\r\n\r\n").await, ok("/e:"));
}

#[tokio::test(start_paused = true)]
async fn bytes_may_come_one_by_one() {
    let mut client = serve(4096, echo);
    let requests = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneGET /c HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n\
                    POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\ntw\r\n1\r\no\r\n0\r\nT: u\r\n\r\n";
    let mut answers = String::new();
    for byte in requests.as_bytes() {
        answers += &exchange(&mut client, &[*byte]).await;
    }
    assert_eq!(answers, [ok("/b:one"), ok("/c:"), ok("/d:two")].concat());
}

#[tokio::test(start_paused = true)]
async fn a_connection_lasts_as_long_as_the_client_wants() {
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", closing("/:")),
        ("GET / HTTP/1.0\r\n\r\n", ok("/:").replacen("1.1", "1.0", 1)),
    ] {
        let mut client = serve(4096, echo);
        assert_eq!(exchange(&mut client, request.as_bytes()).await, answer);
        assert!(is_over(&mut client).await);
    }
    let mut client = serve(4096, echo);
    let kept = ok("/:").replacen("1.1", "1.0", 1);
    let kept = kept.replacen("Content-Length", "Connection: keep-alive\r\nContent-Length", 1);
    for _ in 0..2 {
        let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(exchange(&mut client, request).await, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_had_used_up_its_turn_does_not_stay_open() {
    // More work than the cooperative budget of a task allows, so the connection yields in the middle of a
    // response.
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    let mut client = serve(64 * 1024, echo);
    assert_eq!(exchange(&mut client, requests.as_bytes()).await, ok("/:").repeat(200));
    let idle = Instant::now();
    let end = timeout(Duration::from_mins(2), client.read(&mut [0])).await;
    assert_eq!(end.expect("it stays open").unwrap(), 0);
    assert_eq!((idle.elapsed() + Duration::from_millis(100)).as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_for_leave_to_send() {
    let mut client = serve(4096, echo);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(exchange(&mut client, head).await, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(exchange(&mut client, b"one").await, ok("/:one"));
    // A client may also send the body without waiting.
    let all = [&head[..], b"two"].concat();
    let answer = exchange(&mut client, &all).await;
    assert_eq!(answer, ["HTTP/1.1 100 Continue\r\n\r\n", &ok("/:two")].concat());

    // A request that is rejected before its body is read gets no `100 Continue`.
    let mut client = serve(4096, async |_| whole("no"));
    assert_eq!(exchange(&mut client, head).await, closing("no"));
    assert!(is_over(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_ends_the_connection() {
    let mut client = serve(4096, async |_| whole("no"));
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    // The body has arrived completely, so the server skips it and keeps the connection.
    assert_eq!(exchange(&mut client, format!("{request}one").as_bytes()).await, ok("no"));
    let chunks =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n2\r\n23\r\n0\r\n\r\n";
    assert_eq!(exchange(&mut client, chunks.as_bytes()).await, ok("no"));
    // Otherwise it closes the connection, so the client must not send another request.
    assert_eq!(exchange(&mut client, request.as_bytes()).await, closing("no"));
    // The server discards what still arrives, so that the client can read the response.
    client.write_all(b"one").await.unwrap();
    assert!(is_over(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_answered_and_ends_the_connection() {
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(101));
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, status) in [
        ("nonsense\r\n\r\n", "400 Bad Request"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "400 Bad Request"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        let mut client = serve(4096, echo);
        let answer = exchange(&mut client, request.as_bytes()).await;
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answer, head);
        assert!(is_over(&mut client).await);
    }
    let body = r#"{"code":3,"message":"Bad request"}"#;
    let refused = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for coding in ["gzip, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let mut client = serve(4096, echo);
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        assert_eq!(exchange(&mut client, request.as_bytes()).await, refused);
        assert!(is_over(&mut client).await);
    }
    // A request with both lengths has the body that `chunked` says, and is the last one (RFC 9112, section 6.1).
    let mut client = serve(4096, echo);
    assert_eq!(exchange(&mut client, both.as_bytes()).await, closing("/:"));
    assert!(is_over(&mut client).await);
    let mut client = serve(4096, echo);
    let answer =
        exchange(&mut client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(is_over(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_in_parts() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n";
    let mut client = serve(7, parts);
    for _ in 0..2 {
        let answer = exchange(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(answer, [head, chunks].concat());
    }
    let answer = exchange(&mut client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
    let answer = exchange(&mut client, b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.0 200 OK\r\n\r\nonetwothree");
    assert!(is_over(&mut client).await);
}

/// A body whose size hint is always three bytes.
struct Liar(Parts);

impl Body for Liar {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(3)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_where_it_said() {
    for (parts, sent) in [
        (&["onetwo"] as &[_], "one"),
        (&["one", "two"], "one"),
        (&["on", "", "et", "wo", "three"], "one"),
        (&["one", "", ""], "one"),
    ] {
        let liar =
            move |_| async move { Response::new(Liar(Parts(parts.iter().copied().collect())).boxed()) };
        let mut client = serve(4096, liar);
        let answer = exchange(&mut client, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).await;
        assert_eq!(answer, ok("...").replace("...", sent).repeat(2), "{parts:?}");
    }
    // A body shorter than its declared length cannot be repaired, so the connection is closed.
    let mut client = serve(4096, async |_| Response::new(Liar(Parts(["on"].into())).boxed()));
    let answer = exchange(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.is_empty() || answer == ok("...").replace("...", "on"), "{answer}");
    assert!(is_over(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_body_tell_no_length() {
    for (status, told) in [(204, false), (304, false), (200, true)] {
        for method in ["GET", "HEAD"] {
            let mut client = serve(4096, move |_| async move {
                let mut answer = whole("");
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                if status == 200 {
                    answer.headers_mut().insert("content-length", 7.into());
                }
                answer
            });
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            let answer = exchange(&mut client, request.as_bytes()).await.to_ascii_lowercase();
            assert_eq!(answer.contains("content-length"), told, "{method}: {answer}");
            assert!(!answer.contains("transfer-encoding"), "{method}: {answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_pass_both_ways() {
    let mut client = serve(1000, echo);
    let body = "a".repeat(200_000);
    let request = format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(exchange(&mut client, request.as_bytes()).await, ok(&format!("/b:{body}")));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_takes_its_request_along() {
    let (gone, hears) = oneshot::channel::<()>();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let mut client = serve(4096, move |_| {
        let held = gone.lock().unwrap().take();
        async move {
            pending::<()>().await;
            drop(held);
            whole("")
        }
    });
    assert_eq!(exchange(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    drop(client);
    assert!(timeout(Duration::from_secs(1), hears).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let (client, server) = duplex(100);
    let connections = Connections::new(ListenConfig::default().write_timeout(Duration::from_secs(3)));
    let service =
        tower::service_fn(async |_: Request<RequestBody>| Ok::<_, Infallible>(whole("a".repeat(1000))));
    tokio::spawn(engineio::serve(one(server), service).with_connections(connections.clone()).into_future());
    let mut client = client;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // A client that reads a little from time to time is not disconnected.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(2_900)).await;
        client.read_exact(&mut [0; 50]).await.unwrap();
    }
    assert_eq!(connections.open(), 1);
    let start = Instant::now();
    while connections.open() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((2_990..3_020).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

/// A stream that accepts writes but never flushes them.
struct Holding(DuplexStream);

impl AsyncRead for Holding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_holds_the_answer_back_is_given_up() {
    let (mut client, server) = duplex(100);
    let connections = Connections::new(ListenConfig::default().write_timeout(Duration::from_secs(3)));
    let service = tower::service_fn(async |_: Request<RequestBody>| Ok::<_, Infallible>(whole("yes")));
    tokio::spawn(
        engineio::serve(one(Holding(server)), service).with_connections(connections.clone()).into_future(),
    );
    let start = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(Duration::from_mins(1), client.read(&mut [0])).await.unwrap().unwrap();
    assert!((2_990..3_020).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(connections.open(), 0);
}

/// Uses one worker, whose scheduler runs the task that was spawned last first.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_of_connections_that_come_together_are_taken_in_their_order() {
    let (order, mut taken) = mpsc::channel(100);
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        order.try_send(request.uri().path().to_owned()).unwrap();
        async { Ok::<_, Infallible>(whole("")) }
    });
    let (door, listener) = mpsc::channel(100);
    let mut clients = Vec::new();
    let mut expected = Vec::new();
    for n in 0..30 {
        let (mut client, connection) = duplex(1000);
        client.write_all(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        door.try_send(connection).unwrap();
        clients.push(client);
        expected.push(format!("/{n}"));
    }
    tokio::spawn(engineio::serve(ChannelListener::new(listener), service).into_future());
    for expected in expected {
        assert_eq!(taken.recv().await.unwrap(), expected);
    }
}
