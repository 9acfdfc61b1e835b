//! The programs in `tests/mistakes` make ordinary mistakes with handlers. The compiler must name the cause of
//! each mistake.
//!
//! The lines `//! ERROR: ...` at the start of a file list words that the compiler messages must contain. A
//! file without such a line must compile. Only these words are compared, because the messages differ between
//! compiler versions.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

/// The start of the manifest of a package with one program for each file, in a workspace of its own.
const MANIFEST: &str = r#"
[package]
name = "mistakes"
edition = "2024"
[workspace]
[dependencies]
serde = { version = "1", features = ["derive"] }
"#;

#[test]
fn ordinary_mistakes_are_named_by_the_compiler() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifest = format!("{MANIFEST}socketio.path = {root:?}\n");
    let mut wanted = BTreeMap::new();
    for file in fs::read_dir(root.join("tests/mistakes")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        writeln!(manifest, "[[bin]]\nname = {name:?}\npath = {path:?}").unwrap();
        wanted.insert(name, fs::read_to_string(path).unwrap());
    }
    assert!(wanted.len() >= 10, "the files are not there");

    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // With the versions that are already locked, nothing is downloaded.
    fs::copy(root.join("../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let checked = Command::new(env!("CARGO"))
        .args([
            "check",
            "--quiet",
            "--offline",
            "--keep-going",
            "--message-format=json",
            "--target-dir=target",
        ])
        // `test.sh` has clippy compile the workspace.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .current_dir(&package)
        .output()
        .unwrap();

    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    for line in checked.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        let name = line["target"]["name"].as_str().unwrap_or_default();
        if line["reason"] == "compiler-message" && line["message"]["level"] == "error" {
            *messages.entry(name.to_owned()).or_default() += line["message"]["rendered"].as_str().unwrap();
        } else if line["reason"] == "compiler-artifact" && wanted.contains_key(name) {
            messages.entry(name.to_owned()).or_default();
        }
    }
    for (name, text) in wanted {
        let message = messages.get(&name).unwrap_or_else(|| {
            panic!("`{name}` was not compiled: {}", String::from_utf8_lossy(&checked.stderr));
        });
        let mut words = text.lines().filter_map(|line| line.strip_prefix("//! ERROR: ")).peekable();
        assert!(words.peek().is_some() || message.is_empty(), "`{name}` should compile:\n{message}");
        for words in words {
            assert!(message.contains(words), "`{name}`: the compiler does not say `{words}`:\n{message}");
        }
    }
}
