//! Which server of a deployment has which slots. Does no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use redis::Value;

/// The number of slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// A Redis server that messages are sent to: the only one, the master that the sentinels have elected, or a
/// master of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl Node {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The servers of a deployment, and the slots that each of them has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    nodes: Vec<Node>,
    /// Sorted. They have no slots, but may have subscribers.
    replicas: Vec<Node>,
    /// The first slot, the last slot and the index of the node, in the order of the slots.
    ranges: Vec<(u16, u16, usize)>,
    /// The slots that were moved since.
    moved: BTreeMap<u16, usize>,
}

impl Topology {
    /// Returns a topology in which one server has all slots.
    pub(crate) fn one(node: Node) -> Self {
        let ranges = vec![(0, SLOTS - 1, 0)];
        Self { nodes: vec![node], replicas: Vec::new(), ranges, moved: BTreeMap::new() }
    }

    /// Reads the result of `CLUSTER SLOTS`. `host` is the host of the server that has sent it, which may leave out
    /// its own name. Returns `None` if the result is malformed or has no slots.
    pub(crate) fn parse(reply: &Value, host: &str) -> Option<Self> {
        let Value::Array(entries) = reply else { return None };
        let (nodes, mut replicas, ranges) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut topology = Self { nodes, replicas: Vec::new(), ranges, moved: BTreeMap::new() };
        for entry in entries {
            let Value::Array(entry) = entry else { return None };
            let [first, last, master, others @ ..] = &entry[..] else { return None };
            let (first, last) = (number(first)?, number(last)?);
            let index = topology.index(node(master, host)?);
            topology.ranges.push((first, last, index));
            replicas.extend(others.iter().filter_map(|replica| node(replica, host)));
        }
        topology.replicas = replicas.into_iter().collect();
        topology.ranges.sort_unstable();
        (!topology.ranges.is_empty()).then_some(topology)
    }

    /// Returns the topology after a slot was moved.
    pub(crate) fn moved(&self, slot: u16, node: Node) -> Self {
        let mut moved = self.clone();
        // A replica that has taken over.
        moved.replicas.retain(|replica| *replica != node);
        let index = moved.index(node);
        moved.moved.insert(slot, index);
        moved
    }

    fn index(&mut self, node: Node) -> usize {
        self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    /// Returns the servers that have slots.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the replicas of a cluster, none of which has slots.
    pub(crate) fn replicas(&self) -> &[Node] {
        &self.replicas
    }

    /// Returns the servers that have slots, and the replicas.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().chain(&self.replicas)
    }

    /// Returns the server that has a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Node> {
        if let Some(index) = self.moved.get(&slot) {
            return self.nodes.get(*index);
        }
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, index) = self.ranges[..after].last()?;
        (slot <= *last).then(|| &self.nodes[*index])
    }
}

/// Reads the host and the port of a server.
fn node(value: &Value, asked: &str) -> Option<Node> {
    let Value::Array(entry) = value else { return None };
    let host = match entry.first()? {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let host = if matches!(host, "" | "?") { asked } else { host };
    Some(Node::new(host, number(entry.get(1)?)?))
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

/// Returns the slot of a key or of the channel of `SPUBLISH`. If the key contains a tag in braces, the slot is that
/// of the tag.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let tag = &key[open + 1..];
        let len = tag.iter().position(|byte| *byte == b'}')?;
        (len > 0).then(|| &tag[..len])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster demands it.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let (mut table, mut byte) = ([0; 256], 0);
        while byte < 256 {
            let (mut crc, mut bit) = ((byte as u16) << 8, 0);
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(Vec::new())]);
        let replica = Value::Array(vec![bulk("replica"), Value::Int(1), bulk("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // The results of `CLUSTER KEYSLOT`.
        assert_eq!(slot_of(b"socket.io#/#"), 13_868);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"a{foo}b{c}"), 12_182);
        assert_eq!(slot_of(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(slot_of(b"foo{"), crc16(b"foo{") % SLOTS);
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn owners_of_slots() {
        let reply = Value::Array(vec![
            entry(8_192, 16_383, bulk(""), 7002),
            entry(0, 99, bulk("10.0.0.1"), 7001),
            entry(200, 300, bulk("10.0.0.1"), 7001),
        ]);
        let topology = Topology::parse(&reply, "asked").unwrap();
        assert_eq!(topology.nodes(), [Node::new("asked", 7002), Node::new("10.0.0.1", 7001)]);
        assert_eq!(topology.replicas(), [Node::new("replica", 1)]);
        let owner = |slot| topology.owner(slot).map(|node| node.port);
        let slots = [0, 99, 100, 199, 200, 300, 301, 8_191, 8_192, 16_383];
        let owners =
            [Some(7001), Some(7001), None, None, Some(7001), Some(7001), None, None, Some(7002), Some(7002)];
        assert_eq!(slots.map(owner), owners);
        let moved = topology.moved(200, Node::new("new", 7003)).moved(99, Node::new("asked", 7002));
        let owner = |slot| moved.owner(slot).map(|node| node.port);
        assert_eq!([98, 99, 200, 201].map(owner), [Some(7001), Some(7002), Some(7003), Some(7001)]);
        assert_eq!(moved.nodes().len(), 3);
        let taken_over = moved.moved(0, Node::new("replica", 1));
        assert_eq!((taken_over.nodes().len(), taken_over.replicas()), (4, &[][..]));
    }

    #[test]
    fn malformed_replies() {
        for reply in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![entry(0, 70_000, bulk("a"), 1)]),
            Value::Array(vec![entry(0, 1, bulk("a"), -1)]),
            Value::Array(vec![entry(0, 1, Value::Int(1), 1)]),
        ] {
            assert_eq!(Topology::parse(&reply, "asked"), None, "{reply:?}");
        }
    }
}
