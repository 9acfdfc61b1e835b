//! Fuzzes the functions for JSON text that is passed on undecoded.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};

use crate::proto::{
    attachments::resolve,
    elements::{Elements, Index},
    json::check,
    leniency,
};

/// Asserts that validation agrees with `serde_json`, except for the depth of ignored values.
pub fn json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
    assert_eq!(check(text).is_ok(), valid && depth(text) <= 128, "{text}");
    // Resolving placeholders never makes invalid text valid, and is idempotent.
    if let Ok(resolved) = resolve(text, 2) {
        assert!(valid && check(&resolved).is_ok(), "{text}");
        assert!(matches!(resolve(&resolved, 2), Ok(Cow::Borrowed(_))), "{text} {resolved}");
        assert!(resolved.len() <= 2 * text.len(), "{text}");
    }
    // Lenient decoding accepts only valid JSON, and returns the same value as strict decoding if strict
    // decoding succeeds.
    if let Ok(value) = leniency::from_str::<Value>(text) {
        assert!(valid, "{text}");
        assert!(serde_json::from_str::<Value>(text).map_or(true, |strict| strict == value), "{text}");
    }
    elements(text, valid);
}

/// Checks the element boundaries against `serde_json`. For invalid JSON, any boundaries are accepted.
fn elements(text: &str, valid: bool) {
    if !text.starts_with('[') {
        return;
    }
    let index = Index::new(text);
    let found: Vec<&str> = Elements::new(text).collect();
    assert_eq!(index.len(), found.len());
    assert!((0..found.len()).all(|at| index.get(text, at) == Some(found[at])), "{text}");
    if let (true, Ok(expected)) = (valid, serde_json::from_str::<Vec<&RawValue>>(text)) {
        assert!(found.iter().copied().eq(expected.iter().map(|value| value.get())), "{text}");
    }
}

/// Returns the nesting depth of valid JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
