//! Scenarios and floods whose instructions are counted, and the counting.

pub mod attacks;
pub mod cluster;
pub mod hot_paths;
pub mod valgrind;
