//! The adapter for the simulated broker, built as those for Postgres and NATS are.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::cluster::{Backend, Broker, Inbox, Message, Operation, ServerId, node::decode_in};
use socketio_broker::{
    Channels, Connector, HeartbeatBackend, Link, Lost, Options, Outgoing, Peer, RecentJoins, Subscription,
    User, Writer,
};
use tokio::time::sleep;

use super::pubsub::{self, PubSub};

/// The pause before a server connects again.
const BACKOFF: Duration = Duration::from_millis(50);

/// The names of the channels.
pub(crate) struct Names {
    pub(crate) has_rooms: bool,
}

impl Names {
    fn all(namespace: &str) -> String {
        format!("all {namespace}")
    }

    fn server(namespace: &str, id: &ServerId) -> String {
        format!("server {namespace} {}", id.as_str())
    }
}

impl Channels for Names {
    fn of_namespace(&self, id: &ServerId, namespace: &str) -> Vec<String> {
        vec![Self::all(namespace), Self::server(namespace, id)]
    }

    fn of_room(&self, namespace: &str, room: &str) -> Option<String> {
        // The rooms of sockets have no channels.
        (self.has_rooms && room.len() < 20).then(|| format!("room {namespace} {room}"))
    }

    fn has_rooms(&self) -> bool {
        self.has_rooms
    }
}

/// Connects one server.
pub(crate) struct Adapter {
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) server: usize,
    pub(crate) has_rooms: bool,
    pub(crate) options: Options,
    /// Where the state of the server is left for the test.
    pub(crate) peer: Arc<Mutex<Option<Arc<Peer<Names>>>>>,
}

impl Broker for Adapter {
    fn connect(self, inbox: Inbox) -> Arc<dyn Backend> {
        let Self { pubsub, server, has_rooms, options, peer: slot } = self;
        let (peer, queue) = Peer::start(Names { has_rooms }, inbox.clone(), &options);
        *slot.lock() = Some(peer.clone());
        let connector =
            PublisherConnector { pubsub: pubsub.clone(), server, peer: peer.clone(), joined: Arc::default() };
        let (shared, max_age) = (peer.shared.clone(), options.max_queued_age);
        tokio::spawn(Writer { connector, shared, inbox, queue, max_age, log: None }.run());
        tokio::spawn(Listener { pubsub, server, peer: peer.clone() }.run());
        Arc::new(HeartbeatBackend::new(peer))
    }
}

struct PublisherConnector {
    pubsub: Arc<PubSub>,
    server: usize,
    peer: Arc<Peer<Names>>,
    joined: Arc<RecentJoins>,
}

impl Connector for PublisherConnector {
    type Link = Publisher;

    async fn connect(&mut self) -> Publisher {
        let Self { pubsub, server, peer, joined } = self;
        let connection = pubsub.open_publishing(*server).await;
        Publisher {
            pubsub: pubsub.clone(),
            server: *server,
            connection,
            peer: peer.clone(),
            joined: joined.clone(),
        }
    }
}

struct Publisher {
    pubsub: Arc<PubSub>,
    server: usize,
    connection: u64,
    peer: Arc<Peer<Names>>,
    joined: Arc<RecentJoins>,
}

impl Link for Publisher {
    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), Lost> {
        self.send_all(messages).await.map_err(|pubsub::Lost| Lost)
    }

    async fn lost(&mut self) {
        let mut publishing = self.pubsub.publishing(self.server);
        // An error means that the simulation has ended.
        let _ = publishing.wait_for(|now| *now != self.connection).await;
    }
}

impl Publisher {
    async fn send_all(&self, messages: &[Outgoing]) -> Result<(), pubsub::Lost> {
        self.pubsub.confirmed(self.server, self.connection).await?;
        for message in messages {
            let channel = self.channel(message);
            for encoded in message.encode() {
                let id = self.peer.inbox.server_id();
                let bytes = encoded.to_bytes(id, message.namespace());
                let bytes = bytes.expect("the message can be encoded");
                self.pubsub.publish(self.server, self.connection, &channel, bytes)?;
            }
        }
        self.pubsub.confirmed(self.server, self.connection).await
    }

    fn channel(&self, message: &Outgoing) -> String {
        match message {
            Outgoing::Reply(to, reply) => Names::server(&reply.namespace, to),
            Outgoing::Message(message) => self.channel_of_broadcast(message),
            _ => Names::all(message.namespace()),
        }
    }

    fn channel_of_broadcast(&self, Message { namespace, operation, .. }: &Message) -> String {
        let of_room = |room: &str| self.peer.channels.of_room(namespace, room);
        match operation {
            Operation::Join { rooms, .. } => {
                self.joined.remember(namespace, rooms.iter().filter(|room| of_room(room).is_some()));
            }
            Operation::Broadcast { target, .. } => {
                if let [room] = target.rooms()
                    && let Some(channel) = of_room(room)
                    && !self.joined.contains(namespace, room)
                {
                    return channel;
                }
            }
            _ => {}
        }
        Names::all(namespace)
    }
}

/// Keeps the subscriptions and receives messages.
struct Listener {
    pubsub: Arc<PubSub>,
    server: usize,
    peer: Arc<Peer<Names>>,
}

impl Listener {
    async fn run(self) {
        let shared = self.peer.shared.clone();
        shared.receive_until_left(self.receive_all()).await;
    }

    async fn receive_all(&self) {
        loop {
            match self.pubsub.open_receiving(self.server).await {
                Ok(connection) => {
                    let Err(pubsub::Lost) = self.receive(connection).await;
                    self.peer.disconnected("the connection was closed");
                }
                Err(pubsub::Lost) => self.peer.unreachable(&"nobody listens"),
            }
            sleep(BACKOFF).await;
        }
    }

    async fn receive(&self, connection: u64) -> Result<std::convert::Infallible, pubsub::Lost> {
        let (mut subscribed, mut is_new) = (HashMap::new(), true);
        loop {
            self.reconcile(connection, &mut subscribed, std::mem::take(&mut is_new)).await?;
            tokio::select! {
                biased;
                () = self.peer.wanted.changed.notified() => {}
                received = self.pubsub.receive(self.server) => {
                    let (channel, bytes) = received?;
                    for User { namespace, .. } in subscribed.get(&channel).into_iter().flatten() {
                        self.peer.receive(namespace, decode_in(namespace, &bytes)).await;
                    }
                }
            }
        }
    }

    /// Subscribes to the wanted channels and to no others.
    async fn reconcile(
        &self,
        connection: u64,
        subscribed: &mut HashMap<String, Subscription>,
        mut is_new: bool,
    ) -> Result<(), pubsub::Lost> {
        let mut new: Vec<User> = Vec::new();
        loop {
            let wanted = &self.peer.wanted;
            let (generation, changes) =
                if std::mem::take(&mut is_new) { wanted.all() } else { wanted.changes() };
            if changes.is_empty() {
                self.peer.subscribed(generation, &new);
                self.pubsub.subscribed(self.server);
                return Ok(());
            }
            let wanted: Vec<_> =
                changes.iter().map(|(channel, users)| (channel.clone(), !users.is_empty())).collect();
            self.pubsub.subscribe(self.server, connection, wanted.into_iter()).await?;
            for (channel, users) in changes {
                if users.is_empty() {
                    subscribed.remove(&channel);
                } else if subscribed.insert(channel, users.clone()).is_none() {
                    new.extend(users);
                }
            }
        }
    }
}
