#![doc = include_str!("../README.md")]

mod actions;
mod admin;
mod auth;
mod events;
mod files;
mod fleet;
mod record;
mod sessions;
mod shown;
mod stats;
mod worker;

pub use admin::{Admin, Mode};
pub use auth::InvalidHash;
pub use files::{AdminFiles, AdminFilesService};
pub use sessions::{MemoryStore, SessionStore, StoreError};

/// Compiles the code in the guide to the Admin UI.
#[cfg(doctest)]
#[doc = include_str!("../../docs/admin-ui.md")]
struct AdminGuide;
