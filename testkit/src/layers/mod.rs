//! A check of the layers of a crate. No folder of the sources may import from a folder above it.
//!
//! The order is a line such as `a > b, c > d`. It means that `a` may import from all others, and that `b` and
//! `c` may import from `d` but not from each other. Each name is a folder or a file at the top level of the
//! sources.

mod paths;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use self::paths::{Found, scan};

/// Returns the order of a crate from `ARCHITECTURE.md`. It is the line of a fenced block that begins with the
/// crate's name and a colon.
pub fn order<'a>(architecture: &'a str, name: &str) -> &'a str {
    let fenced = architecture.split("```").skip(1).step_by(2).flat_map(str::lines);
    let mut orders = fenced.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    orders.next().unwrap_or_else(|| panic!("no order of the layers of `{name}`")).trim()
}

/// Checks all sources of a crate.
///
/// # Panics
///
/// Panics with the file and the line of each import from a folder above, or if the names in the order do not
/// match the folders.
pub fn check(src: &Path, order: &str) {
    let wrong = violations(src, order);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn violations(src: &Path, order: &str) -> Vec<String> {
    let sources = Sources::read(src);
    let mut ranks = BTreeMap::new();
    for (rank, layer) in order.split('>').enumerate() {
        for name in layer.split(',').map(str::trim) {
            assert!(ranks.insert(name, rank).is_none(), "`{name}` is twice in the order");
        }
    }
    let mut wrong = Vec::new();
    for name in &sources.folders {
        if !ranks.contains_key(name.as_str()) {
            wrong.push(format!("`{name}` is not in the order"));
        }
    }
    for name in ranks.keys() {
        if !sources.folders.contains(*name) {
            wrong.push(format!("`{name}` of the order is not in {}", src.display()));
        }
    }
    for import in sources.imports() {
        let rank = |folder: &str| ranks.get(folder).copied();
        let to = match &import.to {
            Ok(to) => to,
            Err(name) => {
                wrong.push(format!("{}: `{name}` is not found at the root of the crate", import.place));
                continue;
            }
        };
        if import.from != *to && rank(&import.from) >= rank(to) {
            wrong.push(format!("{}: `{}` imports from `{to}`", import.place, import.from));
        }
    }
    // One line can import several names.
    wrong.dedup();
    wrong
}

/// An import from one folder into another.
struct Import {
    /// The file and the line.
    place: String,
    from: String,
    /// The imported folder, or the name that no folder defines.
    to: Result<String, String>,
}

/// The sources of a crate, without tests.
struct Sources {
    files: Vec<(PathBuf, Found)>,
    /// The names at the top level, which are folders and files without their extension.
    folders: BTreeSet<String>,
    /// The folder that defines each name at the crate root. `None` for names of other crates and of the root
    /// itself.
    root: BTreeMap<String, Option<String>>,
}

impl Sources {
    fn read(src: &Path) -> Self {
        let mut sources = Self { files: Vec::new(), folders: BTreeSet::new(), root: BTreeMap::new() };
        let lib = scan(&fs::read_to_string(src.join("lib.rs")).unwrap(), &[]);
        for name in &lib.modules {
            sources.folders.insert(name.clone());
            sources.read_module(src, std::slice::from_ref(name));
        }
        for (name, path) in &lib.names {
            let mut path = path.iter().skip_while(|name| matches!(name.as_str(), "crate" | "self"));
            let folder = path.next().filter(|first| sources.folders.contains(*first));
            sources.root.insert(name.clone(), folder.cloned());
        }
        for name in lib.items {
            sources.root.insert(name, None);
        }
        // An exported macro is at the root of the crate.
        for (_, found) in &sources.files {
            let folder = found.module.first().cloned();
            sources.root.extend(found.macros.iter().map(|name| (name.clone(), folder.clone())));
        }
        sources
    }

    /// Reads the file of a module and, recursively, of the modules it declares.
    fn read_module(&mut self, src: &Path, module: &[String]) {
        let base = module.iter().fold(src.to_owned(), |path, name| path.join(name));
        let file = [base.with_extension("rs"), base.join("mod.rs")].into_iter().find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("no file of the module `{}`", module.join("::")));
        let found = scan(&fs::read_to_string(&file).unwrap(), module);
        let inner = found.modules.clone();
        self.files.push((file, found));
        for name in inner {
            self.read_module(src, &[module, &[name]].concat());
        }
    }

    /// Returns all imports through paths that begin at the root of the crate.
    fn imports(&self) -> impl Iterator<Item = Import> {
        self.files.iter().flat_map(move |(file, found)| {
            found.paths.iter().filter_map(move |(line, path)| {
                let first = path.first()?;
                let to = match self.root.get(first) {
                    _ if self.folders.contains(first) => Ok(first.clone()),
                    Some(Some(folder)) => Ok(folder.clone()),
                    Some(None) => return None,
                    None => Err(first.clone()),
                };
                let place = format!("{}:{line}", file.display());
                Some(Import { place, from: found.module[0].clone(), to })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the violations of a crate with these files.
    fn wrong(name: &str, order: &str, files: &[(&str, &str)]) -> Vec<String> {
        let src = std::env::temp_dir().join(format!("testkit-layers-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = src.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let wrong = violations(&src, order);
        fs::remove_dir_all(&src).unwrap();
        let shown = format!("{}/", src.display());
        wrong.into_iter().map(|line| line.replace(&shown, "")).collect()
    }

    #[test]
    fn an_import_from_above_is_named_with_its_line() {
        let files = [
            ("lib.rs", "mod top;\nmod low;\npub use top::inner::{Two as Three, one};\npub use bytes;"),
            ("top/mod.rs", "pub mod inner;\nuse crate::low::{self, Low};\n"),
            ("top/inner.rs", "use super::inner;\npub fn one() {}\npub struct Two;"),
            (
                "low.rs",
                "// crate::top\nuse std::fmt;\nuse crate::{\n    bytes,\n    Three,\n};\nfn f() -> &'static str {\n    \
                 crate::one(); super::top::inner::one(); 'x'; \"crate::top\" }\n\
                 mod inner { use super::super::top; use super::Low; }\n\
                 #[cfg(test)]\nmod tests { use crate::top; }",
            ),
        ];
        let found = wrong("up", "top > low", &files);
        let expected = [5, 8, 9].map(|line| format!("low.rs:{line}: `low` imports from `top`"));
        assert_eq!(found, expected);
        assert_eq!(wrong("down", "low > top", &files).len(), 1);
    }

    #[test]
    fn neighbours_may_not_import_each_other() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n#[cfg(any(test, fuzzing))]\npub mod fuzz;\npub const N: u8 = 1;"),
            (
                "a.rs",
                "#[cfg(feature = \"testing\")]\nmod testing;\n#[cfg(test)]\nmod tests;\npub(crate) struct A;",
            ),
            ("a/testing.rs", "use super::super::N;\npub use crate::b::B as _;"),
            ("b.rs", "use crate::unknown;\n#[macro_export]\nmacro_rules! m { () => { $crate::m!() } }"),
        ];
        let found = wrong("beside", "a, b", &files);
        assert_eq!(
            found,
            [
                "a/testing.rs:2: `a` imports from `b`",
                "b.rs:1: `unknown` is not found at the root of the crate"
            ]
        );
        let found = wrong("order", "a > c", &files);
        assert!(found.contains(&"`b` is not in the order".to_owned()), "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("`c` of the order is not in ")), "{found:?}");
    }

    #[test]
    fn the_order_is_the_line_of_the_crate_in_a_fenced_block() {
        let text = "one: no\n```text\none:  a > b\ntwo:  c, d > e\n```\ntwo: no\n";
        assert_eq!((order(text, "one"), order(text, "two")), ("a > b", "c, d > e"));
    }
}
