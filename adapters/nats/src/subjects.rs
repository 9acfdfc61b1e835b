//! The names of the subjects.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use socketio::cluster::ServerId;
use socketio_broker::{Channels, digest};

/// The length of the id of a socket.
const SOCKET_ID: usize = 20;
/// The maximum length of a name in bytes that is not replaced by a digest.
const MAX_NAME: usize = 48;

/// The subjects of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    pub(crate) prefix: String,
    /// `false` if broadcasts are appended to a stream, which every server reads.
    pub(crate) has_rooms: bool,
}

impl Subjects {
    /// Returns the subject that all servers with the namespace receive.
    pub(crate) fn all(&self, namespace: &str) -> String {
        format!("{}.{}.all", self.prefix, token(namespace))
    }

    /// Returns the subject of one server in a namespace.
    pub(crate) fn server(&self, namespace: &str, id: &ServerId) -> String {
        format!("{}.{}.server.{}", self.prefix, token(namespace), token(id.as_str()))
    }

    /// Returns the subject of a room.
    pub(crate) fn room(&self, namespace: &str, room: &str) -> String {
        format!("{}.{}.room.{}", self.prefix, token(namespace), token(room))
    }

    /// Returns the subject of a namespace whose messages are appended to the stream.
    pub(crate) fn log(&self, namespace: &str) -> String {
        format!("{}.log.{}", self.prefix, token(namespace))
    }

    /// Returns the subjects of all namespaces whose messages are appended to the stream.
    pub(crate) fn all_logs(&self) -> String {
        format!("{}.log.*", self.prefix)
    }

    /// Returns the subject that all servers receive, for that of a message in the stream.
    pub(crate) fn all_of_log(&self, log: &str) -> String {
        format!("{}.{}.all", self.prefix, log.rsplit('.').next().unwrap_or_default())
    }

    /// Returns the subject of a saved session, whose key is a token.
    pub(crate) fn session(&self, key: &str) -> String {
        format!("{}.session.{key}", self.prefix)
    }

    /// Returns a subject that nobody subscribes to.
    pub(crate) fn nobody(&self, id: &ServerId) -> String {
        format!("{}.nobody.{}", self.prefix, token(id.as_str()))
    }
}

/// Returns `true` if a room has a subject of its own. A room whose name is as long as the id of a socket is that of
/// a socket: few broadcasts have one socket as their target, and each subscription takes memory. The length is
/// counted in UTF-16 code units, as in the sharded adapter for Redis.
pub(crate) fn has_subject(room: &str) -> bool {
    room.encode_utf16().count() != SOCKET_ID
}

impl Channels for Subjects {
    fn of_namespace(&self, id: &ServerId, namespace: &str) -> Vec<String> {
        vec![self.all(namespace), self.server(namespace, id)]
    }

    fn of_room(&self, namespace: &str, room: &str) -> Option<String> {
        (self.has_rooms && has_subject(room)).then(|| self.room(namespace, room))
    }

    fn has_rooms(&self) -> bool {
        self.has_rooms
    }
}

/// Returns a token of a subject that stands for a name, which may contain any characters.
pub(crate) fn token(name: &str) -> String {
    if name.len() <= MAX_NAME {
        format!("n{}", BASE64_URL_SAFE_NO_PAD.encode(name))
    } else {
        format!("h{}", digest(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_safe_and_of_bounded_length() {
        assert_eq!(token("/"), "nLw");
        assert_eq!(token(""), "n");
        for name in [".", "*", ">", " ", "a.b", "\r\n", "\0", "é😀", &"x".repeat(MAX_NAME)] {
            let token = token(name);
            assert!(token.len() <= 65, "{token}");
            assert!(
                token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                "{token}"
            );
        }
        assert_eq!(token(&"x".repeat(MAX_NAME)).len(), 65);
        let long = token(&"x".repeat(MAX_NAME + 1));
        assert!(long.len() == 23 && long.starts_with('h'), "{long}");
    }

    #[test]
    fn rooms_of_sockets_have_no_subject() {
        let subjects = Subjects { prefix: "socket.io".to_owned(), has_rooms: true };
        assert_eq!(subjects.of_room("/", "r").as_deref(), Some("socket.io.nLw.room.ncg"));
        assert_eq!(subjects.of_room("/", &"x".repeat(20)), None);
        assert_eq!(subjects.of_room("/", &"😀".repeat(10)), None);
        assert!(subjects.of_room("/", &"é".repeat(10)).is_some());
    }

    #[test]
    fn a_stream_has_the_messages_of_all_namespaces() {
        let subjects = Subjects { prefix: "socket.io".to_owned(), has_rooms: false };
        assert_eq!(subjects.all_logs(), "socket.io.log.*");
        assert_eq!(subjects.log("/"), "socket.io.log.nLw");
        assert_eq!(subjects.all_of_log(&subjects.log("/")), subjects.all("/"));
        assert_eq!(subjects.of_room("/", "r"), None);
    }
}
