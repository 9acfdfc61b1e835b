//! No folder of the sources imports from a folder above it.

use std::path::Path;

use testkit::layers::{check, order};

#[test]
fn no_folder_imports_from_one_above_it() {
    let order = order(include_str!("../../../ARCHITECTURE.md"), "engineio");
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), order);
}
