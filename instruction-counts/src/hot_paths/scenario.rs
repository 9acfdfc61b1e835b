//! The steps of the clients of each scenario.

use super::{
    client::{Answer, Client, Door, UPGRADE, masked, unmasked},
    server::{BURST, NOTE, ROOM},
};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// One step of the client with this index.
#[derive(Debug)]
pub(super) enum Step {
    /// Opens a connection that replaces the client's previous one.
    Open(usize),
    Send(usize, Vec<u8>),
    Take(usize, Answer),
    /// Waits for the end of the connection.
    End(usize),
}

/// Steps that restore the initial state, and the number of operations that they contain.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) operations: u64,
    pub(super) steps: Vec<Step>,
}

/// Connects the clients of a scenario and returns them with the steps of a round.
pub(super) async fn set(name: &str, door: &Door) -> Option<(Vec<Client>, Round)> {
    let echo = event(&format!(r#"["echo",{NOTE}]"#));
    let (operations, sent, answered) = match name {
        "echo" => (1, vec![sent(&echo)], vec![answered(&echo)]),
        "typed" => {
            let ask = format!(r#"421["typed",{NOTE}]"#);
            (1, vec![sent(&ask)], vec![answered(&format!("431[{NOTE}]"))])
        }
        "binary" => {
            let text = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
            let attachment: Vec<u8> = (0..=255).cycle().take(1024).collect();
            let frames = [sent(text), masked(BINARY, &attachment)].concat();
            (1, vec![frames], vec![[answered(text), unmasked(BINARY, &attachment)].concat()])
        }
        "rooms" => {
            let (join, leave) = (sent(r#"421["join","side"]"#), sent(r#"422["leave","side"]"#));
            (1, vec![join, leave], vec![answered("431[]"), answered("432[]")])
        }
        "batch" => (16, vec![sent(&echo).repeat(16)], vec![answered(&echo).repeat(16)]),
        "parse" => {
            let ignored = sent(&event(&format!(r#"["ignore",{NOTE}]"#)));
            let last = sent(&format!(r#"421["ignore",{NOTE}]"#));
            (64, vec![[ignored.repeat(63), last].concat()], vec![answered("431[]")])
        }
        "emit" => {
            let news = answered(&event(&format!(r#"["news",{NOTE}]"#)));
            (BURST as u64, vec![sent(r#"42["burst"]"#)], vec![news.repeat(BURST)])
        }
        "wrap" | "timeout" | "rate-limit" | "deduplicate" => return Some(wrapped(door, name).await),
        "polling" => return Some(polling(door).await),
        "connect" => return Some(connections(door).await),
        "broadcast" => return Some(members(door, 100).await),
        "fan-out-10" => return Some(members(door, 10).await),
        "fan-out-1000" => return Some(members(door, 1000).await),
        _ => return None,
    };
    let exchanges = sent.into_iter().zip(answered);
    let steps = exchanges.flat_map(|(sent, answer)| [Step::Send(0, sent), Step::Take(0, answer.into())]);
    Some((vec![socket(door).await.0], Round { operations, steps: steps.collect() }))
}

fn event(json: &str) -> String {
    format!("42{json}")
}

fn sent(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

fn answered(text: &str) -> Vec<u8> {
    unmasked(TEXT, text.as_bytes())
}

/// Returns a client in the namespace, and the expected responses to its handshake and its CONNECT.
async fn socket(door: &Door) -> (Client, [Answer; 2]) {
    let mut client = Client::open(door).await;
    client.send(UPGRADE).await;
    let response = client.response().await;
    let open = client.frame().await;
    client.send(&sent("40")).await;
    let connected = client.frame().await;
    assert!(connected.starts_with(b"\x81\x2040{\"sid\""), "no: {}", String::from_utf8_lossy(&connected));
    let opened = Answer { len: response.len() + open.len(), end: b"}".to_vec() };
    let connected = Answer { len: connected.len(), end: b"\"}".to_vec() };
    (client, [opened, connected])
}

/// A client in the namespace of a middleware.
async fn wrapped(door: &Door, namespace: &str) -> (Vec<Client>, Round) {
    let (mut client, _) = socket(door).await;
    client.send(&sent(&format!("40/{namespace},"))).await;
    client.frame().await;
    let ask = sent(&format!(r#"42/{namespace},1["typed",{NOTE}]"#));
    let ack = answered(&format!("43/{namespace},1[{NOTE}]"));
    let steps = vec![Step::Send(0, ask), Step::Take(0, ack.into())];
    (vec![client], Round { operations: 1, steps })
}

async fn connections(door: &Door) -> (Vec<Client>, Round) {
    let (client, [opened, connected]) = socket(door).await;
    let close = 1000_u16.to_be_bytes();
    let steps = vec![
        Step::Open(0),
        Step::Send(0, UPGRADE.to_vec()),
        Step::Take(0, opened),
        Step::Send(0, sent("40")),
        Step::Take(0, connected),
        Step::Send(0, masked(CLOSE, &close)),
        Step::Take(0, unmasked(CLOSE, &close).into()),
        Step::End(0),
    ];
    (vec![client], Round { operations: 1, steps })
}

/// The first of `count` members publishes to all of them.
async fn members(door: &Door, count: usize) -> (Vec<Client>, Round) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (mut client, _) = socket(door).await;
        client.send(&sent(&format!(r#"421["join","{ROOM}"]"#))).await;
        client.take(&answered("431[]").into()).await;
        clients.push(client);
    }
    let mut steps = vec![Step::Send(0, sent(&event(&format!(r#"["publish",{NOTE}]"#))))];
    let news = answered(&event(&format!(r#"["news",{NOTE}]"#)));
    steps.extend((0..count).map(|member| Step::Take(member, news.clone().into())));
    (clients, Round { operations: count as u64, steps })
}

/// Returns one connection for polls and one for POSTs.
async fn polling(door: &Door) -> (Vec<Client>, Round) {
    let (mut polls, mut posts) = (Client::open(door).await, Client::open(door).await);
    let sid = polls.handshake(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: hot\r\n\r\n").await;
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: hot\r\n");
    let poll = format!("GET {target}\r\n").into_bytes();
    let post = |body: &str| format!("POST {target}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();

    polls.send(&poll).await;
    posts.send(&post("40")).await;
    let posted = Answer { len: posts.response().await.len(), end: b"ok".to_vec() };
    polls.response().await;
    let echo = event(&format!(r#"["echo",{NOTE}]"#));
    polls.send(&poll).await;
    posts.send(&post(&echo)).await;
    posts.take(&posted).await;
    let polled = Answer { len: polls.response().await.len(), end: echo.clone().into_bytes() };
    let steps =
        vec![Step::Send(0, poll), Step::Send(1, post(&echo)), Step::Take(1, posted), Step::Take(0, polled)];
    (vec![polls, posts], Round { operations: 1, steps })
}
