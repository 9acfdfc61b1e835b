//! Clients that request an unlimited number of namespaces.

use std::time::Duration;

use socketio::{ConnectError, Handshake, Namespace, Server, ServerConfig};

use super::arena::Arena;
use crate::support::{Client, Host, serve, text};

async fn many(count: usize, config: ServerConfig) -> Host {
    let io = (0..count).fold(Server::with_config(config), |io, n| {
        io.namespace(Namespace::new(format!("/{n}")).on("mark", async |_, ()| ()))
    });
    serve(io).await
}

#[tokio::test]
async fn the_limit_of_namespaces_is_exact_and_a_place_can_be_given_back() {
    for (max, config) in [(64, ServerConfig::default()), (2, ServerConfig::default().max_namespaces(2_usize))]
    {
        let host = many(max + 1, config).await;
        let mut client = Client::open(&host).await;
        for n in 0..max {
            client.enter(&format!("/{n}")).await;
        }
        let refused = format!(r#"44/{max},{{"message":"too many namespaces"}}"#);
        assert_eq!(client.ask(format!("40/{max},")).await, refused);
        assert_eq!(client.ask(r#"42/0,1["mark"]"#).await, "43/0,1[]");
        client.send("41/0,").await;
        client.enter(&format!("/{max}")).await;
    }
}

#[tokio::test]
async fn the_limit_of_refused_attempts_is_exact() {
    for (max, config) in
        [(32, ServerConfig::default()), (2, ServerConfig::default().max_connect_attempts(2_usize))]
    {
        let mut arena = Arena::with_config(config).await;
        let mut client = arena.client().await;
        for n in 0..max {
            let refused = format!(r#"44/{n}x,{{"message":"Invalid namespace"}}"#);
            assert_eq!(client.ask(format!("40/{n}x,")).await, refused);
        }
        // Joining does not count as a refused attempt.
        client.enter("/other").await;
        client.send("40/one-too-many,").await;
        assert_eq!(client.ended().await, (1002, "forced close".into()));
        arena.is_unharmed().await;
    }
}

#[tokio::test]
async fn refusals_of_a_namespace_count_as_attempts() {
    let admit = async |_: Handshake| {
        tokio::task::yield_now().await;
        Err::<(), _>(ConnectError::new("no"))
    };
    let config = ServerConfig::default().max_connect_attempts(5_usize);
    let host = serve(Server::with_config(config).namespace(Namespace::with_auth("/", admit))).await;
    let mut client = Client::open(&host).await;
    for _ in 0..5 {
        assert_eq!(client.ask("40").await, r#"44{"message":"no"}"#);
    }
    client.send("40").await;
    assert_eq!(client.ended().await, (1002, "forced close".into()));
}

#[tokio::test]
async fn asking_again_while_a_namespace_admits_is_bounded_too() {
    let admit = async |_: Handshake| std::future::pending::<Result<(), ConnectError>>().await;
    let host = serve(Server::new().namespace(Namespace::with_auth("/", admit))).await;
    let mut client = Client::open(&host).await;
    client.write(text("40").repeat(1000)).await;
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    host.deserted("/").await;
}

#[tokio::test]
async fn a_client_that_joins_nothing_in_time_is_closed() {
    let config = ServerConfig::default().connect_timeout(Duration::from_millis(50));
    let mut arena = Arena::with_config(config).await;
    let mut joined = arena.client().await;
    let mut idle = Client::open(&arena.host).await;
    let mut refused = Client::open(&arena.host).await;
    assert_eq!(refused.ask("40/nowhere,").await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    assert_eq!(idle.ended().await, (1000, "forced close".into()));
    assert_eq!(refused.ended().await, (1000, "forced close".into()));
    // `connect_timeout` no longer applies to a client that has joined, even if it has left again.
    assert_eq!(joined.ask(r#"421["mark"]"#).await, "431[]");
    arena.is_unharmed().await;
}

#[tokio::test]
async fn an_admission_that_takes_longer_than_the_time_to_join_is_over() {
    let admit = async |_: Handshake| std::future::pending::<Result<(), ConnectError>>().await;
    let config = ServerConfig::default().connect_timeout(Duration::from_millis(50));
    let host = serve(Server::with_config(config).namespace(Namespace::with_auth("/", admit))).await;
    let mut client = Client::open(&host).await;
    client.send("40").await;
    assert_eq!(client.ended().await, (1000, "forced close".into()));
    host.deserted("/").await;
}

#[tokio::test]
async fn the_namespaces_that_a_client_has_left_are_remembered_exactly() {
    let config = ServerConfig::default().max_namespaces(2_usize);
    let namespace = Namespace::new("/dyn-{n}").on("mark", async |_, ()| ());
    let host = serve(Server::with_config(config).dynamic(namespace)).await;
    let mut client = Client::open(&host).await;
    for n in 0..1000 {
        client.enter(&format!("/dyn-{n}")).await;
        client.send(format!("41/dyn-{n},")).await;
    }
    client.enter("/dyn-a").await;
    // Packets for namespaces that the client left last may still be in flight, so they are ignored.
    for n in [998, 999] {
        client.send(format!(r#"42/dyn-{n},["late"]"#)).await;
    }
    assert_eq!(client.ask(r#"42/dyn-a,1["mark"]"#).await, "43/dyn-a,1[]");
    client.send(r#"42/dyn-997,["late"]"#).await;
    assert_eq!(client.ended().await, (1002, "forced close".into()));
}
