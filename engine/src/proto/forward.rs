//! The frames between servers of a cluster that forward requests to each other.
//!
//! A frame is the length of what follows, as four bytes; the id of its request, as four bytes; its type, as one byte;
//! and the payload. Numbers are big-endian.

/// The length of a frame without its payload.
const HEADER: usize = 9;

/// A frame without the id of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardFrame<'a> {
    /// A poll of the session in the query.
    Poll {
        query: &'a str,
    },
    /// A POST.
    Post {
        query: &'a str,
        is_binary: bool,
        body: &'a [u8],
    },
    /// A POST whose body was not received completely. It has no response.
    PostFailed {
        query: &'a str,
    },
    /// A POST that exceeds the limit with this number.
    PostRefused {
        query: &'a str,
        limit: u8,
    },
    /// Bytes of a POST have arrived. It has no response.
    Active {
        query: &'a str,
    },
    /// The client of a request has disconnected.
    Cancel,
    /// The sender closes, so the poll must be completed.
    Release,
    /// The response to a request, with the number of its content type.
    Response {
        status: u16,
        content: u8,
        body: &'a [u8],
    },
    /// The response to this frame shows that the connection works.
    Ping,
    Pong,
}

/// The error that the peer does not speak this protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> ForwardFrame<'a> {
    /// Appends the frame to a buffer.
    pub(crate) fn encode(&self, id: u32, out: &mut Vec<u8>) {
        let (kind, parts): (u8, [&[u8]; 4]) = match self {
            Self::Poll { query } => (0, [query.as_bytes(), &[], &[], &[]]),
            Self::Post { query, is_binary, body } => {
                (1, [&[u8::from(*is_binary)], &(query.len() as u32).to_be_bytes(), query.as_bytes(), body])
            }
            Self::PostFailed { query } => (2, [query.as_bytes(), &[], &[], &[]]),
            Self::PostRefused { query, limit } => (3, [&[*limit], query.as_bytes(), &[], &[]]),
            Self::Active { query } => (4, [query.as_bytes(), &[], &[], &[]]),
            Self::Cancel => (5, Default::default()),
            Self::Response { status, content, body } => (6, [&status.to_be_bytes(), &[*content], body, &[]]),
            Self::Ping => (7, Default::default()),
            Self::Pong => (8, Default::default()),
            Self::Release => (9, Default::default()),
        };
        let len = HEADER - 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        out.reserve(4 + len);
        out.extend((len as u32).to_be_bytes());
        out.extend(id.to_be_bytes());
        out.push(kind);
        for part in parts {
            out.extend_from_slice(part);
        }
    }

    /// Decodes the first frame of a buffer. Returns the number of its bytes, the id of its request, and the frame, or
    /// `None` if the frame is incomplete.
    pub(crate) fn decode(bytes: &'a [u8], max_len: usize) -> Result<Option<(usize, u32, Self)>, Malformed> {
        let Some((len, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if !(HEADER - 4..=max_len).contains(&len) {
            return Err(Malformed);
        }
        let Some(rest) = rest.get(..len) else { return Ok(None) };
        let (id, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let (kind, payload) = rest.split_first().ok_or(Malformed)?;
        let frame = Self::decode_payload(*kind, payload).ok_or(Malformed)?;
        Ok(Some((4 + len, u32::from_be_bytes(*id), frame)))
    }

    fn decode_payload(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let text = |bytes| str::from_utf8(bytes).ok();
        Some(match kind {
            0 => Self::Poll { query: text(payload)? },
            1 => {
                let (is_binary, rest) = payload.split_first()?;
                let (len, rest) = rest.split_first_chunk()?;
                let (query, body) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
                Self::Post { query: text(query)?, is_binary: *is_binary == 1, body }
            }
            2 => Self::PostFailed { query: text(payload)? },
            3 => {
                let (limit, query) = payload.split_first()?;
                Self::PostRefused { query: text(query)?, limit: *limit }
            }
            4 => Self::Active { query: text(payload)? },
            5 => Self::Cancel,
            6 => {
                let (status, rest) = payload.split_first_chunk()?;
                let (content, body) = rest.split_first()?;
                Self::Response { status: u16::from_be_bytes(*status), content: *content, body }
            }
            7 => Self::Ping,
            8 => Self::Pong,
            9 => Self::Release,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAMES: [ForwardFrame<'_>; 10] = [
        ForwardFrame::Poll { query: "EIO=4&sid=é" },
        ForwardFrame::Post { query: "a=b", is_binary: true, body: b"\x00\xff" },
        ForwardFrame::PostFailed { query: "" },
        ForwardFrame::PostRefused { query: "a", limit: 7 },
        ForwardFrame::Active { query: "a" },
        ForwardFrame::Cancel,
        ForwardFrame::Release,
        ForwardFrame::Response { status: 413, content: 2, body: b"ok" },
        ForwardFrame::Ping,
        ForwardFrame::Pong,
    ];

    #[test]
    fn frames_are_decoded_as_they_were_encoded_wherever_they_are_split() {
        let mut bytes = Vec::new();
        for (id, frame) in (0..).zip(FRAMES) {
            frame.encode(id, &mut bytes);
        }
        for split in 0..=bytes.len() {
            let (mut at, mut decoded) = (0, Vec::new());
            for end in [split, bytes.len()] {
                while let Some((len, id, frame)) = ForwardFrame::decode(&bytes[at..end], 100).unwrap() {
                    at += len;
                    decoded.push((id, frame));
                }
            }
            assert!(decoded.iter().copied().eq((0..).zip(FRAMES)), "{decoded:?}");
        }
    }

    #[test]
    fn a_frame_has_a_maximum_length() {
        let mut bytes = Vec::new();
        ForwardFrame::Poll { query: "12345" }.encode(1, &mut bytes);
        assert!(ForwardFrame::decode(&bytes, 10).unwrap().is_some());
        assert_eq!(ForwardFrame::decode(&bytes, 9), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), kind in 0_u8..12) {
            let _ = ForwardFrame::decode(&bytes, 100);
            let mut framed = (bytes.len() as u32 + 5).to_be_bytes().to_vec();
            framed.extend([0, 0, 0, 1, kind]);
            framed.extend(&bytes);
            if let Ok(Some((len, 1, frame))) = ForwardFrame::decode(&framed, 100) {
                prop_assert_eq!(len, framed.len());
                let mut again = Vec::new();
                frame.encode(1, &mut again);
                prop_assert_eq!(ForwardFrame::decode(&again, 100), Ok(Some((again.len(), 1, frame))));
            }
        }
    }
}
