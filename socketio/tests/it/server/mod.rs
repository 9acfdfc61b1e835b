//! Tests of the server as a part of an HTTP application, from configuration to shutdown.

mod building;
mod client_files;
mod closing;
mod fallback;
pub(crate) mod health;
mod paths;
mod services;
#[cfg(feature = "tls")]
mod tls;
