//! The clients that send the floods.

use super::{Attack, Way};
use crate::{
    attacks::server::serve,
    hot_paths::{Answer, Client, Door, UPGRADE, masked},
};

const TEXT: u8 = 1;

pub(super) async fn play(attack: &Attack, units: usize) {
    let door = serve(attack.profile);
    match attack.way {
        Way::WebSocket | Way::Old => flood(attack, units, &door).await,
        Way::Probe => probe(attack, units, &door).await,
        Way::Requests(status) => {
            let client = Client::open(&door).await;
            exchange(client, &attack.unit, units, status).await;
        }
        Way::Connections(status) => {
            let mut client = Client::open(&door).await;
            let answer = ask(&mut client, &attack.unit, status).await;
            for _ in 1..units {
                client = Client::open(&door).await;
                client.send(&attack.unit).await;
                client.take(&answer).await;
            }
        }
        Way::Posts(query) => post(attack, units, query, &door).await,
    }
}

/// Sends all units at once over a WebSocket, and then an event. The acknowledgement shows that the server has
/// read all units.
async fn flood(attack: &Attack, units: usize, door: &Door) {
    let mut client = Client::open(door).await;
    let is_msgpack = attack.profile == super::Profile::Msgpack;
    let (connect, mark, marked): (_, _, &[u8]) = if is_msgpack {
        let connect = masked(2, b"\x82\xa4type\x00\xa3nsp\xa1/");
        let mark = masked(2, b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\xcd\x03\xe7\xa4data\x91\xa7nothing");
        (connect, mark, b"\xcd\x03\xe7")
    } else {
        (masked(TEXT, b"40"), masked(TEXT, br#"42999["nothing"]"#), b"43999[]")
    };
    let mut upgrade = UPGRADE.to_vec();
    if attack.profile == super::Profile::Deflate {
        upgrade.truncate(UPGRADE.len() - 2);
        upgrade.extend(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    } else if attack.way == Way::Old {
        upgrade = String::from_utf8(upgrade).expect("text").replace("EIO=4", "EIO=3").into_bytes();
    }
    client.send(&upgrade).await;
    client.response().await;
    client.frame().await;
    // A client of protocol 3 joins the namespace without a CONNECT.
    if attack.way != Way::Old {
        client.send(&connect).await;
    }
    client.frame().await;
    let all = [attack.unit.repeat(units), mark].concat();
    client.flood(&all, Some(marked)).await;
}

/// Sends all units at once over a WebSocket that probes for the upgrade of a polling session. The session
/// must stay open.
async fn probe(attack: &Attack, units: usize, door: &Door) {
    let mut polls = Client::open(door).await;
    let sid = polls.handshake(&opening("EIO=4")).await;
    let mut client = Client::open(door).await;
    let target = format!("transport=websocket&sid={sid} ");
    let upgrade = String::from_utf8(UPGRADE.to_vec()).expect("text").replace("transport=websocket ", &target);
    client.send(upgrade.as_bytes()).await;
    client.response().await;
    client.flood(&attack.unit.repeat(units), None).await;
    polls.send(&posted(&sid, "EIO=4", b"40")).await;
    assert!(polls.response().await.ends_with(b"ok"));
}

async fn post(attack: &Attack, units: usize, query: &str, door: &Door) {
    let mut client = Client::open(door).await;
    let sid = client.handshake(&opening(query)).await;
    // A client of protocol 3 joins the namespace without a CONNECT.
    if query == "EIO=4" {
        client.send(&posted(&sid, query, b"40")).await;
        assert!(client.response().await.ends_with(b"ok"));
    }
    exchange(client, &posted(&sid, query, &attack.unit), units, 200).await;
}

/// Returns a request that opens a polling session.
fn opening(query: &str) -> Vec<u8> {
    format!("GET /socket.io/?{query}&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n").into()
}

/// Returns a request that posts a body to a session.
pub(super) fn posted(sid: &str, query: &str, body: &[u8]) -> Vec<u8> {
    let target = format!("/socket.io/?{query}&transport=polling&sid={sid}");
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Sends a request repeatedly on one connection.
async fn exchange(mut client: Client, request: &[u8], count: usize, status: u16) {
    let answer = ask(&mut client, request, status).await;
    for _ in 1..count {
        client.send(request).await;
        client.take(&answer).await;
    }
}

/// Sends a request and checks the status of the response. All responses to the request have the same length,
/// so later ones can be read with few instructions.
async fn ask(client: &mut Client, request: &[u8], status: u16) -> Answer {
    client.send(request).await;
    let answer = client.response().await;
    let shown = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{shown}");
    Answer { len: answer.len(), end: answer[answer.len() - 1..].to_vec() }
}
