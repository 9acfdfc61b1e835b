//! Decodes JSON leniently, so that lone surrogates and integers with a fraction are accepted.
//!
//! JavaScript strings may contain half of a surrogate pair, which JSON represents with an escape, and many
//! languages write the number 7 as `7.0`. Rust types reject both values. If decoding fails, such values are
//! rewritten and the text is decoded again. Text without attachments that can be decoded strictly has no
//! overhead.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{
    attachments::Attachments,
    json::{self, Scanner},
};

/// The replacement of a lone surrogate. It has the same length as the escape of a surrogate.
const REPLACEMENT: &str = r"\ufffd";

/// Decodes a value from JSON text.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    read(text, Attachments::NONE, |text, _| serde_json::from_str(text))
}

/// Decodes text and attachments with `read`. If decoding fails and the text contains values to rewrite,
/// rewrites the text and calls `read` again.
pub(crate) fn read<T>(
    text: &str,
    attachments: Attachments<'_>,
    read: impl Fn(&str, Attachments<'_>) -> Result<T, serde_json::Error>,
) -> Result<T, serde_json::Error> {
    if attachments.is_empty() || !attachments.is_owned() {
        return read(text, attachments).or_else(|error| match relaxed(text) {
            Some(relaxed) => read(&relaxed, attachments),
            None => Err(error),
        });
    }
    // The first call of `read` moves owned attachments out, so they would be missing in a second call. Check
    // first whether a second call is possible.
    let Some(relaxed) = relaxed(text) else { return read(text, attachments) };
    let shared = attachments.share();
    read(text, Attachments::Shared(&shared)).or_else(|_| {
        drop(shared);
        read(&relaxed, attachments)
    })
}

/// Returns the text with each lone surrogate replaced, and with integers written without a fraction. Returns
/// `None` if there is nothing to rewrite, or if the text is not JSON.
#[cold]
fn relaxed(text: &str) -> Option<String> {
    // Rewriting must not turn invalid text into valid JSON, such as `7.0.0` without its fraction.
    json::check(text).ok()?;
    let mut rewriting = Rewriting { text, done: 0, out: String::new() };
    let mut scanner = Scanner::new(text);
    while let Some(byte) = scanner.peek() {
        let start = scanner.at;
        match byte {
            b'"' => {
                scanner.string().ok()?;
                rewriting.string(start, scanner.at);
            }
            b'-' | b'0'..=b'9' => {
                scanner.number().ok()?;
                if let Some(whole) = whole(&text[start..scanner.at]) {
                    rewriting.replace(start, scanner.at, &whole);
                }
            }
            _ => scanner.at += 1,
        }
    }
    rewriting.finish()
}

struct Rewriting<'a> {
    text: &'a str,
    /// The text before this byte offset is already in `out`.
    done: usize,
    out: String,
}

impl Rewriting<'_> {
    fn replace(&mut self, start: usize, end: usize, by: &str) {
        self.out.push_str(&self.text[self.done..start]);
        self.out.push_str(by);
        self.done = end;
    }

    /// Replaces the lone surrogates of a well-formed JSON string.
    fn string(&mut self, start: usize, end: usize) {
        let text = self.text;
        let mut at = start;
        while let Some(escape) = text[at..end].find('\\') {
            at += escape;
            match (unit(text, at), unit(text, at + REPLACEMENT.len())) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at += 2 * REPLACEMENT.len(),
                (Some(0xd800..0xe000), _) => {
                    self.replace(at, at + REPLACEMENT.len(), REPLACEMENT);
                    at += REPLACEMENT.len();
                }
                // Skip the escaped character, which may be a backslash.
                _ => at += 2,
            }
        }
    }

    fn finish(mut self) -> Option<String> {
        if self.done == 0 {
            return None;
        }
        self.out.push_str(&self.text[self.done..]);
        Some(self.out)
    }
}

/// Returns the code unit of an escape such as `\ud83d`.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + REPLACEMENT.len())?.strip_prefix(r"\u")?;
    u16::from_str_radix(digits, 16).ok()
}

/// Returns the digits of an integer that is written with a fraction or an exponent, or is `-0`. Returns
/// `None` for any other number. If the number has an exponent, its absolute value must fit in 64 bits.
pub(super) fn whole(number: &str) -> Option<Cow<'_, str>> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if mantissa.len() == number.len() {
        let is_odd = integer.len() < number.len() || integer == "-0";
        let is_whole = fraction.bytes().all(|digit| digit == b'0');
        return (is_odd && is_whole).then_some(if integer == "-0" { "0" } else { integer }.into());
    }
    let (sign, integer) = integer.strip_prefix('-').map_or(("", integer), |integer| ("-", integer));
    let (mut value, mut zeros) = (0_u64, 0_u32);
    for digit in integer.bytes().chain(fraction.bytes()) {
        if digit != b'0' {
            value = value.checked_mul(10_u64.checked_pow(zeros + 1)?)?.checked_add((digit - b'0').into())?;
            zeros = 0;
        } else if value > 0 {
            zeros += 1;
        }
    }
    if value == 0 {
        return Some("0".into());
    }
    // `value` without its trailing zeros is multiplied by ten to this power.
    let power = exponent.parse::<i64>().ok()?.checked_add(zeros.into())?;
    let power = power.checked_sub(fraction.len().try_into().ok()?)?;
    let value = value.checked_mul(10_u64.checked_pow(power.try_into().ok()?)?)?;
    Some(format!("{sign}{value}").into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_stay() {
        for (text, expected) in [
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#""\uD83D\uD83D\uDE00\uDE00x""#, r#""\ufffd\uD83D\uDE00\ufffdx""#),
            (r#"{"a\udfff":"\ud800\n\u0041\dc00"}"#, ""),
            (
                r#"{"a\udfff":"\ud800\n\u0041\\udc00é\\\udc00"}"#,
                r#"{"a\ufffd":"\ufffd\n\u0041\\udc00é\\\ufffd"}"#,
            ),
        ] {
            assert_eq!(relaxed(text).unwrap_or_default(), expected, "{text}");
        }
        for text in
            [r#"["\ud83d\ude00","\\ud83d","7.0"]"#, "[7,0.5,-1,1e400]", "", r#"["\ud83d"#, r#"["\ud83"]"#]
        {
            assert_eq!(relaxed(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_lose_their_fraction() {
        for (number, expected) in [
            ("7.0", "7"),
            ("-7.000", "-7"),
            ("0.0", "0"),
            ("-0", "0"),
            ("-0.0e-5", "0"),
            ("0e99999999999999999999", "0"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("12.50e1", "125"),
            ("0.00012e5", "12"),
            ("1500e-2", "15"),
            ("9007199254740993.0", "9007199254740993"),
            ("18446744073709551615.0", "18446744073709551615"),
            ("-9223372036854775808.0", "-9223372036854775808"),
            ("1844674407370955161.5e1", "18446744073709551615"),
            // The number is too large for 64 bits, which is detected when it is decoded.
            ("18446744073709551616.0", "18446744073709551616"),
        ] {
            assert_eq!(whole(number).as_deref(), Some(expected), "{number}");
        }
        for number in [
            "7",
            "0.5",
            "-1e-1",
            "1501e-2",
            "4503599627370497.4",
            "1844674407370955161.6e1",
            "18446744073709551616e0",
            "1e20",
            "1e99999999999999999999",
            "1e9223372036854775807",
            "0.1e-9223372036854775808",
        ] {
            assert_eq!(whole(number), None, "{number}");
        }
        let (zeros, length) = ("0".repeat(100_000), 100_000);
        assert_eq!(whole(&format!("1{zeros}e-{length}")).as_deref(), Some("1"));
        assert_eq!(whole(&format!("0.{zeros}1e{}", length + 1)).as_deref(), Some("1"));
    }

    #[test]
    fn what_is_not_json_does_not_become_json() {
        for text in [
            "[1.,7.0]",
            "[01.0]",
            "[-.0]",
            "[7.0",
            "[7.0]x",
            "7.0.0",
            "7.0-0",
            r#"["\ud83d""#,
            r#"["\ud83d",]"#,
        ] {
            assert!(from_str::<serde_json::Value>(text).is_err(), "{text}");
            assert!(from_str::<Vec<u8>>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_stays_what_it_is(text in r#"[\[\]{}",:0-9a-f\\ud83 .eE+-]{0,16}"#) {
            let before = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            if let Some(relaxed) = relaxed(&text) {
                prop_assert_eq!(serde_json::from_str::<serde::de::IgnoredAny>(&relaxed).is_ok(), before, "{}", text);
            }
        }

        #[test]
        fn whole_numbers_are_those_of_a_decimal(mantissa in 0..100_000u32, exponent in -6..7i32) {
            let value = f64::from(mantissa) * 10f64.powi(exponent);
            let is_whole = (value - value.round()).abs() < 1e-9;
            let expected = is_whole.then(|| value.round().to_string());
            let number = format!("{mantissa}e{exponent}");
            prop_assert_eq!(whole(&number).map(Cow::into_owned), expected);
        }
    }
}
