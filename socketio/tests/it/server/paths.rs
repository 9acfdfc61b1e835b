//! Tests which requests the server handles, and at which path.

use std::io::ErrorKind;

use socketio::{Namespace, Server, ServerConfig};

use crate::support::{Client, Host, Http, serve, within};

const HANDSHAKE: &str = "?EIO=4&transport=polling";

async fn host(config: ServerConfig) -> Host {
    serve(Server::with_config(config).namespace(Namespace::new("/"))).await
}

async fn status(host: &Host, target: &str) -> u16 {
    Http::connect(host).await.get(target).await.status
}

#[tokio::test]
async fn the_path_and_no_other_is_served() {
    for (config, served) in [
        (ServerConfig::default(), "/socket.io/"),
        (ServerConfig::default().add_trailing_slash(false), "/socket.io"),
        (ServerConfig::default().path("/real/time"), "/real/time/"),
        (ServerConfig::default().path("/real/time/"), "/real/time/"),
        (ServerConfig::default().path("/real/time/").add_trailing_slash(false), "/real/time"),
        (ServerConfig::default().path("/"), "/"),
        (ServerConfig::default().path("/").add_trailing_slash(false), "/"),
    ] {
        let host = host(config).await;
        let paths = [
            "/",
            "/socket.io",
            "/socket.io/",
            "/socket.ioXYZ",
            "/socket.io/x",
            "/SOCKET.IO/",
            "//socket.io/",
        ];
        for path in paths.into_iter().chain(["/real", "/real/time", "/real/time/", "/real/time//", "/x"]) {
            let expected = if path == served { 200 } else { 404 };
            assert_eq!(
                status(&host, &format!("{path}{HANDSHAKE}")).await,
                expected,
                "{path} where {served} is served"
            );
        }
    }
}

#[tokio::test]
async fn a_foreign_path_is_not_found_whatever_the_method() {
    let host = host(ServerConfig::default()).await;
    for method in ["GET", "POST", "OPTIONS", "DELETE"] {
        let answer = Http::connect(&host).await.request(method, "/elsewhere", "", "").await;
        assert_eq!((answer.status, answer.body.as_str()), (404, ""), "{method}");
    }
    assert_eq!(host.io.session_count(), 0);
}

#[tokio::test]
async fn a_websocket_for_a_foreign_path_is_not_found() {
    let host = host(ServerConfig::default()).await;
    let url = format!("ws://{}/elsewhere/?EIO=4&transport=websocket", host.address);
    let refused = tokio_tungstenite::client_async(url, host.connect().await).await.unwrap_err();
    assert!(refused.to_string().contains("404"), "{refused}");
}

#[tokio::test]
async fn listening_where_somebody_listens_is_an_error() {
    let host = host(ServerConfig::default()).await;
    let error = within(Server::new().listen(host.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(within(Server::new().listen("127.0.0.1:x")).await.is_err());
}

#[tokio::test]
async fn connections_outlive_the_accept_loop() {
    let host = host(ServerConfig::default()).await;
    let mut client = Client::join(&host).await;
    host.serving.abort();
    client.send("41").await;
    client.enter("/").await;
    host.io.emit("still here", &()).unwrap();
    assert_eq!(client.text().await, r#"42["still here"]"#);
}
