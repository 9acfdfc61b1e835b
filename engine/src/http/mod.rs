//! TODO.

pub(crate) mod body;
#[cfg_attr(not(feature = "compression"), path = "coding_off.rs")]
pub(crate) mod coding;
#[cfg_attr(not(feature = "compression"), path = "extension_off.rs")]
pub(crate) mod extension;
pub(crate) mod filter;
pub(crate) mod reply;
pub(crate) mod request;
