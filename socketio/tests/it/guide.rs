//! The links of the documents.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns the Markdown files of a folder of the repository.
fn documents(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(REPOSITORY).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Returns the text without code, whose brackets are no links.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    });
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").split('`').step_by(2).collect()
}

/// Returns the targets of `[text](target)`.
fn inline_links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// Returns the labels of `[text][label]`.
fn references(prose: &str) -> Vec<&str> {
    prose.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(label, _)| label).collect()
}

/// Returns the labels and targets of `[label]: target`.
fn definitions(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    lines.collect()
}

/// Returns the anchor that GitHub and rustdoc give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect()
}

/// Panics unless the file, and the heading if there is one, exist.
fn assert_exists(document: &Path, target: &str) {
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    assert!(path.exists(), "{}: no file {target}", document.display());
    if !fragment.is_empty() {
        let text = fs::read_to_string(&path).unwrap();
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let exists = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == fragment);
        assert!(exists, "{}: no heading {target}", document.display());
    }
}

fn is_relative(target: &str) -> bool {
    !target.contains("://")
}

#[test]
fn links_lead_to_files_and_headings() {
    let folders =
        ["", "docs", "admin", "adapters/common", "adapters/nats", "adapters/postgres", "adapters/redis"];
    let more = ["bench", "engine", "interop-tests/promises", "socketio"];
    let mut links = 0;
    for document in folders.iter().chain(&more).flat_map(|folder| documents(folder)) {
        let text = fs::read_to_string(&document).unwrap();
        let prose = prose(&text);
        let targets =
            inline_links(&prose).into_iter().chain(definitions(&text).into_iter().map(|(_, to)| to));
        for target in targets.filter(|target| is_relative(target)) {
            assert_exists(&document, target);
            links += 1;
        }
    }
    assert!(links > 150, "{links}");
}

#[test]
fn pages_of_the_guide_define_their_links_twice() {
    let for_rustdoc = include_str!("../../src/guide/links.md");
    let for_rustdoc: HashSet<&str> = definitions(for_rustdoc).into_iter().map(|(label, _)| label).collect();
    let pages = include_str!("../../src/guide/mod.rs");
    let mut used = HashSet::new();
    for document in documents("docs") {
        let name = document.display();
        let file = format!("../../docs/{}\"", document.file_name().unwrap().to_str().unwrap());
        assert!(pages.contains(&file), "{name} is no page of the guide");
        let text = fs::read_to_string(&document).unwrap();
        let prose = prose(&text);
        // A relative target has no meaning on docs.rs.
        let inline = inline_links(&prose).into_iter().find(|to| is_relative(to) && !to.starts_with('#'));
        assert_eq!(inline, None, "{name}: use a reference");
        let defined: HashSet<&str> = definitions(&text).into_iter().map(|(label, _)| label).collect();
        let references: HashSet<&str> = references(&prose).into_iter().collect();
        assert_eq!(references, defined, "{name}: the references and their definitions differ");
        for label in &references {
            assert!(for_rustdoc.contains(label), "{name}: `links.md` does not define [{label}]");
        }
        used.extend(references.into_iter().map(str::to_owned));
    }
    for label in for_rustdoc {
        assert!(used.contains(label), "`links.md` defines [{label}], which no page uses");
    }
}
