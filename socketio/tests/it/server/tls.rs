//! Tests HTTPS and WSS.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use socketio::{
    ConnectError, Handshake, Namespace, Server, Tls,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{client_async, tungstenite::Message};

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
    tokio::spawn(Server::new().namespace(namespace).serve(tls.listener(listener)));

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
