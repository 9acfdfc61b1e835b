//! TODO.

pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod descriptors;
pub(crate) mod engine;
pub(crate) mod hooks;
pub(crate) mod listen;
pub(crate) mod origin;
pub(crate) mod overflow;
