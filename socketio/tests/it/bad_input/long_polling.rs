//! Invalid input over long-polling, where the effect of a packet shows in another request.

use super::arena::Arena;
use crate::support::{Http, Polling, payload};

/// Returns the body of the poll that is pending during a POST with `packets`.
async fn polled_after(arena: &Arena, packets: &[&str]) -> String {
    let mut client = Polling::join(&arena.host).await;
    client.start_poll().await;
    client.send(payload(packets)).await;
    let polled = client.polled().await;
    assert!(client.is_gone(&arena.host).await, "{packets:?}");
    polled
}

#[tokio::test]
async fn packets_that_break_the_protocol_end_the_session() {
    let mut arena = Arena::new().await;
    for packets in [
        &["42[]"][..],
        &["44{}"],
        &["40"],
        &["42/other,[\"mark\"]"],
        &[r#"450-["args",1]"#],
        &[r#"4511-["args",1]"#],
        &[r#"451-["args",1]"#, r#"42["args"]"#],
        &[r#"451-["args",{"_placeholder":true,"num":1}]"#, "bAQID"],
        &[r#"451-["args",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, "bAQID"],
        &["bAQID"],
    ] {
        assert_eq!(polled_after(&arena, packets).await, "1", "{packets:?}");
        arena.is_unharmed().await;
    }
    assert!(arena.handled.is_silent());
}

#[tokio::test]
async fn what_came_before_the_fault_is_handled_and_what_comes_after_it_is_not() {
    let mut arena = Arena::new().await;
    let packets = [r#"42["args",1]"#, "49", r#"42["args",2]"#];
    assert_eq!(polled_after(&arena, &packets).await, "1");
    assert_eq!(arena.handled.so_far(), ["[1]"]);
}

#[tokio::test]
async fn bodies_that_are_no_payload_are_refused_and_end_the_session() {
    let mut arena = Arena::new().await;
    for body in
        [&b""[..], b"\x1e", b"3\x1e", b"x", b"42[\"args\"]\x1e\x1e3", b"\xff", b"42[\"args\",\"\xff\"]"]
    {
        let mut client = Polling::join(&arena.host).await;
        assert_eq!(client.post(body).await.status, 400, "{body:?}");
        assert!(client.is_gone(&arena.host).await, "{body:?}");
        arena.is_unharmed().await;
    }
}

#[tokio::test]
async fn requests_that_are_no_protocol_are_refused_with_the_code_of_the_reference() {
    let mut arena = Arena::new().await;
    let mut client = Polling::join(&arena.host).await;
    let sid = client.upgrade_query();
    let sid = sid.split_once("sid=").unwrap().1;
    for (method, query, code) in [
        ("GET", "EIO=4&transport=carrier-pigeon".to_owned(), Some(0)),
        ("GET", "EIO=4&transport=__proto__".to_owned(), Some(0)),
        ("GET", "EIO=4&transport=polling&sid=nobody".to_owned(), Some(1)),
        ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA".to_owned(), Some(1)),
        ("POST", "EIO=4&transport=polling".to_owned(), Some(2)),
        ("GET", format!("EIO=4&transport=websocket&sid={sid}"), Some(3)),
        ("GET", format!("EIO=3&transport=polling&sid={sid}"), Some(3)),
        ("GET", "EIO=3&transport=polling".to_owned(), Some(5)),
        ("PUT", format!("EIO=4&transport=polling&sid={sid}"), None),
    ] {
        let answer =
            Http::connect(&arena.host).await.request(method, &format!("/socket.io/?{query}"), "", "").await;
        match code {
            Some(code) => {
                assert_eq!(answer.status, 400, "{query}");
                assert!(answer.body.starts_with(&format!(r#"{{"code":{code},"#)), "{query}: {}", answer.body);
            }
            None => assert_eq!(answer.status, 500, "{query}"),
        }
        arena.is_unharmed().await;
    }
    client.send(r#"421["mark"]"#).await;
    assert_eq!(client.poll().await, "431[]", "the session is none the worse");
}

#[tokio::test]
async fn the_public_id_of_a_socket_opens_no_session() {
    let mut arena = Arena::new().await;
    let mut client = Polling::open(&arena.host).await;
    client.send("40").await;
    let connect = client.poll().await;
    let id = connect.strip_prefix(r#"40{"sid":""#).and_then(|rest| rest.strip_suffix(r#""}"#)).unwrap();
    for (method, body) in [("GET", ""), ("POST", r#"42["args","transfer"]"#)] {
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
        let answer = Http::connect(&arena.host).await.request(method, &target, "", body).await;
        assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    }
    assert!(arena.handled.is_silent());
    arena.is_unharmed().await;
}

#[tokio::test]
async fn many_packets_in_one_body_are_taken() {
    let mut arena = Arena::new().await;
    let mut client = Polling::join(&arena.host).await;
    client.send(vec!["3"; 4096].join("\u{1e}")).await;
    client.post(payload(&[r#"421["mark"]"#])).await;
    assert_eq!(client.poll().await, "431[]");
    arena.is_unharmed().await;
}
