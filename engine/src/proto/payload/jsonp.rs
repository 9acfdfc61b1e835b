//! JSONP polling, for old browsers without cross-origin requests. Responses are scripts that call a function,
//! and clients send packets in a form field.

use std::{fmt::Write as _, num::NonZeroU32};

/// The JavaScript function that receives the responses: `___eio[<number>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jsonp(
    /// The number plus one, which allows `Option<Jsonp>` to be stored in four bytes.
    NonZeroU32,
);

impl Jsonp {
    /// Parses the query parameter `j`. As in Node.js, all characters except digits are removed first. The
    /// function name can therefore contain only a number.
    pub(crate) fn from_query(j: &str) -> Option<Self> {
        let digits: String = j.chars().filter(char::is_ascii_digit).collect();
        let number: u32 = digits.parse().ok()?;
        number.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    /// Wraps the body of a response to a poll in a script.
    pub(crate) fn wrap(self, body: &[u8]) -> Vec<u8> {
        let mut script = format!("___eio[{}](", self.0.get() - 1);
        // Serializing a string cannot fail, and packets are text.
        let text = serde_json::to_string(&String::from_utf8_lossy(body)).unwrap_or_default();
        for char in text.chars() {
            match char {
                // Old engines treat U+2028 and U+2029 as line terminators, which a literal must not contain.
                // In an HTML page, `</script` would end the script, and `<!--` would hide the end of the
                // script.
                '\u{2028}' | '\u{2029}' | '<' => drop(write!(script, "\\u{:04x}", u32::from(char))),
                _ => script.push(char),
            }
        }
        script.push_str(");");
        script.into_bytes()
    }
}

/// Returns the packets in a form. Returns `None` unless the form has exactly one field `d`.
pub(crate) fn unwrap(form: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(form).filter_map(|(name, value)| (name == "d").then_some(value));
    let field = fields.next()?;
    fields.next().is_none().then(|| unescape(&field))
}

/// Reverts the escaping of clients. Forms change line endings, so clients send a newline as `\n`, and the
/// text `\n` as `\\n`.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix(r"\\n") {
            text.push_str(r"\n");
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix(r"\n") {
            text.push('\n');
            rest = behind;
        } else {
            text.push('\\');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrap(j: &str, body: &str) -> String {
        String::from_utf8(Jsonp::from_query(j).unwrap().wrap(body.as_bytes())).unwrap()
    }

    #[test]
    fn answers_are_scripts() {
        assert_eq!(wrap("0", "1:6"), r#"___eio[0]("1:6");"#);
        assert_eq!(wrap("x4](alert", "6:4a\"\\\nb"), r#"___eio[4]("6:4a\"\\\nb");"#);
        assert_eq!(wrap("12", "2\u{1e}4é"), r#"___eio[12]("2\u001e4é");"#);
        assert_eq!(wrap("007", "\u{2028}\u{2029}"), r#"___eio[7]("\u2028\u2029");"#);
        // In an HTML page, these messages would end the script or hide the end of the script.
        assert_eq!(wrap("1", "4</script>"), r#"___eio[1]("4\u003c/script>");"#);
        assert_eq!(wrap("1", "4<!--<script"), r#"___eio[1]("4\u003c!--\u003cscript");"#);
    }

    #[test]
    fn only_numbers_name_a_function() {
        for j in ["", "abc", "4294967295", "99999999999999999999"] {
            assert_eq!(Jsonp::from_query(j), None, "{j}");
        }
        assert!(Jsonp::from_query("4294967294").is_some());
        assert_eq!(size_of::<Option<Jsonp>>(), 4);
    }

    #[test]
    fn packets_come_in_a_form() {
        assert_eq!(unwrap(b"d=6%3A4hello"), Some("6:4hello".into()));
        assert_eq!(unwrap(b"x=1&d=4a+b%C3%A9"), Some("4a bé".into()));
        assert_eq!(unwrap(b"d="), Some(String::new()));
        for nothing in [&b""[..], b"x=1", b"d=1&d=2", b"6:4hello"] {
            assert_eq!(unwrap(nothing), None);
        }
    }

    #[test]
    fn newlines_are_escaped_in_forms() {
        for (sent, meant) in [
            (r"a\nb", "a\nb"),
            (r"a\\nb", r"a\nb"),
            (r"a\\\nb", r"a\\nb"),
            (r"\\\\n", r"\\\n"),
            (r"\n\\n\n", "\n\\n\n"),
            (r"\t\", r"\t\"),
            (r"é\né", "é\né"),
        ] {
            assert_eq!(unescape(sent), meant, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn what_clients_escape_is_what_they_meant(text: String, tricky in "[\\\\n\ra]{0,20}") {
            // The client encodes a backslash before a newline ambiguously. JSON never contains this sequence.
            for meant in [text, tricky].into_iter().filter(|meant| !meant.contains("\\\n")) {
                // This is the escaping of the official client.
                let sent = meant.replace(r"\n", "\\\n").replace('\n', r"\n");
                prop_assert_eq!(unescape(&sent), meant);
            }
        }

        #[test]
        fn never_panics(form: Vec<u8>) {
            unwrap(&form);
        }
    }
}
