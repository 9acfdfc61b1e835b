//! Fetches the official JavaScript client, which the pages of the examples load from `/socket.io/socket.io.js`, and the
//! official Admin UI. They are not part of this repository.

use std::{io, path::Path, process::Command};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
/// The folder for [`serve_client`](https://docs.rs/socketio/latest/socketio/struct.ServerConfig.html).
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node_modules/socket.io-client/dist");

/// The folder for [`AdminFiles`](https://docs.rs/socketio-admin/latest/socketio_admin/struct.AdminFiles.html).
const ADMIN_UI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node_modules/@socket.io/admin-ui/ui/dist");

/// Returns the folder of the client files. Installs them with npm if they are missing.
///
/// # Errors
///
/// Returns an error if npm is missing or fails.
pub fn fetch() -> Result<&'static str, String> {
    install(CLIENT, "socket.io.min.js")
}

/// Returns the folder of the Admin UI. Installs it with npm if it is missing.
///
/// # Errors
///
/// Returns an error if npm is missing or fails.
pub fn fetch_admin_ui() -> Result<&'static str, String> {
    install(ADMIN_UI, "index.html")
}

/// Returns the folder, in which there is a file if the packages are installed.
fn install(folder: &'static str, file: &str) -> Result<&'static str, String> {
    if Path::new(folder).join(file).exists() {
        return Ok(folder);
    }
    eprintln!("fetching the Socket.IO client and the Admin UI with npm, this happens once");
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let outcome = Command::new(npm)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(FOLDER)
        .status();
    match outcome {
        Ok(status) if status.success() => Ok(folder),
        Ok(status) => Err(format!("npm failed in {FOLDER} ({status}), its output is above")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("npm is missing: install Node.js, which includes it, and start again".into())
        }
        Err(error) => Err(format!("npm did not start: {error}")),
    }
}
