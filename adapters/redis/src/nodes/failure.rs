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
        if is_lost(error) {
            return Self::Unknown;
        }
        let ErrorKind::Server(kind) = error.kind() else {
            // A blocking command ends with this error when a master becomes a replica.
            return if error.code() == Some("UNBLOCKED") { Self::Refused } else { Self::Final };
        };
        let target = error.redirect_node().and_then(|(address, _)| target(node, address));
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

/// Returns `true` if the error is not a response, so the connection is lost.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    // An error of Redis with a code that the library does not know is an extension.
    !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Returns the node that another one redirects to. An address without a host has the same host.
fn target(from: &Node, address: &str) -> Option<Node> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if matches!(host, "" | "?") { &from.host } else { host };
    Some(Node::new(host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use redis::{RedisError, ServerError, Value};

    use super::*;

    fn failure(line: &str) -> Failure {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = reply else { panic!("{reply:?}") };
        Failure::of(&Node::new("asked", 1), &RedisError::from(ServerError::clone(&error)))
    }

    #[test]
    fn redirections() {
        assert_eq!(failure("MOVED 866 10.0.0.2:7001"), Failure::Moved(Node::new("10.0.0.2", 7001)));
        assert_eq!(failure("MOVED 866 :7001"), Failure::Moved(Node::new("asked", 7001)));
        assert_eq!(failure("ASK 866 ?:7001"), Failure::Ask(Node::new("asked", 7001)));
        assert_eq!(failure("ASK 866 ::1:7001"), Failure::Ask(Node::new("::1", 7001)));
        assert_eq!(failure("MOVED 866 nowhere"), Failure::Refused);
    }

    #[test]
    fn commands_that_were_not_executed() {
        for line in [
            "CLUSTERDOWN The cluster is down",
            "READONLY x",
            "LOADING x",
            "TRYAGAIN x",
            "MASTERDOWN x",
            "UNBLOCKED x",
        ] {
            assert_eq!(failure(line), Failure::Refused, "{line}");
        }
        for line in ["ERR x", "NOPERM x", "WRONGTYPE x", "OOM x"] {
            assert_eq!(failure(line), Failure::Final, "{line}");
        }
        let lost = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        assert_eq!(Failure::of(&Node::new("asked", 1), &lost), Failure::Unknown);
    }
}
