//! Defines the fuzz targets. Each target is a function, which libFuzzer runs (see `fuzz/`) and the unit tests
//! run on the corpora. This module is not part of the public API.
//!
//! This module may import all layers. No other module may import this module.

#![allow(missing_docs, clippy::missing_panics_doc, reason = "each panics when it finds something")]

#[cfg(feature = "msgpack")]
mod cluster;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
mod packets;
mod session;
#[cfg(target_os = "linux")]
mod slow;

#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use self::slow::slow;
#[cfg(feature = "msgpack")]
#[doc(hidden)]
pub use self::{cluster::cluster, msgpack::msgpack};
#[doc(hidden)]
pub use self::{json::json, packets::socketio_packet, session::socketio_session};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Runs a target on each file of its corpus.
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

    #[cfg(feature = "msgpack")]
    #[test]
    fn replays_messages_of_other_servers() {
        replay(super::cluster, "cluster");
    }

    #[test]
    fn replays_json() {
        replay(super::json, "json");
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn replays_msgpack() {
        replay(super::msgpack, "msgpack");
    }

    #[test]
    fn replays_packets() {
        replay(super::socketio_packet, "socketio_packet");
    }

    #[test]
    fn replays_sessions() {
        replay(super::socketio_session, "socketio_session");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn replays_what_may_be_slow() {
        replay(super::slow, "slow");
    }
}
