//! Origin checks and CORS headers.

use engineio::{Cors, EngineConfig};

use super::rig::{POLLING, WEBSOCKET, ask, engine, request, session};

const OWN: &str = "https://server.example";
const ALLOWED: &str = "http://allowed.example";
const EVIL: &str = "http://evil.example";
const REFUSED: &str = r#"{"code":4,"message":"Origin not allowed"}"#;

fn open() -> EngineConfig {
    let cors = Cors::origins([ALLOWED]).credentials(true).methods(["GET", "POST"]);
    EngineConfig::default().cors(cors.allowed_headers(["x-custom"]))
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_on_every_transport() {
    for config in [EngineConfig::default(), open()] {
        let engine = engine(config);
        let sid = session(&engine).await;
        for (method, query) in [
            ("GET", POLLING.to_owned()),
            ("GET", WEBSOCKET.to_owned()),
            ("GET", format!("{POLLING}{sid}")),
            ("POST", format!("{POLLING}{sid}")),
            ("GET", format!("{WEBSOCKET}{sid}")),
            ("GET", "transport=nothing".to_owned()),
            ("OPTIONS", POLLING.to_owned()),
        ] {
            for origin in [EVIL, "null", ""] {
                let answer = ask(&engine, method, &query, &[("origin", origin)]).await;
                assert_eq!(
                    (answer.status, &*answer.body),
                    (403, REFUSED),
                    "{method} {query} from {origin:?}"
                );
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.header("vary"), Some("Origin"));
                assert_eq!(answer.header("access-control-allow-origin"), None);
            }
        }
        assert_eq!(engine.session_count(), 1);
    }
}

#[tokio::test]
async fn own_pages_and_clients_that_are_no_browsers_work_as_ever() {
    for config in [EngineConfig::default(), open()] {
        let engine = engine(config);
        for headers in [&[("origin", OWN)] as &[_], &[]] {
            assert_eq!(ask(&engine, "GET", POLLING, headers).await.status, 200);
            assert_eq!(ask(&engine, "GET", WEBSOCKET, headers).await.status, 101);
            let sid = session(&engine).await;
            assert_eq!(ask(&engine, "GET", &format!("{WEBSOCKET}{sid}"), headers).await.status, 101);
        }
    }
}

#[tokio::test]
async fn allowed_pages_may_read_every_response() {
    let engine = engine(open());
    let sid = session(&engine).await;
    let mut post = request("POST", &format!("{POLLING}{sid}"), &[("origin", ALLOWED)]);
    *post.body_mut() = "4hello".into();
    let posted = super::rig::HttpResponse::of(engine.handle(post).await).await;
    let from = &[("origin", ALLOWED)];
    let answers = [
        (200, posted),
        (200, ask(&engine, "GET", POLLING, from).await),
        (101, ask(&engine, "GET", WEBSOCKET, from).await),
        (101, ask(&engine, "GET", &format!("{WEBSOCKET}{sid}"), from).await),
        (400, ask(&engine, "GET", "transport=nothing", from).await),
        (500, ask(&engine, "PUT", &format!("{POLLING}{sid}"), from).await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn preflights_are_answered() {
    let engine = engine(open());
    let asks = [
        ("origin", ALLOWED),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x"),
    ];
    for query in [POLLING, "EIO=4&transport=polling&sid=whatever", ""] {
        let answer = ask(&engine, "OPTIONS", query, &asks).await;
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET,POST"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-custom"));
    }
    assert_eq!(engine.session_count(), 0);
}

#[tokio::test]
async fn without_the_setting_there_is_no_preflight_and_no_header() {
    let engine = engine(EngineConfig::default());
    let preflight = ask(&engine, "OPTIONS", POLLING, &[("origin", OWN)]).await;
    assert_eq!(preflight.status, 400);
    let answer = ask(&engine, "GET", POLLING, &[("origin", OWN)]).await;
    assert_eq!(answer.header("vary"), None);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn any_origin_is_let_in_when_it_is_written_out() {
    let engine = engine(EngineConfig::default().cors(Cors::any()));
    for headers in [&[("origin", EVIL)] as &[_], &[("origin", "null")], &[]] {
        assert_eq!(ask(&engine, "GET", WEBSOCKET, headers).await.status, 101);
        let answer = ask(&engine, "GET", POLLING, headers).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    }
}

/// Resources that a page loads without a script, such as images and JSONP scripts, are requested without
/// `Origin`.
#[tokio::test]
async fn what_other_pages_load_opens_no_session() {
    let jsonp = format!("{POLLING}&j=0");
    for (config, vary) in [(EngineConfig::default(), None), (open(), Some("Origin"))] {
        let engine = engine(config.allow_eio3(true));
        for site in ["cross-site", "same-site"] {
            for query in [&jsonp, POLLING, "transport=polling&EIO=3&j=1"] {
                let answer = ask(&engine, "GET", query, &[("sec-fetch-site", site)]).await;
                assert_eq!((answer.status, &*answer.body), (403, REFUSED), "{query} {site}");
                assert_eq!(answer.header("vary"), vary);
            }
            // If `Origin` is present, it takes precedence.
            let named = [("sec-fetch-site", site), ("origin", OWN)];
            assert_eq!(ask(&engine, "GET", &jsonp, &named).await.status, 200);
        }
        assert_eq!(engine.session_count(), 2);
        for own in [&[] as &[_], &[("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")]] {
            assert_eq!(ask(&engine, "GET", &jsonp, own).await.status, 200, "{own:?}");
        }
    }
    let engine = engine(EngineConfig::default().allow_eio3(true).cors(Cors::any()));
    assert_eq!(ask(&engine, "GET", &jsonp, &[("sec-fetch-site", "cross-site")]).await.status, 200);
}

#[tokio::test]
async fn what_other_pages_load_reaches_no_session() {
    for (config, vary) in [(EngineConfig::default(), None), (open(), Some("Origin"))] {
        let engine = engine(config.allow_eio3(true));
        let sid = session(&engine).await;
        for site in ["cross-site", "same-site"] {
            for (method, query) in [
                ("GET", format!("{POLLING}{sid}")),
                ("GET", format!("{POLLING}{sid}&j=0")),
                ("POST", format!("{POLLING}{sid}")),
                ("GET", format!("{WEBSOCKET}{sid}")),
            ] {
                let answer = ask(&engine, method, &query, &[("sec-fetch-site", site)]).await;
                assert_eq!((answer.status, &*answer.body), (403, REFUSED), "{method} {query} {site}");
                assert_eq!(answer.header("vary"), vary);
            }
        }
        // The session is not affected. `Origin` takes precedence, and a page of the server itself is let in.
        let upgrade = format!("{WEBSOCKET}{sid}");
        for headers in
            [&[("sec-fetch-site", "cross-site"), ("origin", OWN)] as &[_], &[("sec-fetch-site", "none")]]
        {
            assert_eq!(ask(&engine, "GET", &upgrade, headers).await.status, 101);
        }
    }
    let engine = engine(EngineConfig::default().cors(Cors::any()));
    let upgrade = format!("{WEBSOCKET}{}", session(&engine).await);
    assert_eq!(ask(&engine, "GET", &upgrade, &[("sec-fetch-site", "cross-site")]).await.status, 101);
}

#[tokio::test]
async fn scripts_are_told_from_what_is_none() {
    let engine = engine(EngineConfig::default().allow_eio3(true));
    let script = ask(&engine, "GET", &format!("{POLLING}&j=0"), &[]).await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=UTF-8"));
    assert_eq!(script.header("x-content-type-options"), Some("nosniff"));
    assert!(script.body.starts_with("___eio[0](\"0{"), "{}", script.body);
}
