//! Tests HTTPS and WSS.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use socketio::{
    ConnectError, Handshake, Namespace, Server, Tls,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use testkit::Http2;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::{fallback::app, services::io};
use crate::support::within;

#[tokio::test]
async fn a_handshake_tells_that_it_came_over_tls() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(certificate.cert.pem(), certificate.signing_key.serialize_pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let namespace = Namespace::with_auth("/", async |handshake: Handshake| {
        Ok::<_, ConnectError>((handshake.secure(), handshake.address()))
    })
    .on_connect(async |socket| socket.emit("told", socket.data()).unwrap());
    tokio::spawn(Server::new().namespace(namespace).serve(tls.listener(listener)).into_future());

    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let from = stream.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = within(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await.unwrap();
    let url = "wss://localhost/socket.io/?EIO=4&transport=websocket";
    let (mut websocket, _) = Box::pin(within(client_async(url, stream))).await.unwrap();
    websocket.send(Message::text("40")).await.unwrap();
    let mut packets = Vec::new();
    while packets.len() < 3 {
        packets.push(within(websocket.next()).await.unwrap().unwrap().into_text().unwrap());
    }
    assert_eq!(packets[2].as_str(), format!(r#"42["told",true,"{from}"]"#));
}

#[tokio::test]
async fn an_application_behind_the_server_has_http_2_and_websockets_over_tls() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(certificate.cert.pem(), certificate.signing_key.serialize_pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(io().serve(tls.listener(listener)).with_fallback(app().0).into_future());
    let connect = async |protocol: &str| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.cert.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    };
    let mut client = Http2::over(connect("h2").await).await;
    assert_eq!(client.get("/").await.body, "home");
    assert!(client.get("/socket.io/?EIO=4&transport=polling").await.body.starts_with("0{"));

    for (url, sent, received) in [
        ("wss://localhost/ws", "hello", "hello"),
        ("wss://localhost/socket.io/?EIO=4&transport=websocket", "40", "0{"),
    ] {
        let stream = connect("http/1.1").await;
        let (mut websocket, _) = Box::pin(within(client_async(url, stream))).await.unwrap();
        websocket.send(Message::text(sent)).await.unwrap();
        let message = within(websocket.next()).await.unwrap().unwrap().into_text().unwrap();
        assert!(message.starts_with(received), "{message}");
    }
}
