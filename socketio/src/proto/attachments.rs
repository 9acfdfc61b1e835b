//! Handles the attachments of a packet and the placeholders in its JSON text:
//! <https://socket.io/docs/v4/socket-io-protocol/#packet-encoding>.

use std::{borrow::Cow, cell::Cell, fmt, fmt::Write as _, ops::Range};

use bytes::Bytes;
use serde::de;

use super::{
    json::{Invalid, MAX_DEPTH, Scanner},
    leniency::whole,
};

/// The key that marks an object as a placeholder.
pub(crate) const PLACEHOLDER: &str = "_placeholder";
/// The spelling of a user key that is equal to [`PLACEHOLDER`]. A JSON parser decodes the same key, but this
/// crate does not treat the key as the mark of a placeholder.
pub(crate) const ESCAPED_PLACEHOLDER: &str = r"\u005fplaceholder";
/// The text of a placeholder before its index, as written by this crate and most clients.
const START: &str = r#"{"_placeholder":true,"num":"#;

/// The attachments of a packet that is being decoded.
#[derive(Clone, Copy)]
pub(crate) enum Attachments<'a> {
    /// Attachments that are copied when they are decoded.
    Shared(&'a [Bytes]),
    /// Attachments that are moved out when they are decoded. They are not copied unless their memory is
    /// shared.
    Owned(&'a [Cell<Bytes>]),
}

impl Attachments<'_> {
    pub(crate) const NONE: Self = Self::Shared(&[]);

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Shared(attachments) => attachments.is_empty(),
            Self::Owned(attachments) => attachments.is_empty(),
        }
    }

    pub(super) fn is_owned(&self) -> bool {
        matches!(self, Self::Owned(_))
    }

    /// Returns handles that share the memory of the attachments.
    pub(crate) fn share(&self) -> Box<[Bytes]> {
        match self {
            Self::Shared(attachments) => (*attachments).into(),
            Self::Owned(attachments) => {
                let share = |attachment: &Cell<Bytes>| {
                    let bytes = attachment.take();
                    attachment.set(bytes.clone());
                    bytes
                };
                attachments.iter().map(share).collect()
            }
        }
    }

    /// Returns the attachments. `Owned` attachments are moved out.
    pub(crate) fn take(&self) -> Box<[Bytes]> {
        match self {
            Self::Shared(attachments) => (*attachments).into(),
            Self::Owned(attachments) => attachments.iter().map(Cell::take).collect(),
        }
    }

    /// Passes an attachment to the visitor of a type.
    pub(crate) fn visit<'de, V, E>(&self, num: usize, visitor: V) -> Result<V::Value, E>
    where
        V: de::Visitor<'de>,
        E: de::Error,
    {
        let missing = || E::custom("there is no such attachment");
        match self {
            Self::Shared(attachments) => visitor.visit_bytes(attachments.get(num).ok_or_else(missing)?),
            Self::Owned(attachments) => {
                visitor.visit_byte_buf(attachments.get(num).ok_or_else(missing)?.take().into())
            }
        }
    }
}

impl<'a> From<&'a mut [Bytes]> for Attachments<'a> {
    fn from(attachments: &'a mut [Bytes]) -> Self {
        Self::Owned(Cell::from_mut(attachments).as_slice_of_cells())
    }
}

impl fmt::Debug for Attachments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, len) = match self {
            Self::Shared(attachments) => ("Kept", attachments.len()),
            Self::Owned(attachments) => ("Given", attachments.len()),
        };
        f.debug_tuple(kind).field(&len).finish()
    }
}

/// Validates the text of a packet with attachments. The text must be JSON of bounded depth, and each
/// placeholder must refer to a different attachment. If there are no attachments, the text is not validated,
/// and no object is a placeholder.
///
/// In the returned text, all placeholders have the same form, and the key `_placeholder` is escaped in all
/// other objects. Therefore, the first key of an object identifies a placeholder. An attachment without a
/// placeholder is accepted, because clients send such attachments if an object omits some of its parts.
pub(crate) fn resolve(text: &str, attachments: usize) -> Result<Cow<'_, str>, Invalid> {
    if attachments == 0 {
        return Ok(Cow::Borrowed(text));
    }
    let resolver = Resolver { text, attachments, next: 0, used: Vec::new(), edits: Vec::new() };
    let mut scanner = Scanner::resolving(text, resolver);
    scanner.value(MAX_DEPTH)?;
    scanner.end()?;
    let edits = scanner.into_resolver().map(|resolver| resolver.edits).unwrap_or_default();
    Ok(if edits.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(apply_edits(text, edits)) })
}

/// Processes the objects of a text while the text is scanned.
pub(super) struct Resolver<'a> {
    text: &'a str,
    attachments: usize,
    /// The number of placeholders found so far. Counted only while the placeholders are in the order of their
    /// indices.
    next: usize,
    /// For each attachment, `true` if a placeholder refers to it. Empty while the placeholders are in the
    /// order of their indices.
    used: Vec<bool>,
    /// The changes of the text. They do not overlap.
    edits: Vec<Edit>,
}

/// A change of the text.
enum Edit {
    /// Rewrites a placeholder that is not in canonical form. The fields are the range of the object and its
    /// index.
    Placeholder(Range<usize>, usize),
    /// Escapes a key that is equal to the mark but does not mark a placeholder. The field is the position of
    /// the opening quote.
    Key(usize),
}

impl Edit {
    fn start(&self) -> usize {
        match self {
            Self::Placeholder(object, _) => object.start,
            Self::Key(start) => *start,
        }
    }
}

/// The state of a partially scanned object.
pub(super) struct Object {
    start: usize,
    /// The number of edits that were recorded before the object.
    edits: usize,
    /// The position of the mark, and whether its value is `true`.
    mark: Option<(usize, bool)>,
    num: Option<usize>,
}

impl Resolver<'_> {
    /// Begins an object whose text starts at `start`.
    pub(super) fn open(&self, start: usize) -> Object {
        Object { start, edits: self.edits.len(), mark: None, num: None }
    }

    /// Records an entry, whose value may follow whitespace. If an object has several entries with the same
    /// key, the last entry is used.
    pub(super) fn entry(&mut self, object: &mut Object, at: usize, key: &[u8], value: Range<usize>) {
        if key == PLACEHOLDER.as_bytes() {
            let mark = (at, self.text[value].trim_ascii_start() == "true");
            let other = object.mark.replace(mark);
            self.edits.extend(other.map(|(at, _)| Edit::Key(at)));
        } else if key == b"num" {
            let value = self.text[value].trim_ascii_start();
            let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            object.num = match value.parse() {
                Ok(num) => Some(num),
                Err(_) if is_number => whole(value).and_then(|num| num.parse().ok()),
                Err(_) => None,
            };
        }
    }

    /// Records the end of an object.
    pub(super) fn close(&mut self, object: &Object, end: usize) -> Result<(), Invalid> {
        match object.mark {
            None => {}
            Some((at, false)) => self.edits.push(Edit::Key(at)),
            Some((_, true)) => {
                let num = object.num.ok_or(Invalid)?;
                self.mark_used(num)?;
                self.edits.truncate(object.edits);
                if !is_canonical(&self.text[object.start..end]) {
                    self.edits.push(Edit::Placeholder(object.start..end, num));
                }
            }
        }
        Ok(())
    }

    /// Records that a placeholder refers to an attachment. Fails if the attachment does not exist, or if
    /// another placeholder refers to it.
    fn mark_used(&mut self, num: usize) -> Result<(), Invalid> {
        if num >= self.attachments {
            return Err(Invalid);
        }
        if self.used.is_empty() {
            if num == self.next {
                self.next += 1;
                return Ok(());
            }
            self.used = (0..self.attachments).map(|num| num < self.next).collect();
        }
        if std::mem::replace(&mut self.used[num], true) { Err(Invalid) } else { Ok(()) }
    }
}

/// Returns `true` if a placeholder has the form that this crate writes.
fn is_canonical(placeholder: &str) -> bool {
    let num = placeholder.strip_prefix(START).and_then(|rest| rest.strip_suffix('}'));
    num.is_some_and(|num| num.bytes().all(|byte| byte.is_ascii_digit()))
}

fn apply_edits(text: &str, mut edits: Vec<Edit>) -> String {
    // The edits of an object may be recorded after the edits of the objects inside.
    edits.sort_unstable_by_key(Edit::start);
    let longer = ESCAPED_PLACEHOLDER.len() - PLACEHOLDER.len();
    let mut out = String::with_capacity(text.len() + longer * edits.len());
    let mut done = 0;
    for edit in edits {
        match edit {
            Edit::Placeholder(object, num) => {
                out.push_str(&text[done..object.start]);
                // Writing to a string cannot fail.
                let _ = write!(out, "{START}{num}}}");
                done = object.end;
            }
            Edit::Key(start) => {
                out.push_str(&text[done..=start]);
                out.push_str(ESCAPED_PLACEHOLDER);
                done = start + 1 + PLACEHOLDER.len();
            }
        }
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_must_refer_to_an_attachment() {
        for num in ["1", "-1", "0.5", "1e99", "\"splice\"", "null", "[0]", "18446744073709551615"] {
            let text = format!(r#"[[{{"_placeholder":true,"num":{num}}}]]"#);
            assert_eq!(resolve(&text, 1), Err(Invalid), "{num}");
            // A packet without attachments has no placeholders.
            assert_eq!(resolve(&text, 0), Ok(Cow::Borrowed(&*text)), "{num}");
        }
        assert_eq!(resolve(r#"{"_placeholder":true}"#, 1), Err(Invalid));
        for fine in [
            r#"[{"_placeholder":true,"num":1},{"a":[{"_placeholder":true,"num":0}]}]"#,
            r#"[{"_placeholder":true,"num":1},{"num":9},{"num":"x"}]"#,
            r#"["a"]"#,
        ] {
            let text = resolve(fine, 2);
            assert!(matches!(text, Ok(Cow::Borrowed(text)) if text == fine), "{text:?}");
        }
        for broken in ["[", "[]x", r#"["\x"]"#, &"[".repeat(1_000_000)] {
            assert_eq!(resolve(broken, 1), Err(Invalid));
        }
    }

    #[test]
    fn no_two_placeholders_are_the_same() {
        let place = |num: &str| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        for nums in [["0", "0"], ["1", "1"], ["0", "0.0"], ["1", "10e-1"], ["0", "-0"]] {
            let [a, b] = nums.map(place);
            for text in [format!("[{a},{b}]"), format!(r#"{{"a":{a},"b":[{b}]}}"#)] {
                assert_eq!(resolve(&text, 2), Err(Invalid), "{text}");
            }
        }
        // If a key is repeated, the last entry is used. A key with an escape is ignored.
        for (text, is_valid) in [
            (r#"[{"_placeholder":true,"num":1,"num":0},{"_placeholder":true,"num":0}]"#, false),
            (r#"[{"_placeholder":true,"num":0,"num":1},{"_placeholder":true,"num":0}]"#, true),
            (r#"[{"_placeholder":true,"num":1,"\u006eum":0},{"_placeholder":true,"num":1}]"#, false),
            (r#"[{"_placeholder":true,"\u006eum":0}]"#, false),
        ] {
            assert_eq!(resolve(text, 2).is_ok(), is_valid, "{text}");
        }
    }

    #[test]
    fn placeholders_are_written_in_one_way_and_what_looks_like_one_is_not() {
        for (text, expected) in [
            (r#"[1,{"num":0,"_placeholder":true},2]"#, r#"[1,{"_placeholder":true,"num":0},2]"#),
            (r#"{ "_placeholder" : true , "num" : 1 }"#, r#"{"_placeholder":true,"num":1}"#),
            (
                r#"["é",{"_placeholder":true,"num":0,"x":{"_placeholder":[]}},{"_placeholder":true,"num":1.0}]"#,
                r#"["é",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            ),
            (
                r#"{"_placeholder":"true","a":{"num":0,"_placeholder":true},"_placeholder":{"_placeholder":1}}"#,
                r#"{"\u005fplaceholder":"true","a":{"_placeholder":true,"num":0},"\u005fplaceholder":{"\u005fplaceholder":1}}"#,
            ),
            (
                r#"{"_placeholder":true,"_placeholder":false}"#,
                r#"{"\u005fplaceholder":true,"\u005fplaceholder":false}"#,
            ),
            (r#"{"_placeholder":false,"_placeholder":true,"num":0}"#, r#"{"_placeholder":true,"num":0}"#),
        ] {
            assert_eq!(resolve(text, 2).as_deref(), Ok(expected), "{text}");
            assert!(matches!(resolve(expected, 2), Ok(Cow::Borrowed(_))), "{expected}");
        }
    }

    #[test]
    fn what_is_given_is_taken_and_what_is_kept_stays() {
        let mut attachments = [Bytes::from(vec![1; 100]), Bytes::from_static(b"static")];
        assert_eq!(Attachments::Shared(&attachments).take()[0], attachments[0]);
        let given = Attachments::from(&mut attachments[..]);
        assert_eq!(given.share()[1], "static");
        assert_eq!(given.take()[1], "static");
        assert_eq!(given.take()[1], "");
        assert_eq!(format!("{given:?} {:?}", Attachments::NONE), "Given(2) Kept(0)");
    }
}
