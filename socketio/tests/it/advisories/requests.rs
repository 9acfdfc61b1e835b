//! Handshakes and long-polling requests.

use std::{collections::HashSet, panic::catch_unwind};

use socketio::{Cookie, Cors, EngineConfig, Server, ServerConfig};
use tokio::io::AsyncWriteExt;

use super::stage::{Stage, engine};
use crate::support::{Client, Http, Polling, UPGRADE, text, within};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Returns the session id from the query string.
fn sid(client: &Polling) -> &str {
    client.target.split_once("sid=").unwrap().1
}

#[tokio::test]
async fn cve_2017_16031_ids_of_sessions_cannot_be_guessed() {
    let stage = Stage::new().await;
    let mut http = Http::connect(&stage.host).await;
    let mut sids = HashSet::new();
    for _ in 0..256 {
        let open = http.get(POLLING).await.body;
        let sid = open.strip_prefix(r#"0{"sid":""#).unwrap().split('"').next().unwrap().to_owned();
        assert_eq!(sid.len(), 20, "six bits each");
        let end = http.request("POST", &format!("{POLLING}&sid={sid}"), "", "1").await;
        assert_eq!(end.status, 200);
        assert!(sids.insert(sid), "twice the same");
    }
    drop(http);
    for at in 0..20 {
        let letters: HashSet<_> = sids.iter().map(|sid| sid.as_bytes()[at]).collect();
        // Random ids use about 63 of the 64 letters at each position. A counter or a clock would use a few.
        assert!(letters.len() > 40, "place {at} has {} letters", letters.len());
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2020_28481_cve_2019_13611_pages_of_others() {
    let allowed = Cors::origins(["https://a.example"]).credentials(true);
    for cors in [Cors::same_origin(), allowed] {
        let stage = Stage::with(ServerConfig::default().engine(engine().cors(cors))).await;
        let mut polling = Polling::join(&stage.host).await;
        let upgrade = format!("{WEBSOCKET}&sid={}", sid(&polling));
        for origin in ["https://evil.example", "null", "http://test.evil.example", "https://a.example.evil"] {
            for (method, target) in [
                ("GET", POLLING),
                ("OPTIONS", POLLING),
                ("GET", &*polling.target),
                ("POST", &*polling.target),
                ("GET", WEBSOCKET),
                ("GET", &*upgrade),
            ] {
                let websocket = if target.contains("websocket") { UPGRADE } else { "" };
                let headers = format!("Origin: {origin}\r\nCookie: user=victim\r\n{websocket}");
                let answer = Http::connect(&stage.host).await.request(method, target, &headers, "").await;
                assert_eq!(answer.status, 403, "{method} {target} from {origin}");
                assert_eq!(answer.header("access-control-allow-origin"), None);
                assert_eq!(answer.header("access-control-allow-credentials"), None);
            }
        }
        polling.send(r#"421["mark"]"#).await;
        assert_eq!(polling.poll().await, "431[]", "the session of the victim goes on");
        polling.send("1").await;
        drop(polling);
        stage.goes_on().await;
    }
}

#[tokio::test]
async fn cve_2020_36048_bodies_beyond_the_limit() {
    let stage = Stage::new().await;
    let client = Polling::join(&stage.host).await;
    // The Content-Length alone gets the request rejected, before any of the body is sent.
    let head = "Content-Length: 100000000\r\nTransfer-Length: not chunked\r\n";
    let answer = stage
        .raw(format!("POST {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{head}\r\n", client.target))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(client.is_gone(&stage.host).await);
    drop(client);
    // A body without a Content-Length is rejected as soon as it exceeds the limit.
    let mut client = Polling::join(&stage.host).await;
    let chunk = format!("{:x}\r\n{}\r\n", 1_000_001, "x".repeat(1_000_001));
    let answer = client.post.request("POST", &client.target, "Transfer-Encoding: chunked\r\n", chunk).await;
    assert_eq!(answer.status, 413);
    assert!(client.is_gone(&stage.host).await);
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2022_41940_an_upgrade_to_something_else_and_a_reset() {
    let stage = Stage::new().await;
    for headers in
        ["Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", UPGRADE]
    {
        for target in [WEBSOCKET, "/socket.io/?EIO=9&transport=websocket", "/socket.io/"] {
            if headers != UPGRADE {
                let answer = Http::connect(&stage.host).await.request("GET", target, headers, "").await;
                assert_eq!(answer.status, 400, "{target} {headers}");
            }
            for _ in 0..30 {
                let mut stream = stage.host.connect().await;
                let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
                within(stream.write_all(request.as_bytes())).await.unwrap();
                // Dropping the stream then resets the connection.
                stream.set_zero_linger().unwrap();
            }
        }
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2023_31125_transports_that_are_properties_of_objects() {
    let stage = Stage::new().await;
    for transport in ["__proto__", "constructor", "toString", "hasOwnProperty", "", "polling%00", "Polling"] {
        for headers in ["", UPGRADE] {
            let target = format!("/socket.io/?EIO=4&transport={transport}");
            let answer = Http::connect(&stage.host).await.request("GET", &target, headers, "").await;
            assert_eq!(answer.status, 400, "{transport}");
            assert_eq!(answer.body, r#"{"code":0,"message":"Transport unknown"}"#, "{transport}");
        }
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2026_59725_bytes_for_a_session_that_reads_text() {
    let stage = Stage::new().await;
    for _ in 0..100 {
        let mut client = Polling::open(&stage.host).await;
        let headers = "Content-Type: application/octet-stream\r\n";
        let answer = client.post.request("POST", &client.target, headers, b"\x01\x02\x03").await;
        assert_eq!(answer.status, 400);
        assert!(client.is_gone(&stage.host).await);
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn requests_that_overlap_or_do_not_belong() {
    let stage = Stage::new().await;
    // Two concurrent polls.
    let mut client = Polling::join(&stage.host).await;
    client.start_poll().await;
    let second = client.post.get(&client.target).await;
    let first = client.get.response().await;
    assert_eq!(statuses([&first, &second]), [200, 400]);
    assert!(client.is_gone(&stage.host).await);
    drop(client);
    // A poll after the upgrade to WebSocket: requests no longer find the session.
    let mut client = Polling::join(&stage.host).await;
    let mut websocket = Client::connect(&stage.host, &client.upgrade_query()).await;
    assert_eq!(websocket.ask("2probe").await, "3probe");
    websocket.send("5").await;
    assert_eq!(websocket.ask(r#"421["mark"]"#).await, "431[]");
    assert_eq!(client.get.get(&client.target).await.status, 400);
    drop(websocket);
    // A POST without a session id.
    let answer = client.post.request("POST", POLLING, "", "40").await;
    assert_eq!(answer.body, r#"{"code":2,"message":"Bad handshake method"}"#);
    drop(client);
    // Packets that a client must not send, or that have no meaning on an open session.
    for packet in ["2", "2probe", "9"] {
        stage.ends(packet, &[text(packet)], 1002).await;
    }
    for packet in ["0", "3", "5", "6"] {
        stage.ignores(packet, &[text(packet)]).await;
    }
    stage.goes_on().await;
}

fn statuses(answers: [&crate::support::HttpResponse; 2]) -> [u16; 2] {
    let mut statuses = answers.map(|answer| answer.status);
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn engineio_6_6_11_another_protocol_than_that_of_the_session() {
    let config = ServerConfig::default().engine(engine().allow_eio3(true));
    let stage = Stage::with(config).await;
    for (own, other) in [(3, 4), (4, 3)] {
        let mut http = Http::connect(&stage.host).await;
        let open = http.get(&format!("/socket.io/?EIO={own}&transport=polling")).await.body;
        let sid = open.split_once(r#""sid":""#).unwrap().1[..20].to_owned();
        for transport in ["polling", "websocket"] {
            let headers = if transport == "websocket" { UPGRADE } else { "" };
            let target = format!("/socket.io/?EIO={other}&transport={transport}&sid={sid}");
            let answer = Http::connect(&stage.host).await.request("GET", &target, headers, "").await;
            assert_eq!(answer.status, 400, "{target}");
            assert!(answer.body.starts_with(r#"{"code":3,"#), "{}", answer.body);
        }
        let own = format!("/socket.io/?EIO={own}&transport=polling&sid={sid}");
        assert_eq!(
            http.request("POST", &own, "", if own.contains("EIO=3") { "1:1" } else { "1" }).await.status,
            200
        );
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn engineioxide_0_17_9_ids_that_are_none_open_no_session() {
    let stage = Stage::new().await;
    let long = "A".repeat(4000);
    // An empty id is missing here because it counts as absent, as in Node.js.
    for sid in ["x", "AAAAAAAAAAAAAAAAAAAA", "__proto__", "%00", "é", &long] {
        for (method, headers, transport) in
            [("GET", "", "polling"), ("POST", "", "polling"), ("GET", UPGRADE, "websocket")]
        {
            let target = format!("/socket.io/?EIO=4&transport={transport}&sid={sid}");
            let answer = Http::connect(&stage.host).await.request(method, &target, headers, "").await;
            assert_eq!(answer.status, 400, "{method} {sid}");
            assert_eq!(stage.host.io.session_count(), 1, "{method} {sid}");
        }
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn engineio_6_6_11_queries_are_plain_names_and_values() {
    let stage = Stage::new().await;
    for query in ["__proto__=x&constructor=y", "__proto__[a]=1", "%ff=%ff", "&&&=&", "a=1&a=2"] {
        let mut client = Client::open_with(&stage.host, &format!("EIO=4&transport=websocket&{query}")).await;
        client.enter("/").await;
        assert_eq!(client.ask(r#"421["mark"]"#).await, "431[]", "{query}");
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2024_47764_cookies_that_hold_more_than_one() {
    for cookie in [
        || Cookie::new("io; Domain=evil.example"),
        || Cookie::new("io\r\nX: y"),
        || Cookie::new("io").path("/; Secure"),
        || Cookie::new("io").path("/\n"),
        || Cookie::new("io").domain("a; b"),
    ] {
        let server =
            || Server::with_config(ServerConfig::default().engine(EngineConfig::default().cookie(cookie())));
        assert!(catch_unwind(server).is_err(), "{:?}", cookie());
    }
    let stage = Stage::with(ServerConfig::default().engine(engine().cookie(Cookie::new("io")))).await;
    let mut http = Http::connect(&stage.host).await;
    let answer = http.request("GET", POLLING, "Cookie: io=\"; x=\\\"; =; ;;\r\n", "").await;
    assert!(answer.header("set-cookie").unwrap().starts_with("io="));
    let sid = &answer.body[r#"0{"sid":""#.len()..][..20];
    assert_eq!(http.request("POST", &format!("{POLLING}&sid={sid}"), "", "1").await.status, 200);
    drop(http);
    stage.goes_on().await;
}
