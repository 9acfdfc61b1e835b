//! Requests that reach another server than that of their session.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::{CloseReason, EngineConfig, Forwarding, Frame, SessionHandle, TransportKind};
use http::request::Parts;
use testkit::{Endpoint, Stream};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    time::{Instant, sleep},
};

use crate::support::{Http, PATH, Polling, Server, UPGRADE, WebSocket, eventually, frame, parked, payload};

pub(crate) const SECRET: &str = "the secret of the cluster";
pub(crate) const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// Starts a server of the cluster.
pub(crate) async fn server() -> Server {
    server_with(EngineConfig::default()).await.0
}

/// Starts a server of the cluster with options. Returns it with the address for forwarded requests.
async fn server_with(config: EngineConfig) -> (Server, SocketAddr) {
    let private = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = private.local_addr().unwrap();
    let server = Server::start(config.forwarding(Forwarding::new(SECRET, address))).await;
    tokio::spawn(server.engine.serve_forwarded(private).into_future());
    (server, address)
}

/// The address of a server in another runtime.
struct Other(SocketAddr);

impl Endpoint for Other {
    const PATH: &'static str = PATH;

    async fn connect(&self) -> Stream {
        Stream::tcp(tokio::net::TcpStream::connect(self.0).await.unwrap())
    }
}

/// Starts a server that dies without a word when the runtime is shut down.
async fn mortal_server() -> (Runtime, Other) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.spawn(server()).await.unwrap();
    let address = server.address();
    runtime.spawn(async move {
        std::future::pending::<()>().await;
        drop(server);
    });
    (runtime, Other(address))
}

/// Upgrades a session through another server.
async fn upgraded(client: &Polling, through: &Server) -> WebSocket {
    let mut websocket = WebSocket::upgrade(through, client).await;
    assert_eq!(websocket.ask("4upgraded").await, "4upgraded");
    websocket
}

/// Opens a session whose further requests go to another server.
async fn client(owner: &mut Server, through: &impl Endpoint) -> (Polling, SessionHandle) {
    let mut client = Polling::open(owner).await;
    client.move_to(through).await;
    (client, owner.session().await)
}

#[tokio::test]
async fn every_server_takes_the_requests_of_every_session() {
    let (mut owner, second, third) = (server().await, server().await, server().await);
    let (mut client, session) = client(&mut owner, &second).await;
    for other in [&second, &third, &owner] {
        client.move_to(other).await;
        client.send(payload(&["4one", "4two"])).await;
        assert_eq!(client.poll().await, "4one\u{1e}4two");
        client.start_poll().await;
        parked(&session).await;
        session.send(&[Frame::binary([1, 2].as_slice().into())]).unwrap();
        assert_eq!(client.polled().await, "bAQI=");
    }
    assert_eq!((owner.engine.session_count(), second.engine.session_count()), (1, 0));
    client.send("1").await;
    assert_eq!(owner.end().await, CloseReason::TransportClose);
    assert_eq!(client.poll().await, "6");
    assert!(client.is_gone(&second).await);
}

#[tokio::test]
async fn a_session_is_upgraded_through_another_server() {
    let (mut owner, other) = (server().await, server().await);
    let (mut client, session) = client(&mut owner, &other).await;
    client.send("4by polling").await;
    assert_eq!(client.poll().await, "4by polling");
    let mut websocket = upgraded(&client, &other).await;
    websocket.send("4text").await;
    assert_eq!(websocket.text().await, "4text");
    assert_eq!(session.transport(), TransportKind::WebSocket);
    let large = vec![7; 500_000];
    websocket.send_binary(&large).await;
    assert_eq!(websocket.binary().await, large);
    session.send(&[Frame::text("from the server")]).unwrap();
    assert_eq!(websocket.text().await, "4from the server");
    websocket.close().await;
    assert_eq!(owner.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn a_websocket_through_another_server_ends_with_its_session() {
    let (mut owner, other) = (server().await, server().await);
    for by_server in [true, false] {
        let (client, session) = client(&mut owner, &other).await;
        let mut websocket = upgraded(&client, &other).await;
        if by_server {
            session.close();
            websocket.ended().await;
            assert_eq!(owner.end().await, CloseReason::ForcedClose);
        } else {
            // Without a close frame.
            drop(websocket);
            assert_eq!(owner.end().await, CloseReason::TransportClose);
        }
    }
    let (client, _) = client(&mut owner, &other).await;
    let mut websocket = upgraded(&client, &other).await;
    other.engine.close().await;
    assert!(
        websocket.next().await.is_err(),
        "a server that closes also ends the WebSockets of other servers"
    );
    assert_eq!(owner.end().await, CloseReason::TransportClose);
}

#[tokio::test]
async fn frames_that_follow_the_handshake_arrive() {
    let (mut owner, other) = (server().await, server().await);
    let (client, _) = client(&mut owner, &other).await;
    let http = Http::connect(&other).await;
    let (mut stream, mut received) = http.upgrade_with(&client.upgrade_query(), frame(0x81, b"2probe")).await;
    while !received.ends_with(b"3probe") {
        assert!(stream.read_more(&mut received).await);
    }
}

#[tokio::test]
async fn a_client_that_disconnects_ends_its_session() {
    let (mut owner, other) = (server().await, server().await);
    let (mut client, session) = client(&mut owner, &other).await;
    client.start_poll().await;
    parked(&session).await;
    drop(client);
    assert_eq!(owner.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn posts_that_arrive_slowly_or_break_have_the_same_effect() {
    let (mut owner, other) = (server().await, server().await);
    let (mut client, _) = client(&mut owner, &other).await;
    let head =
        |len: usize| format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n", client.target);
    let (whole, part) = (head(6), head(100));
    client.post.send(whole).await;
    client.post.send("4slow").await;
    client.post.send("!").await;
    assert_eq!(client.post.response().await.body, "ok");
    assert_eq!(client.poll().await, "4slow!");
    client.post.send(part).await;
    client.post.send("4broken").await;
    client.post.shut_down().await;
    assert_eq!(owner.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn limits_hold_through_another_server() {
    let config = || EngineConfig::default().max_http_buffer_size(1000);
    let (mut owner, _) = server_with(config()).await;
    let (other, _) = server_with(config()).await;
    let (mut client, _) = client(&mut owner, &other).await;
    client.send(format!("4{}", "x".repeat(999))).await;
    assert_eq!(client.poll().await.len(), 1000);
    let refused = client.post(format!("4{}", "x".repeat(1000))).await;
    assert_eq!((refused.status, refused.body.as_str()), (413, ""));
    assert_eq!(owner.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn errors_are_those_of_the_server_of_the_session() {
    let (mut owner, other) = (server().await, server().await);
    let (client, _) = client(&mut owner, &other).await;
    let mut http = Http::connect(&other).await;
    let ended = client.query.replace(&client.sid[..20], "AAAAAAAAAAAAAAAAAAAA");
    let response = http.get(&ended).await;
    assert_eq!((response.status, response.body.as_str()), (400, UNKNOWN));
    let mismatch = http.get(&client.query.replace("EIO=4", "EIO=3")).await;
    assert_eq!((mismatch.status, mismatch.body.as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
    let put = http.request("PUT", &client.query, "", "").await;
    assert_eq!(put.status, 500);
    let upgrade = client.upgrade_query().replace(&client.sid[..20], "AAAAAAAAAAAAAAAAAAAA");
    let mut http = Http::connect(&other).await;
    let response = http.request("GET", &upgrade, UPGRADE, "").await;
    assert_eq!((response.status, response.body.as_str()), (400, UNKNOWN));
    // The session is not affected.
    assert_eq!(Http::connect(&other).await.request("POST", &client.query, "", "4a").await.body, "ok");
}

#[tokio::test]
async fn an_address_without_a_server_is_reported_once_a_second() {
    let other = server().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = Server::start(EngineConfig::default().forwarding(Forwarding::new(SECRET, closed))).await;
    let client = Polling::open(&gone).await;
    let mut http = Http::connect(&other).await;
    let start = Instant::now();
    for _ in 0..20 {
        let response = http.get(&client.query).await;
        assert_eq!((response.status, response.body.as_str()), (400, UNKNOWN));
    }
    let mut http = Http::connect(&other).await;
    let upgrade = http.request("GET", &client.upgrade_query(), UPGRADE, "").await;
    assert_eq!((upgrade.status, upgrade.body.as_str()), (400, UNKNOWN));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_private_listener_serves_only_the_cluster() {
    let (mut owner, private) = server_with(EngineConfig::default()).await;
    let client = Polling::open(&owner).await;
    owner.session().await;
    let link = "Connection: Upgrade\r\nUpgrade: engineio-forward\r\n";
    for headers in ["", link, UPGRADE] {
        for authorization in ["", "Authorization: Bearer \r\n", "Authorization: Bearer AAAA\r\n"] {
            let mut http = Http::connect(&Other(private)).await;
            let response = http.request("GET", &client.query, &format!("{headers}{authorization}"), "").await;
            assert_eq!(response.status, 401, "{headers}{authorization}");
        }
    }
}

#[tokio::test]
async fn servers_with_another_secret_are_strangers() {
    let mut owner = server().await;
    let address = "127.0.0.1:1".parse().unwrap();
    let foreign = Forwarding::new("the secret of another cluster", address);
    let stranger = Server::start(EngineConfig::default().forwarding(foreign)).await;
    let (client, _) = client(&mut owner, &stranger).await;
    assert_eq!(Http::connect(&stranger).await.get(&client.query).await.body, UNKNOWN);
}

#[tokio::test]
async fn the_server_that_the_client_has_reached_checks_origins_and_calls_hooks() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let mut owner = server().await;
    let hooked = EngineConfig::default().allow_request(async move |_: Parts| {
        counted.fetch_add(1, Ordering::Relaxed);
        Err::<(), &str>("not today")
    });
    let (other, _) = server_with(hooked).await;
    let (client, _) = client(&mut owner, &other).await;
    let mut http = Http::connect(&other).await;
    for headers in ["Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let refused = http.request("GET", &client.query, headers, "").await;
        assert_eq!(
            (refused.status, refused.body.as_str()),
            (403, r#"{"code":4,"message":"Origin not allowed"}"#)
        );
    }
    let refused = http.request("GET", &client.upgrade_query(), UPGRADE, "").await;
    assert_eq!((refused.status, refused.body.as_str()), (403, r#"{"code":4,"message":"not today"}"#));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_poll_of_a_server_that_dies_is_repeated_through_another() {
    let (mut owner, third) = (server().await, server().await);
    let (runtime, mortal) = mortal_server().await;
    let (mut client, session) = client(&mut owner, &mortal).await;
    client.send("4sent").await;
    assert_eq!(client.poll().await, "4sent");
    client.query += "&t=next";
    client.start_poll().await;
    parked(&session).await;
    runtime.shutdown_background();
    eventually(|| !session.send_volatile(&[])).await;
    client.move_to(&third).await;
    session.send(&[Frame::text("not lost")]).unwrap();
    assert_eq!(client.poll().await, "4not lost");
    assert!(owner.no_more_ends());
}

#[tokio::test]
async fn a_server_that_is_drained_keeps_its_sessions_and_opens_no_others() {
    let (mut owner, other) = (server().await, server().await);
    let (mut client, _) = client(&mut owner, &other).await;
    owner.engine.drain();
    assert!(owner.engine.is_closing());
    let refused = Http::connect(&owner).await.get("EIO=4&transport=polling").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    client.send("4still here").await;
    assert_eq!(client.poll().await, "4still here");
    client.move_to(&owner).await;
    client.send("4here too").await;
    assert_eq!(client.poll().await, "4here too");
    assert!(owner.no_more_ends());
}

#[tokio::test]
async fn a_poll_that_is_repeated_through_another_server_replaces_the_first() {
    let (mut owner, second, third) = (server().await, server().await, server().await);
    let (mut client, session) = client(&mut owner, &second).await;
    client.start_poll().await;
    parked(&session).await;
    for other in [&third, &owner, &second] {
        let mut again = Http::connect(other).await;
        again.start("GET", &client.query, "", "").await;
        assert_eq!(client.polled().await, "6");
        client.get = again;
    }
    parked(&session).await;
    session.send(&[Frame::text("once")]).unwrap();
    assert_eq!(client.polled().await, "4once");
    assert!(owner.no_more_ends());
    // Two polls through the same server are an error, as without forwarding.
    client.start_poll().await;
    parked(&session).await;
    let refused = Http::connect(&second).await.get(&client.query).await;
    assert_eq!(refused.status, 400);
    assert_eq!(owner.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn a_response_that_may_be_lost_closes_the_session() {
    let mut owner = server().await;
    let (runtime, mortal) = mortal_server().await;
    let (mut client, _) = client(&mut owner, &mortal).await;
    client.send("4sent").await;
    assert_eq!(client.poll().await, "4sent");
    // Without the next poll, the server does not know that the client has received the response.
    runtime.shutdown_background();
    assert_eq!(owner.end().await, CloseReason::TransportError);
}

#[tokio::test]
async fn the_next_poll_shows_that_a_response_has_arrived() {
    let mut owner = server().await;
    for is_repeated in [false, true] {
        let (runtime, mortal) = mortal_server().await;
        let (mut client, session) = client(&mut owner, &mortal).await;
        let query = client.query.clone();
        for poll in ["1", "2"] {
            client.send("4sent").await;
            client.query = format!("{query}&t={poll}");
            assert_eq!(client.poll().await, "4sent");
        }
        runtime.shutdown_background();
        client.move_to(&owner).await;
        if is_repeated {
            // A proxy that has not received the response repeats the poll. The packets are lost.
            assert_eq!(client.get.get(&client.query).await.status, 400);
            assert_eq!(owner.end().await, CloseReason::TransportError);
        } else {
            client.query = format!("{query}&t=3");
            client.start_poll().await;
            sleep(Duration::from_secs(3)).await;
            session.send(&[Frame::text("not lost")]).unwrap();
            assert_eq!(client.polled().await, "4not lost");
            assert!(owner.no_more_ends());
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_completes_the_polls_of_other_servers() {
    let (mut owner, closing, third) = (server().await, server().await, server().await);
    let (mut client, session) = client(&mut owner, &closing).await;
    client.start_poll().await;
    parked(&session).await;
    closing.engine.close().await;
    assert_eq!(client.polled().await, "6");
    client.move_to(&third).await;
    client.send("4still here").await;
    assert_eq!(client.poll().await, "4still here");
    assert!(owner.no_more_ends());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_lose_and_reorder_nothing() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server().await);
    }
    let servers = Arc::new(servers);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..200_usize {
        let servers = servers.clone();
        clients.spawn(async move {
            let mut client = Polling::open(&servers[number % 3]).await;
            let mut received = String::new();
            for step in 0..10 {
                client.move_to(&servers[(number + step) % 3]).await;
                client.send(payload(&[&format!("4{step}a"), &format!("4{step}b")])).await;
                received += &client.poll().await.replace('\u{1e}', "");
            }
            assert_eq!(received, "40a40b41a41b42a42b43a43b44a44b45a45b46a46b47a47b48a48b49a49b");
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}
