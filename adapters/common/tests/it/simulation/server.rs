//! The application under test, and one server with its clients.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use socketio::{
    Ack, BroadcastOperator, Namespace, RoomEvent, Server, ServerConfig, Socket, testing::TestServer,
};
use socketio_broker::{Options, Peer};
use tokio::{sync::mpsc, time::sleep};

use super::{
    adapter::{Adapter, Names},
    client::{self, Command, bytes_of},
    history::{History, Kind, Selection},
    pubsub::PubSub,
};

/// The timeout of requests. It is longer than that of heartbeats, so that a request which does not notice the
/// death of a server is found.
pub(crate) const REQUESTS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the other servers collect acknowledgements, at least.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of requests that one server executes for others.
pub(crate) const MAX_REQUESTS: usize = 40;
/// How long a handler takes that takes long: longer than any request.
pub(crate) const LONG: Duration = Duration::from_secs(35);

/// What all servers of a run have in common.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) history: Arc<History>,
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) has_rooms: bool,
    pub(crate) options: Options,
}

/// A running server.
pub(crate) struct Running {
    pub(crate) number: usize,
    pub(crate) io: Server,
    pub(crate) peer: Arc<Peer<Names>>,
    history: Arc<History>,
    /// The ids of the sockets, with the senders of commands to their clients.
    pub(crate) clients: Vec<(String, mpsc::Sender<Command>)>,
}

/// Emits an event to `sockets`, which are those of the selection.
fn emit(
    history: &History,
    server: usize,
    sockets: BroadcastOperator,
    selection: &Selection,
    joined: Option<&Selection>,
    said: Option<(String, u32)>,
) {
    let number = history.emit(server, Kind::Event, selection, joined, said);
    let emitted = if number.is_multiple_of(7) {
        sockets.emit("bytes", &(number, bytes_of(number)) as &(usize, Bytes))
    } else {
        sockets.emit("event", &number)
    };
    if emitted.is_err() {
        history.refused(number);
    }
}

pub(crate) fn select(mut sockets: BroadcastOperator, selection: &Selection) -> BroadcastOperator {
    for room in &selection.rooms {
        sockets = sockets.to(room);
    }
    for room in &selection.except {
        sockets = sockets.except(room);
    }
    sockets
}

fn namespace(number: usize, history: &Arc<History>) -> Namespace {
    let (rooms, says, notes) = (history.clone(), history.clone(), history.clone());
    Namespace::new("/")
        .on_room(move |event| match event {
            RoomEvent::Joined { room, id, .. } => rooms.moved(number, &id, &room, true),
            RoomEvent::Left { room, id, .. } => rooms.moved(number, &id, &room, false),
            RoomEvent::Missed { count, .. } => rooms.violation(format!("{count} room events are missed")),
            _ => {}
        })
        .on("say", async move |socket: Socket, said: u32| {
            let selection = Selection { rooms: Vec::new(), except: vec![socket.id().to_owned()] };
            let said = Some((socket.id().to_owned(), said));
            emit(&says, number, socket.broadcast(), &selection, None, said);
        })
        .on_server("note", async move |_, note: usize| notes.received_by_server(number, note))
        .on_server("ask", async |_, delay: u64| {
            sleep(Duration::from_millis(delay)).await;
            Ack(delay)
        })
}

impl Running {
    /// Starts a server, which connects to the broker meanwhile.
    pub(crate) fn start(number: usize, fleet: &Fleet) -> Self {
        let Fleet { history, pubsub, has_rooms, options } = fleet;
        history.server();
        pubsub.add();
        let slot: Arc<Mutex<Option<_>>> = Arc::default();
        let adapter = Adapter {
            pubsub: pubsub.clone(),
            server: number,
            has_rooms: *has_rooms,
            options: options.clone(),
            peer: slot.clone(),
        };
        let config = ServerConfig::default()
            .requests_timeout(REQUESTS_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_cluster_requests(MAX_REQUESTS);
        let io = Server::with_cluster(config, adapter).namespace(namespace(number, history));
        history.0.lock().servers[number].id = io.server_id().expect("there is a cluster").to_string();
        let peer = slot.lock().take().expect("the server has connected");
        Self { number, io, peer, history: history.clone(), clients: Vec::new() }
    }

    /// Connects a client.
    pub(crate) async fn connect(&mut self) {
        let Ok(client) = TestServer::new(self.io.clone()).client("/").connect().await else {
            self.history.violation(format!("server {} refuses a client", self.number));
            return;
        };
        let (sender, commands) = mpsc::channel(64);
        self.clients.push((client.id().to_owned(), sender));
        tokio::spawn(client::run(client, commands, self.history.clone()));
    }

    /// Forgets clients that are disconnected.
    pub(crate) fn forget_disconnected(&mut self) {
        self.clients.retain(|(_, commands)| !commands.is_closed());
    }

    /// Emits an event to the selected sockets of all servers.
    pub(crate) fn emit(&self, selection: &Selection, joined: Option<&Selection>) {
        let sockets = select(self.io.of("/"), selection);
        emit(&self.history, self.number, sockets, selection, joined, None);
    }

    /// Emits an event to all other servers.
    pub(crate) fn note(&self) {
        let number = self.history.emit(self.number, Kind::ServerEvent, &Selection::default(), None, None);
        if self.io.server_side_emit("note", &number).is_err() {
            self.history.refused(number);
        }
    }
}
