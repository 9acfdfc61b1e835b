//! What an error of a command means.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::Node;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command was not executed. Another node executes it if `ASKING` precedes it.
    Ask(Node),
    /// The command was not executed, because another node has the slot.
    Moved(Node),
    /// The command was not executed, but may be later, or by another node.
    Refused,
    /// The command was not executed, and never will be.
    Final,
    /// The command may have been executed. The connection is lost.
    Unknown,
}

impl Failure {
    /// Returns the meaning of an error that a node has returned.
    pub(crate) fn of(node: &Node, error: &RedisError) -> Self {
        let ErrorKind::Server(kind) = error.kind() else { return Self::Unknown };
        let redirect = error.redirect_node();
        let target =
            redirect.map(|(host, port)| Node::new(if host.is_empty() { &node.host } else { host }, port));
        match (kind, target) {
            (ServerErrorKind::Ask, Some(target)) => Self::Ask(target),
            (ServerErrorKind::Moved, Some(target)) => Self::Moved(target),
            (
                ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading,
                _,
            ) => Self::Refused,
            _ => Self::Final,
        }
    }
}
