//! Tests the handshake data that a namespace receives about a connecting client.

use std::{net::SocketAddr, time::SystemTime};

use serde_json::{Value, json};
use socketio::{Ack, ConnectError, Handshake, Namespace, Socket};

use crate::support::{Client, Host, Http, Polling, serve_namespace};

fn describe(handshake: &Handshake) -> Value {
    let queries: Vec<_> = handshake.queries().collect();
    let mut headers: Vec<_> = handshake.headers().filter(|(name, _)| name.starts_with("x-")).collect();
    headers.sort_unstable();
    json!({
        "auth": handshake.auth_json(),
        "queries": queries,
        "token": handshake.query("token"),
        "headers": headers,
        "one": handshake.header("X-One"),
        "url": handshake.url(),
        "secure": handshake.secure(),
        "cross": handshake.cross_domain(),
    })
}

async fn host() -> Host {
    let admit = async |handshake: Handshake| {
        assert!(handshake.issued() <= SystemTime::now());
        let debug = format!("{handshake:?}");
        assert!(!debug.contains("secret"), "{debug}");
        Ok::<_, ConnectError>((describe(&handshake), handshake.address()))
    };
    let namespace = Namespace::with_auth("/", admit)
        .on("admitted", async |socket: Socket<(Value, Option<SocketAddr>)>, ()| Ack(socket.data().0.clone()))
        .on("address", async |socket, ()| Ack(socket.data().1))
        .on("now", async |socket, ()| Ack(describe(socket.handshake())));
    serve_namespace(namespace).await
}

#[tokio::test]
async fn it_holds_the_request_and_the_auth() {
    let host = host().await;
    let query = "EIO=4&transport=websocket&token=a%20b&token=c+d&__proto__=1&empty=";
    let mut client = Client::open_with(&host, query).await;
    client.send(r#"40{"secret":[1,{"a":null}]}"#).await;
    client.text().await;
    let expected = json!([{
        "auth": r#"{"secret":[1,{"a":null}]}"#,
        "queries": [
            ["EIO", "4"], ["transport", "websocket"],
            ["token", "a b"], ["token", "c d"], ["__proto__", "1"], ["empty", ""],
        ],
        "token": "c d",
        "headers": [],
        "one": null,
        "url": format!("/socket.io/?{query}"),
        "secure": false,
        "cross": false,
    }]);
    for event in ["admitted", "now"] {
        let answer = client.ask(format!(r#"421["{event}"]"#)).await;
        assert_eq!(answer, format!("431{expected}"), "{event}");
    }
    let address = client.stream().local_addr().unwrap();
    assert_eq!(client.ask(r#"421["address"]"#).await, format!(r#"431["{address}"]"#));
}

#[tokio::test]
async fn it_is_that_of_the_request_that_opened_the_session() {
    let host = host().await;
    let mut http = Http::connect(&host).await;
    let headers = "X-One: 1\r\nx-Two: zwei; x=\"y\"\r\nX-One: 2\r\nOrigin: http://test\r\n";
    let open = http.request("GET", "/socket.io/?EIO=4&transport=polling&n=1", headers, "").await;
    let sid = &open.body[9..29];
    let target = format!("/socket.io/?EIO=4&transport=polling&n=2&sid={sid}");
    http.request("POST", &target, "X-One: 3\r\n", "40\u{1e}421[\"now\"]").await;
    let polled = http.get(&target).await.body;
    let answer = polled.split_once("\u{1e}431").unwrap().1;
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer[0]["headers"], json!([["x-one", "1"], ["x-one", "2"], ["x-two", "zwei; x=\"y\""]]));
    assert_eq!(answer[0]["one"], "1");
    assert_eq!(answer[0]["cross"], true);
    assert_eq!(answer[0]["auth"], Value::Null);
    assert_eq!(answer[0]["url"], "/socket.io/?EIO=4&transport=polling&n=1");
}

#[tokio::test]
async fn auth_that_does_not_fit_is_a_refusal_that_says_so() {
    #[derive(serde::Deserialize)]
    struct Auth {
        name: String,
    }
    let admit = async |handshake: Handshake| handshake.auth::<Auth>().map(|auth| auth.name);
    let namespace = Namespace::with_auth("/", admit);
    let host = serve_namespace(namespace.on("name", async |socket, ()| Ack(socket.data().clone()))).await;
    let mut client = Client::open(&host).await;
    for auth in ["", "{}", r#"{"name":7}"#, r#"{"name":1e400}"#] {
        let answer = client.ask(format!("40{auth}")).await;
        assert!(answer.starts_with(r#"44{"message":"invalid auth: "#), "{auth}: {answer}");
    }
    client.ask(r#"40{"name":"Ada","extra":1}"#).await;
    assert_eq!(client.ask(r#"420["name"]"#).await, r#"430["Ada"]"#);

    let mut polling = Polling::open(&host).await;
    polling.send("40").await;
    assert!(polling.poll().await.starts_with(r#"44{"message":"invalid auth: "#));
}
