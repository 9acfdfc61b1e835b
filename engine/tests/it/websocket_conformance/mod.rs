//! The cases of the Autobahn test suite, sections 1 to 7, 9, 10, 12 and 13, against the accept loop of this
//! crate.
//!
//! The case numbers are those of the suite. The suite expects an echo of raw messages, but a text message of
//! Engine.IO begins with its type. Each text here therefore begins with `4`, and the empty text of the suite
//! is `4` alone.

mod client;
#[cfg(feature = "compression")]
mod deflate;
mod utf8;

use engineio::EngineConfig;

use self::client::{
    BINARY, CLOSE, CONTINUE, Client, Cut, FIN, Got, PING, PONG, TEXT, check, close, fragments, frame, packet,
    pong, said, serve, text,
};

async fn server() -> String {
    serve(EngineConfig::default()).await
}

#[tokio::test]
async fn section_1_framing() {
    let server = server().await;
    for (case, size) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
        let payload = "*".repeat(size);
        check(&server, &format!("1.1.{}", case + 1), &[text(&payload)], Cut::Whole, &[said(&payload)]).await;
        let bytes = vec![0xfe; size];
        let sent = [frame(FIN | BINARY, &bytes)];
        check(&server, &format!("1.2.{}", case + 1), &sent, Cut::Whole, &[Got::Binary(bytes)]).await;
    }
    let payload = "*".repeat(65_536);
    check(&server, "1.1.8", &[text(&payload)], Cut::Bytes(997), &[said(&payload)]).await;
    let bytes = vec![0xfe; 65_536];
    let sent = [frame(FIN | BINARY, &bytes)];
    check(&server, "1.2.8", &sent, Cut::Bytes(997), &[Got::Binary(bytes)]).await;
}

#[tokio::test]
async fn section_2_pings_and_pongs() {
    let server = server().await;
    let ping = |payload: &[u8]| frame(FIN | PING, payload);
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    for (case, payload) in [&b""[..], b"Hello, world!", &binary, &[0xfe; 125]].into_iter().enumerate() {
        check(&server, &format!("2.{}", case + 1), &[ping(payload)], Cut::Whole, &[pong(payload)]).await;
    }
    let refused = [Got::Close(Some(1002))];
    check(&server, "2.5", &[ping(&[0xfe; 126])], Cut::Whole, &refused).await;
    check(&server, "2.6", &[ping(&[0xfe; 125])], Cut::Bytes(1), &[pong([0xfe; 125])]).await;
    check(&server, "2.7", &[frame(FIN | PONG, "")], Cut::Whole, &[]).await;
    check(&server, "2.8", &[frame(FIN | PONG, "unsolicited")], Cut::Whole, &[]).await;
    let both = [frame(FIN | PONG, "unsolicited"), ping(b"ping")];
    check(&server, "2.9", &both, Cut::Whole, &[pong("ping")]).await;
    let all: Vec<_> = (0..10).map(|i| ping(format!("payload-{i}").as_bytes())).collect();
    let answers: Vec<_> = (0..10).map(|i| pong(format!("payload-{i}"))).collect();
    check(&server, "2.10", &all, Cut::Whole, &answers).await;
    check(&server, "2.11", &all, Cut::Bytes(1), &answers).await;
}

#[tokio::test]
async fn section_3_reserved_bits() {
    let server = server().await;
    let hello = || text("Hello, world!");
    let reserved = |bits: u8| frame(FIN | bits << 4 | TEXT, packet("Hello, world!"));
    let refused = Got::Close(Some(1002));
    let echo_first = [said("Hello, world!"), refused.clone()];
    let alone = [refused];
    check(&server, "3.1", &[reserved(1)], Cut::Whole, &alone).await;
    let ping = || frame(FIN | PING, "");
    for (name, bits, cut) in [("3.2", 2, Cut::Whole), ("3.3", 3, Cut::Frames), ("3.4", 4, Cut::Bytes(1))] {
        check(&server, name, &[hello(), reserved(bits), ping()], cut, &echo_first).await;
    }
    check(&server, "3.5", &[frame(FIN | 5 << 4 | BINARY, [0; 8])], Cut::Whole, &alone).await;
    check(&server, "3.6", &[frame(FIN | 6 << 4 | PING, "x")], Cut::Whole, &alone).await;
    check(&server, "3.7", &[frame(FIN | 7 << 4 | CLOSE, "")], Cut::Whole, &alone).await;
}

#[tokio::test]
async fn section_4_reserved_opcodes() {
    let server = server().await;
    let refused = [Got::Close(Some(1002))];
    let echo_first = [said("first"), Got::Close(Some(1002))];
    for (section, opcodes) in [(1, 3..=7), (2, 11..=15)] {
        for (case, opcode) in opcodes.enumerate() {
            let name = format!("4.{section}.{}", case + 1);
            check(&server, &name, &[frame(FIN | opcode, "")], Cut::Whole, &refused).await;
            let behind = [text("first"), frame(FIN | opcode, "reserved"), frame(FIN | PING, "")];
            for cut in [Cut::Whole, Cut::Frames, Cut::Bytes(1)] {
                check(&server, &name, &behind, cut, &echo_first).await;
            }
        }
    }
}

/// The name of a case, the frames to send, and the expected frames.
type Case = (&'static str, Vec<Vec<u8>>, Vec<Got>);

#[tokio::test]
async fn section_5_fragmentation() {
    let server = server().await;
    let refused = || Got::Close(Some(1002));
    let first = || frame(TEXT, "4one,");
    let middle = || frame(CONTINUE, "two,");
    let last = || frame(FIN | CONTINUE, "three");
    let ping = || frame(FIN | PING, "ping");
    let whole = || said("one,two,three");
    let cases: [Case; 12] = [
        ("5.1", vec![frame(PING, "one"), last()], vec![refused()]),
        ("5.2", vec![frame(PONG, "one"), last()], vec![refused()]),
        ("5.3 to 5.5", vec![first(), middle(), last()], vec![whole()]),
        ("5.6 to 5.8", vec![first(), middle(), ping(), last()], vec![pong("ping"), whole()]),
        ("5.9 to 5.11", vec![last(), text("Hello")], vec![refused()]),
        ("5.12 to 5.14", vec![middle(), text("Hello")], vec![refused()]),
        ("5.15", vec![first(), last(), middle(), text("x")], vec![said("one,three"), refused()]),
        ("5.16", vec![middle(), first(), last()], vec![refused()]),
        ("5.17", vec![last(), first(), last()], vec![refused()]),
        ("5.18", vec![first(), frame(FIN | TEXT, "4two")], vec![refused()]),
        (
            "5.19 and 5.20",
            vec![first(), middle(), ping(), middle(), middle(), ping(), last()],
            vec![pong("ping"), pong("ping"), said("one,two,two,two,three")],
        ),
        ("5 and a binary inside", vec![first(), frame(FIN | BINARY, "x")], vec![refused()]),
    ];
    for (name, frames, expected) in cases {
        for cut in [Cut::Whole, Cut::Frames, Cut::Bytes(1)] {
            check(&server, name, &frames, cut, &expected).await;
        }
    }
}

#[tokio::test]
async fn section_6_utf8() {
    let server = server().await;
    let empty = [frame(TEXT, "4"), frame(CONTINUE, ""), frame(FIN | CONTINUE, "")];
    check(&server, "6.1.2", &empty, Cut::Whole, &[said("")]).await;
    let middle = [frame(TEXT, "4"), frame(CONTINUE, "middle"), frame(FIN | CONTINUE, "")];
    check(&server, "6.1.3", &middle, Cut::Whole, &[said("middle")]).await;
    for (index, valid) in utf8::VALID.iter().enumerate() {
        let name = format!("6, valid {index}: {valid:x?}");
        let split = fragments(TEXT, &packet(valid), 1);
        check(&server, &name, &[text(valid)], Cut::Whole, &[said(valid)]).await;
        check(&server, &name, &[text(valid)], Cut::Bytes(1), &[said(valid)]).await;
        check(&server, &name, &split, Cut::Whole, &[said(valid)]).await;
    }
    for (index, invalid) in utf8::INVALID.iter().enumerate() {
        let name = format!("6, invalid {index}: {invalid:x?}");
        let split = fragments(TEXT, &packet(invalid), 1);
        let refused = [Got::Close(Some(1007))];
        check(&server, &name, &[text(invalid)], Cut::Whole, &refused).await;
        check(&server, &name, &split, Cut::Whole, &refused).await;
    }
}

#[tokio::test]
async fn section_7_close() {
    let server = server().await;
    let hello = || text("Hello World!");
    let normal = Got::Close(Some(1000));
    let echoed = [said("Hello World!"), normal.clone()];
    check(&server, "7.1.1", &[hello(), close(1000)], Cut::Whole, &echoed).await;
    let alone = [normal];
    check(&server, "7.1.2", &[close(1000), close(1000)], Cut::Whole, &alone).await;
    check(&server, "7.1.3", &[close(1000), frame(FIN | PING, "")], Cut::Whole, &alone).await;
    check(&server, "7.1.4", &[close(1000), hello()], Cut::Whole, &alone).await;
    let unfinished = [frame(TEXT, "4one"), close(1000), frame(FIN | CONTINUE, "two")];
    check(&server, "7.1.5", &unfinished, Cut::Whole, &alone).await;
    let large = "BAsd7&jh23".repeat(26_214);
    let all = [text(&large), hello(), close(1000), frame(FIN | PING, "")];
    let [first, second] = echoed;
    check(&server, "7.1.6", &all, Cut::Whole, &[said(&large), first, second]).await;

    let with = |code: u16, reason: &[u8]| [frame(FIN | CLOSE, [&code.to_be_bytes(), reason].concat())];
    check(&server, "7.3.1", &[frame(FIN | CLOSE, "")], Cut::Whole, &[Got::Close(None)]).await;
    check(&server, "7.3.2", &[frame(FIN | CLOSE, "a")], Cut::Whole, &[Got::Close(Some(1002))]).await;
    check(&server, "7.3.3", &with(1000, b""), Cut::Whole, &alone).await;
    check(&server, "7.3.4", &with(1000, b"Hello World!"), Cut::Whole, &alone).await;
    check(&server, "7.3.5", &with(1000, &[b'*'; 123]), Cut::Whole, &alone).await;
    check(&server, "7.3.6", &with(1000, &[b'*'; 124]), Cut::Whole, &[Got::Close(Some(1002))]).await;
    check(&server, "7.5.1", &with(1000, utf8::INVALID[0]), Cut::Whole, &[Got::Close(Some(1007))]).await;
    let codes =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for (case, code) in codes.into_iter().enumerate() {
        let name = format!("7.7.{}", case + 1);
        check(&server, &name, &with(code, b""), Cut::Whole, &[Got::Close(Some(code))]).await;
    }
    let codes = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535];
    for (case, code) in codes.into_iter().enumerate() {
        let name = format!("7.9.{}", case + 1);
        check(&server, &name, &with(code, b""), Cut::Whole, &[Got::Close(Some(1002))]).await;
    }
}

#[tokio::test]
async fn section_9_limits() {
    let server = server().await;
    let letters = |len: usize| "BAsd7&jh23".repeat(len.div_ceil(10)).into_bytes()[..len].to_vec();
    for (case, size) in [64, 256, 1024, 4096, 8192, 16_384].into_iter().enumerate() {
        let bytes = letters(size * 1024);
        let name = |section: u8| format!("9.{section}.{}", case + 1);
        check(&server, &name(1), &[text(&bytes)], Cut::Whole, &[said(&bytes)]).await;
        let sent = [frame(FIN | BINARY, &bytes)];
        check(&server, &name(2), &sent, Cut::Whole, &[Got::Binary(bytes)]).await;
    }
    let bytes = letters(4 << 20);
    for (case, size) in (0..9).map(|power| 64 << (2 * power)).filter(|&size| size <= 4 << 20).enumerate() {
        let name = |section: u8| format!("9.{section}.{}", case + 1);
        let expected = [said(&bytes)];
        check(&server, &name(3), &fragments(TEXT, &packet(&bytes), size), Cut::Whole, &expected).await;
        let expected = [Got::Binary(bytes.clone())];
        check(&server, &name(4), &fragments(BINARY, &bytes, size), Cut::Whole, &expected).await;
    }
    let bytes = letters(1 << 20);
    for (case, size) in [64, 128, 256, 512, 1024, 2048].into_iter().enumerate() {
        let name = |section: u8| format!("9.{section}.{}", case + 1);
        check(&server, &name(5), &[text(&bytes)], Cut::Bytes(size), &[said(&bytes)]).await;
        let sent = [frame(FIN | BINARY, &bytes)];
        check(&server, &name(6), &sent, Cut::Bytes(size), &[Got::Binary(bytes.clone())]).await;
    }
    for size in [0, 16, 64, 256, 1024, 4096] {
        let mut client = Client::connect(&server, None).await;
        let bytes = letters(size);
        for round in 0..1000 {
            client.send(&text(&bytes)).await;
            assert_eq!(client.next().await, said(&bytes), "case 9.7 with {size} bytes, round {round}");
            client.send(&frame(FIN | BINARY, &bytes)).await;
            assert_eq!(client.next().await, Got::Binary(bytes.clone()), "case 9.8, {size} bytes, {round}");
        }
    }
}

#[tokio::test]
async fn section_10_fragments_of_the_client() {
    let server = server().await;
    let payload = "*".repeat(65_536);
    let sent = fragments(TEXT, &packet(&payload), 1300);
    check(&server, "10.1.1", &sent, Cut::Whole, &[said(&payload)]).await;
}
