//! Requests that the short path takes before they reach the service. The responses are the same as behind a
//! service.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use engineio::{Cors, Engine, EngineConfig, RequestBody};
use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use crate::support::{Echo, Http, HttpResponse, PATH, Polling, Server, Stream, http};

/// Connects to a service that passes every request to the engine. Returns the connection and a counter of
/// those requests.
async fn counted(engine: &Engine<Echo>) -> (Http, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (engine, count) = (engine.clone(), Arc::<AtomicUsize>::default());
    let (mut inner, counter) = (engine.clone(), count.clone());
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        counter.fetch_add(1, Ordering::Relaxed);
        inner.call(request)
    });
    tokio::spawn(engineio::serve(listener, service).with_short_path(&engine, PATH).into_future());
    (http(Stream::tcp(TcpStream::connect(address).await.unwrap())), count)
}

/// Returns the response to a request of a session with a queued message, and whether the request reached the
/// service.
async fn answer(config: EngineConfig, path: &str, request: &str) -> (HttpResponse, bool) {
    answer_after("hello", config, path, request).await
}

async fn answer_after(
    message: &str,
    config: EngineConfig,
    path: &str,
    request: &str,
) -> (HttpResponse, bool) {
    let server = Server::start(config).await;
    let mut client = Polling::open(&server).await;
    client.send(&format!("4{message}")).await;
    let (mut http, count) = counted(&server.engine).await;
    http.send(request.replace("PATH", path).replace("SID", &client.sid)).await;
    let mut answer = http.response().await;
    answer.headers.remove("date");
    (answer, count.load(Ordering::Relaxed) > 0)
}

/// Checks that the response is the same at the engine's path and at another path, where every request goes
/// through the service.
async fn check(config: EngineConfig, request: &str, status: u16, needs_service: bool) {
    let (answered, heard) = answer(config.clone(), PATH, request).await;
    assert_eq!((answered.status, heard), (status, needs_service), "{request}");
    let (expected, heard) = answer(config, "/elsewhere/", request).await;
    assert_eq!((answered, heard), (expected, true), "{request}");
}

fn get(headers: &str) -> String {
    format!("GET PATH?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: test\r\n{headers}\r\n")
}

fn post(headers: &str, body: &str) -> String {
    let head = "POST PATH?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: test\r\n";
    format!("{head}Content-Length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn polls_and_posts_of_open_sessions_need_no_service() {
    for (request, status) in [
        (get(""), 200),
        (get("Connection: close\r\n"), 200),
        (get("Origin: http://test\r\nAccept-Encoding: gzip\r\n"), 200),
        (get("Sec-Fetch-Site: same-origin\r\n"), 200),
        (get("Sec-Fetch-Site: cross-site\r\nOrigin: http://test\r\n"), 200),
        (get("").replace("EIO=4", "t=a%20b&E%49O=4"), 200),
        (post("", "4a\u{1e}4b"), 200),
        (post("Content-Type: text/plain;charset=UTF-8\r\nOrigin: http://test\r\n", "4a"), 200),
        (post("", ""), 400),
        (post("", "x"), 400),
    ] {
        check(EngineConfig::default(), &request, status, false).await;
    }
    let config = EngineConfig::default().cors(Cors::origins(["https://app.example"]));
    check(config.clone(), &get("Origin: https://app.example\r\n"), 200, false).await;
    check(config, &get(""), 200, false).await;
}

#[tokio::test]
async fn polls_that_are_answered_by_scripts_need_no_service() {
    let mut answers = Vec::new();
    for path in [PATH, "/elsewhere/"] {
        let server = Server::start(EngineConfig::default().allow_eio3(true)).await;
        let open = Http::connect(&server).await.get("EIO=4&transport=polling&j=7").await;
        let sid = open.body.split("sid").nth(1).unwrap()[5..25].to_owned();
        Http::connect(&server)
            .await
            .request("POST", &format!("EIO=4&transport=polling&sid={sid}"), "", "d=4</script>")
            .await;
        let (mut http, count) = counted(&server.engine).await;
        http.send(get("").replace("PATH", path).replace("SID", &sid)).await;
        let mut answer = http.response().await;
        answer.headers.remove("date");
        assert_eq!(answer.body, r#"___eio[7]("4\u003c/script>");"#);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=UTF-8"));
        answers.push((answer, count.load(Ordering::Relaxed)));
    }
    assert_eq!(answers[0].0, answers[1].0);
    assert_eq!((answers[0].1, answers[1].1), (0, 1));
}

#[tokio::test]
async fn large_replies_are_whole() {
    // Bodies of up to 16 KiB are written together with the head.
    for length in [16 * 1024, 16 * 1024 + 1, 900_000] {
        let message = "x".repeat(length - 1);
        let (answer, heard) = answer_after(&message, EngineConfig::default(), PATH, &get("")).await;
        assert_eq!((answer.status, heard), (200, false));
        assert_eq!(answer.headers["content-length"], length.to_string());
        assert!(answer.body == format!("4{message}"), "{} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn all_other_requests_are_left_to_the_service() {
    for (request, status) in [
        (get("").replace("HTTP/1.1", "HTTP/1.0"), 200),
        (get("").replace("GET", "PUT"), 500),
        (get("").replace("PATH", "http://test/a"), 200),
        (get("Upgrade: h2c\r\nConnection: Upgrade\r\n"), 200),
        (get("Content-Length: 2\r\n") + "4a", 200),
        (get("").replace("GET", "POST"), 400),
    ] {
        check(EngineConfig::default(), &request, status, true).await;
    }
    let chunked = "POST PATH?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: test\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n0\r\n\r\n";
    check(EngineConfig::default(), chunked, 200, true).await;
    let waits = post("Expect: 100-continue\r\n", "4a");
    let (answer, heard) = answer(EngineConfig::default(), PATH, &waits).await;
    assert_eq!((answer.status, heard), (100, true));
}

#[tokio::test]
async fn requests_that_the_engine_rejects_need_no_service() {
    for (request, status) in [
        (get("").replace("EIO=4", "EIO=3"), 400),
        (get("").replace("=polling", "=websocket"), 400),
        (get("").replace("SID", "aaaaaaaaaaaaaaaaaaaa"), 400),
        (get("").replace("EIO=4", "EIO=4#"), 400),
        (get("Upgrade: websocket\r\nConnection: Upgrade\r\n"), 400),
        (get("Origin: http://evil.example\r\n"), 403),
        (get("Origin: http://test\r\nOrigin: http://test\r\n"), 403),
        (get("Sec-Fetch-Site: cross-site\r\n"), 403),
        (post("Sec-Fetch-Site: same-site\r\n", "4a"), 403),
        (post("Content-Type: application/octet-stream\r\n", "4a"), 400),
    ] {
        check(EngineConfig::default(), &request, status, false).await;
    }
    let small = EngineConfig::default().max_http_buffer_size(10_usize);
    check(small.clone(), &post("", "41234567890"), 413, false).await;
    check(small, &post("", "4123456789"), 200, false).await;
    check(EngineConfig::default().headers(|_, _| {}), &get(""), 200, false).await;
}

#[tokio::test]
async fn what_clients_do_not_escape_needs_no_service() {
    for odd in ["{", "}", "|", "\\", "^", "é"] {
        let request = get("").replace("EIO=4", &format!("EIO=4&a={odd}"));
        check(EngineConfig::default(), &request, 200, false).await;
    }
    // hyper rejects these.
    for odd in ["\"", "<", ">", "`"] {
        let request = get("").replace("EIO=4", &format!("EIO=4&a={odd}"));
        let (answer, heard) = answer(EngineConfig::default(), PATH, &request).await;
        assert_eq!((answer.status, heard), (200, false), "{odd}");
    }
}
