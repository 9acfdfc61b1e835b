//! Sections 12 and 13, compressed messages. The client keeps its zlib state between messages, as real clients
//! do.

use engineio::{EngineConfig, PerMessageDeflate};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::client::{BINARY, CONTINUE, Client, FIN, Got, TEXT, frame, serve};

const RSV1: u8 = 0x40;

/// The compressor and the decompressor of a client.
struct Streams {
    out: Compress,
    into: Decompress,
    out_takeover: bool,
    in_takeover: bool,
}

impl Streams {
    fn agreed(answer: &str) -> Self {
        let parameters: Vec<&str> = answer.split("; ").collect();
        assert_eq!(parameters[0], "permessage-deflate");
        let bits = |name: &str| {
            let value =
                parameters.iter().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
            value.map_or(15, |bits| bits.parse().unwrap())
        };
        Self {
            out: Compress::new_with_window_bits(
                Compression::default(),
                false,
                bits("client_max_window_bits"),
            ),
            into: Decompress::new_with_window_bits(false, bits("server_max_window_bits")),
            out_takeover: !parameters.contains(&"client_no_context_takeover"),
            in_takeover: !parameters.contains(&"server_no_context_takeover"),
        }
    }

    fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            // zlib does not flush twice, so the empty message is written by hand (RFC 7692, section 7.2.3.6).
            return vec![0];
        }
        if !self.out_takeover {
            self.out.reset();
        }
        let mut out = Vec::with_capacity(message.len() + message.len() / 8 + 100);
        self.out.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    fn message(&mut self, got: Got, len: usize) -> Vec<u8> {
        match got {
            Got::Text(bytes) | Got::Binary(bytes) => bytes,
            Got::Compressed(mut bytes) => {
                if !self.in_takeover {
                    self.into.reset(false);
                }
                bytes.extend([0, 0, 0xff, 0xff]);
                let mut out = Vec::with_capacity(len + 100);
                self.into.decompress_vec(&bytes, &mut out, FlushDecompress::Sync).unwrap();
                out
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns texts like those of the suite, similar to each other but never equal.
fn like_json(round: usize, len: usize) -> Vec<u8> {
    let words =
        (round..).map(|i| format!(r#"{{"id":{i},"name":"größe {}","ok":true}},"#, i.wrapping_mul(7919)));
    let mut text = "4".to_owned();
    for word in words {
        if text.len() + word.len() > len.max(1) {
            break;
        }
        text.push_str(&word);
    }
    text.into_bytes()
}

fn noise(round: usize, len: usize) -> Vec<u8> {
    let mut state = round as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn echoes(server: &str, offer: &str, rounds: usize) {
    for size in [0, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072] {
        let mut client = Client::connect(server, Some(offer)).await;
        let answer = client.extensions.clone().unwrap_or_else(|| panic!("{offer} was declined"));
        let mut streams = Streams::agreed(&answer);
        for round in 0..rounds {
            let (opcode, message) = match round % 4 {
                3 => (BINARY, noise(round, size)),
                _ => (TEXT, like_json(round, size)),
            };
            let compressed = streams.compress(&message);
            // The message is sent in one frame, or in as many as in the suite.
            let chunk = if round % 2 == 0 { usize::MAX } else { (size / 8).max(1) };
            let last = compressed.len().div_ceil(chunk).max(1) - 1;
            for (index, part) in compressed.chunks(chunk).enumerate() {
                let first = if index == 0 { RSV1 | opcode } else { CONTINUE };
                client.send(&frame(first | if index == last { FIN } else { 0 }, part)).await;
            }
            let got = client.next().await;
            if size >= 4096 && opcode == TEXT {
                assert!(matches!(got, Got::Compressed(_)), "{size} bytes, round {round}: {got:?}");
            }
            assert!(streams.message(got, message.len()) == message, "{answer}, {size} bytes, round {round}");
        }
    }
}

#[tokio::test]
async fn section_12_compressed_messages() {
    let options = PerMessageDeflate::default().threshold(0_usize);
    let server = serve(EngineConfig::default().per_message_deflate(options)).await;
    echoes(&server, "permessage-deflate; client_max_window_bits", 100).await;
}

#[tokio::test]
async fn section_13_parameters() {
    let options = PerMessageDeflate::default()
        .threshold(0_usize)
        .server_no_context_takeover(false)
        .client_no_context_takeover(false);
    let server = serve(EngineConfig::default().per_message_deflate(options)).await;
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_no_context_takeover",
    ] {
        echoes(&server, offer, 24).await;
    }
}
