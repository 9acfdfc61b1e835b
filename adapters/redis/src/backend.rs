//! Connects the queue, the writer and the subscriber of one server.

use std::{sync::Arc, time::Duration};

use engineio::BoxFuture;
use redis::Client;
use socketio::cluster::{
    Backend, ClusterFull, ClusterStatus, Inbox, Message, Receivers, Reply, ServerId, Unavailable,
};

use crate::{
    dialect::Dialect,
    queue::{Content, Queue, Shared},
    subscriber::{Subscriber, Wanted},
    writer::{CommandConnection, Writer, subscriber_count},
};

/// The options of the connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    pub(crate) client: Client,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_queued_age: Duration,
    pub(crate) watchdog_interval: Duration,
}

pub(crate) struct RedisBackend {
    inbox: Inbox,
    dialect: Arc<dyn Dialect>,
    shared: Arc<Shared>,
    queue: Queue,
    wanted: Arc<Wanted>,
    commands: CommandConnection,
}

impl RedisBackend {
    /// Starts the tasks of a server.
    pub(crate) fn start(options: ConnectionOptions, dialect: Arc<dyn Dialect>, inbox: Inbox) -> Arc<Self> {
        let ConnectionOptions { client, max_queued_bytes, max_queued_age, watchdog_interval } = options;
        let shared = Arc::new(Shared::new(max_queued_bytes));
        let (queue, receiver) = Queue::new(shared.clone());
        let (wanted, commands) = (Arc::new(Wanted::default()), CommandConnection::default());
        let writer = Writer {
            client: client.clone(),
            dialect: dialect.clone(),
            shared: shared.clone(),
            inbox: inbox.clone(),
            queue: receiver,
            connection: commands.clone(),
            max_age: max_queued_age,
        };
        let subscriber = Subscriber {
            client,
            dialect: dialect.clone(),
            shared: shared.clone(),
            inbox: inbox.clone(),
            wanted: wanted.clone(),
            commands: commands.clone(),
            watchdog_interval,
        };
        tokio::spawn(writer.run());
        tokio::spawn(subscriber.run());
        Arc::new(Self { inbox, dialect, shared, queue, wanted, commands })
    }
}

impl Backend for RedisBackend {
    fn publish(&self, message: Arc<Message>) -> Result<(), ClusterFull> {
        self.queue.push(Content::Message(message))
    }

    fn request(&self, message: Arc<Message>) -> Receivers {
        match self.queue.push(Content::Request(message, self.wanted.generation())) {
            Ok(()) if !self.shared.has_left() => Receivers::Counted,
            Ok(()) => Receivers::Known { waiting: Vec::new(), unreachable: Vec::new() },
            Err(ClusterFull) => {
                Receivers::Known { waiting: Vec::new(), unreachable: vec![ServerId::unknown()] }
            }
        }
    }

    fn reply(&self, to: &ServerId, reply: Reply) -> Result<(), ClusterFull> {
        self.queue.push(Content::Reply(to.clone(), reply))
    }

    fn servers(&self) -> Vec<ServerId> {
        Vec::new()
    }

    fn server_count(&self, namespace: Arc<str>) -> BoxFuture<Result<usize, Unavailable>> {
        let (command, connection) = (self.dialect.count(&namespace), self.commands.lock().clone());
        Box::pin(async move {
            let mut connection = connection.ok_or(Unavailable)?.connection;
            let count = command.query_async(&mut connection).await.map_err(|_| Unavailable)?;
            // Count this server even if its subscription is not established.
            Ok(subscriber_count(&count).ok_or(Unavailable)?.max(1))
        })
    }

    fn namespace_created(&self, namespace: &str) {
        self.wanted.add(namespace, self.dialect.channels(self.inbox.server_id(), namespace));
    }

    fn namespace_removed(&self, namespace: &str) {
        self.wanted.remove(namespace, self.dialect.channels(self.inbox.server_id(), namespace));
    }

    fn tracks_rooms(&self) -> bool {
        self.dialect.has_room_channels()
    }

    fn room_changed(&self, namespace: &str, room: &str) {
        if let Some(channel) = self.dialect.room_channel(namespace, room) {
            self.wanted.set(namespace, &channel, || self.inbox.has_room(namespace, room));
        }
    }

    fn connected(&self) -> BoxFuture<()> {
        let (mut subscribed, generation) = (self.shared.subscribed.subscribe(), self.wanted.generation());
        Box::pin(async move {
            // An error means that the server is gone.
            let _ = subscribed.wait_for(|now| now.is_some_and(|now| now >= generation)).await;
        })
    }

    fn status(&self) -> ClusterStatus {
        self.shared.status()
    }

    fn leave(&self) {
        self.shared.left.send_replace(true);
    }
}
