//! Parsers of Socket.IO and Engine.IO packets.

use super::stage::Stage;
use crate::support::{Polling, text};

#[tokio::test]
async fn cve_2024_38355_an_event_named_error() {
    let stage = Stage::new().await;
    stage.ignores("error", &[text(r#"42["error","x"]"#)]).await;
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        stage.refuses(name, &[text(format!(r#"42["{name}","x"]"#))]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2020_36049_a_megabyte_of_digits() {
    let stage = Stage::new().await;
    let digits = "2".repeat(990_000);
    for start in ["4", "42", "45", "43", "40/", "42/a,"] {
        stage.refuses(start, &[text(format!("{start}{digits}"))]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn cve_2023_32695_names_of_events_that_are_no_names() {
    // CVE-2023-30591 (NodeBB) is the same vulnerability in an application.
    let stage = Stage::new().await;
    for packet in [
        r#"42[{"toString":"foo"}]"#,
        r#"42[true,"foo"]"#,
        r#"42[null,"bar"]"#,
        "42[]",
        "42{}",
        r#"42["a""#,
        r#"42[["a"]]"#,
    ] {
        stage.refuses(packet, &[text(packet)]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn socketio_parser_4_2_4_payloads_that_do_not_fit_their_packet() {
    let stage = Stage::new().await;
    for packet in [
        "40[]",
        "40null",
        r#"40/admin,"x""#,
        r#"42["connect"]"#,
        "41{}",
        r#"44{"message":"x"}"#,
        "43[]",
        "431{}",
        "47",
        "4",
    ] {
        stage.refuses(packet, &[text(packet)]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn engineioxide_core_0_2_3_packets_that_begin_in_the_middle_of_a_character() {
    let stage = Stage::new().await;
    for packet in ["éabcd", "b*", "", "é", "\u{1e}", "9", "-", "b=", "😀"] {
        stage.refuses(packet, &[text(packet)]).await;
        let mut client = Polling::join(&stage.host).await;
        assert_eq!(client.post(packet).await.status, 400, "{packet:?}");
        assert!(client.is_gone(&stage.host).await);
    }
    // `b` is an empty attachment that no packet announces. The `4` of `b4` is not valid base64.
    for packet in ["b", "b4"] {
        stage.refuses(packet, &[text(packet)]).await;
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn ghsa_c6g7_r2mf_pf5g_a_megabyte_of_brackets() {
    let stage = Stage::new().await;
    for open in ["[", r#"{"a":"#] {
        let deep = open.repeat(990_000 / open.len());
        for start in [r#"42["args","#, r#"42["value","#, r#"42["mark","#, r#"42["nobody","#, "431", "40/a,"] {
            stage.refuses(start, &[text(format!("{start}{deep}"))]).await;
        }
    }
    stage.goes_on().await;
}

#[tokio::test]
async fn engineio_6_6_11_query_strings_and_objects_that_change_prototypes() {
    let stage = Stage::new().await;
    stage.ignores("an argument", &[text(r#"42["nobody",{"__proto__":{"x":1},"constructor":1}]"#)]).await;
    let mut client = stage.client().await;
    assert_eq!(client.ask("40/a?__proto__=1,").await, r#"44/a?__proto__=1,{"message":"Invalid namespace"}"#);
    assert_eq!(client.ask(r#"421["value",{"__proto__":{"x":1}}]"#).await, r#"431[{"__proto__":{"x":1}}]"#);
    drop(client);
    stage.goes_on().await;
}
