//! The names of the channels.

use socketio::cluster::ServerId;
use socketio_broker::{Channels, digest};

/// The maximum length of the name of a channel in bytes. Postgres truncates longer identifiers.
pub(crate) const MAX_CHANNEL: usize = 63;
/// The maximum length of the prefix of the channels in bytes, with which `#` and a digest fit into a name.
pub(crate) const MAX_PREFIX: usize = 40;

/// The names of the channels of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) prefix: String,
}

impl Names {
    /// Returns the channel of a namespace, as in Node.js. A name that Postgres does not allow is replaced by a
    /// digest, and has no equivalent in Node.js.
    pub(crate) fn channel(&self, namespace: &str) -> String {
        let name = format!("{}#{namespace}", self.prefix);
        if name.len() <= MAX_CHANNEL && !name.contains('\0') {
            return name;
        }
        format!("{}#{}", self.prefix, digest(namespace))
    }

    /// Returns the channel that a server sends to itself on. The path of a namespace begins with a slash, so
    /// this is not the channel of one.
    pub(crate) fn watchdog(&self, id: &ServerId) -> String {
        format!("{}#{}", self.prefix, digest(id.as_str()))
    }
}

impl Channels for Names {
    fn of_namespace(&self, _: &ServerId, namespace: &str) -> Vec<String> {
        vec![self.channel(namespace)]
    }
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_fit_exactly() {
        let names = Names { prefix: "socket.io".to_owned() };
        assert_eq!(names.channel("/"), "socket.io#/");
        let longest = format!("/{}", "x".repeat(52));
        assert_eq!(names.channel(&longest), format!("socket.io#{longest}"));
        assert_eq!(names.channel(&longest).len(), MAX_CHANNEL);
        for namespace in [format!("{longest}x"), "/a\0".to_owned(), format!("/{}", "é".repeat(27))] {
            let channel = names.channel(&namespace);
            assert!(channel.len() == 32 && !channel.contains('/'), "{channel}");
        }
        let names = Names { prefix: "x".repeat(MAX_PREFIX) };
        assert_eq!(names.channel(&longest).len(), MAX_CHANNEL);
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
    }
}
