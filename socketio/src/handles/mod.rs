//! Handles for user code: sockets, broadcast operators, remote sockets, acknowledgement requests and
//! observers. This module may import `hub` and the folders below it (`metrics`, `event`, `config`, `proto`),
//! but not `namespace`, `registry`, `connection`, `server`, `testing` or `typescript`.

pub(crate) mod ack;
pub(crate) mod broadcast;
pub(crate) mod broadcast_ack;
pub(crate) mod emit;
pub(crate) mod local_socket;
pub(crate) mod observers;
pub(crate) mod remote_socket;
pub(crate) mod session;
pub(crate) mod socket;
pub(crate) mod sockets;
pub(crate) mod typed;
