//! Tests the bytes that the MessagePack encoding sends and accepts.

use bytes::Bytes;
use socketio::{Ack, Args, MsgpackParser, Namespace, Server, ServerConfig, Socket};

use crate::support::{Client, Host, Polling, serve};

const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

async fn host() -> Host {
    let namespace = Namespace::new("/")
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on("value", async |_, (value, bytes): (serde_json::Value, Bytes)| Ack((value, bytes)))
        .on("share", async |socket: Socket, bytes: Bytes| socket.namespace().emit("shared", &bytes));
    serve(Server::with_config(ServerConfig::default().parser(MsgpackParser::default())).namespace(namespace))
        .await
}

/// Encodes an event in `/`. `data` is the encoded array of the event.
pub(super) fn event(data: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type\x02\xa4data", data, b"\xa3nsp\xa1/"].concat()
}

pub(super) async fn join(host: &Host) -> Client {
    let mut client = Client::open(host).await;
    client.send_binary(CONNECT).await;
    let answer = client.binary().await;
    assert!(answer.starts_with(b"\x83\xa4type\x00\xa4data\x81\xa3sid"), "{answer:x?}");
    client
}

#[tokio::test]
async fn values_return_as_the_same_bytes() {
    let host = host().await;
    let mut client = join(&host).await;
    for data in [
        &b"\x91\xa4echo"[..],
        b"\x93\xa4echo\x01\xcb\x3f\xe0\0\0\0\0\0\0",
        b"\x94\xa4echo\xc4\x02ab\xc0\x82\xa1a\xc4\x00\xa1b\x91\xc3",
        b"\x93\xa4echo\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01z",
    ] {
        client.send_binary(&event(data)).await;
        assert_eq!(client.binary().await, event(data));
    }
}

#[tokio::test]
async fn typed_values_tell_bytes_from_what_looks_like_them() {
    let host = host().await;
    let mut client = join(&host).await;
    // `serde_json::Value` sorts its keys, so the expected response lists `_placeholder` first.
    let num_first = b"\x82\xac_placeholder\xc3\xa3num\x00";
    let args = b"\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01z";
    client
        .send_binary(
            &[b"\x84\xa4type\x02\xa4data\x93\xa5value", &args[..], b"\xa3nsp\xa1/\xa2id\x05"].concat(),
        )
        .await;
    let answer = client.binary().await;
    let packet =
        [b"\x84\xa2id\x05\xa4type\x03\xa4data\x92", &num_first[..], b"\xc4\x01z\xa3nsp\xa1/"].concat();
    assert_eq!(answer, packet);
}

#[tokio::test]
async fn a_broadcast_reaches_both_transports() {
    let host = host().await;
    let mut client = join(&host).await;
    let mut polling = Polling::open(&host).await;
    polling.send("bgqR0eXBlAKNuc3ChLw==").await;
    assert!(polling.poll().await.starts_with('b'));
    client.send_binary(&event(b"\x92\xa5share\xc4\x03abc")).await;
    assert_eq!(client.binary().await, event(b"\x92\xa6shared\xc4\x03abc"));
    assert_eq!(polling.poll().await, "bg6R0eXBlAqRkYXRhkqZzaGFyZWTEA2FiY6Nuc3ChLw==");
}

#[tokio::test]
async fn what_breaks_the_format_ends_the_session() {
    let host = host().await;
    let many = [&b"\xdc\x04\x02\xa4echo"[..], &b"\xc4\x00".repeat(1025)].concat();
    for bytes in [
        &b""[..],
        &vec![0x91; 500_000],
        b"\xdd\xff\xff\xff\xff",
        &[CONNECT, b"\0"].concat(),
        &event(b"\x91\xa7connect"),
        &event(b"\x91\xa5error\x01"),
        &event(b"\x90"),
        &event(b"\x91\xc0"),
        &event(b"\x80"),
        &event(&many),
        b"\x83\xa4type\x04\xa4data\x80\xa3nsp\xa1/",
        b"\x82\xa4type\x02\xa3nsp\xa1/",
        b"\x83\xa4type\x03\xa4data\x90\xa3nsp\xa1/",
        b"\x83\xa4type\x00\xa4data\xc0\xa3nsp\xa2/n",
    ] {
        let mut client = join(&host).await;
        client.send_binary(bytes).await;
        assert_eq!(client.ended().await.0, 1002, "{bytes:x?}");
    }
    let mut client = join(&host).await;
    client.send(r#"42["echo"]"#).await;
    assert_eq!(client.ended().await.0, 1002);
    host.deserted("/").await;
}
