//! A tokenizer for source files that is sufficient for paths and blocks.

/// A token and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) line: usize,
    /// A name, `::`, or another character. Literals and comments are omitted.
    pub(super) text: &'a str,
}

/// Splits a source file into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let len = skipped(rest).unwrap_or_else(|| {
            let len = match first {
                _ if first.is_alphanumeric() || first == '_' => name_len(rest),
                _ if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { line, text: &rest[..len] });
            len
        });
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

fn name_len(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Returns the length of white space, a comment, a literal or a lifetime at the start of the text.
fn skipped(text: &str) -> Option<usize> {
    let after =
        |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let first = text.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(after("*/", 2));
    }
    // A string literal with an optional prefix.
    let prefix = ["", "b", "c", "r", "br", "cr"].into_iter().find(|prefix| {
        let literal = text.strip_prefix(prefix);
        let raw = prefix.ends_with('r');
        literal.is_some_and(|rest| {
            rest.starts_with('"')
                || raw && rest.trim_start_matches('#').starts_with('"') && rest.starts_with('#')
        })
    });
    if let Some(prefix) = prefix {
        if prefix.ends_with('r') {
            let hashes = text[prefix.len()..].find('"')?;
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(after(&end, prefix.len() + hashes + 1));
        }
        return Some(escaped(text, prefix.len() + 1, '"'));
    }
    let quote = usize::from(text.starts_with("b'"));
    let inner = text[quote..].strip_prefix('\'')?;
    let is_char = inner.starts_with('\\') || inner.chars().nth(1) == Some('\'');
    Some(if is_char { escaped(text, quote + 1, '\'') } else { quote + 1 + name_len(inner) })
}

/// Returns the end of a literal with escapes whose content begins at `from`.
fn escaped(text: &str, from: usize, end: char) -> usize {
    let mut chars = text[from..].char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == end {
            return from + at + 1;
        }
    }
    text.len()
}
