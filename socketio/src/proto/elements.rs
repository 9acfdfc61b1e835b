//! Finds the elements of a JSON array without decoding them.

use super::json::plain;

/// The number of elements per index entry. Elements between index entries are found by scanning. The index is
/// therefore smaller than the text, even if all elements are single digits.
const STEP: usize = 8;

/// An iterator over the texts of the elements of a JSON array. The array must be valid JSON.
pub(crate) struct Elements<'a> {
    array: &'a str,
    /// The byte offset after the bracket or comma that precedes the next element.
    at: usize,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(array: &'a str) -> Self {
        Self { array, at: 1 }
    }

    /// Returns the text of the remaining elements, including the closing bracket.
    pub(crate) fn rest(&self) -> &'a str {
        self.array.get(self.at..).unwrap_or("]")
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.array.get(self.at..)?;
        let len = element_len(rest.as_bytes())?;
        let element = rest.get(..len)?.trim_ascii();
        // After the last element, move past the end of the array, so that further calls return `None`.
        self.at += if rest.as_bytes()[len] == b',' { len + 1 } else { rest.len() + 1 };
        // An element is empty only if the array is empty.
        (!element.is_empty()).then_some(element)
    }
}

/// Returns the number of bytes before the comma or bracket that follows an element.
fn element_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b',' | b']' if depth == 0 => return Some(at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b'"' => at += string_len(&bytes[at + 1..])?,
            _ => {}
        }
        at += 1;
    }
}

/// Returns the length of a string after its opening quote, including the closing quote.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += plain(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of an array and the positions of some of its elements.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    len: usize,
    /// The byte offset of every [`STEP`]th element.
    places: Box<[usize]>,
}

impl Index {
    pub(crate) fn new(array: &str) -> Self {
        let mut elements = Elements::new(array);
        let (mut len, mut places) = (0, Vec::new());
        loop {
            let at = elements.at;
            if elements.next().is_none() {
                return Self { len, places: places.into() };
            }
            if len % STEP == 0 {
                places.push(at);
            }
            len += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the element at index `at`. `array` must be the text that the index was built from.
    pub(crate) fn get<'a>(&self, array: &'a str, at: usize) -> Option<&'a str> {
        self.from(array, at).next()
    }

    /// Returns an iterator over the elements from index `at` on.
    pub(crate) fn from<'a>(&self, array: &'a str, at: usize) -> Elements<'a> {
        let place = self.places.get(at / STEP).filter(|_| at < self.len);
        let mut elements = Elements { array, at: place.copied().unwrap_or(array.len() + 1) };
        elements.by_ref().take(at % STEP).for_each(drop);
        elements
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, value::RawValue};

    use super::*;

    fn elements(array: &str) -> Vec<&str> {
        let all: Vec<&str> = Elements::new(array).collect();
        let index = Index::new(array);
        assert_eq!(index.len(), all.len());
        for (at, element) in all.iter().enumerate() {
            assert_eq!(index.get(array, at), Some(*element));
            assert!(index.from(array, at).eq(all[at..].iter().copied()));
        }
        for beyond in [all.len(), all.len() + 1, all.len() + STEP, usize::MAX] {
            assert_eq!(index.get(array, beyond), None);
            assert_eq!(index.from(array, beyond).rest(), "]");
        }
        all
    }

    #[test]
    fn elements_are_found_whatever_they_are() {
        assert_eq!(elements("[]"), [""; 0]);
        assert_eq!(elements("[ \n] "), [""; 0]);
        assert_eq!(elements("[1]"), ["1"]);
        assert_eq!(elements(r#"[ [1,{"a":[]}] , "],\"\\" ,{} ] "#), [r#"[1,{"a":[]}]"#, r#""],\"\\""#, "{}"]);
        assert_eq!(elements(r#"["é\u00e9,","",[[]],null]"#), [r#""é\u00e9,""#, r#""""#, "[[]]", "null"]);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(elements(&format!("[{}]", many.join(","))), many);
        // This array is nested deeper than any decoder accepts.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(elements(&format!("[{deep},1]")), [&*deep, "1"]);
    }

    #[test]
    fn the_rest_is_what_follows() {
        let mut all = Elements::new("[1, 2,3 ]");
        assert_eq!(all.rest(), "1, 2,3 ]");
        all.next();
        assert_eq!(all.rest(), " 2,3 ]");
        all.by_ref().for_each(drop);
        assert_eq!((all.rest(), all.next()), ("]", None));
    }

    #[test]
    fn the_places_take_less_than_the_text() {
        let array = format!("[{}0]", "0,".repeat(99_999));
        let index = Index::new(&array);
        assert!(size_of_val(&*index.places) < array.len());
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(values in prop::collection::vec("[ -~é]{0,9}", 0..30), space in "[ \n\t]{0,2}") {
            let texts: Vec<Value> = values.into_iter().map(Value::from).collect();
            let nested = Value::from(texts.clone()).to_string();
            let all: Vec<String> = texts.iter().map(Value::to_string).chain([nested]).collect();
            let array = format!("[{space}{}{space}]", all.join(&format!("{space},{space}")));
            let expected: Vec<&RawValue> = serde_json::from_str(&array).unwrap();
            let expected: Vec<&str> = expected.into_iter().map(RawValue::get).collect();
            prop_assert_eq!(elements(&array), expected);
        }

        #[test]
        fn any_text_is_gone_through_once(text in r#"\[[\[\]{}",:0-9\\ é]{0,16}"#) {
            let len: usize = Elements::new(&text).map(|element| element.len() + 1).sum();
            prop_assert!(len <= text.len());
            Index::new(&text);
        }
    }
}
