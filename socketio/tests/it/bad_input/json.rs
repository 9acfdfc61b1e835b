//! JSON that is nested too deeply, and JSON that no Rust type represents.

use socketio::ServerConfig;

use super::arena::Arena;
use crate::support::{binary, text};

/// Returns an event with `levels` levels of nesting, including the array of the packet.
fn deep(event: &str, levels: usize, [open, close]: [&str; 2]) -> String {
    let inner = levels - 1;
    format!(r#"421["{event}",{}1{}]"#, open.repeat(inner), close.repeat(inner))
}

const ARRAYS: [&str; 2] = ["[", "]"];
const OBJECTS: [&str; 2] = [r#"{"a":"#, "}"];

#[tokio::test]
async fn depth_is_limited_exactly() {
    let mut arena = Arena::new().await;
    let mut client = arena.client().await;
    for kind in [ARRAYS, OBJECTS] {
        // Arguments that are not deserialized may be nested up to the limit.
        for levels in [127, 128] {
            let packet = deep("echo", levels, kind).replace("421", "42");
            assert_eq!(client.ask(&packet).await, packet);
            assert_eq!(client.ask(deep("unit", levels, kind)).await, "431[]");
            client.send(deep("nobody", levels, kind)).await;
        }
        // Arguments that `serde_json` deserializes: its limit is one level lower.
        let answer = client.ask(deep("value", 127, kind)).await;
        assert_eq!(answer.len(), deep("value", 127, kind).len() - r#""value","#.len());
        let answer = client.ask(deep("value", 128, kind)).await;
        assert!(
            answer.starts_with(r#"431[{"error":"invalid arguments: recursion limit exceeded"#),
            "{answer}"
        );

        for event in ["args", "echo", "value", "nobody"] {
            arena.refuses(event, &[text(deep(event, 129, kind))]).await;
        }
        // The depth does not matter to a handler that expects a string, which fails at the first bracket, nor
        // to one that ignores its arguments, which are skipped without recursion.
        for levels in [129, 100_000] {
            let answer = client.ask(deep("text", levels, kind)).await;
            assert!(answer.starts_with(r#"431[{"error":"invalid arguments: invalid type"#), "{answer}");
            assert_eq!(client.ask(deep("unit", levels, kind)).await, "431[]");
        }
        let attached = deep("args", 129, kind).replace("421", "451-");
        arena.refuses("attached", &[text(attached), binary("x")]).await;
        let (open, close) = (kind[0].repeat(128), kind[1].repeat(128));
        arena.refuses("an answer", &[text(format!("431[{open}1{close}]"))]).await;
        arena.refuses("auth", &[text(format!(r#"40/other,{{"a":{open}1{close}}}"#))]).await;
    }
}

#[tokio::test]
async fn depth_may_have_a_lower_limit() {
    let mut arena = Arena::with_config(ServerConfig::default().max_json_depth(3)).await;
    let mut client = arena.client().await;
    for kind in [ARRAYS, OBJECTS] {
        let packet = deep("echo", 3, kind).replace("421", "42");
        assert_eq!(client.ask(&packet).await, packet);
        assert_eq!(client.ask(deep("unit", 3, kind)).await, "431[]");
        client.send(deep("nobody", 3, kind)).await;
        assert!(client.ask(deep("value", 3, kind)).await.starts_with("431["));
        // A lower limit applies whether or not the arguments are deserialized.
        for event in ["args", "echo", "value", "text", "unit", "nobody"] {
            arena.refuses(event, &[text(deep(event, 4, kind))]).await;
        }
        let attached = deep("args", 4, kind).replace("421", "451-");
        arena.refuses("attached", &[text(attached), binary("x")]).await;
        let (open, close) = (kind[0].repeat(3), kind[1].repeat(3));
        arena.refuses("an answer", &[text(format!("431[{open}1{close}]"))]).await;
        arena.refuses("auth", &[text(format!(r#"40/other,{{"a":{open}1{close}}}"#))]).await;
    }
    assert!(client.ask(r#"40/other,{"a":[[1]]}"#).await.starts_with("40/other,"));
}

#[tokio::test]
async fn a_megabyte_of_brackets_ends_the_session() {
    let mut arena = Arena::new().await;
    for open in [ARRAYS[0], OBJECTS[0]] {
        let brackets = open.repeat(990_000 / open.len());
        for prefix in
            [r#"42["args","#, r#"42["value","#, r#"42["unit","#, r#"42["nobody","#, "42", "431", "40/other,"]
        {
            arena.refuses(prefix, &[text(format!("{prefix}{brackets}"))]).await;
        }
        let header = format!(r#"451-["args",{brackets}"#);
        arena.refuses("with an attachment", &[text(header), binary("x")]).await;
    }
    let digits = "2".repeat(990_000);
    for prefix in ["4", "42", "45", "40/", "42/", "431"] {
        arena.refuses(prefix, &[text(format!("{prefix}{digits}"))]).await;
    }
}

#[tokio::test]
async fn json_that_rust_has_no_type_for_is_passed_on_or_answered_with_an_error() {
    let mut arena = Arena::new().await;
    let mut client = arena.client().await;
    for value in ["1e400", "-1e400", r#"{"\ud800":1e400}"#, "1e-400"] {
        let packet = format!(r#"42["echo",{value}]"#);
        assert_eq!(client.ask(&packet).await, packet);
        assert_eq!(client.ask(format!(r#"421["unit",{value}]"#)).await, "431[]");
        if value != "1e-400" {
            let answer = client.ask(format!(r#"421["value",{value}]"#)).await;
            assert!(answer.starts_with(r#"431[{"error":"invalid arguments: "#), "{value}: {answer}");
        }
        let answer = client.ask(format!(r#"421["text",{value}]"#)).await;
        assert!(answer.starts_with(r#"431[{"error":"invalid arguments: "#), "{value}: {answer}");
    }
    arena.is_unharmed().await;
}

#[tokio::test]
async fn lone_surrogates_are_passed_on_or_replaced() {
    let mut arena = Arena::new().await;
    let mut client = arena.client().await;
    for (value, read) in [
        (r#""\ud800""#, "\"\u{fffd}\""),
        (r#""\udc00\ud800""#, "\"\u{fffd}\u{fffd}\""),
        (r#""\uD83D\uDE00\uD83D""#, "\"\u{1f600}\u{fffd}\""),
    ] {
        let packet = format!(r#"42["echo",{value}]"#);
        assert_eq!(client.ask(&packet).await, packet);
        assert_eq!(client.ask(format!(r#"421["unit",{value}]"#)).await, "431[]");
        for event in ["value", "text"] {
            assert_eq!(client.ask(format!(r#"421["{event}",{value}]"#)).await, format!("431[{read}]"));
        }
        // The end of the packet is still validated.
        arena.refuses(value, &[text(format!(r#"42["text",{value}}}"#))]).await;
        arena.refuses(value, &[text(format!(r#"42["text",{value}"#))]).await;
    }
    // A string that consists only of lone surrogates.
    let many = r"\ud800".repeat(100_000);
    let answer = client.ask(format!(r#"421["text","{many}"]"#)).await;
    assert_eq!(answer, format!("431[\"{}\"]", "\u{fffd}".repeat(100_000)));
    arena.is_unharmed().await;
}

#[tokio::test]
async fn a_huge_number_of_arguments_is_taken() {
    let mut arena = Arena::new().await;
    let mut client = arena.client().await;
    let packet = format!(r#"42["echo"{}]"#, ",0".repeat(490_000));
    assert_eq!(client.ask(&packet).await, packet);
    arena.is_unharmed().await;
}
