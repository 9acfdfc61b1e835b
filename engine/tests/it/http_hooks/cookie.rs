//! The session cookie and the responses that set it.

use engineio::{Cookie, EngineConfig, SameSite};
use http::HeaderValue;

use super::rig::{POLLING, WEBSOCKET, ask, engine, session};

#[tokio::test]
async fn sessions_get_it_when_they_open_and_only_then() {
    let engine = engine(EngineConfig::default().cookie(Cookie::default()));
    let answer = ask(&engine, "GET", POLLING, &[]).await;
    let cookie = format!("io={}; Path=/; HttpOnly; SameSite=Lax", answer.sid());
    assert_eq!(answer.header("set-cookie"), Some(&*cookie));

    let answer = ask(&engine, "GET", WEBSOCKET, &[]).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert_eq!(cookie.len(), "io=12345678901234567890; Path=/; HttpOnly; SameSite=Lax".len());

    let sid = session(&engine).await;
    for query in [format!("{WEBSOCKET}{sid}"), "transport=nothing".to_owned()] {
        assert_eq!(ask(&engine, "GET", &query, &[]).await.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn there_is_none_unless_it_is_set() {
    let engine = engine(EngineConfig::default());
    for query in [POLLING, WEBSOCKET] {
        assert_eq!(ask(&engine, "GET", query, &[]).await.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn it_stays_beside_those_of_hooks() {
    let config = EngineConfig::default().cookie(Cookie::new("a")).initial_headers(|headers, _| {
        headers.insert("set-cookie", HeaderValue::from_static("b=1"));
    });
    let answer = ask(&engine(config), "GET", POLLING, &[]).await;
    let cookies = answer.all("set-cookie");
    assert!(cookies[0].starts_with("a=") && cookies[1] == "b=1", "{cookies:?}");
}

#[test]
#[should_panic(expected = "must be secure")]
fn one_that_no_browser_takes_is_refused() {
    engine(EngineConfig::default().cookie(Cookie::default().same_site(SameSite::None)));
}
