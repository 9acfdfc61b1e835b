//! The permessage-deflate extension. See RFC 7692.
//!
//! Without the feature `compression`, the same types exist, but the compressor and the decompressor are
//! uninhabited. Most other modules therefore need no `cfg` for the feature, and the compiler removes the code
//! for compression.

#[cfg(feature = "compression")]
mod codec;
#[cfg(feature = "compression")]
mod message;
#[cfg(not(feature = "compression"))]
mod off;
#[cfg(feature = "compression")]
mod params;

#[cfg(not(feature = "compression"))]
pub(crate) use off::{Deflate, Inflate, Negotiated, Slot};

#[cfg(all(feature = "compression", any(test, fuzzing)))]
pub(crate) use self::message::History;
#[cfg(feature = "compression")]
pub(crate) use self::{
    codec::MAX_BITS,
    message::{Deflate, Inflate, Slot},
    params::Negotiated,
};
