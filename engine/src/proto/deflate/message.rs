//! Compression and decompression of the messages of one WebSocket.

use std::{collections::VecDeque, sync::OnceLock};

use super::codec::{self, CompressionParams, MAX_BITS};
use crate::proto::{frame::Frame, websocket::Fault};

/// The cached compressed form of a frame. A cached `None` means that compression does not make the frame
/// smaller.
pub(crate) type Slot = OnceLock<Option<Frame>>;

/// The last bytes of the messages compressed or decompressed so far. They are the dictionary for the next
/// message.
#[derive(Debug)]
pub(crate) struct History {
    bytes: Vec<u8>,
    bits: u8,
}

impl History {
    pub(crate) fn new(bits: u8) -> Self {
        Self { bytes: Vec::new(), bits }
    }

    fn push(&mut self, message: &[u8]) {
        let max = 1 << self.bits;
        let message = &message[message.len().saturating_sub(max)..];
        let excess = (self.bytes.len() + message.len()).saturating_sub(max);
        self.bytes.drain(..excess);
        self.bytes.reserve_exact(message.len());
        self.bytes.extend_from_slice(message);
    }
}

/// The compressor for messages to one client.
#[derive(Debug)]
pub(crate) struct Deflate {
    pub(crate) threshold: usize,
    pub(crate) params: CompressionParams,
    /// `Some` if context takeover is in use.
    pub(crate) history: Option<History>,
}

impl Deflate {
    /// Compresses the frames whose payload reaches the threshold. Returns the cost that was saved.
    pub(crate) fn compress(&mut self, frames: &mut VecDeque<Frame>) -> usize {
        let mut saved = 0;
        for frame in frames {
            if frame.is_compressible()
                && frame.payload().len() >= self.threshold
                && let Some(compressed) = self.compressed(frame)
            {
                saved += frame.cost() - compressed.cost();
                *frame = compressed;
            }
        }
        saved
    }

    fn compressed(&mut self, frame: &Frame) -> Option<Frame> {
        let params = self.params;
        match &mut self.history {
            None if params.bits == MAX_BITS => {
                frame.slot().get_or_init(|| compress(frame, &[], params)).clone()
            }
            None => compress(frame, &[], params),
            Some(history) => {
                let compressed = compress(frame, &history.bytes, params)?;
                history.push(frame.payload());
                Some(compressed)
            }
        }
    }
}

/// Returns the compressed form of a frame, or `None` if the compressed form is not smaller.
fn compress(frame: &Frame, history: &[u8], params: CompressionParams) -> Option<Frame> {
    let mut buffer = vec![0; Frame::HEADROOM];
    buffer.reserve(frame.payload().len() / 4);
    let done = codec::deflate(frame.payload(), history, params, &mut buffer);
    let smaller = buffer.len() - Frame::HEADROOM < frame.payload().len();
    (done && smaller).then(|| frame.deflated(&mut buffer, Frame::HEADROOM))
}

/// The decompressor for messages from one client.
#[derive(Debug)]
pub(crate) struct Inflate {
    /// `Some` if context takeover is in use.
    pub(crate) history: Option<History>,
}

impl Inflate {
    /// Decompresses one message of at most `max_len` bytes.
    pub(crate) fn inflate(&mut self, payload: &[u8], max_len: usize) -> Result<Vec<u8>, Fault> {
        let Some(history) = &mut self.history else { return codec::inflate(payload, &[], max_len) };
        let message = codec::inflate(payload, &history.bytes, max_len)?;
        history.push(&message);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
    use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};

    use super::*;
    use crate::{
        EngineConfig, PerMessageDeflate, SessionHandle, Sid, TransportKind,
        http::permessage_deflate::negotiate,
        proto::{
            deflate::Negotiated,
            websocket::{Decoder, Event},
        },
    };

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn agreed(options: PerMessageDeflate) -> Negotiated {
        let offer = "permessage-deflate; client_max_window_bits".parse().unwrap();
        let headers = HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, offer)]);
        negotiate(&headers, &EngineConfig::default().per_message_deflate(options)).unwrap()
    }

    fn takeover(bits: u8) -> PerMessageDeflate {
        PerMessageDeflate::default()
            .threshold(1_usize)
            .server_no_context_takeover(false)
            .client_no_context_takeover(false)
            .server_max_window_bits(bits)
            .client_max_window_bits(bits)
    }

    fn compressed(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(codec::deflate(message, &[], CompressionParams { level: 6, bits: MAX_BITS }, &mut out));
        out
    }

    /// Encodes a masked frame, like a client does.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Decodes the frames and returns the messages as bytes.
    fn decode(decoder: &mut Decoder, frames: &[Vec<u8>], max_len: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut bytes = frames.concat();
        let (mut at, mut messages) = (0, Vec::new());
        while let Some((used, event)) = decoder.decode(&mut bytes[at..], max_len, 1024)? {
            at += used;
            match event {
                Some(Event::Text(text)) => messages.push(text.as_bytes().to_vec()),
                Some(Event::Binary(bytes)) => messages.push(bytes.into_owned()),
                _ => {}
            }
        }
        Ok(messages)
    }

    fn received(frames: &[Vec<u8>], max_len: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let inflate = agreed(PerMessageDeflate::default()).inflate();
        decode(&mut Decoder::new(Some(inflate)), frames, max_len)
    }

    /// Decodes a server frame with the crate's own decoder in the role of the client.
    fn sent(decoder: &mut Decoder, frame: &Frame) -> Vec<u8> {
        let (head, body) = frame.wire();
        let whole = [head, body].concat();
        let header = whole.len() - frame.payload().len();
        decode(decoder, &[masked(whole[0], &whole[header..])], 1 << 20).unwrap().remove(0)
    }

    #[test]
    fn what_is_to_stay_as_it_is_stays() {
        let text = Frame::text(&"x".repeat(5000));
        let binary = Frame::binary(vec![0; 5000].into());
        for frame in [text, binary] {
            let len = frame.wire_len();
            let frame = frame.uncompressed();
            let mut frames = VecDeque::from([frame.clone(), frame.clone()]);
            assert_eq!(agreed(PerMessageDeflate::default()).deflate().compress(&mut frames), 0);
            assert!(frames.iter().all(|frame| frame.wire_len() == len));
        }
    }

    #[test]
    fn compressed_messages_come_whole_or_in_fragments() {
        let text = "größe ".repeat(300);
        let bytes = compressed(text.as_bytes());
        assert_eq!(received(&[masked(0xc1, &bytes)], 10_000).unwrap(), [text.as_bytes()]);
        assert_eq!(received(&[masked(0xc2, &bytes)], 10_000).unwrap(), [text.as_bytes()]);
        for cut in 0..=bytes.len() {
            let frames = [
                masked(0x41, &bytes[..cut]),
                masked(0x89, b"ping"),
                masked(0x00, b""),
                masked(0x80, &bytes[cut..]),
                masked(0x81, b"plain"),
            ];
            assert_eq!(received(&frames, 10_000).unwrap(), [text.as_bytes(), b"plain"], "{cut}");
        }
    }

    #[test]
    fn the_bit_is_refused_where_it_has_no_place() {
        let hello = compressed(b"Hello");
        for frames in [
            vec![masked(0xc9, b"ping")],
            vec![masked(0xc8, &[])],
            vec![masked(0x41, &hello[..2]), masked(0xc0, &hello[2..])],
            vec![masked(0xa1, &hello)],
            vec![masked(0x91, &hello)],
        ] {
            assert_eq!(received(&frames, 100), Err(Fault::Protocol), "{frames:x?}");
        }
        assert_eq!(decode(&mut Decoder::new(None), &[masked(0xc1, &hello)], 100), Err(Fault::Protocol));
        assert_eq!(received(&[masked(0xc1, b"\xff\xff")], 100), Err(Fault::InvalidDeflate));
        assert_eq!(received(&[masked(0xc1, &compressed(b"\xff\xfe"))], 100), Err(Fault::InvalidUtf8));
    }

    #[test]
    fn the_limit_is_that_of_the_message_not_of_its_form() {
        let zeros = compressed(&vec![0; 100_000]);
        assert_eq!(received(&[masked(0xc2, &zeros)], 100_000).unwrap()[0].len(), 100_000);
        assert_eq!(received(&[masked(0xc2, &zeros)], 99_999), Err(Fault::TooLarge));
        let fragments = [masked(0x42, &zeros[..9]), masked(0x80, &zeros[9..])];
        assert_eq!(received(&fragments, 99_999), Err(Fault::TooLarge));
        // Incompressible data grows a little.
        let noise: Vec<u8> =
            (0..1000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let larger = compressed(&noise);
        assert!(larger.len() > noise.len());
        assert_eq!(received(&[masked(0xc2, &larger)], noise.len()).unwrap(), [noise]);
        // A message that cannot fit is rejected as soon as its header is decoded.
        assert_eq!(received(&[masked(0xc2, &[0; 200])[..14].to_vec()], 100), Err(Fault::TooLarge));
    }

    #[test]
    fn a_broadcast_is_compressed_once_for_all() {
        let session = || {
            SessionHandle::new(
                Sid::parse("abcdefghijklmnopqrst").unwrap(),
                TransportKind::WebSocket,
                crate::proto::dialect::Dialect::CURRENT,
                crate::session::outbound::Outbound::for_test(1 << 20),
            )
        };
        let (first, second) = (session(), session());
        let small = Frame::text(&"x".repeat(1000));
        let noise: Vec<u8> =
            (0..1000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let packet = [Frame::text(&"x".repeat(2000)), Frame::binary(Bytes::from(noise)), small];
        let written = |session: &SessionHandle| {
            let mut frames = session.take_frames();
            let saved = agreed(PerMessageDeflate::default()).deflate().compress(&mut frames);
            assert_eq!(saved + frames.iter().map(Frame::cost).sum::<usize>(), session.buffered());
            assert!(frames[0].wire_len() < 100 && saved > 1900);
            assert_eq!(frames[0].wire().1[0], 0xc1);
            // Messages that would not shrink or are too small are sent uncompressed.
            assert_eq!((frames[1].wire().0[0], frames[1].payload().len()), (0x82, 4000));
            assert_eq!(frames[2].wire().1[0], 0x81);
            let mut client = Decoder::new(Some(agreed(PerMessageDeflate::default()).inflate()));
            assert_eq!(sent(&mut client, &frames[0]), packet[0].payload());
            frames[0].wire().1.as_ptr()
        };
        first.send(&packet).unwrap();
        assert!(second.send_volatile(&packet));
        assert_eq!(written(&first), written(&second));
    }

    /// Returns a message that repeats content of earlier messages, some of it far back.
    fn alike(round: u32) -> String {
        let words = (0..round * 7 + 60).map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761)));
        words.collect::<Vec<_>>().concat()
    }

    /// Tests against a zlib stream that keeps its state between messages, like clients do.
    #[test]
    fn context_takeover_is_understood_by_a_stream_that_goes_on() {
        for bits in [9, 12, 15] {
            let agreed = agreed(takeover(bits));
            let (mut deflate, mut inflate) = (agreed.deflate(), agreed.inflate());
            let mut client_in = Decompress::new_with_window_bits(false, bits);
            let mut client_out = Compress::new_with_window_bits(Compression::default(), false, bits);
            let mut smallest = usize::MAX;
            for round in 0..40 {
                let message = Frame::text(&alike(round));
                let mut frames = VecDeque::from([message.clone()]);
                deflate.compress(&mut frames);
                let mut read = Vec::with_capacity(10_000);
                let wire = [frames[0].payload(), &[0, 0, 0xff, 0xff]].concat();
                client_in.decompress_vec(&wire, &mut read, FlushDecompress::Sync).unwrap();
                assert_eq!(read, message.payload(), "{bits} bits, round {round}");

                let mut sent = Vec::with_capacity(10_000);
                client_out.compress_vec(message.payload(), &mut sent, FlushCompress::Sync).unwrap();
                sent.truncate(sent.len() - 4);
                assert_eq!(inflate.inflate(&sent, 10_000).unwrap(), message.payload());
                smallest = smallest.min(frames[0].wire_len());
            }
            assert!(bits == 9 || smallest < 100, "{smallest}");
            for history in [deflate.history, inflate.history] {
                assert!(history.unwrap().bytes.capacity() <= 1 << bits);
            }
        }
    }
}
