//! TLS with the accept loop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use engineio::{
    EngineConfig, ListenConfig, Listener, Tls, TlsConfig, TlsInfo,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
};
use http::request::Parts;
use rcgen::{CertifiedKey, KeyPair};
use testkit::Http2;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    http2::sid_of,
    listeners::{carries_everything, told},
    support::{Connect, Server, Stream, WebSocket, eventually, http},
};

fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn tls(certificate: &CertifiedKey<KeyPair>) -> Tls {
    Tls::from_pem(certificate.cert.pem(), certificate.signing_key.serialize_pem()).unwrap()
}

fn private_key(certificate: &CertifiedKey<KeyPair>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(certificate.signing_key.serialize_pem().as_bytes()).unwrap()
}

fn server_config(certificate: &CertifiedKey<KeyPair>) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], private_key(certificate))
        .unwrap()
}

/// Returns a connector that trusts this certificate.
fn client(certificate: &CertificateDer<'static>, version: &'static SupportedProtocolVersion) -> TlsConnector {
    client_of("http/1.1", certificate, version)
}

/// Returns a connector that trusts this certificate and asks for a protocol.
fn client_of(
    protocol: &str,
    certificate: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn shake(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn serve(tls: &Tls, connector: TlsConnector) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect: Connect = Box::new(move || {
        let connector = connector.clone();
        Box::pin(async move { Stream::new(shake(&connector, address).await.unwrap()) })
    });
    let listener = tls.listener(listener);
    Server::on(listener, Some(address), connect, EngineConfig::default(), ListenConfig::default())
}

#[tokio::test]
async fn tls_carries_everything() {
    let certificate = certificate();
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let connector = client(certificate.cert.der(), version);
        let mut server = serve(&tls(&certificate), connector.clone()).await;
        let stream = shake(&connector, server.address()).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(name));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        drop(stream);
        carries_everything(&mut server).await;
        let told = told(&server).await;
        assert!(told.contains(r#", Some("test"), Some(127.0.0.1:"#) && told.ends_with(", true)"), "{told}");
    }
}

#[tokio::test]
async fn the_certificate_of_the_client_and_the_server_name_reach_the_handshake() {
    let (server, alice) = (certificate(), certificate());
    let mut roots = RootCertStore::empty();
    roots.add(alice.cert.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.cert.der().clone()], private_key(&server))
        .unwrap();
    let (seen, mut handshakes) = mpsc::channel(10);
    let identity = (alice.cert.der().clone(), private_key(&alice));
    let known = identity.0.clone();
    let allow = async move |request: Parts| {
        let tls = request.extensions.get::<TlsInfo>().unwrap();
        let is_known = tls.peer_certificates().first() == Some(&known);
        seen.send((tls.server_name().map(str::to_owned), is_known)).await.unwrap();
        if is_known { Ok(()) } else { Err("a certificate is required") }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect: Connect = Box::new(|| Box::pin(async { unreachable!("the test connects") }));
    let engine = EngineConfig::default().allow_request(allow);
    let listener = Tls::new(config).listener(listener);
    let _server = Server::on(listener, Some(address), connect, engine, ListenConfig::default());
    let mut roots = RootCertStore::empty();
    roots.add(server.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let alice = client.clone().with_client_auth_cert(vec![identity.0], identity.1).unwrap();
    for (config, is_known, status) in [(alice, true, 200), (client.with_no_client_auth(), false, 403)] {
        let stream = shake(&TlsConnector::from(Arc::new(config)), address).await.unwrap();
        let response = http(Stream::new(stream)).get("EIO=4&transport=polling").await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(handshakes.recv().await.unwrap(), (Some("localhost".to_owned()), is_known));
    }
}

#[tokio::test]
async fn http_2_is_selected_by_alpn() {
    let certificate = certificate();
    let server = serve(&tls(&certificate), client(certificate.cert.der(), &TLS13)).await;
    let connector = client_of("h2", certificate.cert.der(), &TLS13);
    let stream = shake(&connector, server.address()).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut client = Http2::over(stream).await;
    let open = client.get("/engine.io/?EIO=4&transport=polling&reflect=1").await;
    let poll = client.get(&format!("/engine.io/?EIO=4&transport=polling&sid={}", sid_of(&open.body))).await;
    let told = poll.body;
    assert!(told.contains(r#", Some("test"), Some(127.0.0.1:"#) && told.ends_with(", true)"), "{told}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let (old, new) = (certificate(), certificate());
    let tls = tls(&old);
    let old_client = client(old.cert.der(), &TLS13);
    let server = serve(&tls, old_client.clone()).await;
    let mut open = WebSocket::open(&server).await;

    let nonsense = tls.reload_pem("nonsense", "nonsense").unwrap_err().to_string();
    assert_eq!(nonsense, "there is no certificate in the PEM text");
    let other_key = tls.reload_pem(old.cert.pem(), new.signing_key.serialize_pem()).unwrap_err().to_string();
    assert!(other_key.starts_with("the certificate cannot be used: "), "{other_key}");
    shake(&old_client, server.address()).await.unwrap();

    tls.reload_pem(new.cert.pem(), new.signing_key.serialize_pem()).unwrap();
    assert!(shake(&old_client, server.address()).await.is_err());
    let new_client = client(new.cert.der(), &TLS13);
    let stream = shake(&new_client, server.address()).await.unwrap();
    assert_eq!(http(Stream::new(stream)).get("EIO=4&transport=polling").await.status, 200);
    open.send("4goes on").await;
    assert_eq!(open.text().await, "4goes on");

    tls.reload(server_config(&old));
    let stream = shake(&old_client, server.address()).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_10_seconds_and_holds_nobody_up() {
    let certificate = certificate();
    let server = serve(&tls(&certificate), client(certificate.cert.der(), &TLS13)).await;
    let start = Instant::now();
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let _others = [WebSocket::open(&server).await, WebSocket::open(&server).await];
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert!((10_000..10_100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn plain_http_on_the_port_harms_nobody() {
    let certificate = certificate();
    let server = serve(&tls(&certificate), client(certificate.cert.der(), &TLS13)).await;
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    WebSocket::open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn of_too_many_handshakes_the_oldest_gives_way() {
    let certificate = certificate();
    let limits = TlsConfig::default().max_handshakes(2_usize);
    let tls = Tls::with_config(server_config(&certificate), limits);
    let server = serve(&tls, client(certificate.cert.der(), &TLS13)).await;
    // Counted after all tasks of the server have been spawned.
    let _open = WebSocket::open(&server).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let start = Instant::now();
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    let mut second = TcpStream::connect(server.address()).await.unwrap();
    eventually(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() == tasks + 2).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    // No slot is free. The next client waits until the handshake timeout of the first one, one second, has
    // passed.
    let _third = WebSocket::open(&server).await;
    assert!((1000..1100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0);
    assert!((10_000..10_100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_behind_tls_is_prepared_too() {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let twin = socket2::SockRef::from(&inner).try_clone().unwrap();
    let listener = tls(&certificate()).listener(inner);
    listener.prepare(&ListenConfig::default().tcp_notsent_lowat(20_000)).unwrap();
    assert_eq!(twin.tcp_notsent_lowat().unwrap(), 20_000);
}
