//! Dynamic namespaces: path patterns, predicates, and references to child namespaces.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use futures::FutureExt;

use crate::{
    event::handshake::{Handshake, Params},
    hub::{Adapter, hooks::Hooks},
    namespace::dispatch::Endpoint,
    registry::Namespaces,
};

/// The path pattern of a dynamic namespace, which is text with parameters in braces. A parameter matches one
/// or more characters other than slashes. If the name of the last parameter begins with `*`, the parameter
/// also matches slashes.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: Box<str>,
    start: Box<str>,
    /// The name of each parameter, with the literal text that follows the parameter.
    params: Vec<(Box<str>, Box<str>)>,
    /// `true` if the last parameter may contain slashes.
    takes_rest: bool,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Panics
    ///
    /// Panics if a brace is unmatched, if the name of a parameter is empty, is repeated or contains an
    /// invalid character, if no text separates two parameters, or if anything follows a parameter with `*`.
    #[track_caller]
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = text.split('{');
        let start: Box<str> = parts.next().unwrap_or_default().into();
        let mut params: Vec<(Box<str>, Box<str>)> = Vec::new();
        let mut takes_rest = false;
        for part in parts {
            assert!(!takes_rest, "nothing may follow the parameter that takes the rest: `{text}`");
            let (name, literal) = part.split_once('}').unwrap_or_default();
            takes_rest = name.starts_with('*');
            assert!(!takes_rest || literal.is_empty(), "nothing may follow `{{{name}}}`: `{text}`");
            let name = name.strip_prefix('*').unwrap_or(name);
            let is_new = params.iter().all(|(other, _)| **other != *name);
            assert!(!name.is_empty() && is_new, "parameter names must be unique and not empty: `{text}`");
            let is_plain = name.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'));
            assert!(is_plain, "parameter names may contain only letters, digits, `_` and `-`: `{text}`");
            params.push((name.into(), literal.into()));
        }
        let separated =
            params.split_last().is_none_or(|(_, others)| others.iter().all(|(_, text)| !text.is_empty()));
        assert!(separated, "parameters must be separated by text: `{text}`");
        let literals = params.iter().map(|(_, literal)| literal).chain([&start]);
        assert!(!literals.into_iter().any(|literal| literal.contains('}')), "a brace stands alone: `{text}`");
        Self { text: text.into(), start, params, takes_rest }
    }

    /// Returns the parameters of a path if it matches the pattern.
    fn match_path(&self, path: &str) -> Option<Params> {
        let mut rest = path.strip_prefix(&*self.start)?;
        let mut params = Vec::with_capacity(self.params.len());
        for (name, literal) in &self.params {
            let value = if params.len() + 1 == self.params.len() {
                let value = rest.strip_suffix(&**literal)?;
                rest = "";
                value
            } else {
                let first = rest.chars().next()?.len_utf8();
                let end = first + rest[first..].find(&**literal)?;
                let value = &rest[..end];
                rest = &rest[end + literal.len()..];
                value
            };
            let may_have_slashes = self.takes_rest && params.len() + 1 == self.params.len();
            if value.is_empty() || (!may_have_slashes && value.contains('/')) {
                return None;
            }
            params.push((name.clone(), value.into()));
        }
        rest.is_empty().then(|| params.into())
    }
}

type Predicate = Box<dyn Fn(String, Handshake) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Creates the child namespace with a path.
type Make = Box<dyn Fn(&str) -> Arc<dyn Endpoint> + Send + Sync>;

/// A dynamic namespace, which is the template for all child namespaces whose paths match its pattern.
pub(crate) struct Dynamic {
    pattern: Pattern,
    pub(crate) hooks: Arc<Hooks>,
    predicate: Option<Predicate>,
    make: Make,
}

impl Dynamic {
    pub(crate) fn new(
        pattern: Pattern,
        hooks: Arc<Hooks>,
        make: impl Fn(&str) -> Arc<dyn Endpoint> + Send + Sync + 'static,
    ) -> Self {
        Self { pattern, hooks, predicate: None, make: Box::new(make) }
    }

    pub(crate) fn only_if<F, Fut>(mut self, predicate: F) -> Self
    where
        F: FnOnce(String, Handshake) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.predicate = Some(Box::new(move |path, handshake| Box::pin(predicate.clone()(path, handshake))));
        self
    }

    pub(crate) fn has_pattern(&self, pattern: &str) -> bool {
        *self.pattern.text == *pattern
    }

    pub(crate) fn match_path(&self, path: &str) -> Option<Params> {
        self.pattern.match_path(path)
    }

    /// Returns `true` if the predicate accepts the client for this path, or if there is no predicate. A panic
    /// in the predicate is logged and counts as `false`.
    pub(crate) async fn accepts(&self, path: &str, handshake: &Handshake) -> bool {
        let Some(predicate) = &self.predicate else { return true };
        let result = catch_unwind(AssertUnwindSafe(|| predicate(path.to_owned(), handshake.clone())));
        let answer = match result {
            Ok(result) => AssertUnwindSafe(result).catch_unwind().await.ok(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| {
            engineio::__log!(error, namespace = path, "the predicate of a dynamic namespace panicked");
            false
        })
    }

    pub(crate) fn make(&self, path: &str) -> Arc<dyn Endpoint> {
        (self.make)(path)
    }
}

/// A reference to a child of a dynamic namespace. Each client holds a reference while it joins the child
/// namespace and while it is a member. A referenced namespace is not removed.
pub(crate) struct ChildRef {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) adapter: Arc<Adapter>,
}

impl Drop for ChildRef {
    fn drop(&mut self) {
        self.namespaces.release(self.adapter.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_parameters() {
        for (pattern, path, values) in [
            ("/game-{id}", "/game-7", Some(vec!["7"])),
            ("/game-{id}", "/game-é ", Some(vec!["é "])),
            ("/game-{id}", "/game-", None),
            ("/game-{id}", "/game-7/x", None),
            ("/game-{id}", "/other-7", None),
            ("/{a}-{b}", "/x-y-z", Some(vec!["x", "y-z"])),
            ("/{a}-{b}", "/--y", Some(vec!["-", "y"])),
            ("/{a}-{b}", "/x-", None),
            ("/{a}/{b}.io", "/x/y.io.io", Some(vec!["x", "y.io"])),
            ("/{a}/{b}.io", "/x/y", None),
            ("/{a}/end", "/x/end", Some(vec!["x"])),
            ("/{a}/end", "/x/end/", None),
            ("/files/{*rest}", "/files/a", Some(vec!["a"])),
            ("/files/{*rest}", "/files/a/b//c/", Some(vec!["a/b//c/"])),
            ("/files/{*rest}", "/files/", None),
            ("/files/{*rest}", "/files", None),
            ("/{user}/{*rest}", "/ann/a/b", Some(vec!["ann", "a/b"])),
            ("/{user}/{*rest}", "//a/b", None),
            ("/plain", "/plain", Some(vec![])),
            ("/plain", "/plainer", None),
        ] {
            let read = Pattern::new(pattern).match_path(path);
            let read = read.as_ref().map(|params| params.iter().map(|(_, value)| &**value).collect());
            assert_eq!(read, values, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_that_cannot_work_are_refused() {
        for pattern in [
            "/{a",
            "/{}",
            "/a}",
            "/{a}{b}",
            "/{a}-{a}",
            "/{a}}",
            "/{*}",
            "/{*a}/b",
            "/{*a}/{b}",
            "/{a*}",
            "/{a:[0-9]+}",
            "/{a}-{*a}",
        ] {
            assert!(catch_unwind(|| Pattern::new(pattern)).is_err(), "{pattern}");
        }
    }
}
