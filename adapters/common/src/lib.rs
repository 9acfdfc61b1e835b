#![doc = include_str!("../README.md")]
// docs.rs names the cargo feature of each item.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod backoff;
mod emitter;
mod log;
mod members;
mod names;
mod options;
mod outgoing;
mod peer;
mod queue;
mod recent_joins;
mod shared;
mod wanted;
mod writer;

pub use backend::HeartbeatBackend;
pub use backoff::Backoff;
pub use emitter::Selection;
pub use log::{Log, is_durable, is_logged};
pub use members::Members;
pub use names::digest;
pub use options::Options;
pub use outgoing::{Outgoing, Presence};
pub use peer::{Channels, Peer};
pub use queue::{Payload, Queue, Queued, message_len};
pub use recent_joins::RecentJoins;
pub use shared::Shared;
pub use wanted::{Subscription, User, UserKind, Wanted};
pub use writer::{Connector, Link, Lost, Writer};
