//! Session ids, which are secrets of 120 random bits.

use std::{borrow::Borrow, fmt};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::Rng;

/// The number of random bytes in an id. Fifteen bytes are encoded as twenty characters of base64 without
/// padding.
const RANDOM_BYTES: usize = 15;
pub(crate) const LENGTH: usize = 20;

/// The id of an Engine.IO session. It consists of 120 bits from a cryptographically secure generator, encoded
/// as 20 characters.
///
/// The id is a secret, because anyone who has it can read and write the session over long-polling. Do not
/// show it to other clients, and do not log it. The ids of the Node.js server have the same length and
/// alphabet, but only 96 random bits.
///
/// # Examples
///
/// ```
/// use engineio::Sid;
///
/// let sid = Sid::random();
/// assert_eq!(sid.as_str().len(), 20);
/// assert_eq!(Sid::parse(sid.as_str()), Some(sid));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; LENGTH]);

impl Sid {
    /// Generates a new id.
    pub fn random() -> Self {
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill_bytes(&mut random);
        let mut text = [0; LENGTH];
        // The output is exactly as long as the array, so the encoder cannot fail.
        let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(random, &mut text);
        Self(text)
    }

    /// Parses an id sent by a client. Returns `None` if `text` is not a well-formed id.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes.iter().all(valid).then_some(Self(bytes))
    }

    /// Returns the 20 characters of the id.
    pub fn as_str(&self) -> &str {
        // Only base64 characters are stored, so the default is unreachable.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Allows a lookup by the bytes sent by a client, without validating these bytes first.
impl Borrow<[u8; LENGTH]> for Sid {
    fn borrow(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// Compares an id with a text.
impl PartialEq<str> for Sid {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other.as_bytes()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    /// Shows only the first characters, because readers of logs must not be able to hijack a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}..)", &self.as_str()[..4])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_thousand_ids_differ_in_every_position() {
        let ids: HashSet<Sid> = (0..10_000).map(|_| Sid::random()).collect();
        assert_eq!(ids.len(), 10_000);
        for at in 0..LENGTH {
            let seen: HashSet<u8> = ids.iter().map(|sid| sid.0[at]).collect();
            assert!(seen.len() >= 60, "position {at} takes only {} of 64 values", seen.len());
        }
    }

    #[test]
    fn only_the_alphabet_and_length_of_ids_parse() {
        for bad in
            ["", "__proto__", "abc", "aaaaaaaaaaaaaaaaaaa/", "aaaaaaaaaaaaaaaaaaaaa", "ééééééééééaaaaa"]
        {
            assert_eq!(Sid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let sid = Sid::parse("abcdefghijklmnopqrst").unwrap();
        assert_eq!(format!("{sid:?}"), "Sid(abcd..)");
    }
}
