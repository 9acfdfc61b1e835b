//! Helpers of the tests of dialects.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use engineio::BoxFuture;
use redis::{Arg, Cmd};
use socketio::{
    Namespace, Room, Server, ServerConfig,
    cluster::{
        Backend, Broker, ClusterFull, EventPacket, Inbound, Inbox, Message, Operation, Receivers, Reply,
        RequestId, ServerId, Target, Unavailable, node::Malformed,
    },
};

use crate::dialect::{Dialect, Publish};

/// A broker that hands out the inbox of its server.
struct Captured(mpsc::Sender<Inbox>);

struct Nothing;

impl Broker for Captured {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        self.0.send(inbox).unwrap();
        Arc::new(Nothing)
    }
}

impl Backend for Nothing {
    fn publish(&self, _: Arc<Message>) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn request(&self, _: Arc<Message>) -> Receivers {
        Receivers::Counted
    }

    fn reply(&self, _: &ServerId, _: Reply) -> Result<(), ClusterFull> {
        Ok(())
    }

    fn servers(&self) -> Vec<ServerId> {
        Vec::new()
    }

    fn server_count(&self, _: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        Box::pin(async { Err(Unavailable) })
    }

    fn leave(&self) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }
}

/// A dialect, and the server that it decodes for. The server has the namespace `/` and no sockets.
pub(crate) struct Decoder<D> {
    pub(crate) dialect: D,
    pub(crate) inbox: Inbox,
    _server: Server,
}

impl<D: Dialect> Decoder<D> {
    pub(crate) fn new(dialect: D) -> Self {
        let (sender, inboxes) = mpsc::channel();
        let server = Server::with_cluster(ServerConfig::default(), Captured(sender));
        let server = server.namespace(Namespace::new("/"));
        Self { dialect, inbox: inboxes.recv().unwrap(), _server: server }
    }

    pub(crate) fn decode(
        &self,
        channel: &str,
        payload: impl AsRef<[u8]>,
    ) -> Result<Option<Inbound>, Malformed> {
        self.dialect.decode(&self.inbox, &"/".into(), channel.as_bytes(), payload.as_ref())
    }

    /// Decodes a message. Returns its sender and its operation.
    #[track_caller]
    pub(crate) fn message(&self, channel: &str, payload: impl AsRef<[u8]>) -> (String, Operation) {
        match self.decode(channel, payload) {
            Ok(Some(Inbound::Message(message))) => {
                assert_eq!(&*message.namespace, "/");
                (message.from.as_str().to_owned(), message.operation.clone())
            }
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Decodes a response.
    #[track_caller]
    pub(crate) fn reply(&self, channel: &str, payload: impl AsRef<[u8]>) -> Reply {
        match self.decode(channel, payload) {
            Ok(Some(Inbound::Reply(reply))) => reply,
            other => panic!("not a response: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn rejects(&self, channel: &str, payload: impl AsRef<[u8]>) {
        let result = self.decode(channel, payload.as_ref());
        let shown = String::from_utf8_lossy(payload.as_ref()).into_owned();
        assert!(matches!(result, Err(Malformed)), "{shown}: {result:?}");
    }
}

/// Returns the arguments of the only command.
#[track_caller]
pub(crate) fn only(publishes: &[Publish]) -> (String, String, Vec<u8>) {
    let [publish] = publishes else { panic!("not one command: {publishes:?}") };
    let [command, channel, payload] = arguments(&publish.command).try_into().unwrap();
    (String::from_utf8(command).unwrap(), String::from_utf8(channel).unwrap(), payload)
}

pub(crate) fn arguments(command: &Cmd) -> Vec<Vec<u8>> {
    let argument = |argument: Arg<&[u8]>| match argument {
        Arg::Simple(bytes) => bytes.to_vec(),
        _ => panic!("an unexpected argument"),
    };
    command.args_iter().map(argument).collect()
}

pub(crate) fn message(from: &str, operation: Operation) -> Message {
    Message { from: from.into(), namespace: "/".into(), operation }
}

pub(crate) fn target(rooms: &[&str], except: &[&str]) -> Target {
    let rooms_of = |names: &[&str]| names.iter().map(|name| Room::from(*name)).collect();
    Target::new(rooms_of(rooms), rooms_of(except))
}

pub(crate) fn event(json: &str) -> EventPacket {
    EventPacket::new("/", json, Vec::new()).unwrap()
}

pub(crate) fn binary_event(json: &str, attachments: &[&[u8]]) -> EventPacket {
    let attachments = attachments.iter().map(|bytes| Bytes::copy_from_slice(bytes));
    EventPacket::new("/", json, attachments.collect()).unwrap()
}

pub(crate) fn reply(to: &str, body: socketio::cluster::ReplyBody) -> Reply {
    Reply { from: "responder".into(), namespace: "/".into(), request: RequestId::from(to), body }
}

/// Returns the bytes of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Returns the JSON value of a payload, which is JSON or MessagePack without binary data.
pub(crate) fn json(payload: &[u8]) -> serde_json::Value {
    if payload.first() == Some(&b'{') {
        return serde_json::from_slice(payload).unwrap();
    }
    let (json, _) = socketio::cluster::node::msgpack_to_json(payload, 100).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Returns the names of rooms.
pub(crate) fn names(rooms: &[Room]) -> Vec<&str> {
    rooms.iter().map(|room| &**room).collect()
}
