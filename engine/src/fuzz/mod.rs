//! Fuzz targets. Each target is a function, which is called by libFuzzer (see `fuzz/`) and, with the corpora,
//! by the unit tests. The functions are not public API.

#![allow(missing_docs, clippy::missing_panics_doc, reason = "each panics when it finds something")]

mod http;
mod packets;
mod payloads;
mod websocket;

#[doc(hidden)]
pub use self::{
    http::{http, short_path},
    packets::packet,
    payloads::{jsonp, payload_v3, payload_v4},
    websocket::websocket,
};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Calls a target with each file of its corpus.
    fn replay(target: fn(&[u8]), corpus: &str) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
        let files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "nothing in {}", corpus.display());
        for file in files {
            println!("{}", file.display());
            target(&fs::read(file).unwrap());
        }
        target(b"");
    }

    #[test]
    fn replays_packets() {
        replay(super::packet, "packet");
    }

    #[test]
    fn replays_payloads() {
        replay(super::payload_v4, "payload_v4");
        replay(super::payload_v3, "payload_v3");
    }

    #[test]
    fn replays_forms() {
        replay(super::jsonp, "jsonp");
    }

    #[test]
    fn replays_websocket_sessions() {
        replay(super::websocket, "websocket");
    }

    #[test]
    fn replays_http_connections() {
        replay(super::http, "http");
    }

    #[test]
    fn both_paths_answer_alike() {
        replay(super::short_path, "http");
        replay(super::short_path, "short_path");
    }
}
