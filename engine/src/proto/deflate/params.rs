//! The negotiated parameters of permessage-deflate. See RFC 7692, section 7.1.

use super::{
    codec::CompressionParams,
    message::{Deflate, History, Inflate},
};

/// The parameters negotiated for one WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) threshold: usize,
    pub(crate) level: u32,
    pub(crate) server_takeover: bool,
    pub(crate) client_takeover: bool,
    pub(crate) server_bits: u8,
    pub(crate) client_bits: u8,
    /// `true` if the client offered `server_max_window_bits`. The response then contains the value in use.
    pub(crate) server_bits_offered: bool,
}

impl Negotiated {
    pub(crate) fn deflate(self) -> Deflate {
        Deflate {
            threshold: self.threshold,
            params: CompressionParams { level: self.level, bits: self.server_bits },
            history: self.server_takeover.then(|| History::new(self.server_bits)),
        }
    }

    pub(crate) fn inflate(self) -> Inflate {
        // A client that has negotiated 8 bits may use 9, because zlib has no raw window of 8 bits.
        Inflate { history: self.client_takeover.then(|| History::new(self.client_bits.max(9))) }
    }
}
