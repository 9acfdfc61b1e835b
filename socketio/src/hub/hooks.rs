//! The hooks of a namespace that do not depend on its data type.

use std::collections::BTreeMap;

use crate::{
    hub::{room_events::RoomEvent, server_event::ServerHandler, socket_core::AnySocket},
    metrics::{NamespaceMetrics, log::Warnings},
};

/// The namespace-wide hooks and counters.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Serializes the data of a socket as JSON for other servers. `None` if the namespace does not share its
    /// data.
    pub(crate) share: Option<DataSerializer>,
    pub(crate) server_events: BTreeMap<Box<str>, ServerHandler>,
    pub(crate) room: Option<RoomHook>,
    pub(crate) metrics: NamespaceMetrics,
    pub(crate) warnings: Warnings,
}

/// A hook that is called with room events.
pub(crate) type RoomHook = Box<dyn Fn(RoomEvent) + Send + Sync>;

/// Serializes the data of a socket. Returns `None` if the data has another type.
pub(crate) type DataSerializer = fn(&AnySocket) -> Option<Result<String, serde_json::Error>>;
