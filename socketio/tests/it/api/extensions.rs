//! Request extensions that outer layers insert for `Namespace::with_auth`.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
};
use socketio::{
    Ack, ConnectError, EngineConfig, Handshake, Namespace, Server, ServerConfig, Socket, testing::TestServer,
};
use tokio::net::TcpListener;

use crate::support::{Client, Host, Polling, eventually};

#[derive(Clone)]
struct User(Arc<str>);

/// An extension that is not configured with `keep_extension`.
#[derive(Clone)]
struct Unused(#[expect(dead_code, reason = "its clones are counted")] Arc<()>);

fn io() -> Server {
    async fn sign_in(handshake: Handshake) -> Result<Arc<str>, ConnectError> {
        assert!(handshake.extension::<Unused>().is_none());
        Ok(handshake.extension::<User>().ok_or("who are you?")?.0.clone())
    }
    let namespace = |path| {
        Namespace::with_auth(path, sign_in)
            .on_unit("name", async |socket: Socket<Arc<str>>| Ack(socket.data().to_string()))
    };
    let engine = EngineConfig::default().keep_extension::<User>();
    let config = ServerConfig::default().engine(engine);
    Server::with_config(config).namespace(namespace("/")).namespace(namespace("/other"))
}

#[tokio::test]
async fn they_reach_the_admission_on_every_transport_and_no_others_are_kept() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let layer = {
        let made = made.clone();
        from_fn(move |mut request: Request, next: Next| {
            // Only the request that opens the session contains the secret.
            if request.uri().query().is_some_and(|query| query.contains("secret")) {
                let (name, unused) = (Arc::from("Ann"), Arc::new(()));
                made.lock().unwrap().push((Arc::downgrade(&name), Arc::downgrade(&unused)));
                request.extensions_mut().insert(User(name));
                request.extensions_mut().insert(Unused(unused));
            }
            next.run(request)
        })
    };
    // The number of references to the extensions of each session.
    let held = || -> Vec<_> {
        let made = made.lock().unwrap();
        made.iter().map(|(name, unused)| (name.strong_count(), unused.strong_count())).collect()
    };
    let io = io();
    let app = Router::new().route_service("/socket.io/", io.clone()).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let host = Host { io, address, serving };

    let mut client = Client::open_with(&host, "EIO=4&transport=websocket&secret=1").await;
    for (namespace, prefix) in [("/", ""), ("/other", "/other,")] {
        client.enter(namespace).await;
        assert_eq!(client.ask(format!(r#"42{prefix}1["name"]"#)).await, format!(r#"43{prefix}1["Ann"]"#));
    }
    // One reference for the session, and one for each socket.
    eventually(|| held() == [(3, 0)]).await;

    let mut polling = Polling::open_with(&host, "EIO=4&transport=polling&secret=1").await;
    polling.send("40").await;
    assert!(polling.poll().await.starts_with(r#"40{"sid":"#));
    eventually(|| held() == [(3, 0), (2, 0)]).await;
    let mut upgraded = Client::connect(&host, &polling.upgrade_query()).await;
    assert_eq!(upgraded.ask("2probe").await, "3probe");
    upgraded.send("5").await;
    upgraded.enter("/other").await;

    let mut stranger = Client::open(&host).await;
    assert_eq!(stranger.ask("40").await, r#"44{"message":"who are you?"}"#);
    client.close().await;
    upgraded.close().await;
    stranger.close().await;
    host.deserted("/").await;
    eventually(|| held() == [(0, 0), (0, 0)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_test_brings_its_own() {
    let server = TestServer::new(io());
    let client = server.client("/").extension(User("Bob".into())).connect().await.unwrap();
    let name: String = client.emit_with_ack("name", &()).await.unwrap();
    assert_eq!(name, "Bob");
    assert_eq!(server.client("/").connect().await.unwrap_err(), ConnectError::new("who are you?"));
}
