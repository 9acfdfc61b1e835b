//! Tests CONNECT, the responses to it, and the events of joined namespaces.

use serde_json::{Value, json};
use socketio::{Ack, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket};

use crate::support::{Client, Host, Http, Polling, payload, serve, serve_namespace};

async fn door(handshake: Handshake) -> Result<String, ConnectError> {
    match handshake.auth::<Value>()? {
        Value::Object(auth) if auth.contains_key("token") => Ok(auth["token"].to_string()),
        Value::Object(auth) if auth.contains_key("reason") => {
            Err(ConnectError::new("not \"today\"").data(auth["reason"].clone()))
        }
        _ => Err("unauthorized".into()),
    }
}

async fn host() -> Host {
    let who = async |socket: Socket<String>, (): ()| Ack(socket.data().clone());
    serve(
        Server::new()
            .namespace(Namespace::new("/").on("path", async |socket, ()| Ack(socket.path().to_owned())))
            .namespace(Namespace::with_auth("/door", door).on("who", who))
            .namespace(Namespace::new("/größe").on("path", async |socket, ()| Ack(socket.path().to_owned()))),
    )
    .await
}

fn is_id(id: &str) -> bool {
    id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[tokio::test]
async fn the_answer_to_connect_names_the_socket_and_not_the_session() {
    let host = host().await;
    let mut client = Client::connect(&host, "EIO=4&transport=websocket").await;
    let open = client.text().await;
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let session = open["sid"].as_str().unwrap();
    let expected = json!({
        "sid": session, "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1_000_000,
    });
    assert_eq!(open, expected);

    let ids = [client.enter("/").await, client.enter("/größe").await];
    assert!(is_id(session) && ids.iter().all(|id| is_id(id)));
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id != session), "the id of a session is a secret");
}

#[tokio::test]
async fn every_form_of_connect_is_understood() {
    let host = host().await;
    for (connect, answer) in [
        ("40", "40{"),
        ("40{}", "40{"),
        ("40/,", "40{"),
        ("40/größe", "40/größe,{"),
        ("40/größe,", "40/größe,{"),
        (r#"40/größe,{"token":[null]}"#, "40/größe,{"),
    ] {
        let mut client = Client::open(&host).await;
        let got = client.ask(connect).await;
        assert!(got.starts_with(&format!(r#"{answer}"sid":""#)), "{connect}: {got}");
    }
}

#[tokio::test]
async fn namespaces_of_one_connection_are_told_apart() {
    let host = host().await;
    let mut client = Client::join(&host).await;
    client.enter("/größe").await;
    assert_eq!(client.ask(r#"421["path"]"#).await, r#"431["/"]"#);
    assert_eq!(client.ask(r#"42/,1["path"]"#).await, r#"431["/"]"#);
    assert_eq!(client.ask(r#"42/größe,1["path"]"#).await, r#"43/größe,1["/größe"]"#);
    client.send("41").await;
    assert_eq!(client.ask(r#"42/größe,2["path"]"#).await, r#"43/größe,2["/größe"]"#);
}

#[tokio::test]
async fn a_refusal_says_why_and_the_next_attempt_counts_anew() {
    let host = host().await;
    let mut client = Client::open(&host).await;
    for (auth, answer) in [
        ("", r#"44/door,{"message":"unauthorized"}"#),
        (r#"{"reason":null}"#, r#"44/door,{"message":"not \"today\"","data":null}"#),
        (
            r#"{"reason":{"code":401,"hint":"é"}}"#,
            r#"44/door,{"message":"not \"today\"","data":{"code":401,"hint":"é"}}"#,
        ),
    ] {
        assert_eq!(client.ask(format!("40/door,{auth}")).await, answer);
        assert_eq!(host.io.socket_count("/door"), 0);
    }
    let answer = client.ask(r#"40/door,{"token":"x"}"#).await;
    assert!(answer.starts_with(r#"40/door,{"sid":""#), "{answer}");
    assert_eq!(client.ask(r#"42/door,0["who"]"#).await, r#"43/door,0["\"x\""]"#);
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_goes_on() {
    let host = host().await;
    let mut client = Client::open(&host).await;
    for path in ["/nowhere", "/DOOR", "/door/", "/größe "] {
        let answer = client.ask(format!("40{path},")).await;
        assert_eq!(answer, format!(r#"44{path},{{"message":"Invalid namespace"}}"#));
    }
    client.enter("/").await;

    let host = serve_namespace(Namespace::new("/only")).await;
    let mut client = Client::open(&host).await;
    assert_eq!(client.ask("40").await, r#"44{"message":"Invalid namespace"}"#);
    client.enter("/only").await;
}

#[tokio::test]
async fn long_polling_carries_the_same_packets() {
    let host = host().await;
    let mut client = Polling::open(&host).await;
    client.send(payload(&["40/nowhere,", "40", r#"421["path"]"#])).await;
    let polled = client.poll().await;
    let packets: Vec<&str> = polled.split('\u{1e}').collect();
    let [refused, connected, answer] = packets[..] else { panic!("{polled}") };
    assert_eq!(refused, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    assert!(connected.starts_with(r#"40{"sid":""#));
    assert_eq!(answer, r#"431["/"]"#);
}

#[tokio::test]
async fn the_options_of_the_engine_reach_it() {
    let engine = EngineConfig::default().max_http_buffer_size(1234_usize);
    let host = serve(Server::with_config(ServerConfig::default().engine(engine))).await;
    let open = Http::connect(&host).await.get("/socket.io/?EIO=4&transport=polling").await.body;
    assert!(open.contains(r#""maxPayload":1234"#), "{open}");
}
