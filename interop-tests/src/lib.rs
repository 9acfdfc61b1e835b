//! What the tools of this package share.

pub mod attacks;
pub mod hot_paths;
pub mod valgrind;
