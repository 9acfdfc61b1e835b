//! The keys of the streams.

/// The keys of one stream or of several ones, over which the namespaces are distributed.
#[derive(Debug, Clone)]
pub(crate) struct StreamNames {
    pub(crate) name: String,
    pub(crate) count: u32,
}

impl StreamNames {
    /// Returns the key of the stream of a namespace.
    pub(crate) fn of(&self, namespace: &str) -> String {
        if self.count <= 1 {
            return self.name.clone();
        }
        format!("{}-{}", self.name, hash(namespace).unsigned_abs() % self.count)
    }

    /// Returns the keys that servers append to.
    pub(crate) fn all(&self) -> Vec<String> {
        match self.count {
            0 | 1 => vec![self.name.clone()],
            count => (0..count).map(|number| format!("{}-{number}", self.name)).collect(),
        }
    }

    /// Returns the keys that only servers of Node.js append to, which take the remainder of a negative number for some
    /// namespaces. They do not read these streams.
    pub(crate) fn of_node_alone(&self) -> Vec<String> {
        (1..self.count).map(|number| format!("{}--{number}", self.name)).collect()
    }
}

/// The hash of Node.js, which is that of strings in Java.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_of_node() {
        assert_eq!(hash("/notifications"), -1_014_064_871);
        let names = StreamNames { name: "socket.io".to_owned(), count: 4 };
        // Node.js appends to `socket.io--3`.
        assert_eq!(names.of("/notifications"), "socket.io-3");
        assert_eq!(names.of("/"), "socket.io-3");
        assert_eq!(names.all(), ["socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"]);
        assert_eq!(names.of_node_alone(), ["socket.io--1", "socket.io--2", "socket.io--3"]);
    }

    #[test]
    fn one_stream() {
        let names = StreamNames { name: "socket.io".to_owned(), count: 1 };
        assert_eq!(names.of("/notifications"), "socket.io");
        assert_eq!(names.all(), ["socket.io"]);
        assert!(names.of_node_alone().is_empty());
    }
}
