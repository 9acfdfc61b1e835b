//! Publishes messages.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, client::PublishErrorKind, jetstream::context::PublishAckFuture};
use bytes::Bytes;
use socketio::{
    Room,
    cluster::{Message, Operation, SavedSession, node::Encoded},
};
use socketio_broker::{Connector, Link, Log, Lost, Outgoing, Peer, RecentJoins, is_durable};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    jetstream::{EventLog, LOGGED, Rejected, encode},
    order::{ORDER, Order, ROOMS},
    subjects::{Subjects, has_subject, token},
};

/// The time within which NATS must connect and respond.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection that the [`Listener`](crate::listener::Listener) has opened.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// The number of the connection.
    pub(crate) number: u64,
    /// Makes the listener connect again.
    pub(crate) lost: Arc<Notify>,
    /// The stream, if broadcasts are appended to one.
    pub(crate) log: Option<EventLog>,
}

/// Waits for connections of the listener.
pub(crate) struct PublisherConnector {
    pub(crate) peer: Arc<Peer<Subjects>>,
    pub(crate) connections: watch::Receiver<Option<Connected>>,
    /// The number of the last connection, which is lost.
    pub(crate) last: u64,
    pub(crate) state: Arc<State>,
}

/// What outlasts a connection.
#[derive(Default)]
pub(crate) struct State {
    joined: RecentJoins,
    sent: AtomicU64,
    /// `Some` if the server delivers its broadcasts when it reads them from the stream.
    log: Option<Arc<Log>>,
}

impl State {
    pub(crate) fn new(log: Option<Arc<Log>>) -> Self {
        Self { log, ..Self::default() }
    }
}

impl Connector for PublisherConnector {
    type Link = Publisher;

    async fn connect(&mut self) -> Publisher {
        let last = self.last;
        let is_new = |now: &Option<Connected>| now.as_ref().is_some_and(|now| now.number > last);
        let now = match self.connections.wait_for(is_new).await {
            Ok(now) => now.clone(),
            Err(_) => None,
        };
        let Some(connected) = now else {
            // The listener has ended, because the server has left the cluster.
            return pending().await;
        };
        self.last = connected.number;
        let (peer, state, connections) = (self.peer.clone(), self.state.clone(), self.connections.clone());
        Publisher { connected, peer, state, connections, has_sessions: false }
    }
}

/// The connection that messages are published on.
pub(crate) struct Publisher {
    connected: Connected,
    peer: Arc<Peer<Subjects>>,
    state: Arc<State>,
    connections: watch::Receiver<Option<Connected>>,
    /// `true` if the stream of sessions exists.
    has_sessions: bool,
}

impl Link for Publisher {
    async fn send(&mut self, messages: &[Outgoing]) -> Result<(), Lost> {
        if let Ok(Ok(())) = timeout(RESPONSE_TIMEOUT, self.publish_all(messages)).await {
            return Ok(());
        }
        self.connected.lost.notify_one();
        Err(Lost)
    }

    async fn lost(&mut self) {
        let number = self.connected.number;
        let is_other = |now: &Option<Connected>| now.as_ref().is_none_or(|now| now.number != number);
        // An error means that the listener has ended, after which the connection is still used to leave.
        if self.connections.wait_for(is_other).await.is_err() {
            pending::<()>().await;
        }
    }
}

impl Publisher {
    async fn publish_all(&mut self, messages: &[Outgoing]) -> Result<(), Lost> {
        let log = self.connected.log.clone();
        let mut appended = Vec::new();
        for message in messages {
            match (message, &log) {
                (Outgoing::SaveSession(namespace, session, duration), Some(log)) => {
                    let sent = self.save(log, namespace, session, *duration).await;
                    appended.extend(self.accepted(message, sent).await?);
                }
                (Outgoing::RemoveSession(_, pid), Some(log)) => {
                    let subject = self.peer.channels.session(&token(pid));
                    // An empty message replaces the session.
                    let sent = log.append(subject, HeaderMap::new(), Bytes::new()).await;
                    appended.extend(self.accepted(message, sent).await?);
                }
                (Outgoing::Message(content) | Outgoing::Logged(content, _), Some(log))
                    if is_durable(&content.operation) =>
                {
                    for encoded in message.encode() {
                        let sent = self.append(log, message, &encoded).await;
                        appended.extend(self.accepted(message, sent).await?);
                    }
                }
                _ => {
                    let Route { subject, rooms } = self.route(message);
                    for encoded in message.encode() {
                        self.publish(&subject, rooms.as_deref(), message, &encoded).await?;
                    }
                }
            }
        }
        self.connected.client.flush().await.map_err(|error| {
            tracing::debug!(%error, "messages cannot be sent");
            Lost
        })?;
        for (message, sent) in appended {
            let stored = EventLog::stored(sent).await;
            self.accepted(message, stored).await?;
        }
        Ok(())
    }

    /// Appends a message to the stream.
    async fn append(
        &self,
        log: &EventLog,
        message: &Outgoing,
        encoded: &Encoded,
    ) -> Result<PublishAckFuture, Rejected> {
        let namespace = message.namespace();
        let id = self.peer.inbox.server_id();
        let payload = encoded.to_bytes(id, namespace).ok_or("it cannot be encoded")?;
        let mut headers = HeaderMap::new();
        if let Outgoing::Logged(_, number) = message {
            headers.insert(LOGGED, Order { sender: id.as_str(), number: *number }.to_string());
        }
        log.append(self.peer.channels.log(namespace), headers, payload.into()).await
    }

    /// Saves a session.
    async fn save(
        &mut self,
        log: &EventLog,
        namespace: &str,
        session: &SavedSession,
        duration: Duration,
    ) -> Result<PublishAckFuture, Rejected> {
        if !self.has_sessions {
            log.create_sessions(&self.peer.channels, duration).await?;
            self.has_sessions = true;
        }
        let subject = self.peer.channels.session(&token(&session.pid));
        log.append(subject, HeaderMap::new(), encode(namespace, session, duration)?).await
    }

    /// Handles a message that NATS has not stored. If NATS has refused it, it is dropped.
    async fn accepted<'a, T>(
        &self,
        message: &'a Outgoing,
        result: Result<T, Rejected>,
    ) -> Result<Option<(&'a Outgoing, T)>, Lost> {
        let error = match result {
            Ok(result) => return Ok(Some((message, result))),
            Err(Rejected::Unknown) => return Err(Lost),
            Err(Rejected::Refused(error)) => error,
        };
        self.peer.shared.count_dropped(1);
        tracing::warn!(%error, "NATS refuses a message to other servers");
        if let (Outgoing::Logged(_, number), Some(log)) = (message, &self.state.log) {
            log.deliver_unlogged(*number, &self.peer.inbox).await;
        }
        Ok(None)
    }

    async fn publish(
        &self,
        subject: &str,
        rooms: Option<&str>,
        message: &Outgoing,
        encoded: &Encoded,
    ) -> Result<(), Lost> {
        let id = self.peer.inbox.server_id();
        let Some(payload) = encoded.to_bytes(id, message.namespace()) else {
            self.peer.shared.count_dropped(1);
            tracing::warn!("a message to other servers cannot be encoded");
            return Ok(());
        };
        let mut headers = HeaderMap::new();
        let number = self.state.sent.fetch_add(1, Ordering::Relaxed);
        headers.insert(ORDER, Order { sender: id.as_str(), number }.to_string());
        if let Some(rooms) = rooms {
            headers.insert(ROOMS, rooms);
        }
        let len = payload.len();
        let published =
            self.connected.client.publish_with_headers(subject.to_owned(), headers, payload.into()).await;
        match published {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                self.peer.shared.count_dropped(1);
                tracing::warn!(len, "a message to other servers is longer than NATS allows (`max_payload`)");
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "a message cannot be sent");
                Err(Lost)
            }
        }
    }

    fn route(&self, message: &Outgoing) -> Route {
        let subjects = &self.peer.channels;
        match message {
            Outgoing::Reply(to, reply) => Route::new(subjects.server(&reply.namespace, to)),
            Outgoing::Message(message) | Outgoing::Logged(message, _) => self.route_broadcast(message),
            Outgoing::Request(message, _) => Route::new(subjects.all(&message.namespace)),
            Outgoing::Presence(namespace, _) => Route::new(subjects.all(namespace)),
            // Without a stream, no session is saved.
            Outgoing::SaveSession(namespace, ..) | Outgoing::RemoveSession(namespace, _) => {
                Route::new(subjects.all(namespace))
            }
        }
    }

    fn route_broadcast(&self, message: &Message) -> Route {
        let Message { namespace, operation, .. } = message;
        let subjects = &self.peer.channels;
        match operation {
            Operation::Join { rooms, .. } => {
                self.state.joined.remember(namespace, rooms.iter().filter(|room| has_subject(room)));
            }
            Operation::Broadcast { target, .. } => {
                let is_subscribed =
                    |room: &Room| has_subject(room) && !self.state.joined.contains(namespace, room);
                match target.rooms() {
                    [room] if is_subscribed(room) => return Route::new(subjects.room(namespace, room)),
                    rooms @ [_, _, ..] if rooms.len() <= MAX_ROOMS && rooms.iter().all(is_subscribed) => {
                        let rooms: Vec<String> = rooms.iter().map(|room| token(room)).collect();
                        return Route { subject: subjects.all(namespace), rooms: Some(rooms.join(" ")) };
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Route::new(subjects.all(namespace))
    }
}

/// The maximum number of rooms that are named in a header. A message to more rooms is decoded by all servers.
const MAX_ROOMS: usize = 16;

/// Where a message goes.
struct Route {
    subject: String,
    /// The tokens of the rooms, if a server without sockets in any of them need not decode the message.
    rooms: Option<String>,
}

impl Route {
    fn new(subject: String) -> Self {
        Self { subject, rooms: None }
    }
}
