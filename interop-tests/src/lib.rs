//! Shared code of the tools of this package.

pub mod attacks;
pub mod hot_paths;
pub mod valgrind;
pub mod value;
