//! Lists the public API of the published crates, and compares it with the lists in this folder.
//!
//! `cargo run -p public-api-list -- check` fails if an item is added, removed or changed, or if an item names a crate
//! that is not allowed. `record` writes the lists. Both also fail on warnings of rustdoc, such as broken links.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use public_api::Builder;

/// The published crates.
const CRATES: [&str; 7] = [
    "engineio",
    "socketio",
    "socketio-admin",
    "socketio-broker",
    "socketio-nats",
    "socketio-postgres",
    "socketio-redis",
];

/// The crates whose types may appear in the public API: the standard library, the crates themselves, crates of version
/// 1, traits that have no stable home yet (`Stream`, `Body`, those of tower), the clients of brokers, and crates that are re-exported because a
/// cargo feature is about them.
const ALLOWED: [&str; 27] = [
    "alloc",
    "async_nats",
    "bytes",
    "core",
    "engineio",
    "futures_core",
    "http",
    "http_body",
    "redis",
    "rustls",
    "rustls_pki_types",
    "serde",
    "serde_core",
    "serde_json",
    "socketio",
    "socketio_admin",
    "socketio_broker",
    "socketio_nats",
    "socketio_postgres",
    "socketio_redis",
    "std",
    "str",
    "tokio",
    "tokio_postgres",
    "tower_layer",
    "tower_service",
    "ts_rs",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let record = match env::args().nth(1).as_deref() {
        Some("check") => false,
        Some("record") => true,
        _ => return Err("usage: public-api-list check|record".into()),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.parent().ok_or("the workspace")?;
    document(root)?;
    let mut is_same = true;
    for name in CRATES {
        let json = target(root).join("doc").join(format!("{}.json", name.replace('-', "_")));
        let items = items(&json)?;
        let list = folder.join(format!("{name}.txt"));
        if record {
            let lines: Vec<_> = items.iter().map(String::as_str).collect();
            fs::write(list, lines.join("\n") + "\n")?;
        } else {
            is_same &= compare(name, &fs::read_to_string(list)?, &items);
        }
        is_same &= names_allowed_crates(&items);
    }
    if !is_same {
        eprintln!(
            "`cargo run -p public-api-list -- record` records an intended change; CHANGELOG.md explains it"
        );
    }
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has rustdoc write the API of the crates as JSON.
fn document(root: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new("cargo")
        .current_dir(root)
        .args(["doc", "--quiet", "--no-deps", "--all-features"])
        .args(CRATES.iter().flat_map(|name| ["--package", name]))
        .env("RUSTDOC", root.join("public-api/rustdoc.sh"))
        .env("RUSTDOCFLAGS", "-D warnings -Z unstable-options --output-format json")
        .status()?;
    if status.success() { Ok(()) } else { Err("rustdoc failed".into()) }
}

fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Returns the items in the order of their names.
fn items(json: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    // pin-project-lite implements `Unpin` with types of its own.
    Ok(api.items().map(ToString::to_string).filter(|item| !item.contains("__private")).collect())
}

/// Prints the differences. Returns `true` if there are none.
fn compare(name: &str, list: &str, items: &BTreeSet<String>) -> bool {
    let listed: BTreeSet<_> = list.lines().map(str::to_owned).collect();
    for removed in listed.difference(items) {
        eprintln!("{name}: - {removed}");
    }
    for added in items.difference(&listed) {
        eprintln!("{name}: + {added}");
    }
    listed == *items
}

/// Prints the items that name a type of another crate. Returns `true` if there are none.
fn names_allowed_crates(items: &BTreeSet<String>) -> bool {
    let mut is_allowed = true;
    for item in items {
        for (at, _) in item.match_indices("::") {
            let start =
                item[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |before| before + 1);
            let is_root = !item[..start].ends_with("::");
            let root = &item[start..at];
            // A type parameter or `Self` begins with a capital letter.
            let is_crate = is_root && root.starts_with(|c: char| c.is_ascii_lowercase());
            if is_crate && !ALLOWED.contains(&root) {
                eprintln!("the crate `{root}` may not appear in the public API: {item}");
                is_allowed = false;
            }
        }
    }
    is_allowed
}
