use std::borrow::Cow;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::proto::{attachments::resolve, json::check, parser::PacketKind};

const ARGS_DEPTH: usize = 128;

fn decode(bytes: &[u8]) -> Result<Packet<'static>, ParseError> {
    let packet =
        MsgpackParser::default().decoder(ParserLimits::default()).decode(Message::Binary(bytes.into()))?;
    Ok(packet.unwrap())
}

/// Returns an event in `/` with the given encoded data.
fn with_data(data: &[u8]) -> Vec<u8> {
    [&b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data"[..], data].concat()
}

/// Decodes a value. Returns its JSON and its attachments.
fn value(data: &[u8]) -> Result<(String, Vec<Bytes>), ParseError> {
    decode(&with_data(data)).map(|packet| (packet.payload.into_owned(), packet.attachments.into_owned()))
}

fn json(data: &[u8]) -> String {
    value(data).unwrap().0
}

fn encode(payload: &str, attachments: &[Bytes]) -> Result<Vec<u8>, ParseError> {
    let packet = Packet::new(PacketKind::Event, "/", None, payload).attachments(attachments);
    let frames = MsgpackParser::default().encode(&packet)?;
    assert_eq!(frames.len(), 1);
    assert!(frames[0].is_binary());
    Ok(frames[0].payload().to_vec())
}

/// Returns the encoded payload without the packet around it.
fn encoded(payload: &str, attachments: &[Bytes]) -> Vec<u8> {
    let bytes = encode(payload, attachments).unwrap();
    bytes.strip_prefix(b"\x83\xa4type\x02\xa4data").unwrap().strip_suffix(b"\xa3nsp\xa1/").unwrap().to_vec()
}

#[test]
fn packets_are_those_of_the_official_parser() {
    let packet = |kind, namespace, id, payload: &'static str| {
        let packet = Packet::new(kind, namespace, id, payload);
        let frames = MsgpackParser::default().encode(&packet).unwrap();
        assert_eq!(decode(frames[0].payload()).unwrap(), packet);
        frames[0].payload().to_vec()
    };
    assert_eq!(packet(PacketKind::Connect, "/", None, ""), b"\x82\xa4type\x00\xa3nsp\xa1/");
    assert_eq!(
        packet(PacketKind::Connect, "/n", None, r#"{"sid":"x"}"#),
        b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1x\xa3nsp\xa2/n"
    );
    assert_eq!(packet(PacketKind::Disconnect, "/n", None, ""), b"\x82\xa4type\x01\xa3nsp\xa2/n");
    assert_eq!(
        packet(PacketKind::Event, "/", Some(300), r#"["a",1]"#),
        b"\x84\xa4type\x02\xa4data\x92\xa1a\x01\xa3nsp\xa1/\xa2id\xcd\x01\x2c"
    );
    assert_eq!(
        packet(PacketKind::Ack, "/", Some(0), "[]"),
        b"\x84\xa2id\x00\xa4type\x03\xa4data\x90\xa3nsp\xa1/"
    );
    assert_eq!(
        packet(PacketKind::ConnectError, "/", None, r#"{"message":"no"}"#),
        b"\x83\xa4type\x04\xa4data\x81\xa7message\xa2no\xa3nsp\xa1/"
    );
    assert_eq!(
        encoded(r#"["a",1,{"_placeholder":true,"num":0}]"#, &[Bytes::from_static(&[1, 2])]),
        b"\x93\xa1a\x01\xc4\x02\x01\x02"
    );
}

#[test]
fn the_envelope_is_read_in_any_order_and_what_is_unknown_left_out() {
    let packet = decode(
        b"\x86\xa7options\x81\xa8compress\xc4\x01\x00\xa2id\xcf\0\0\0\0\0\0\0\x07\xa4data\x91\xa1a\xa3nsp\xd9\x02/n\
          \xa4type\xcc\x02\xa1x\xc0",
    );
    assert_eq!(packet, Ok(Packet::new(PacketKind::Event, "/n", Some(7), r#"["a"]"#)));
    let absent = decode(b"\x84\xa4type\x00\xa4data\xd4\0\0\xa3nsp\xa1/\xa2id\xd4\0\0");
    assert_eq!(absent, Ok(Packet::new(PacketKind::Connect, "/", None, "")));
}

#[test]
fn what_is_not_a_packet_is_refused() {
    for (bytes, error) in [
        (&b""[..], "ended early"),
        (b"\x91\x00", "a packet must be a map"),
        (b"\x01", "a packet must be a map"),
        (b"\x80", "no type"),
        (b"\x81\xa4type\x00", "no namespace"),
        (b"\x81\xa3nsp\xa1/", "no type"),
        (b"\x82\xa4type\x05\xa3nsp\xa1/", "unknown packet type"),
        (b"\x82\xa4type\xff\xa3nsp\xa1/", "not a whole number"),
        (b"\x82\xa4type\xa10\xa3nsp\xa1/", "not a whole number"),
        (b"\x82\xa4type\xcb\0\0\0\0\0\0\0\0\xa3nsp\xa1/", "not a whole number"),
        (b"\x82\xa4type\x00\xa3nsp\x00", "a namespace must be a string"),
        (b"\x82\xa4type\x00\xa3nsp\xc0", "a namespace must be a string"),
        (b"\x82\xa4type\x00\xa4type\x00", "an entry stands twice"),
        (b"\x83\xa4type\x02\xa2id\xc0\xa3nsp\xa1/", "not a whole number"),
        (b"\x83\xa4type\x02\xa2id\xff\xa3nsp\xa1/", "not a whole number"),
        (b"\x82\x01\x00\xa3nsp\xa1/", "a key must be a string"),
        (b"\x82\xa4type\x00\xa3nsp\xa1/\x00", "trailing bytes"),
    ] {
        assert_eq!(decode(bytes), Err(ParseError::new(error)), "{bytes:?}");
    }
    assert!(
        MsgpackParser::default().decoder(ParserLimits::default()).decode(Message::Text("2[\"a\"]")).is_err()
    );
}

#[test]
fn values_of_every_width() {
    for (bytes, text) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (b"\xcc\x01", "1"),
        (b"\xcd\0\x01", "1"),
        (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\0", "-32768"),
        (b"\xd2\x80\0\0\0", "-2147483648"),
        (b"\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808"),
        (b"\xca\x3f\xc0\0\0", "1.5"),
        (b"\xcb\x3f\xf8\0\0\0\0\0\0", "1.5"),
        (b"\xcb\x40\x08\0\0\0\0\0\0", "3"),
        (b"\xcb\x80\0\0\0\0\0\0\0", "-0.0"),
        (b"\xcb\x7e\x37\xe4\x3c\x88\0\x75\x9c", "1e+300"),
        (b"\xcb\x7f\xf0\0\0\0\0\0\0", "null"),
        (b"\xca\x7f\xc0\0\0", "null"),
        (b"\xa0", "\"\""),
        (b"\xd9\x01a", "\"a\""),
        (b"\xda\0\x01a", "\"a\""),
        (b"\xdb\0\0\0\x02\"\n", "\"\\\"\\n\""),
        (b"\xa3a\xffb", "\"a\u{fffd}b\""),
        (b"\xa3\xed\xa0\xbd", "\"\u{fffd}\u{fffd}\u{fffd}\""),
        (b"\x92\x01\x90", "[1,[]]"),
        (b"\xdc\0\x01\x01", "[1]"),
        (b"\xdd\0\0\0\x01\x01", "[1]"),
        (b"\x82\xa1a\x01\xa1b\x80", r#"{"a":1,"b":{}}"#),
        (b"\xde\0\x01\x05\x01", r#"{"5":1}"#),
        (b"\xdf\0\0\0\x01\xff\x01", r#"{"-1":1}"#),
    ] {
        assert_eq!(value(bytes), Ok((text.to_owned(), vec![])), "{bytes:x?}");
        assert_eq!(check(text), Ok(()));
    }
    for bytes in [
        &b"\xc4\x01a"[..],
        b"\xc5\0\x01a",
        b"\xc6\0\0\0\x01a",
        b"\xc7\x01\0a",
        b"\xc8\0\x01\0a",
        b"\xc9\0\0\0\x01\0a",
    ] {
        let placeholder = r#"{"_placeholder":true,"num":0}"#.to_owned();
        assert_eq!(value(bytes), Ok((placeholder, vec![Bytes::from_static(b"a")])), "{bytes:x?}");
    }
    for bytes in [
        &b"\xc1"[..],
        b"\x81\xc0\x01",
        b"\x81\xc4\x01a\x01",
        b"\x81\x90\x01",
        b"\x81\xcb\0\0\0\0\0\0\0\0\x01",
    ] {
        assert!(value(bytes).is_err(), "{bytes:x?}");
    }
}

#[test]
fn extensions_of_both_javascript_encoders() {
    assert_eq!(json(b"\xd4\0\0"), "");
    assert_eq!(json(b"\x93\xd4\0\0\x01\xd4\0\0"), "[null,1,null]");
    assert_eq!(json(b"\x83\xa1a\xd4\0\0\xa1b\x01\xa1c\xd4\0\0"), r#"{"b":1}"#);
    assert_eq!(json(b"\x82\xa1a\xd4\0\0\xa1b\xd4\0\0"), "{}");
    assert_eq!(json(b"\xd7\0\0\0\0\0\0\0\x03\xe8"), "\"1970-01-01T00:00:01.000Z\"");
    assert_eq!(json(b"\xd7\0\x7f\xff\xff\xff\xff\xff\xff\xff"), "null");
    assert_eq!(json(b"\xd6\xff\0\0\0\x01"), "\"1970-01-01T00:00:01.000Z\"");
    assert_eq!(json(b"\xd7\xff\0\0\0\0\0\0\0\x01"), "\"1970-01-01T00:00:01.000Z\"");
    assert_eq!(json(b"\xc7\x0c\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), "\"1969-12-31T23:59:59.000Z\"");
    // These are eight bytes of an `ArrayBuffer`, not a date.
    assert_eq!(value(b"\xc7\x08\0abcdefgh").unwrap().1, ["abcdefgh"]);
    assert_eq!(value(b"\xc7\x01\0a").unwrap().1, ["a"]);
    for (bytes, kind, inside) in [
        (&b"\xd4\x05a"[..], 5, "a"),
        (b"\xd5\x00ab", 0, "ab"),
        (b"\xd6\x05abcd", 5, "abcd"),
        (b"\xd8\xfeabcdefghijklmnop", -2, "abcdefghijklmnop"),
        (b"\xc7\x03\x05abc", 5, "abc"),
        (b"\xd5\xffab", -1, "ab"),
    ] {
        let (text, attachments) = value(bytes).unwrap();
        assert_eq!(text, format!(r#"[{kind},{{"_placeholder":true,"num":0}}]"#));
        assert_eq!(attachments, [inside]);
    }
}

#[test]
fn what_a_user_calls_a_placeholder_is_none() {
    let bytes = b"\x93\xa1a\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01z";
    let (text, attachments) = value(bytes).unwrap();
    let escaped = r#"["a",{"\u005fplaceholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
    assert_eq!(text, escaped);
    assert_eq!(resolve(&text, 1), Ok(Cow::Borrowed(&*text)));
    assert_eq!(encoded(escaped, &attachments), bytes);
    // If a packet has no attachments, no object is a placeholder.
    assert_eq!(
        encoded(r#"[{"_placeholder":true,"num":0}]"#, &[]),
        b"\x91\x82\xac_placeholder\xc3\xa3num\x00"
    );
    let attachment = [Bytes::from_static(b"z")];
    for plain in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":0,"x":1}"#,
        r#"{"_placeholder":false,"num":0}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":-1}"#,
    ] {
        assert_eq!(encoded(plain, &attachment)[0] & 0xf0, 0x80, "{plain}");
    }
    assert_eq!(encoded(r#" { "_placeholder" : true , "num" : 0 } "#, &attachment), b"\xc4\x01z");
}

#[test]
fn numbers_are_written_as_javascript_reads_them() {
    for (text, bytes) in [
        ("0", &b"\x00"[..]),
        ("-0", b"\x00"),
        ("-0.0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("255", b"\xcc\xff"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\0\x01\0\0"),
        ("4294967296", b"\xcf\0\0\0\x01\0\0\0\0"),
        ("18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("-1", b"\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-128", b"\xd0\x80"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-2147483649", b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("-9223372036854775808", b"\xd3\x80\0\0\0\0\0\0\0"),
        ("1.0", b"\x01"),
        ("1e2", b"\x64"),
        ("-2.0", b"\xfe"),
        ("1e19", b"\xcf\x8a\xc7\x23\x04\x89\xe8\0\0"),
        ("0.5", b"\xcb\x3f\xe0\0\0\0\0\0\0"),
        ("1e300", b"\xcb\x7e\x37\xe4\x3c\x88\0\x75\x9c"),
        ("1e400", b"\xcb\x7f\xf0\0\0\0\0\0\0"),
        ("18446744073709551616", b"\xcb\x43\xf0\0\0\0\0\0\0"),
        ("-18446744073709551616", b"\xcb\xc3\xf0\0\0\0\0\0\0"),
    ] {
        assert_eq!(encoded(text, &[]), bytes, "{text}");
    }
}

#[test]
fn strings_lose_their_escapes() {
    let text = r#""\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00\ud83dx\ude00\u0000""#;
    let plain = "\"\\/\u{8}\u{c}\n\r\téé😀\u{fffd}x\u{fffd}\0";
    assert_eq!(encoded(text, &[]), [&[0xa0 | plain.len() as u8][..], plain.as_bytes()].concat());
}

#[test]
fn lengths_take_the_smallest_form() {
    for (len, start, map_start) in [
        (15, &b"\x9f"[..], 0x8f),
        (16, b"\xdc\0\x10", 0xde),
        (65_535, b"\xdc\xff\xff", 0xde),
        (65_536, b"\xdd\0\x01\0\0", 0xdf),
    ] {
        let text = serde_json::to_string(&vec![7; len]).unwrap();
        assert_eq!(encoded(&text, &[]), [start, &vec![7; len]].concat());
        let map: Vec<String> = (0..len).map(|key| format!("\"{key}\":[]")).collect();
        let text = format!("{{{}}}", map.join(","));
        let bytes = encoded(&text, &[]);
        assert_eq!((bytes[0], json(&bytes)), (map_start, text));
    }
    for (len, start) in
        [(31, &b"\xbf"[..]), (32, b"\xd9\x20"), (256, b"\xda\x01\0"), (65_536, b"\xdb\0\x01\0\0")]
    {
        let text = "x".repeat(len);
        assert_eq!(encoded(&format!("\"{text}\""), &[]), [start, text.as_bytes()].concat());
    }
    for (len, start) in [(255, &b"\xc4\xff"[..]), (256, b"\xc5\x01\0"), (65_536, b"\xc6\0\x01\0\0")] {
        let bytes = Bytes::from(vec![1; len]);
        assert_eq!(
            encoded(r#"{"_placeholder":true,"num":0}"#, std::slice::from_ref(&bytes)),
            [start, &bytes].concat()
        );
    }
}

#[test]
fn depth_and_attachments_are_limited_exactly() {
    let nested = |depth: usize, inside: &[u8]| [&vec![0x91; depth][..], inside].concat();
    let text = json(&nested(ARGS_DEPTH, b"\x01"));
    assert_eq!(check(&text), Ok(()));
    assert_eq!(encoded(&text, &[]), nested(ARGS_DEPTH, b"\x01"));
    assert_eq!(value(&nested(ARGS_DEPTH + 1, b"\x01")), Err(ParseError::new("nested too deeply")));
    assert!(encode(&format!("[{text}]"), &[]).is_err());
    // A placeholder is an object, which adds a nesting level.
    let (text, attachments) = value(&nested(ARGS_DEPTH - 1, b"\xc4\x01a")).unwrap();
    assert_eq!(resolve(&text, attachments.len()), Ok(Cow::Borrowed(&*text)));
    assert!(value(&nested(ARGS_DEPTH, b"\xc4\x01a")).is_err());
    assert!(value(&nested(ARGS_DEPTH - 1, b"\xd4\x05a")).is_err());

    let many = |count: u16| [&[0xdc][..], &count.to_be_bytes(), &b"\xc4\x00".repeat(count.into())].concat();
    assert_eq!(value(&many(1024)).unwrap().1.len(), 1024);
    assert_eq!(value(&many(1025)), Err(ParseError::new("too many attachments")));
}

#[test]
fn hostile_input_costs_no_more_than_it_is_long() {
    for byte in [0x91, 0x81, 0xdc, 0xdd, 0xde, 0xdf, 0xc9, 0xd4] {
        assert!(decode(&with_data(&vec![byte; 1_000_000])).is_err(), "{byte:x}");
        assert!(decode(&vec![byte; 1_000_000]).is_err(), "{byte:x}");
    }
    for announced in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\0",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
        b"\xd9\x01",
        b"\xd3\0",
    ] {
        assert_eq!(value(announced), Err(ParseError::new("ended early")), "{announced:x?}");
        assert!(decode(announced).is_err());
    }
}

/// Generates JSON that both encodings can represent, with placeholders for `attachments`.
fn any_json(attachments: usize) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        (-1e9..1e9_f64)
            .prop_filter("a whole number becomes an integer", |float| float.fract() != 0.0)
            .prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        (0..attachments).prop_map(|num| json!({ "_placeholder": true, "num": num })),
    ];
    leaf.prop_recursive(5, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces placeholders by the bytes of the attachments, because decoding renumbers the attachments in the
/// order of the text.
fn resolved(value: &Value, attachments: &[Bytes]) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| resolved(value, attachments)).collect(),
        Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
            let num = map["num"].as_u64().and_then(|num| usize::try_from(num).ok()).unwrap();
            json!({ "bytes": attachments[num].to_vec() })
        }
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (key.clone(), resolved(value, attachments))).collect(),
        ),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        value in any_json(3),
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 3),
        id: Option<u64>,
        namespace in "/[a-zé]{0,40}",
    ) {
        let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
        let text = value.to_string();
        let packet = Packet::new(PacketKind::Event, namespace, id, &*text).attachments(&attachments);
        let bytes = MsgpackParser::default().encode(&packet).unwrap();
        let read = decode(bytes[0].payload()).unwrap();
        prop_assert_eq!((read.kind, &read.namespace, read.id), (packet.kind, &packet.namespace, id));
        // `serde_json` may parse the digits of a float with an error in the last bit.
        let [value, read_value] = [&*text, &read.payload].map(|text| serde_json::from_str(text).unwrap());
        prop_assert_eq!(resolved(&read_value, &read.attachments), resolved(&value, &attachments));
        // Encoding again yields the same bytes.
        let packet = Packet { payload: Cow::Borrowed(&read.payload), attachments: read.attachments.clone(), ..packet };
        let again = MsgpackParser::default().encode(&packet).unwrap();
        prop_assert_eq!(again[0].payload(), bytes[0].payload());
    }

    #[test]
    fn any_bytes_are_refused_or_become_json(bytes: Vec<u8>) {
        if let Ok((text, attachments)) = value(&bytes) && !text.is_empty() {
            prop_assert_eq!(resolve(&text, attachments.len()), Ok(Cow::Borrowed(&*text)));
            let written = encoded(&text, &attachments);
            // After one round trip, integral floats are integers, so the text no longer changes.
            let (text, attachments) = value(&written).unwrap();
            prop_assert_eq!(encoded(&text, &attachments), written);
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn any_text_is_refused_or_encoded(text in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,12}"#) {
        prop_assert_eq!(encode(&text, &[]).is_ok(), text.is_empty() || check(&text).is_ok(), "{}", text);
    }
}
