//! Packets that announce attachments.

use super::stage::Stage;
use crate::support::{Client, Polling, binary, payload, text};

fn event(count: &str, num: &str) -> Vec<u8> {
    text(format!(r#"45{count}-["args",{{"_placeholder":true,"num":{num}}}]"#))
}

#[tokio::test]
async fn cve_2022_2421_placeholders_that_are_no_numbers() {
    let stage = Stage::new().await;
    for num in [r#""splice""#, "1", "-1", "1e99", "0.5", "null", "18446744073709551616"] {
        stage.refuses(num, &[event("1", num), binary("x")]).await;
    }
    stage.refuses("without a packet", &[binary("x")]).await;
    stage.refuses("text between", &[event("1", "0"), text(r#"42["args"]"#)]).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2026_33151_more_attachments_than_anyone_waits_for() {
    let mut stage = Stage::new().await;
    for count in ["11", "1000000", "451000000"] {
        stage.refuses(count, &[event(count, "0"), binary(vec![0; 10_000]).repeat(20)]).await;
    }
    // The total size of the attachments has the same limit as a message.
    let tenth = binary(vec![0; 100_001]);
    stage.refuses("ten bytes too many", &[event("10", "0"), tenth.repeat(10)]).await;
    let mut client = stage.client().await;
    client.write([event("10", "9"), binary("x").repeat(10)].concat()).await;
    assert_eq!(stage.handled.next().await, r#"[{"_placeholder":true,"num":9}]"#);
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2026_69185_a_packet_of_no_attachments() {
    let stage = Stage::new().await;
    let endless = binary(vec![0; 10_000]).repeat(20);
    stage.refuses("event", &[text(r#"450-["args"]"#), endless.clone()]).await;
    stage.refuses("answer", &[text("460-1[]"), endless]).await;
    stage.goes_on().await;
}

#[tokio::test]
async fn netty_socketio_945_counts_that_size_a_list() {
    let stage = Stage::new().await;
    for count in [
        "1832742252",
        "2147483647",
        "9223372036854775808",
        "99999999999999999999",
        "0x10",
        "1e9",
        " 1",
        "+1",
        "-1",
        "1.5",
        "",
    ] {
        stage.refuses(count, &[event(count, "0"), binary("x")]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn python_socketio_5_16_2_attachments_before_connect() {
    let stage = Stage::new().await;
    // GHSA-55mf-67qm-4wpg: attachments must not take memory before the client has joined a namespace.
    for frames in [
        vec![event("1", "0")],
        vec![event("1", "0"), binary("x")],
        vec![binary("x")],
        vec![text(r#"451-/canary,["args",1]"#), binary("x")],
    ] {
        let mut client = Client::open(&stage.host).await;
        client.write(frames.concat()).await;
        assert_eq!(client.ended().await.0, 1002);
    }
    let mut client = Polling::open(&stage.host).await;
    client.post("451-[\"args\",1]").await;
    client.start_poll().await;
    assert_ne!(client.get.response().await.body, "");
    assert!(client.is_gone(&stage.host).await);
    drop(client);
    stage.goes_on().await;
}

#[tokio::test]
async fn python_socketio_5_16_2_attachments_that_never_come() {
    let stage = Stage::new().await;
    let mut client = stage.client().await;
    client.write([event("2", "0"), binary("x")].concat()).await;
    drop(client);
    let mut client = Polling::join(&stage.host).await;
    client.send(payload(&[r#"452-["args",1]"#, "bAAAA"])).await;
    client.send("1").await;
    drop(client);
    stage.goes_on().await;
}
