//! The hooks of the application, what they receive and what they can change.

use std::sync::Arc;

use engineio::{Cors, EngineConfig, RequestError, RequestKind, Sid};
use http::{HeaderValue, Request, request::Parts};
use parking_lot::Mutex;

use super::rig::{HttpResponse, POLLING, WEBSOCKET, ask, engine, request, session};

async fn unless_denied(request: Parts) -> Result<(), String> {
    tokio::task::yield_now().await;
    match request.uri.query() {
        Some(query) if query.contains("deny") => Err("denied by \"query\"".to_owned()),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn allow_request_decides_on_every_transport_and_on_upgrades() {
    let engine = engine(EngineConfig::default().allow_request(unless_denied));
    let sid = session(&engine).await;
    for query in [POLLING.to_owned(), WEBSOCKET.to_owned(), format!("{WEBSOCKET}{sid}")] {
        let answer = ask(&engine, "GET", &format!("{query}&deny=1"), &[]).await;
        let body = r#"{"code":4,"message":"denied by \"query\""}"#;
        assert_eq!((answer.status, &*answer.body), (403, body), "{query}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected = if query == POLLING { 200 } else { 101 };
        assert_eq!(ask(&engine, "GET", &query, &[]).await.status, expected);
    }
    assert_eq!(engine.session_count(), 2);
}

#[tokio::test]
async fn allow_request_is_not_asked_about_polls_posts_or_what_is_refused_anyway() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = asked.clone();
    let engine = engine(EngineConfig::default().allow_request(async move |request: Parts| {
        record.lock().push(request.uri.query().unwrap_or_default().to_owned());
        Ok::<_, String>(())
    }));
    let sid = session(&engine).await;
    let mut post = request("POST", &format!("{POLLING}{sid}"), &[]);
    *post.body_mut() = "4hello".into();
    assert_eq!(engine.handle(post).await.status(), 200);
    assert_eq!(ask(&engine, "GET", "transport=nothing", &[]).await.status, 400);
    assert_eq!(ask(&engine, "POST", POLLING, &[]).await.status, 400);
    assert_eq!(ask(&engine, "GET", POLLING, &[("origin", "http://evil.example")]).await.status, 403);
    assert_eq!(*asked.lock(), [POLLING]);
}

#[tokio::test]
async fn allow_request_is_told_what_it_is_asked_about() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = asked.clone();
    let engine = engine(EngineConfig::default().allow_request(async move |request: Parts| {
        record.lock().push(request.extensions.get::<RequestKind>().copied());
        Ok::<_, String>(())
    }));
    let sid = session(&engine).await;
    ask(&engine, "GET", WEBSOCKET, &[]).await;
    ask(&engine, "GET", &format!("{WEBSOCKET}{sid}"), &[]).await;
    let told = [RequestKind::Handshake, RequestKind::Handshake, RequestKind::Upgrade];
    assert_eq!(*asked.lock(), told.map(Some));
}

#[tokio::test]
async fn allow_request_sees_headers_and_extensions() {
    let is_known = async |request: Parts| {
        let user = request.extensions.get::<u32>().copied();
        if user == Some(7) && request.headers.contains_key("x-key") { Ok(()) } else { Err("") }
    };
    let engine = engine(EngineConfig::default().allow_request(is_known));
    let refused = ask(&engine, "GET", POLLING, &[("x-key", "1")]).await;
    assert_eq!((refused.status, &*refused.body), (403, r#"{"code":4,"message":"Forbidden"}"#));
    let mut request: Request<_> = request("GET", POLLING, &[("x-key", "1")]);
    request.extensions_mut().insert(7_u32);
    assert_eq!(engine.handle(request).await.status(), 200);
}

fn with_headers() -> EngineConfig {
    EngineConfig::default()
        .cors(Cors::origins(["http://allowed.example"]))
        .initial_headers(|headers, _| {
            headers.insert("x-initial", HeaderValue::from_static("1"));
            headers.append("set-cookie", HeaderValue::from_static("a=1"));
            headers.append("set-cookie", HeaderValue::from_static("b=2"));
            headers.insert("vary", HeaderValue::from_static("X-Tenant"));
            headers.insert("cache-control", HeaderValue::from_static("private"));
        })
        .headers(|headers, request| {
            let is_first = headers.contains_key("x-initial");
            let method = HeaderValue::from_static(if request.method == "POST" { "POST" } else { "GET" });
            headers.insert(if is_first { "x-first" } else { "x-later" }, method);
        })
}

#[tokio::test]
async fn initial_headers_are_on_the_first_response_and_headers_on_each() {
    let engine = engine(with_headers());
    for (query, status) in [(POLLING, 200), (WEBSOCKET, 101)] {
        let answer = ask(&engine, "GET", query, &[]).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-initial"), Some("1"));
        assert_eq!(answer.header("x-first"), Some("GET"));
        assert_eq!(answer.header("x-later"), None);
        assert_eq!(answer.header("cache-control"), Some("private"));
        assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(answer.all("vary"), ["X-Tenant", "Origin"]);
    }
}

#[tokio::test]
async fn later_responses_carry_headers_alone() {
    let engine = engine(with_headers());
    let sid = session(&engine).await;
    let mut post = request("POST", &format!("{POLLING}{sid}"), &[]);
    *post.body_mut() = "1".into();
    let upgrade = ask(&engine, "GET", &format!("{WEBSOCKET}{sid}"), &[]).await;
    let poll = tokio::spawn({
        let (engine, sid) = (engine.clone(), sid.clone());
        async move { ask(&engine, "GET", &format!("{POLLING}{sid}"), &[]).await }
    });
    tokio::task::yield_now().await;
    let post = HttpResponse::of(engine.handle(post).await).await;
    let poll = poll.await.unwrap();
    for (answer, status, method) in [(upgrade, 101, "GET"), (post, 200, "POST"), (poll, 200, "GET")] {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-initial"), None);
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-later"), Some(method));
    }
}

#[tokio::test]
async fn refusals_and_preflights_carry_no_headers_of_hooks() {
    let engine = engine(with_headers().allow_request(unless_denied));
    let deny = format!("{POLLING}&deny=1");
    for (method, query) in [("GET", "transport=nothing"), ("GET", &deny), ("OPTIONS", POLLING)] {
        let answer = ask(&engine, method, query, &[]).await;
        assert!(answer.header("x-initial").or(answer.header("x-first")).is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn connection_error_hears_of_every_refusal() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let record = heard.clone();
    let config = EngineConfig::default().allow_request(unless_denied).connection_error(
        move |error, request: &Parts| {
            let asked = format!("{} {}", request.method, request.uri.query().unwrap_or_default());
            record.lock().push((error.error, error.message.to_string(), asked));
        },
    );
    let engine = engine(config);
    let sid = session(&engine).await;
    let of_3 = format!("EIO=3&transport=polling{sid}");
    let of_polling = format!("{POLLING}{sid}");
    let deny = format!("{POLLING}&deny");
    let evil = [("origin", "http://evil.example")];
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    for (method, query, headers, error, message) in [
        ("GET", "transport=x", &[] as &[_], RequestError::UnknownTransport, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=zzz", &[], RequestError::UnknownSession, "Session ID unknown"),
        ("POST", POLLING, &[], RequestError::BadHandshakeMethod, "Bad handshake method"),
        ("GET", &of_3, &[], RequestError::ProtocolMismatch, "Bad request"),
        ("GET", &of_polling, &upgrade, RequestError::TransportMismatch, "Bad request"),
        (
            "GET",
            "EIO=3&transport=polling",
            &[],
            RequestError::UnsupportedProtocol,
            "Unsupported protocol version",
        ),
        ("GET", POLLING, &evil, RequestError::OriginNotAllowed, "Origin not allowed"),
        ("GET", &deny, &[], RequestError::Forbidden, "denied by \"query\""),
    ] {
        ask(&engine, method, query, headers).await;
        let expected = (error, message.to_owned(), format!("{method} {query}"));
        assert_eq!(heard.lock().pop(), Some(expected));
    }
    assert_eq!(ask(&engine, "GET", POLLING, &[]).await.status, 200);
    assert_eq!(ask(&engine, "PUT", &format!("{POLLING}{sid}"), &[]).await.status, 500);
    assert!(heard.lock().is_empty());
}

#[tokio::test]
async fn generate_id_chooses_ids_and_none_is_given_twice() {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let record = refused.clone();
    let config = EngineConfig::default()
        .generate_id(|request| {
            let id = request.uri.query().and_then(|query| query.split("id=").nth(1));
            id.and_then(Sid::parse).unwrap_or_else(Sid::random)
        })
        .connection_error(move |error, _| record.lock().push(error.error));
    let engine = engine(config);
    let chosen = "b7-chosen-by-the-hoo";
    let first = ask(&engine, "GET", &format!("{POLLING}&id={chosen}"), &[]).await;
    assert!(first.body.starts_with(&format!(r#"0{{"sid":"{chosen}""#)), "{}", first.body);
    for query in [POLLING, WEBSOCKET] {
        let second = ask(&engine, "GET", &format!("{query}&id={chosen}"), &[]).await;
        assert_eq!((second.status, &*second.body), (400, r#"{"code":3,"message":"Bad request"}"#));
    }
    assert_eq!(*refused.lock(), [RequestError::IdTaken; 2]);
    assert_ne!(session(&engine).await, chosen);
    assert_eq!(engine.session_count(), 2);
}
