//! TODO.

pub(crate) mod ack;
pub(crate) mod broadcast;
pub(crate) mod broadcast_ack;
pub(crate) mod emit;
pub(crate) mod observers;
pub(crate) mod remote_socket;
pub(crate) mod socket;
pub(crate) mod sockets;
