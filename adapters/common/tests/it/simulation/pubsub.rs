//! The simulated broker: channels, connections, delays and faults.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

use super::history::History;

/// How often a server without a connection tries to connect.
const RETRY: Duration = Duration::from_millis(100);
/// The longest delay of a message between two servers.
const MAX_DELAY: u64 = 150;

/// The broker is not connected, or not any more.
#[derive(Debug)]
pub(crate) struct Lost;

/// Delivers messages to the servers that are subscribed to their channel, in the order of each sender.
pub(crate) struct PubSub {
    state: Mutex<State>,
    history: Arc<History>,
}

struct State {
    rng: StdRng,
    ports: Vec<Port>,
    /// The delay from one server to another.
    delays: HashMap<(usize, usize), Duration>,
    /// The servers that do not reach the others.
    cut_off: HashSet<usize>,
    sequence: u64,
}

/// A message on its way to a server: when it arrives, its number, its channel and its content.
type Mail = (Instant, u64, String, Arc<[u8]>);

/// The connections of one server: one that it publishes on, and one that it receives on.
#[expect(clippy::struct_excessive_bools, reason = "all combinations occur")]
struct Port {
    is_reachable: bool,
    is_dead: bool,
    stalled_until: Instant,
    /// The number of the current connection for publishing, which grows when a connection is lost.
    publishing: watch::Sender<u64>,
    is_publishing: bool,
    /// The number of messages after which the connection for publishing is lost.
    fails_after: Option<u32>,
    receiving: Option<Receiving>,
    is_subscribed: bool,
    received: Arc<Notify>,
}

struct Receiving {
    number: u64,
    channels: HashSet<String>,
    mail: BinaryHeap<Reverse<Mail>>,
    /// When the last message of each sender arrives.
    last: HashMap<usize, Instant>,
    /// When the server learns that the connection is lost.
    lost_at: Option<Instant>,
}

impl State {
    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=most))
    }

    fn port(&mut self, server: usize) -> &mut Port {
        &mut self.ports[server]
    }
}

impl Port {
    fn is_whole(&self) -> bool {
        self.is_reachable && self.is_publishing && self.is_subscribed && self.stalled_until <= Instant::now()
    }

    fn cut_publishing(&mut self) {
        self.is_publishing = false;
        self.fails_after = None;
        self.publishing.send_modify(|number| *number += 1);
    }

    fn cut_receiving(&mut self, notice: Duration) {
        self.is_subscribed = false;
        if let Some(receiving) = &mut self.receiving
            && receiving.lost_at.is_none()
        {
            // What the connection has not delivered is lost with it.
            receiving.mail.clear();
            receiving.lost_at = Some(Instant::now() + notice);
        }
        self.received.notify_one();
    }
}

impl PubSub {
    pub(crate) fn new(seed: u64, history: Arc<History>) -> Arc<Self> {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            ports: Vec::new(),
            delays: HashMap::new(),
            cut_off: HashSet::new(),
            sequence: 0,
        };
        Arc::new(Self { state: Mutex::new(state), history })
    }

    /// Adds a server without connections.
    pub(crate) fn add(&self) {
        let mut state = self.state.lock();
        let new = state.ports.len();
        for other in 0..new {
            let (there, back) = (state.millis(MAX_DELAY), state.millis(MAX_DELAY));
            state.delays.extend([((new, other), there), ((other, new), back)]);
        }
        state.ports.push(Port {
            is_reachable: true,
            is_dead: false,
            stalled_until: Instant::now(),
            publishing: watch::Sender::new(0),
            is_publishing: false,
            fails_after: None,
            receiving: None,
            is_subscribed: false,
            received: Arc::default(),
        });
    }
}

/// What servers do.
impl PubSub {
    /// Waits for the time that the broker takes to respond.
    async fn round_trip(&self, server: usize) {
        let wait = self.state.lock().millis(20);
        sleep(wait).await;
        loop {
            let stalled_until = self.state.lock().port(server).stalled_until;
            if stalled_until <= Instant::now() {
                return;
            }
            sleep_until(stalled_until).await;
        }
    }

    /// Opens the connection that a server publishes on. Returns its number.
    pub(crate) async fn open_publishing(&self, server: usize) -> u64 {
        loop {
            self.round_trip(server).await;
            if let Some(number) = self.try_open_publishing(server) {
                return number;
            }
            sleep(RETRY).await;
        }
    }

    fn try_open_publishing(&self, server: usize) -> Option<u64> {
        let mut state = self.state.lock();
        let port = state.port(server);
        if !port.is_reachable {
            return None;
        }
        port.is_publishing = true;
        let number = *port.publishing.borrow();
        self.settled(server, port);
        Some(number)
    }

    pub(crate) fn publishing(&self, server: usize) -> watch::Receiver<u64> {
        self.state.lock().port(server).publishing.subscribe()
    }

    /// Waits until the broker has confirmed what was published before.
    pub(crate) async fn confirmed(&self, server: usize, connection: u64) -> Result<(), Lost> {
        self.round_trip(server).await;
        let is_open = *self.state.lock().port(server).publishing.borrow() == connection;
        if is_open { Ok(()) } else { Err(Lost) }
    }

    /// Publishes a message. The connection may be lost right after it.
    pub(crate) fn publish(
        &self,
        server: usize,
        connection: u64,
        channel: &str,
        bytes: Vec<u8>,
    ) -> Result<(), Lost> {
        let (state, bytes) = (&mut *self.state.lock(), Arc::from(bytes));
        if *state.ports[server].publishing.borrow() != connection {
            return Err(Lost);
        }
        for (to, port) in state.ports.iter_mut().enumerate() {
            let Some(receiving) = &mut port.receiving else { continue };
            let is_cut = state.cut_off.contains(&server) != state.cut_off.contains(&to);
            if is_cut || receiving.lost_at.is_some() || !receiving.channels.contains(channel) {
                continue;
            }
            let delay = state.delays.get(&(server, to)).copied().unwrap_or_default();
            let last = receiving.last.entry(server).or_insert_with(Instant::now);
            *last = (*last).max(Instant::now() + delay);
            state.sequence += 1;
            receiving.mail.push(Reverse((*last, state.sequence, channel.to_owned(), Arc::clone(&bytes))));
            port.received.notify_one();
        }
        let port = state.port(server);
        port.fails_after = port.fails_after.map(|messages| messages.saturating_sub(1));
        if port.fails_after == Some(0) {
            self.history.trouble_begins(server);
            port.cut_publishing();
        }
        Ok(())
    }

    /// Opens the connection that a server receives on. Returns its number.
    pub(crate) async fn open_receiving(&self, server: usize) -> Result<u64, Lost> {
        self.round_trip(server).await;
        let state = &mut *self.state.lock();
        let port = &mut state.ports[server];
        if !port.is_reachable {
            return Err(Lost);
        }
        state.sequence += 1;
        port.receiving = Some(Receiving {
            number: state.sequence,
            channels: HashSet::new(),
            mail: BinaryHeap::new(),
            last: HashMap::new(),
            lost_at: None,
        });
        Ok(state.sequence)
    }

    /// Changes subscriptions.
    pub(crate) async fn subscribe(
        &self,
        server: usize,
        connection: u64,
        changes: impl Iterator<Item = (String, bool)>,
    ) -> Result<(), Lost> {
        // Some of the subscriptions begin earlier.
        for (at, (channel, is_wanted)) in changes.enumerate() {
            if at % 4 == 0 {
                self.round_trip(server).await;
            }
            let mut state = self.state.lock();
            let receiving = state.port(server).receiving.as_mut();
            let receiving = receiving.filter(|now| now.number == connection && now.lost_at.is_none());
            let Some(receiving) = receiving else { return Err(Lost) };
            if is_wanted {
                receiving.channels.insert(channel);
            } else {
                receiving.channels.remove(&channel);
            }
        }
        Ok(())
    }

    /// The server has all subscriptions that it wants.
    pub(crate) fn subscribed(&self, server: usize) {
        let mut state = self.state.lock();
        let port = state.port(server);
        if port.receiving.as_ref().is_some_and(|receiving| receiving.lost_at.is_none()) {
            port.is_subscribed = true;
            self.settled(server, port);
        }
    }

    /// Waits for the next message.
    pub(crate) async fn receive(&self, server: usize) -> Result<(String, Arc<[u8]>), Lost> {
        loop {
            let (wake_at, received) = {
                let mut state = self.state.lock();
                let port = state.port(server);
                let (stalled_until, now) = (port.stalled_until, Instant::now());
                let Some(receiving) = &mut port.receiving else { return Err(Lost) };
                let due = match receiving.lost_at {
                    Some(lost_at) if lost_at <= now => return Err(Lost),
                    Some(lost_at) => Some(lost_at),
                    None => receiving.mail.peek().map(|Reverse((due, ..))| (*due).max(stalled_until)),
                };
                if receiving.lost_at.is_none()
                    && due.is_some_and(|due| due <= now)
                    && let Some(Reverse((_, _, channel, bytes))) = receiving.mail.pop()
                {
                    return Ok((channel, bytes));
                }
                (due, port.received.clone())
            };
            tokio::select! {
                () = received.notified() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
    }

    fn settled(&self, server: usize, port: &Port) {
        if port.is_whole() {
            self.history.trouble_ends(server);
        }
    }
}

/// Faults.
impl PubSub {
    /// Cuts one or both connections of a server. It learns of the end of the one that it receives on after
    /// `notice`.
    pub(crate) fn cut(&self, server: usize, (publishing, receiving): (bool, bool), notice: Duration) {
        let mut state = self.state.lock();
        self.history.trouble_begins(server);
        let port = state.port(server);
        if publishing {
            port.cut_publishing();
        }
        if receiving {
            port.cut_receiving(notice);
        }
    }

    /// Lets a server connect, or no longer.
    pub(crate) fn set_reachable(&self, server: usize, is_reachable: bool) {
        let mut state = self.state.lock();
        let port = state.port(server);
        port.is_reachable = is_reachable && !port.is_dead;
    }

    /// Cuts the connections of a server for good.
    pub(crate) fn kill(&self, server: usize) {
        self.state.lock().port(server).is_dead = true;
        self.set_reachable(server, false);
        self.cut(server, (true, true), Duration::ZERO);
    }

    /// Loses the connection after some more messages, which the others may have received.
    pub(crate) fn fail_after(&self, server: usize, messages: u32) {
        let mut state = self.state.lock();
        let port = state.port(server);
        if port.is_publishing {
            port.fails_after = Some(messages);
        }
    }

    /// Delays all messages from and to a server.
    pub(crate) fn stall(&self, server: usize, duration: Duration) {
        let mut state = self.state.lock();
        self.history.trouble_begins(server);
        let port = state.port(server);
        port.stalled_until = port.stalled_until.max(Instant::now() + duration);
    }

    /// Records that a server is no longer stalled, if that is so.
    pub(crate) fn stalled(&self, server: usize) {
        let mut state = self.state.lock();
        let port = state.port(server);
        self.settled(server, port);
    }

    /// Separates servers from the others. An empty set heals the partition.
    pub(crate) fn partition(&self, servers: HashSet<usize>) {
        self.history.partition(&servers);
        self.state.lock().cut_off = servers;
    }
}
