//! Shared code of the tools of this package.

pub mod value;
