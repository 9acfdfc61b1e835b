//! A decoder of the chunked transfer coding (RFC 9112, section 7.1).

use std::ops::Range;

/// The maximum length of a line with a chunk size. Chunk extensions are ignored, but count towards the
/// length.
const MAX_SIZE_LINE: usize = 256;
/// The maximum length of the trailer section, which is ignored.
const MAX_TRAILER: usize = 4096;
/// The maximum chunk size. Larger sizes are rejected, because implementations with signed numbers cannot
/// represent them.
const MAX_SIZE: u64 = i64::MAX as u64;

/// The input is not valid chunked coding, or its extensions or trailers are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A part of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChunkPart {
    /// Data of the body, as a range of the input.
    Data(Range<usize>),
    /// The body ends at this position of the input.
    End(usize),
    /// The input ends before the end of the body.
    More,
}

/// The decoder of one body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The number of bytes received of the current line or of the trailer section.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk size. `None` before the first digit.
    Size(Option<u64>),
    /// In whitespace after the digits. An extension must follow.
    Blank(u64),
    Extension(u64),
    /// After the CR of the size line.
    SizeEnd(u64),
    Data(u64),
    /// Before the CR after the data.
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// In a trailer name.
    TrailerName,
    /// After the colon.
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size(None), line: 0 }
    }

    /// Returns the next part of `input[at..]`. The decoder has then consumed the input up to the end of this
    /// part.
    pub(super) fn next(&mut self, input: &[u8], mut at: usize) -> Result<ChunkPart, Malformed> {
        while let Some(&byte) = input.get(at) {
            if let State::Data(left) = self.state {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                let left = left - len as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                return Ok(ChunkPart::Data(at..at + len));
            }
            at += 1;
            if self.state == State::EndLf && byte == b'\n' {
                return Ok(ChunkPart::End(at));
            }
            self.step(byte)?;
        }
        Ok(ChunkPart::More)
    }

    /// Processes a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.line += 1;
        let in_trailer = matches!(
            self.state,
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf
        );
        if self.line > if in_trailer { MAX_TRAILER } else { MAX_SIZE_LINE } {
            return Err(Malformed);
        }
        self.state = match (self.state, byte) {
            (State::Size(size), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                let size = size.unwrap_or(0);
                if size > MAX_SIZE / 16 {
                    return Err(Malformed);
                }
                State::Size(Some(16 * size + u64::from(digit)))
            }
            (State::Size(Some(size)) | State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(Some(size)) | State::Blank(size), b';') => State::Extension(size),
            (State::Size(Some(size)) | State::Blank(size), b' ' | b'\t') => State::Blank(size),
            (State::Extension(size), byte) if is_text(byte) => State::Extension(size),
            (State::SizeEnd(size), b'\n') => {
                self.line = 0;
                if size == 0 { State::TrailerStart } else { State::Data(size) }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line = 0;
                State::Size(None)
            }
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_text(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            _ => return Err(Malformed),
        };
        Ok(())
    }
}

/// Returns `true` for the characters of a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns `true` for the characters of a field value.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes the input in parts of the given size. Returns the body and the number of consumed bytes, or
    /// `None` if the body is incomplete.
    fn decode(input: &[u8], part: usize) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let (mut chunked, mut body, mut taken) = (Chunked::new(), Vec::new(), 0);
        for part in input.chunks(part) {
            let mut at = 0;
            loop {
                match chunked.next(part, at)? {
                    ChunkPart::Data(range) => {
                        at = range.end;
                        body.extend_from_slice(&part[range]);
                    }
                    ChunkPart::End(end) => return Ok(Some((body, taken + end))),
                    ChunkPart::More => break,
                }
            }
            taken += part.len();
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        let input =
            b"5;name=\"v\"\r\nhello\r\n010 \t; x\r\n, chunked worlds\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /";
        for part in 1..=input.len() {
            let (body, taken) = decode(input, part).unwrap().unwrap();
            assert_eq!(body, b"hello, chunked worlds");
            assert_eq!(taken, input.len() - 5);
        }
        assert_eq!(decode(b"0\r\n\r\n", 9).unwrap().unwrap(), (Vec::new(), 5));
        for end in 0..input.len() - 5 {
            assert_eq!(decode(&input[..end], 7), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for input in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1\n",
            "1;\n",
            "1\r\r",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rb",
            "0\r\n\n",
            "0\r\na\n",
            "0\r\na\r\r",
            "10000000000000000\r\n",
            "ffffffffffffffff\r\n",
            "8000000000000000\r\n",
            "1 \r\n",
            "1\t\r\n",
            " 1\r\n",
            "1 1\r\n",
            "1;a\0\r\n",
            "1;a\x7f\r\n",
            "0\r\na\r\n",
            "0\r\n: b\r\n",
            "0\r\na : b\r\n",
            "0\r\n a: b\r\n",
            "0\r\na: b\r\n folded\r\n",
            "0\r\na: b\r\n\tfolded\r\n",
            "0\r\na: \0\r\n",
            "0\r\na: \x7f\r\n",
        ] {
            assert_eq!(decode(input.as_bytes(), 100), Err(Malformed), "{input:?}");
        }
        // The decoder accepts the largest size that fits a signed number.
        assert_eq!(decode(b"7fffffffffffffff\r\n", 100), Ok(None));
        assert_eq!(decode(b"1;\xe9\r\na\r\n0\r\nA: \xe9\t\r\n\r\n", 100).unwrap().unwrap().0, b"a");
    }

    #[test]
    fn words_without_a_body_are_limited() {
        let line = |len: usize| format!("1;{}\r\n", "a".repeat(len - 4));
        assert_eq!(decode(line(MAX_SIZE_LINE).as_bytes(), 64), Ok(None));
        assert_eq!(decode(line(MAX_SIZE_LINE + 1).as_bytes(), 64), Err(Malformed));
        let trailer = |len: usize| format!("0\r\nA:{}\r\n\r\n", "a".repeat(len - 5));
        assert!(decode(trailer(MAX_TRAILER).as_bytes(), 64).unwrap().is_some());
        assert_eq!(decode(trailer(MAX_TRAILER + 1).as_bytes(), 64), Err(Malformed));
    }
}
