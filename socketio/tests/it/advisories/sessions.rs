//! Sessions and sockets that are abandoned in an intermediate state.

use super::stage::Stage;
use crate::support::{Client, Polling, UPGRADE, text};

#[tokio::test]
async fn engineioxide_0_17_4_upgrades_that_are_never_finished() {
    let stage = Stage::new().await;
    let mut left = Vec::new();
    for n in 0..60 {
        let mut polling = Polling::join(&stage.host).await;
        let mut websocket = Client::connect(&stage.host, &polling.upgrade_query()).await;
        if n % 2 == 0 {
            assert_eq!(websocket.ask("2probe").await, "3probe");
        }
        if n % 3 == 0 {
            // `upgrade_timeout` closes the WebSocket, and the polling session continues.
            assert!(websocket.next().await.is_ok_and(|message| message.is_close()));
            polling.send(r#"421["mark"]"#).await;
            assert_eq!(polling.poll().await, "431[]");
            polling.send("1").await;
            break;
        }
        left.push((polling, websocket));
    }
    drop(left);
    stage.goes_on().await;
}

#[tokio::test]
async fn socketioxide_801_a_second_connect() {
    let stage = Stage::new().await;
    stage.refuses("joined", &[text("40")]).await;
    stage.refuses("joined, with an event behind", &[text("40"), text(r#"42["args"]"#)]).await;
    let mut client = Client::open(&stage.host).await;
    client.write([text("40/refusing,"), text("40/refusing,")].concat()).await;
    assert_eq!(client.text().await, r#"44/refusing,{"message":"no"}"#, "one admission, one answer");
    assert!(client.enter("/").await.len() == 20);
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn socketioxide_0_18_8_clients_that_are_refused() {
    let stage = Stage::new().await;
    for _ in 0..20 {
        let mut client = Client::open(&stage.host).await;
        for _ in 0..5 {
            assert_eq!(client.ask("40/refusing,").await, r#"44/refusing,{"message":"no"}"#);
        }
        assert_eq!(stage.host.io.socket_count("/refusing"), 0);
        client.send(r#"42/refusing,["args"]"#).await;
        assert_eq!(client.ended().await.0, 1002);
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn socketioxide_820_answers_that_nobody_waits_for() {
    let stage = Stage::new().await;
    let forged: Vec<_> = (0..5000).map(|id| text(format!("43{id}[\"forged\"]"))).collect();
    stage.ignores("forged", &forged).await;
    stage.refuses("beyond all ids", &[text("4318446744073709551616[]")]).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn netty_socketio_925_handshakes_that_fail() {
    let stage = Stage::new().await;
    let head = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n");
    for cut in (0..head.len()).step_by(3) {
        let mut stream = stage.host.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &head.as_bytes()[..cut]).await.unwrap();
    }
    for bad in [
        head.replace("13", "8"),
        head.replace("dGhlIHNhbXBsZSBub25jZQ==", "abc"),
        head.replace("EIO=4", "EIO=5"),
        head.replace("Sec-WebSocket-Key", "X-Key"),
    ] {
        let answer = stage.raw(bad.replace("Host: test\r\n", "Host: test\r\nConnection: close\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    stage.goes_on().await;
}
