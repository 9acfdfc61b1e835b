//! Attachments that do not match their packet.

use socketio::{EngineConfig, ServerConfig};

use super::arena::Arena;
use crate::support::{binary, text};

fn event(count: &str, arguments: &str) -> Vec<u8> {
    text(format!(r#"45{count}["args",{arguments}]"#))
}

fn placeholder(num: &str) -> String {
    format!(r#"{{"_placeholder":true,"num":{num}}}"#)
}

#[tokio::test]
async fn counts_that_cannot_be_end_the_session_at_the_header() {
    let mut arena = Arena::new().await;
    for count in [
        "",
        "-",
        "0-",
        "11-",
        "-1-",
        "1.5-",
        "1e0-",
        "+1-",
        " 1-",
        "0x1-",
        "1",
        "999999999-",
        "99999999999999999999999-",
    ] {
        arena.refuses(count, &[event(count, &placeholder("0"))]).await;
        let ack = text(format!("46{count}1[{}]", placeholder("0")));
        arena.refuses(count, &[ack]).await;
    }
}

#[tokio::test]
async fn the_largest_count_is_taken() {
    let mut arena = Arena::new().await;
    let frames = [event("10-", &placeholder("9")), binary("x").repeat(10)];
    let mut client = arena.client().await;
    client.write(frames.concat()).await;
    assert_eq!(arena.handled.next().await, format!("[{}]", placeholder("9")));
}

#[tokio::test]
async fn the_count_has_the_limit_of_the_config() {
    for limit in [0, 1, 12] {
        let mut arena = Arena::with_config(ServerConfig::default().max_attachments(limit)).await;
        let mut client = arena.client().await;
        if limit > 0 {
            let frames = [event(&format!("{limit}-"), "1"), binary("x").repeat(limit)];
            client.write(frames.concat()).await;
            assert_eq!(arena.handled.next().await, "[1]");
        }
        arena.refuses("one more", &[event(&format!("{}-", limit + 1), "1")]).await;
    }
}

#[tokio::test]
async fn too_few_attachments_end_the_session_at_the_next_text() {
    let mut arena = Arena::new().await;
    for next in [r#"42["args"]"#, "41", "40/other,", r#"451-["args",1]"#, "431[]", "4"] {
        arena.refuses(next, &[event("2-", &placeholder("0")), binary("x"), text(next)]).await;
        arena.refuses(next, &[event("1-", &placeholder("0")), text(next)]).await;
    }
    // PONG packets may arrive between attachments.
    let mut client = arena.client().await;
    let frames = [event("2-", "1"), text("3"), binary("x"), text("3"), binary("x"), text(r#"421["mark"]"#)];
    client.write(frames.concat()).await;
    assert_eq!(arena.handled.next().await, "[1]");
    assert_eq!(client.text().await, "431[]");
}

#[tokio::test]
async fn attachments_of_nothing_end_the_session() {
    let mut arena = Arena::new().await;
    arena.refuses("no header", &[binary("x")]).await;
    arena.refuses("an empty one", &[binary("")]).await;
    arena.refuses("after a text event", &[text(r#"42["nobody"]"#), binary("x")]).await;

    let mut client = arena.client().await;
    client.write([event("1-", "1"), binary("x"), binary("one more")].concat()).await;
    assert_eq!(arena.handled.next().await, "[1]");
    assert_eq!(client.ended().await, (1002, "forced close".into()));
    arena.is_unharmed().await;
}

#[tokio::test]
async fn placeholders_without_an_attachment_end_the_session() {
    let mut arena = Arena::new().await;
    for num in [
        "1",
        "10",
        "-1",
        "0.5",
        "1.0",
        "1e0",
        "1e99",
        "\"0\"",
        "\"splice\"",
        "null",
        "[0]",
        "18446744073709551616",
    ] {
        for event in ["args", "bytes", "unit", "nobody"] {
            let header = text(format!(r#"451-["{event}",{}]"#, placeholder(num)));
            arena.refuses(num, &[header, binary("x")]).await;
        }
        arena.refuses(num, &[text(format!("461-1[{}]", placeholder(num))), binary("x")]).await;
    }
    arena.refuses("no num", &[event("1-", r#"{"_placeholder":true}"#), binary("x")]).await;
    let deep = format!(r#"[{{"a":[0,{}]}}]"#, placeholder("1"));
    arena.refuses("deep", &[event("1-", &deep), binary("x")]).await;
}

#[tokio::test]
async fn an_attachment_that_is_named_twice_ends_the_session() {
    let mut arena = Arena::new().await;
    let twice = |[a, b]: [&str; 2]| {
        let count = if [a, b].concat().contains('1') { 2 } else { 1 };
        (format!("4{{}}{count}-"), format!("[{a},{b}]"), binary("x").repeat(count))
    };
    let plain = placeholder("0");
    for placeholders in [
        [&*plain, &plain],
        [&placeholder("1"), &placeholder("1")],
        [&plain, &format!(r#"{{"a":[{plain}]}}"#)],
        [&plain, r#"{"num":0,"_placeholder":true}"#],
        [&plain, r#"{"_placeholder":true,"num":1,"num":0}"#],
        [&plain, r#"{"_placeholder":true,"num":0e0}"#],
        [&plain, r#"{"_placeholder":true,"num":-0.0}"#],
        // A key with an escape is not recognized: the first object has no number, the second has 0.
        [&plain, r#"{"_placeholder":true,"\u006eum":0}"#],
        [&plain, r#"{"_placeholder":true,"\u006eum":1,"num":0}"#],
    ] {
        let (header, arguments, attachments) = twice(placeholders);
        for event in ["args", "bytes", "value", "unit", "nobody"] {
            let event = format!(r#"{}["{event}",1,{arguments}]"#, header.replace("{}", "5"));
            arena.refuses(&event, &[text(&event), attachments.clone()]).await;
        }
        let ack = format!("{}1{arguments}", header.replace("{}", "6"));
        arena.refuses(&ack, &[text(&ack), attachments]).await;
    }
    // Without attachments, a placeholder object is ordinary data.
    arena.ignores("text", &[text(format!(r#"42["unit",{plain},{plain}]"#))]).await;
}

#[tokio::test]
async fn what_is_no_json_ends_the_session_with_its_attachments() {
    let mut arena = Arena::new().await;
    for packet in [r#"451-["args",]"#, r#"451-["unit"]x"#, r#"451-["nobody",{]"#, "451-1", "461-1[", "451-[]"]
    {
        arena.refuses(packet, &[text(packet), binary("x")]).await;
    }
    arena.refuses("a reserved name", &[text(r#"451-["connect",1]"#), binary("x")]).await;
}

#[tokio::test]
async fn attachments_are_limited_by_their_sum_exactly() {
    for (limit, config) in [
        (1_000_000, ServerConfig::default()),
        (1000, ServerConfig::default().engine(EngineConfig::default().max_http_buffer_size(1000_usize))),
    ] {
        let mut arena = Arena::with_config(config).await;
        let halves = |last: usize| [binary(vec![0; limit / 2]), binary(vec![0; last])].concat();
        let mut client = arena.client().await;
        client.write([event("2-", "1"), halves(limit / 2)].concat()).await;
        assert_eq!(arena.handled.next().await, "[1]");
        client.write([event("1-", "2"), binary(vec![0; limit])].concat()).await;
        assert_eq!(arena.handled.next().await, "[2]");

        arena.refuses("one byte more", &[event("2-", "1"), halves(limit / 2 + 1)]).await;
        let tenth = binary(vec![0; limit / 10 + 1]);
        arena.refuses("ten bytes more", &[event("10-", "1"), tenth.repeat(10)]).await;
    }
}
