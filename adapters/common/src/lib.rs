//! What the brokers of the crate `socketio` have in common: the bounded queue of messages to other servers,
//! the set of wanted channels, reconnection, and the members of a cluster whose servers know each other by
//! heartbeats, as those of `ClusterAdapterWithHeartbeat` of Node.js.
//!
//! Applications use `socketio-redis`, `socketio-postgres` or `socketio-nats`. This crate is for implementations
//! of further brokers.

mod backend;
mod backoff;
mod members;
mod names;
mod options;
mod outgoing;
mod peer;
mod queue;
mod recent_joins;
mod wanted;
mod writer;

pub use backend::HeartbeatBackend;
pub use backoff::Backoff;
pub use members::Members;
pub use names::digest;
pub use options::Options;
pub use outgoing::{Outgoing, Presence};
pub use peer::{Channels, Peer};
pub use queue::{Payload, Queue, Queued, Shared, message_len};
pub use recent_joins::RecentJoins;
pub use wanted::{Subscription, User, UserKind, Wanted};
pub use writer::{Connector, Link, Lost, Writer};
