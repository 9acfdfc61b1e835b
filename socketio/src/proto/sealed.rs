//! Defines the type that seals public traits.

/// A parameter of the methods of sealed traits whose other types are public. Other crates cannot name this type, so they can neither implement nor
/// call these methods.
#[derive(Debug, Clone, Copy)]
pub struct Sealed;
