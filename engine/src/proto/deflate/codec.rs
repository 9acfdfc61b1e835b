//! DEFLATE with one compressor and one decompressor for each worker thread. See RFC 7692, section 7.2.
//!
//! Context takeover does not keep zlib state. Instead, the bytes that a message may refer to are passed to
//! zlib as a dictionary.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::proto::websocket::Fault;

/// The base-two logarithm of the largest window size, 32 KiB.
pub(crate) const MAX_BITS: u8 = 15;
/// The last four bytes of an empty uncompressed block. The sender removes these bytes from the end of each
/// message, and the receiver appends them.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty final block. It completes the stream of a decompressor that is at a block boundary, which is
/// where every valid message ends.
const END: [u8; 2] = [0x03, 0];
/// The maximum number of final blocks in one message. Each final block resets the decompressor, which is
/// expensive compared to the two bytes of an empty final block.
const MAX_STREAMS: u32 = 1024;
/// The minimum free space in the output buffer. With less space, zlib repeats the flush marker.
const MIN_ROOM: usize = 64;

/// The parameters of the compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressionParams {
    pub(crate) level: u32,
    /// The base-two logarithm of the window size.
    pub(crate) bits: u8,
}

struct Compressor {
    params: CompressionParams,
    raw: Compress,
}

thread_local! {
    static COMPRESSOR: Cell<Option<Compressor>> = const { Cell::new(None) };
    static DECOMPRESSOR: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// Appends the compressed `message` to `out`. Returns `false` on failure.
pub(crate) fn deflate(message: &[u8], history: &[u8], params: CompressionParams, out: &mut Vec<u8>) -> bool {
    let mut compressor =
        COMPRESSOR.take().filter(|compressor| compressor.params == params).unwrap_or_else(|| Compressor {
            params,
            raw: Compress::new_with_window_bits(Compression::new(params.level), false, params.bits),
        });
    let done = deflate_with(&mut compressor.raw, message, history, out);
    COMPRESSOR.set(Some(compressor));
    done
}

fn deflate_with(raw: &mut Compress, message: &[u8], history: &[u8], out: &mut Vec<u8>) -> bool {
    raw.reset();
    if !history.is_empty() && raw.set_dictionary(history).is_err() {
        return false;
    }
    loop {
        out.reserve((out.len() / 2).max(MIN_ROOM));
        let rest = &message[raw.total_in() as usize..];
        if raw.compress_vec(rest, out, FlushCompress::Sync).is_err() {
            return false;
        }
        if raw.total_in() as usize == message.len() && out.len() < out.capacity() {
            break;
        }
    }
    let flushed = out.ends_with(&TAIL);
    out.truncate(out.len().saturating_sub(TAIL.len()));
    flushed
}

/// Decompresses a message of at most `max_len` bytes. Stops as soon as the output exceeds the limit, so a
/// decompression bomb uses no more memory than a message of `max_len` bytes.
pub(crate) fn inflate(payload: &[u8], history: &[u8], max_len: usize) -> Result<Vec<u8>, Fault> {
    let mut raw = DECOMPRESSOR.take().unwrap_or_else(|| Decompress::new(false));
    raw.reset(false);
    let result = inflate_with(&mut raw, payload, history, max_len);
    DECOMPRESSOR.set(Some(raw));
    result
}

fn inflate_with(
    raw: &mut Decompress,
    payload: &[u8],
    history: &[u8],
    max_len: usize,
) -> Result<Vec<u8>, Fault> {
    if !history.is_empty() {
        raw.set_dictionary(history).map_err(|_| Fault::InvalidDeflate)?;
    }
    let out = Vec::with_capacity(payload.len().saturating_mul(4).clamp(MIN_ROOM, max_len.max(MIN_ROOM)));
    let mut run = Run { raw, out, max_len, streams: 0 };
    // The payload may be empty, or may end with a final block.
    if payload.is_empty() || run.feed(payload)? {
        return Ok(run.out);
    }
    if !run.feed(&TAIL)? && !run.feed(&END)? {
        return Err(Fault::InvalidDeflate);
    }
    Ok(run.out)
}

/// The state of the decompression of one message.
struct Run<'a> {
    raw: &'a mut Decompress,
    out: Vec<u8>,
    max_len: usize,
    streams: u32,
}

impl Run<'_> {
    /// Decompresses a part of the message. Returns `true` if the part ended with a final block.
    fn feed(&mut self, mut input: &[u8]) -> Result<bool, Fault> {
        let mut ended = false;
        loop {
            if self.out.len() == self.out.capacity() {
                // One spare byte beyond the limit distinguishes a message of exactly `max_len` bytes from a
                // larger message.
                let max = self.max_len.saturating_add(1);
                let target = self.out.len().saturating_mul(2).clamp(MIN_ROOM, max.max(MIN_ROOM));
                self.out.reserve_exact(target.saturating_sub(self.out.len()));
            }
            let (total_in, len) = (self.raw.total_in(), self.out.len());
            let status = self
                .raw
                .decompress_vec(input, &mut self.out, FlushDecompress::Sync)
                .map_err(|_| Fault::InvalidDeflate)?;
            if self.out.len() > self.max_len {
                return Err(Fault::TooLarge);
            }
            let used = (self.raw.total_in() - total_in) as usize;
            input = &input[used..];
            if status == Status::StreamEnd {
                self.streams += 1;
                if self.streams > MAX_STREAMS {
                    return Err(Fault::InvalidDeflate);
                }
                self.raw.reset(false);
                ended = true;
            } else if used > 0 {
                ended = false;
            }
            let stuck = used == 0 && self.out.len() == len;
            if input.is_empty() && (ended || self.out.len() < self.out.capacity()) || stuck {
                return if input.is_empty() { Ok(ended) } else { Err(Fault::InvalidDeflate) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deflated(message: &[u8], history: &[u8], bits: u8) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(deflate(message, history, CompressionParams { level: 6, bits }, &mut out));
        out
    }

    /// See the examples of RFC 7692, section 7.2.3.
    #[test]
    fn reads_the_examples_of_the_rfc() {
        let hello: [&[u8]; 4] = [
            // The payloads consist of one block, an uncompressed block, a final block, and two blocks.
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for payload in hello {
            assert_eq!(inflate(payload, b"", 5).unwrap(), b"Hello", "{payload:x?}");
            assert_eq!(inflate(payload, b"", 4), Err(Fault::TooLarge), "{payload:x?}");
        }
        assert_eq!(deflated(b"Hello", b"", 15), hello[0]);
        // A message may end with a final block. An empty message is encoded as one byte or as no bytes.
        assert_eq!(inflate(&hello[2][..7], b"", 5).unwrap(), b"Hello");
        assert_eq!(inflate(&[0], b"", 0).unwrap(), b"");
        assert_eq!(inflate(&[], b"", 0).unwrap(), b"");
        // With context takeover, the second message refers to the first.
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflate(&again, b"Hello", 5).unwrap(), b"Hello");
        assert_eq!(inflate(&again, b"", 5), Err(Fault::InvalidDeflate));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let whole = deflated(&b"the quick brown fox jumps over the lazy dog ".repeat(40), b"", 15);
        for cut in 1..whole.len() {
            assert_eq!(inflate(&whole[..cut], b"", 10_000), Err(Fault::InvalidDeflate), "{cut}");
        }
        for bad in [&[0xff_u8; 20][..], &[0x06], &[0xf2, 0x48], &[0x00, 0x05, 0x00, 0xfa, 0xff]] {
            assert_eq!(inflate(bad, b"", 10_000), Err(Fault::InvalidDeflate), "{bad:x?}");
        }
        // The number of final blocks is limited.
        assert!(inflate(&END.repeat(MAX_STREAMS as usize), b"", 10).is_ok());
        assert_eq!(inflate(&END.repeat(MAX_STREAMS as usize + 1), b"", 10), Err(Fault::InvalidDeflate));
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let bomb = deflated(&vec![0; 50_000_000], b"", 15);
        assert!(bomb.len() < 60_000);
        assert_eq!(inflate(&bomb, b"", 1_000_000), Err(Fault::TooLarge));
        for max_len in [1, 63, 64, 65, 1000, 1024, 65_536] {
            let exact = deflated(&vec![7; max_len], b"", 15);
            assert_eq!(inflate(&exact, b"", max_len).unwrap().len(), max_len);
            assert_eq!(inflate(&exact, b"", max_len - 1), Err(Fault::TooLarge), "{max_len}");
        }
    }

    proptest! {
        #[test]
        fn inflating_never_panics_and_keeps_the_limit(payload: Vec<u8>, history: Vec<u8>) {
            if let Ok(message) = inflate(&payload, &history, 100) {
                prop_assert!(message.len() <= 100);
            }
        }

        #[test]
        fn messages_survive(message: Vec<u8>, history: Vec<u8>, bits in 9_u8..=15, repeat in 1..200_usize) {
            let message = message.repeat(repeat);
            prop_assert_eq!(inflate(&deflated(&message, &history, bits), &history, message.len()), Ok(message));
        }
    }
}
