//! The kinds of input: all packets, frames, requests and handshakes, and arguments for every kind of handler.

use super::{
    Attack,
    Way::{self, Connections, Old, Posts, Probe, Requests, WebSocket},
    server::Profile,
};
use crate::hot_paths::masked;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
/// An event with an object of 100 bytes.
const ECHO: &str = r#"42["echo",{"id":123456,"from":"Ann","at":1700000000.5,"read":false,"text":"hello to all who are in this room"}]"#;

/// Returns all kinds. The first is an echo, the baseline for the others.
pub fn all() -> Vec<Attack> {
    [echo(), events(), packets(), frames(), arguments(), other_encodings(), requests(), bodies()]
        .into_iter()
        .flatten()
        .map(|(name, profile, way, unit)| Attack { name, profile, way, unit })
        .collect()
}

type Kind = (String, Profile, Way, Vec<u8>);

fn kind(name: &str, way: Way, unit: impl Into<Vec<u8>>) -> Kind {
    let profile = if way == Old { Profile::Old } else { Profile::Default };
    (name.into(), profile, way, unit.into())
}

fn text(packet: &str) -> Vec<u8> {
    masked(TEXT, packet.as_bytes())
}

fn echo() -> Vec<Kind> {
    vec![kind("echo", WebSocket, text(ECHO))]
}

/// Returns Socket.IO packets with few arguments.
fn events() -> Vec<Kind> {
    let attachments = |event: &str, args: &str, count: usize| {
        let packet = format!(r#"45{count}-["{event}",{args}]"#);
        [text(&packet), masked(BINARY, b"x").repeat(count)].concat()
    };
    let placeholders: Vec<_> = (0..10).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
    let dynamic: Vec<_> = (0..2000)
        .flat_map(|n| [text(&format!("40/dynamic-{n},")), text(&format!("41/dynamic-{n},"))])
        .collect();
    let rooms: Vec<_> = (0..1000)
        .map(|n| format!(r#"42["join","{n}"]"#))
        .chain((0..1000).map(|n| format!(r#"42["leave","{n}"]"#)))
        .map(|packet| text(&packet))
        .collect();
    vec![
        kind("event, no handler", WebSocket, text(r#"42["x"]"#)),
        kind("event, no arguments", WebSocket, text(r#"42["nothing"]"#)),
        kind("event, acknowledged", WebSocket, text(r#"421["nothing"]"#)),
        kind("event, whose handler waits", WebSocket, text(r#"42["later"]"#)),
        kind("event, wrong type", WebSocket, text(r#"42["text",1]"#)),
        kind("event, wrong type, acknowledged", WebSocket, text(r#"421["text",1]"#)),
        kind("event, a name of 256 bytes", WebSocket, text(&format!(r#"42["{}"]"#, "x".repeat(256)))),
        kind("event, a name of escapes", WebSocket, text(&format!(r#"42["{}"]"#, r"\u0061".repeat(256)))),
        kind("event, an attachment", WebSocket, attachments("bytes", &placeholders[0], 1)),
        kind(
            "event, 10 attachments",
            WebSocket,
            attachments("list", &format!("[{}]", placeholders.join(",")), 10),
        ),
        kind("acknowledgement that nobody waits for", WebSocket, text("431[]")),
        kind("binary acknowledgement", WebSocket, [text("461-1[1]"), masked(BINARY, b"")].concat()),
        kind("a namespace, joined and left", WebSocket, [text("40/other,"), text("41/other,")].concat()),
        kind("2,000 dynamic namespaces", WebSocket, dynamic.concat()),
        kind("1,000 rooms", WebSocket, rooms.concat()),
    ]
}

/// Returns Engine.IO packets.
fn packets() -> Vec<Kind> {
    vec![
        kind("pong", WebSocket, text("3")),
        kind("noop", WebSocket, text("6")),
        kind("upgrade packet", WebSocket, text("5")),
        kind("open packet", WebSocket, text("0")),
        kind("ping of protocol 3", Old, text("2")),
        kind("event of protocol 3", Old, text(r#"42["nothing"]"#)),
        kind("probe", Probe, text("2probe")),
    ]
}

/// Returns WebSocket frames.
fn frames() -> Vec<Kind> {
    let packet = format!(r#"42["ignored","{}"]"#, "x".repeat(900));
    let (first, rest) = packet.split_at(1);
    let mut fragments = vec![head(TEXT, masked(0, first.as_bytes()))];
    fragments.extend(rest.bytes().map(|byte| head(CONTINUATION, masked(0, &[byte]))));
    let mut empty = vec![head(TEXT, masked(0, packet.as_bytes()))];
    empty.extend((0..900).map(|_| head(CONTINUATION, masked(0, b""))));
    let last = masked(CONTINUATION, b"");
    vec![
        kind("WebSocket ping", WebSocket, masked(PING, b"")),
        kind("WebSocket ping of 125 bytes", WebSocket, masked(PING, &[0; 125])),
        kind("WebSocket pong", WebSocket, masked(PONG, b"")),
        kind("fragments of a byte", WebSocket, [fragments.concat(), last.clone()].concat()),
        kind("empty fragments", WebSocket, [empty.concat(), last].concat()),
        (
            "compressed, 158 times as long".into(),
            Profile::Deflate,
            WebSocket,
            deflated(r#"42["ignored",""#, b'x', 100_000, r#""]"#),
        ),
    ]
}

/// Replaces the first byte of a frame.
fn head(first: u8, mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] = first;
    frame
}

/// Returns a compressed text frame as in RFC 1951, section 3.2.6, and RFC 7692. The text is `begin`, then
/// `byte` about `count` times, then `end`.
fn deflated(begin: &str, byte: u8, count: usize, end: &str) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut code = |value: u32, len: u32| bits.extend((0..len).rev().map(|at| value >> at & 1 == 1));
    // A block with fixed codes that is not the last block. Numbers start with their lowest bit.
    code(0b010, 3);
    let literal = |byte: u8| 0x30 + u32::from(byte);
    for byte in begin.bytes().chain([byte]) {
        code(literal(byte), 8);
    }
    for _ in 0..count / 258 {
        // Copies 258 bytes from a distance of one byte.
        code(0b1100_0101, 8);
        code(0, 5);
    }
    for byte in end.bytes() {
        code(literal(byte), 8);
    }
    code(0, 7);
    // An empty stored block. RFC 7692 omits its last four bytes.
    code(0, 3);
    // The last chunk may have fewer than eight bits, which become the lowest bits of the byte.
    let payload: Vec<u8> = bits
        .chunks(8)
        .map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
        .collect();
    head(FIN | RSV1 | TEXT, masked(TEXT, &payload))
}

/// Returns events with arguments of every form, for handlers of every kind.
fn arguments() -> Vec<Kind> {
    let list = |item: &str, count: usize| vec![item; count].join(",");
    let keys = |count: usize| (0..count).map(|n| format!(r#""k{n}":{n}"#)).collect::<Vec<_>>().join(",");
    let deep = "[".repeat(120) + &"]".repeat(120);
    let forms = [
        ("many", list("0", 500)),
        ("long digits", "1".repeat(4000)),
        ("a long fraction", format!("0.{}e-300", "123456789".repeat(400))),
        ("escapes", format!(r#""{}""#, r"\u0041\n".repeat(500))),
        ("deep", list(&deep, 20)),
        ("lists", format!("[{}]", list("[]", 1300))),
        ("keys", format!("{{{}}}", keys(400))),
        ("the same key", format!("{{{}}}", list(r#""k":0"#, 600))),
    ];
    let handlers = ["nothing", "ignored", "args", "args-each", "args-values", "echo", "value"];
    let mut kinds = Vec::new();
    for handler in handlers {
        for (form, args) in &forms {
            let packet = text(&format!(r#"42["{handler}",{args}]"#));
            kinds.push(kind(&format!("{handler}: {form}"), WebSocket, packet));
        }
    }
    let [.., (_, numbers), _, (_, escapes), (_, deep), (_, lists), (_, keys), (_, same)] = &forms[..] else {
        return kinds;
    };
    for (handler, form, args) in [
        ("values", "many", &*format!("[{numbers}]")),
        ("values", "deep", &format!("[{deep}]")),
        ("values", "lists", lists),
        ("map", "keys", keys),
        ("map", "the same key", same),
        ("text", "escapes", escapes),
        ("number", "long digits", &"1".repeat(300)),
        ("number", "a long fraction", &format!("0.{}e-200", "123456789".repeat(400))),
        ("numbers", "many", &format!("[{}]", list("1.7976931348623157e308", 200))),
        ("note", "unknown keys", &format!(r#"{{"id":1,"from":"a",{}"#, &keys[1..])),
        ("note", "the same key", same),
        ("tuple", "many", &format!(r#""a",1,[{}]"#, list("true", 800))),
        ("bytes", "many", &format!("[{numbers}]")),
        ("list", "many", &format!("[{numbers}]")),
    ] {
        let packet = text(&format!(r#"42["{handler}",{args}]"#));
        kinds.push(kind(&format!("{handler}: {form}"), WebSocket, packet));
    }
    kinds
}

/// Returns events in MessagePack.
fn other_encodings() -> Vec<Kind> {
    let packet = |event: &str, count: u16, args: &[u8]| {
        // {type: 2, nsp: "/", data: [event, ...]}
        let mut bytes = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdc".to_vec();
        bytes.extend((count + 1).to_be_bytes());
        bytes.push(0xa0 | event.len() as u8);
        bytes.extend(event.bytes());
        bytes.extend(args);
        masked(BINARY, &bytes)
    };
    let deep = [[0x91; 100].as_slice(), &[0]].concat();
    [
        ("nothing", "no arguments", packet("nothing", 0, b"")),
        ("echo", "an object", packet("echo", 1, b"\x82\xa2id\xce\x00\x01\xe2\x40\xa4text\xa5hello")),
        ("args-each", "many", packet("args-each", 2000, &[0; 2000])),
        ("value", "many", packet("value", 1, &[[0xdc, 7, 208].as_slice(), &[0xc3; 2000]].concat())),
        ("value", "deep", packet("value", 20, &deep.repeat(20))),
        ("value", "floats", packet("value", 400, &b"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff".repeat(400))),
        (
            "ignored",
            "escapes",
            packet("ignored", 40, &[b"\xd9\x64".as_slice(), &[1; 100]].concat().repeat(40)),
        ),
        (
            "list",
            "bytes",
            packet("list", 1, &[b"\xdc\x02\x00".as_slice(), &b"\xc4\x00".repeat(512)].concat()),
        ),
    ]
    .map(|(event, form, packet)| (format!("msgpack, {event}: {form}"), Profile::Msgpack, WebSocket, packet))
    .into()
}

fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    let len = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{len}{headers}\r\n{body}").into()
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
const UNKNOWN: &str = "/socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst";

/// Returns handshakes, and requests that the server rejects.
fn requests() -> Vec<Kind> {
    let get = |target: &str, headers: &str| request("GET", target, headers, "");
    let websocket = "/socket.io/?EIO=4&transport=websocket";
    let headers = (0..90).map(|n| format!("x{n}: y\r\n")).collect::<Vec<_>>().concat();
    vec![
        kind("handshake, polling", Requests(200), get(OPEN, "")),
        (
            "handshake, polling of protocol 3".into(),
            Profile::Old,
            Requests(200),
            get("/socket.io/?transport=polling", ""),
        ),
        kind("handshake, polling, a connection each", Connections(200), get(OPEN, "")),
        kind("handshake, WebSocket", Connections(101), get(websocket, UPGRADE)),
        kind("handshake, of another protocol", Requests(400), get("/socket.io/?EIO=5&transport=polling", "")),
        kind("handshake, no transport", Requests(400), get("/socket.io/?EIO=4", "")),
        kind("handshake, POST", Requests(400), request("POST", OPEN, "", "40")),
        kind(
            "handshake, bad upgrade",
            Requests(400),
            get(websocket, "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ),
        kind("poll of no session", Requests(400), get(UNKNOWN, "")),
        kind("POST to no session", Requests(400), request("POST", UNKNOWN, "", "40")),
        kind("upgrade of no session", Requests(400), get(&UNKNOWN.replace("polling", "websocket"), UPGRADE)),
        kind("page of another origin", Requests(403), get(OPEN, "Origin: http://evil.example\r\n")),
        kind(
            "preflight",
            Requests(403),
            request(
                "OPTIONS",
                OPEN,
                "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n",
                "",
            ),
        ),
        kind("another path", Requests(404), get("/", "")),
        kind("90 headers", Requests(400), get(UNKNOWN, &headers)),
        kind("200 parameters", Requests(400), get(&format!("{UNKNOWN}{}", "&a=b".repeat(200)), "")),
        kind("escaped parameters", Requests(400), get(&format!("{UNKNOWN}&a={}", "%41+".repeat(200)), "")),
    ]
}

/// Returns the bodies of POST requests to a session.
fn bodies() -> Vec<Kind> {
    let many = |packet: &str, count: usize| vec![packet; count].join("\u{1e}");
    let attachment = "451-[\"bytes\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID";
    let old = |name: &str, query, body: String| (name.into(), Profile::Old, Posts(query), body.into_bytes());
    vec![
        kind("POST of an event", Posts("EIO=4"), r#"42["nothing"]"#),
        kind("POST of 4,000 events", Posts("EIO=4"), many(r#"42["x"]"#, 4000)),
        kind("POST of 4,000 noops", Posts("EIO=4"), many("6", 4000)),
        kind("POST of 2,000 attachments", Posts("EIO=4"), many(attachment, 2000)),
        old("POST of 4,000 events of protocol 3", "EIO=3", r#"9:42["x",1]"#.repeat(4000)),
        old("POST of 4,000 pings of protocol 3", "EIO=3", "1:2".repeat(4000)),
        old("POST of a form (JSONP)", "EIO=3&j=0", format!("d={}", "1%3A6".repeat(4000))),
        old(
            "POST of a form of escapes (JSONP)",
            "EIO=3&j=0",
            format!(r#"d=4013:42["text","{}"]"#, r"\\n".repeat(2000)),
        ),
    ]
}
