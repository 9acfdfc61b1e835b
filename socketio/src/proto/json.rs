//! Validates JSON text of undecoded arguments without building values.
//!
//! `serde_json` is not used because it rejects text that JavaScript accepts, such as a lone surrogate or a
//! number beyond the range of doubles, and does not limit the depth of ignored values.

use super::attachments::Resolver;

/// The maximum nesting depth. `serde_json` has the same limit.
pub(crate) const MAX_DEPTH: usize = 128;

/// Returns the length of the prefix without quotes, backslashes and control characters. Checks eight bytes at
/// a time.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        // The high bit is now set in each byte whose subtraction underflowed. A borrow may set further high
        // bits, but only in bytes after a match.
        let found = (control | quote | backslash) & !word & HIGH;
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    bytes.len() - rest.len() + rest.iter().take_while(is_plain).count()
}

/// The error that the text is not JSON or is nested too deeply, that a placeholder refers to a missing
/// attachment, or that two placeholders refer to the same attachment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Checks that the text is one JSON value.
pub(crate) fn check(text: &str) -> Result<(), Invalid> {
    check_depth(text, MAX_DEPTH)
}

/// Like [`check`], but with a custom depth limit.
pub(crate) fn check_depth(text: &str, max_depth: usize) -> Result<(), Invalid> {
    let mut scanner = Scanner::new(text);
    scanner.value(max_depth)?;
    scanner.end()
}

/// A scanner of JSON text that fails on invalid JSON.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    /// Processes the objects of a packet with attachments. `None` if the text is only validated.
    resolver: Option<Resolver<'a>>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, resolver: None }
    }

    pub(super) fn resolving(text: &'a str, resolver: Resolver<'a>) -> Self {
        Self { resolver: Some(resolver), ..Self::new(text) }
    }

    pub(super) fn into_resolver(self) -> Option<Resolver<'a>> {
        self.resolver
    }

    /// Checks that only whitespace follows.
    pub(crate) fn end(&mut self) -> Result<(), Invalid> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Invalid) }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<(), Invalid> {
        match self.token() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(Invalid),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Invalid> {
        let depth = self.open(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.closes(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Invalid> {
        let mut object = self.resolver.as_ref().map(|resolver| resolver.open(self.at));
        let depth = self.open(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let key_at = self.at;
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            let start = self.at;
            self.value(depth)?;
            if let (Some(resolver), Some(object)) = (&mut self.resolver, &mut object) {
                resolver.entry(object, key_at, key, start..self.at);
            }
            if self.closes(b'}')? {
                break;
            }
        }
        match (&mut self.resolver, object) {
            (Some(resolver), Some(object)) => resolver.close(&object, self.at),
            _ => Ok(()),
        }
    }

    /// Scans what follows an element. Returns `true` for the closing bracket, and `false` for a comma.
    fn closes(&mut self, bracket: u8) -> Result<bool, Invalid> {
        let next = self.token();
        self.at += 1;
        match next {
            Some(b',') => Ok(false),
            Some(next) if next == bracket => Ok(true),
            _ => Err(Invalid),
        }
    }

    /// Skips whitespace and returns the byte after it.
    fn token(&mut self) -> Option<u8> {
        self.space();
        self.peek()
    }

    /// Scans the opening bracket of an array or object. Returns the remaining depth.
    pub(crate) fn open(&mut self, depth: usize) -> Result<usize, Invalid> {
        self.at += 1;
        self.space();
        depth.checked_sub(1).ok_or(Invalid)
    }

    /// Scans the given key of an object, spelled without escapes, and the colon after it.
    #[cfg(feature = "msgpack")]
    pub(crate) fn key(&mut self, name: &[u8]) -> Result<(), Invalid> {
        if self.string()? != name {
            return Err(Invalid);
        }
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(())
    }

    /// Scans a string and returns the bytes between the quotes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Invalid> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(Invalid),
            }
        }
        let text = &self.bytes[start..self.at];
        self.at += 1;
        Ok(text)
    }

    /// Scans an escape.
    fn escape(&mut self) -> Result<(), Invalid> {
        self.at += 1;
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    self.next()?.is_ascii_hexdigit().then_some(()).ok_or(Invalid)?;
                }
                Ok(())
            }
            _ => Err(Invalid),
        }
    }

    pub(crate) fn number(&mut self) -> Result<(), Invalid> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// Scans one or more digits.
    pub(crate) fn digits(&mut self) -> Result<(), Invalid> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits > 0 { Ok(()) } else { Err(Invalid) }
    }

    pub(crate) fn literal(&mut self, text: &[u8]) -> Result<(), Invalid> {
        if self.bytes[self.at..].starts_with(text) {
            self.at += text.len();
            Ok(())
        } else {
            Err(Invalid)
        }
    }

    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Invalid> {
        let byte = self.peek().ok_or(Invalid)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, byte: u8) -> bool {
        if self.peek() != Some(byte) {
            return false;
        }
        self.at += 1;
        true
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.take(byte) { Ok(()) } else { Err(Invalid) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_what_javascript_takes() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            "[1,-0,0.5,1e9,1E-9,1e400,12345678901234567890123]",
            r#""\ud800""#,
            r#"{"a":{"b":[true,false,null]},"a":"\u00e9\/\b\f\n\r\t\"\\"}"#,
            "\"\u{7f}\u{2028}😀\"",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "[",
            "]",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nulll",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[]x",
            "NaN",
            "'a'",
        ] {
            assert_eq!(check(text), Err(Invalid), "{text}");
        }
    }

    #[test]
    fn depth_is_limited_exactly() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(Invalid));
        assert_eq!(check(&"[".repeat(1_000_000)), Err(Invalid));
        assert_eq!(check(&"{\"a\":".repeat(1_000_000)), Err(Invalid));
    }

    proptest! {
        #[test]
        fn what_is_plain_ends_at_the_first_byte_that_is_not(bytes: Vec<u8>, end in 0..40usize, last in r#"["\\\\\x00-\x1f]"#) {
            let mut text: Vec<u8> = bytes.into_iter().map(|byte| byte.max(0x23)).filter(|byte| *byte != b'\\').collect();
            prop_assert_eq!(plain(&text), text.len());
            let end = end.min(text.len());
            text.insert(end, last.as_bytes()[0]);
            prop_assert_eq!(plain(&text), end);
        }

        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,12}"#) {
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            // The results may differ only for out-of-range numbers and for surrogates.
            let range = parsed.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            let surrogate = parsed.as_ref().is_err_and(|error| error.to_string().contains("surrogate"));
            if !range && !surrogate && !text.contains("\\u") {
                prop_assert_eq!(check(&text).is_ok(), parsed.is_ok(), "{}", text);
            }
        }
    }
}
