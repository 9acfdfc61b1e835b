//! The server among other services, and from its start to its end.

mod building;
mod client_files;
mod closing;
mod paths;
mod services;
#[cfg(feature = "tls")]
mod tls;
