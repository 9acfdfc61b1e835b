//! Defines the type that seals public traits.

/// A parameter of the method of a sealed trait. Other crates cannot name this type, so they can neither implement nor
/// call the method.
#[derive(Debug, Clone, Copy)]
pub struct Sealed;
