//! The folders of the sources import only from folders below them in `ARCHITECTURE.md`.

use std::path::Path;

use testkit::layers::{check, order};

#[test]
fn no_folder_imports_from_one_above_it() {
    let order = order(include_str!("../../../ARCHITECTURE.md"), "socketio");
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), order);
}
