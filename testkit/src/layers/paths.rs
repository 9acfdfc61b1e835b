//! The paths in a source file and the modules it declares.

use super::tokens::{Token, tokens};

/// The contents of a source file, without tests.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The path of the file's module.
    pub(super) module: Vec<String>,
    /// The declared modules that have their own files.
    pub(super) modules: Vec<String>,
    /// Line numbers and paths from the root of the crate.
    pub(super) paths: Vec<(usize, Vec<String>)>,
    /// The names imported by `use` declarations, with their paths.
    pub(super) names: Vec<(String, Vec<String>)>,
    /// The items defined outside of blocks.
    pub(super) items: Vec<String>,
    /// The exported macros.
    pub(super) macros: Vec<String>,
}

/// Parses the file of a module.
pub(super) fn scan(text: &str, module: &[String]) -> Found {
    let tokens = tokens(text);
    let mut scan = Scan { tokens: &tokens, at: 0, module: module.to_vec(), blocks: Vec::new() };
    let mut found = Found { module: module.to_vec(), ..Found::default() };
    scan.file(&mut found);
    found
}

struct Scan<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    /// The current module, including inline modules.
    module: Vec<String>,
    /// The enclosing blocks, with `true` for the blocks of modules.
    blocks: Vec<bool>,
}

impl Scan<'_> {
    /// Returns the text of the token `ahead` positions after the current one, or an empty string at the end.
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn name(&self, ahead: usize) -> String {
        self.peek(ahead).to_owned()
    }

    fn file(&mut self, found: &mut Found) {
        // Set by the attributes of the next item.
        let (mut is_test, mut is_exported) = (false, false);
        while self.at < self.tokens.len() {
            match (self.peek(0), self.peek(1)) {
                ("#", "[") => {
                    let attribute = self.bracketed();
                    is_test |= is_of_tests(&attribute);
                    is_exported |= attribute.contains(&"macro_export");
                    continue;
                }
                ("pub" | "(" | ")" | "in", _) | ("crate" | "super" | "self", ")") => {
                    self.at += 1;
                    continue;
                }
                ("mod", name) if matches!(self.peek(2), ";" | "{") => {
                    let name = name.to_owned();
                    let is_block = self.peek(2) == "{";
                    self.at += 2;
                    if is_block && is_test {
                        self.bracketed();
                    } else if is_block {
                        self.module.push(name);
                        self.blocks.push(true);
                        self.at += 1;
                    } else if !is_test {
                        found.modules.push(name);
                    }
                }
                ("use", next) if next != "<" => {
                    self.at += 1;
                    self.tree(&[], found);
                }
                ("macro_rules", "!") => {
                    if is_exported {
                        found.macros.push(self.name(2));
                    }
                    self.at += 3;
                }
                ("const" | "static" | "fn" | "struct" | "enum" | "type" | "trait", name)
                    if self.blocks.is_empty() =>
                {
                    found.items.push(name.to_owned());
                    self.at += 2;
                }
                ("crate" | "super" | "self", "::") => self.path(found),
                ("{", _) => {
                    self.blocks.push(false);
                    self.at += 1;
                }
                ("}", _) => {
                    if self.blocks.pop() == Some(true) {
                        self.module.pop();
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            (is_test, is_exported) = (false, false);
        }
    }

    /// Consumes the tokens up to the end of the next pair of brackets of any kind.
    fn bracketed(&mut self) -> Vec<&str> {
        let start = self.at;
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" if depth > 1 => depth -= 1,
                ")" | "]" | "}" => break,
                _ => {}
            }
        }
        self.tokens[start..self.at].iter().map(|token| token.text).collect()
    }

    /// Consumes a path in an expression or a type.
    fn path(&mut self, found: &mut Found) {
        let line = self.tokens[self.at].line;
        let mut path = vec![self.name(0)];
        self.at += 1;
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            path.push(self.name(1));
            self.at += 2;
        }
        self.found(line, &path, found);
    }

    /// Consumes a tree of a `use` declaration.
    fn tree(&mut self, prefix: &[String], found: &mut Found) {
        let mut path = prefix.to_vec();
        let mut line = self.tokens[self.at].line;
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while self.at < self.tokens.len() && self.peek(0) != "}" {
                        self.tree(&path, found);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "::" => {}
                "as" => {
                    found.names.push((self.name(1), path.clone()));
                    self.at += 2;
                    self.found(line, &path, found);
                    return;
                }
                name if is_name(name) || name == "*" => {
                    line = self.tokens[self.at].line;
                    path.push(name.to_owned());
                }
                _ => break,
            }
            self.at += 1;
        }
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = path.last() {
            found.names.push((name.clone(), path.clone()));
            self.found(line, &path, found);
        }
    }

    /// Records a path if it belongs to this crate.
    fn found(&self, line: usize, path: &[String], found: &mut Found) {
        let mut rest = path;
        let mut module = match rest[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return,
        };
        while let [first, then @ ..] = rest {
            match first.as_str() {
                "super" => drop(module.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            rest = then;
        }
        found.paths.push((line, [&module, rest].concat()));
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Returns `true` if the attribute excludes its item from the crate as users build it.
fn is_of_tests(attribute: &[&str]) -> bool {
    let is_cfg = attribute.contains(&"cfg");
    is_cfg && !attribute.contains(&"not") && attribute.iter().any(|word| matches!(*word, "test" | "fuzzing"))
}
