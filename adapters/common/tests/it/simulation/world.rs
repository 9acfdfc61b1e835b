//! Runs the servers, clients and faults of one seed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socketio_broker::Options;
use tokio::{
    runtime::{Builder, Handle},
    task::{JoinHandle, yield_now},
    time::{sleep, timeout},
};

use super::{
    check::{self, ACQUAINTANCE},
    client::Command,
    history::{History, Selection},
    pubsub::PubSub,
    requests,
    server::{ACK_TIMEOUT, Fleet, LONG, MAX_REQUESTS, REQUESTS_TIMEOUT, Running},
};

/// The rooms that clients join and leave.
const ROOMS: [&str; 3] = ["red", "green", "blue"];
/// The longest duration of a fault.
const MAX_FAULT: Duration = Duration::from_secs(16);
/// The time after which the servers know each other when all faults are over.
const RECOVERY: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Unreachable,
    FailedSend,
    Stall,
    Partition,
    Kill,
    Close,
    Start,
}

/// The faults of a run. A run has one row, because faults of one kind may hide the effects of another one.
const FAULTS: [&[Fault]; 6] = [
    &[],
    &[Fault::Kill, Fault::Kill, Fault::Start],
    &[Fault::Close, Fault::Close, Fault::Start],
    &[Fault::Cut, Fault::Unreachable, Fault::FailedSend],
    &[Fault::Stall, Fault::Partition],
    &[
        Fault::Cut,
        Fault::Unreachable,
        Fault::FailedSend,
        Fault::Stall,
        Fault::Partition,
        Fault::Kill,
        Fault::Close,
        Fault::Start,
    ],
];

/// Runs a seed and returns the violations.
pub(crate) fn run(seed: u64) -> Vec<String> {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime starts");
    runtime.block_on(play(seed))
}

async fn play(seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let history = Arc::new(History::new());
    let pubsub = PubSub::new(rng.random(), history.clone());
    let is_tight = rng.random_bool(0.1);
    let mut options = Options::default();
    if is_tight {
        options.max_queued_bytes = 4096;
    }
    let fleet = Fleet { history: history.clone(), pubsub, has_rooms: rng.random_bool(0.5), options };
    let faults = [0.02, 0.05, 0.1][rng.random_range(0..3)];
    let kinds = FAULTS[rng.random_range(0..FAULTS.len())];
    let mut world = World {
        rng,
        fleet,
        servers: Vec::new(),
        killed: Vec::new(),
        started: 0,
        tasks: Vec::new(),
        stalls: Vec::new(),
        is_tight,
        fresh: 0,
        said: 0,
    };
    for _ in 0..world.rng.random_range(2..=4) {
        world.start().await;
    }
    // Requests are checked strictly if the servers have been connected for some time.
    let warm_up = if world.rng.random_bool(0.7) { ACQUAINTANCE } else { Duration::from_secs(2) };
    sleep(warm_up).await;
    for _ in 0..world.rng.random_range(20..80) {
        world.step(faults, kinds).await;
    }
    world.end().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    if tasks > 0 {
        history.violation(format!("{tasks} tasks are left"));
    }
    let log = history.0.lock();
    check::violations(&log, !is_tight)
}

struct World {
    rng: StdRng,
    fleet: Fleet,
    servers: Vec<Running>,
    /// Servers whose process is dead. Their tasks run, but reach nobody any more.
    killed: Vec<Running>,
    started: usize,
    tasks: Vec<JoinHandle<()>>,
    /// The servers that were stalled.
    stalls: Vec<usize>,
    /// The queues to the other servers are small.
    is_tight: bool,
    /// The number of rooms that were used once.
    fresh: usize,
    said: u32,
}

impl World {
    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=most))
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..self.servers.len())
    }

    async fn start(&mut self) {
        let mut new = Running::start(self.started, &self.fleet);
        self.started += 1;
        for _ in 0..self.rng.random_range(1..=3) {
            new.connect().await;
        }
        self.servers.push(new);
    }

    fn selection(&mut self) -> Selection {
        let room = |rng: &mut StdRng| ROOMS[rng.random_range(0..ROOMS.len())].to_owned();
        let rooms = match self.rng.random_range(0..6) {
            0 | 1 => Vec::new(),
            2 | 3 => vec![room(&mut self.rng)],
            4 => vec![room(&mut self.rng), room(&mut self.rng)],
            _ => self.socket().map_or_else(Vec::new, |(_, id)| vec![id]),
        };
        let except = if self.rng.random_bool(0.2) { vec![room(&mut self.rng)] } else { Vec::new() };
        Selection { rooms, except }
    }

    /// Returns the index of a server and the id of one of its sockets.
    fn socket(&mut self) -> Option<(usize, String)> {
        let at = self.any();
        let clients = &self.servers[at].clients;
        let (id, _) = clients.get(self.rng.random_range(0..clients.len().max(1)))?;
        Some((at, id.clone()))
    }

    async fn step(&mut self, faults: f64, kinds: &[Fault]) {
        if !kinds.is_empty() && self.rng.random_bool(faults) {
            let kind = kinds[self.rng.random_range(0..kinds.len())];
            self.fault(kind).await;
        }
        self.operation().await;
        let pause = match self.rng.random_range(0..10) {
            0..5 => Duration::ZERO,
            5..9 => self.millis(500),
            _ => self.millis(6000),
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
        for server in std::mem::take(&mut self.stalls) {
            self.fleet.pubsub.stalled(server);
            self.stalls.push(server);
        }
        for server in &mut self.servers {
            server.forget_disconnected();
        }
    }

    async fn operation(&mut self) {
        let (at, selection) = (self.any(), self.selection());
        let history = self.fleet.history.clone();
        match self.rng.random_range(0..20) {
            0..3 => self.servers[at].emit(&selection, None),
            3 => {
                for _ in 0..self.rng.random_range(2..12) {
                    let selection = self.selection();
                    self.servers[at].emit(&selection, None);
                    if self.rng.random_bool(0.2) {
                        self.servers[at].note();
                    }
                }
            }
            4..7 => self.join_or_leave(at, selection),
            7 | 8 => self.join_and_emit(at, selection),
            9 => self.servers[at].note(),
            10 | 11 => {
                let timeout = [REQUESTS_TIMEOUT, Duration::from_millis(1500)][self.rng.random_range(0..2)];
                self.tasks.push(requests::fetch(&self.servers[at], &history, selection, timeout));
            }
            12 | 13 => {
                let timeout = Duration::from_secs(self.rng.random_range(1..10));
                self.tasks.extend(requests::question(&self.servers[at], &history, &selection, timeout));
            }
            14 => {
                let delay = [Duration::ZERO, Duration::from_millis(700), LONG][self.rng.random_range(0..3)];
                self.tasks.push(requests::ask(&self.servers[at], &history, delay, REQUESTS_TIMEOUT));
            }
            15 => self.tasks.push(requests::count(&self.servers[at], &history)),
            16 | 17 => self.say(),
            18 => self.disconnect(at).await,
            _ => self.servers[at].connect().await,
        }
    }

    fn join_or_leave(&mut self, at: usize, mut selection: Selection) {
        let mut sockets = self.servers[at].io.of("/");
        if self.rng.random_bool(0.5) {
            // A socket of the same server.
            let Some((own, id)) = self.socket() else { return };
            sockets = self.servers[own].io.of("/").local();
            selection = Selection { rooms: vec![id], except: Vec::new() };
        }
        let sockets = super::server::select(sockets, &selection);
        let room = ROOMS[self.rng.random_range(0..ROOMS.len())];
        // The error that the queue is full is allowed. The history has what the sockets did.
        if self.rng.random_bool(0.6) {
            let _ = sockets.sockets_join([room]);
        } else {
            let _ = sockets.sockets_leave([room]);
        }
    }

    /// Has sockets join a new room, and emits to that room at once.
    fn join_and_emit(&mut self, at: usize, selection: Selection) {
        self.fresh += 1;
        let room = format!("fresh {}", self.fresh);
        let sockets = super::server::select(self.servers[at].io.of("/"), &selection);
        if sockets.sockets_join([room.as_str()]).is_ok() {
            let of_room = Selection { rooms: vec![room], except: Vec::new() };
            self.servers[at].emit(&of_room, Some(&selection));
        }
    }

    fn say(&mut self) {
        let Some((at, id)) = self.socket() else { return };
        let Some((_, commands)) = self.servers[at].clients.iter().find(|(other, _)| *other == id) else {
            return;
        };
        for _ in 0..self.rng.random_range(1..4) {
            self.said += 1;
            // An error means that the client is disconnected or slow.
            let _ = commands.try_send(Command::Say(self.said));
        }
    }

    async fn disconnect(&mut self, at: usize) {
        let Some((own, id)) = self.socket() else { return };
        match self.rng.random_range(0..4) {
            0 => drop(self.servers[at].io.to(&id).disconnect_sockets()),
            1 => drop(self.servers[at].io.to(&id).close_sockets()),
            _ => {
                let clients = &mut self.servers[own].clients;
                let Some(place) = clients.iter().position(|(other, _)| *other == id) else { return };
                // Without the command, the client vanishes.
                let (_, commands) = clients.swap_remove(place);
                if self.rng.random_bool(0.5) {
                    let _ = commands.try_send(Command::Leave);
                }
            }
        }
        if self.rng.random_bool(0.7) {
            self.servers[own].connect().await;
        }
    }

    async fn fault(&mut self, kind: Fault) {
        let at = self.any();
        let (server, pubsub) = (self.servers[at].number, self.fleet.pubsub.clone());
        let duration = if self.rng.random_bool(0.7) {
            self.millis(4000)
        } else {
            self.millis(MAX_FAULT.as_millis() as u64)
        };
        match kind {
            Fault::Cut => {
                let which = [(true, true), (true, false), (false, true)][self.rng.random_range(0..3)];
                let notice = self.millis(3000);
                pubsub.cut(server, which, notice);
            }
            Fault::Unreachable => {
                let notice = self.millis(3000);
                pubsub.set_reachable(server, false);
                pubsub.cut(server, (true, true), notice);
                self.tasks.push(tokio::spawn(async move {
                    sleep(duration).await;
                    pubsub.set_reachable(server, true);
                }));
            }
            Fault::FailedSend => pubsub.fail_after(server, self.rng.random_range(1..5)),
            Fault::Stall => {
                pubsub.stall(server, duration);
                self.stalls.push(server);
            }
            Fault::Partition => {
                let servers = self.servers.iter().map(|server| server.number);
                let some: HashSet<_> = servers.filter(|_| self.rng.random_bool(0.5)).collect();
                pubsub.partition(some);
                self.tasks.push(tokio::spawn(async move {
                    sleep(duration).await;
                    pubsub.partition(HashSet::new());
                }));
            }
            Fault::Kill if self.servers.len() > 1 => self.kill(at),
            Fault::Close if self.servers.len() > 1 => self.close(at),
            Fault::Start if self.servers.len() < 5 => self.start().await,
            Fault::Kill | Fault::Close | Fault::Start => {}
        }
    }

    /// Ends a server without a word to the others.
    fn kill(&mut self, at: usize) {
        let mut server = self.servers.swap_remove(at);
        self.fleet.history.gone(server.number, true);
        self.fleet.pubsub.kill(server.number);
        for (id, _) in server.clients.drain(..) {
            self.fleet.history.ended(&id);
        }
        self.killed.push(server);
        self.ask_all();
    }

    /// Sends a request of each kind.
    fn ask_all(&mut self) {
        let (at, history) = (self.any(), self.fleet.history.clone());
        let server = &self.servers[at];
        let all = Selection::default();
        self.tasks.push(requests::fetch(server, &history, all.clone(), REQUESTS_TIMEOUT));
        self.tasks.extend(requests::question(server, &history, &all, REQUESTS_TIMEOUT));
        self.tasks.push(requests::ask(server, &history, Duration::ZERO, REQUESTS_TIMEOUT));
    }

    fn close(&mut self, at: usize) {
        let server = self.servers.swap_remove(at);
        if self.rng.random_bool(0.5) {
            self.ask_all();
        }
        self.fleet.history.gone(server.number, false);
        self.tasks.push(tokio::spawn(async move {
            server.io.close().await;
        }));
    }

    /// Ends all faults, and checks that the cluster is as new.
    async fn end(mut self) {
        let history = self.fleet.history.clone();
        self.fleet.pubsub.partition(HashSet::new());
        for server in &self.servers {
            self.fleet.pubsub.set_reachable(server.number, true);
        }
        sleep(MAX_FAULT).await;
        for server in &self.servers {
            self.fleet.pubsub.stalled(server.number);
        }
        for task in self.tasks.drain(..) {
            if timeout(2 * LONG, task).await.is_err() {
                history.violation("a request does not end".to_owned());
            }
        }
        // The handlers that take long have ended too.
        sleep(RECOVERY.max(LONG)).await;
        self.settled().await;
        for server in self.servers.drain(..).chain(self.killed.drain(..)) {
            drop(server.clients);
            if timeout(Duration::from_mins(1), server.io.close()).await.is_err() {
                history.violation(format!("server {} does not close", server.number));
            }
        }
        // The timers of the last sessions.
        sleep(Duration::from_mins(1)).await;
        for _ in 0..1000 {
            yield_now().await;
        }
    }

    /// Checks that nothing of the past is left: members, messages, or requests.
    async fn settled(&mut self) {
        let history = self.fleet.history.clone();
        let mut alive: Vec<_> =
            self.servers.iter().map(|server| server.peer.inbox.server_id().clone()).collect();
        alive.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        for server in &self.servers {
            let mut known = server.peer.members.all();
            known.push(server.peer.inbox.server_id().clone());
            known.sort_by(|one, other| one.as_str().cmp(other.as_str()));
            if known != alive {
                history.violation(format!("server {} knows {known:?} instead of {alive:?}", server.number));
            }
            let status = server.peer.shared.status();
            if !status.is_connected || status.queued_bytes > 0 || !server.peer.inbox.is_empty() {
                history.violation(format!("server {} is not at rest: {status:?}", server.number));
            }
            self.tasks.push(requests::fetch(server, &history, Selection::default(), REQUESTS_TIMEOUT));
            self.tasks.extend(requests::question(server, &history, &Selection::default(), REQUESTS_TIMEOUT));
            server.emit(&Selection::default(), None);
            server.note();
        }
        for task in self.tasks.drain(..) {
            task.await.expect("the request is checked later");
        }
        if self.is_tight {
            return;
        }
        if self.rng.random_bool(0.2) {
            self.abandon(&history);
            // Servers of Node.js do not learn that a request was dropped, and neither do those that speak their
            // protocol.
            sleep(ACK_TIMEOUT + Duration::from_secs(1)).await;
        }
        // All places for requests of other servers are free.
        let asking = (0..MAX_REQUESTS)
            .map(|_| requests::ask(&self.servers[0], &history, Duration::from_secs(1), REQUESTS_TIMEOUT));
        for task in asking.collect::<Vec<_>>() {
            task.await.expect("the request is checked later");
        }
        self.start().await;
        if let Some(new) = self.servers.last() {
            new.io.cluster_connected().await;
            sleep(Duration::from_secs(1)).await;
            let (known, count) = (new.io.server_count().await, self.servers.len());
            if known != Ok(count) {
                history.violation(format!("a new server knows of {known:?} instead of {count}"));
            }
        }
    }

    /// Asks as many questions as the other servers execute at a time, and does not wait for the answers.
    fn abandon(&self, history: &History) {
        for _ in 0..MAX_REQUESTS {
            requests::abandoned(&self.servers[0], history);
        }
    }
}
