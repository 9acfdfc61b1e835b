//! The task that reports what a server does, while an administrator watches.

use std::time::{Duration, SystemTime};

use socketio::{EmitError, EventName, MessageCounter, Observer, Server, ToArgs};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    admin::{Shared, WATCH},
    record::SocketRecord,
    shown::{Shown, Update},
    stats::{NotShown, Reports},
};

/// The interval of changes of sockets, and of events.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// The interval of the numbers, as in Node.js.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// The time for which an administrator at another server is expected after this server heard of one.
const LEASE: Duration = Duration::from_secs(10);
/// The timeout for the responses of other servers with their sockets.
pub(crate) const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which a server of a cluster sends no changes after it has sent its sockets. The changes would arrive before
/// the sockets, which the asking server sends when it has those of all servers, after up to two requests.
const HOLD: Duration = Duration::from_millis(2500);

/// What other tasks want of the worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// An administrator has connected here, or is at another server.
    Watch,
    /// Tell the sockets that are shown.
    Snapshot(oneshot::Sender<Vec<SocketRecord>>),
}

pub(crate) struct Worker {
    io: Server,
    shared: Shared,
    reports: Reports,
    shown: Shown,
    /// `Some` while messages are counted.
    counter: Option<MessageCounter>,
    /// `Some` while events are observed.
    observer: Option<Observer>,
    is_watched: bool,
    /// The time until which an administrator at another server is expected.
    lease: Instant,
    /// Changes are sent after this time.
    hold: Instant,
    /// `true` if the sockets were sent since an administrator watches.
    has_sent_sockets: bool,
    /// What was logged last.
    not_shown: NotShown,
}

impl Worker {
    pub(crate) fn new(io: Server, shared: Shared, server_id: Option<String>) -> Self {
        let now = Instant::now();
        Self {
            reports: Reports::new(server_id, &io),
            io,
            shown: Shown::new(shared.max_sockets()),
            shared,
            counter: None,
            observer: None,
            is_watched: false,
            lease: now,
            hold: now,
            has_sent_sockets: false,
            not_shown: NotShown::default(),
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let (mut tick, mut report) = (interval(TICK), interval(REPORT_INTERVAL));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !(self.io.is_closing() && self.io.session_count() == 0) {
            tokio::select! {
                biased;
                Some(command) = commands.recv() => self.command(command),
                _ = report.tick() => self.report(),
                _ = tick.tick(), if self.is_watched && self.shared.is_development() => self.tick(),
            }
        }
        self.shared.release_server();
    }

    fn command(&mut self, command: Command) {
        self.lease = Instant::now() + LEASE;
        let was_watched = self.is_watched;
        self.set_watched(true);
        match command {
            Command::Watch if was_watched && !self.has_administrators() => {}
            Command::Watch => self.report(),
            Command::Snapshot(answer) => {
                let updates = self.shown.update(&self.io, self.shared.recording());
                if std::mem::replace(&mut self.has_sent_sockets, true) {
                    self.send_updates(&updates);
                }
                self.hold_changes();
                // The asking task is gone if its administrator is.
                let _ = answer.send(self.shown.records(self.shared.recording()));
            }
        }
    }

    fn has_administrators(&self) -> bool {
        self.io.socket_count(self.shared.namespace()) > 0
    }

    fn set_watched(&mut self, is_watched: bool) {
        match (std::mem::replace(&mut self.is_watched, is_watched), is_watched) {
            (false, true) => self.start(),
            (true, false) => self.stop(),
            _ => {}
        }
    }

    fn start(&mut self) {
        self.reports.skip(&self.io);
        self.counter = Some(self.io.count_messages());
        // An administrator who has just connected asks for all sockets.
        self.hold_changes();
        if self.shared.is_development() {
            let shared = self.shared.clone();
            self.observer = Some(self.io.observe(move |event| shared.events().observe(event)));
        }
    }

    fn hold_changes(&mut self) {
        self.hold = Instant::now() + if self.io.server_id().is_some() { HOLD } else { TICK };
    }

    fn stop(&mut self) {
        self.counter = None;
        self.observer = None;
        self.has_sent_sockets = false;
        self.shown.clear();
        drop(self.shared.events().take());
    }

    /// Sends the numbers: to the administrators here, and to the other servers.
    fn report(&mut self) {
        let has_administrators = self.has_administrators();
        self.set_watched(has_administrators || Instant::now() < self.lease);
        let is_clustered = self.io.server_id().is_some();
        if !has_administrators && !is_clustered {
            return;
        }
        let not_shown = self.not_shown();
        let stats = self.reports.next(&self.io, not_shown);
        self.send("server_stats", &stats);
        if has_administrators && is_clustered {
            let sent = self.io.of(self.shared.namespace()).server_side_emit(WATCH, &());
            log_error(WATCH, sent);
        }
    }

    fn not_shown(&mut self) -> NotShown {
        if !self.is_watched || !self.shared.is_development() {
            return NotShown::default();
        }
        let total: usize = self.io.namespaces().iter().map(|path| self.io.socket_count(path)).sum();
        let sockets = total.saturating_sub(self.shown.len());
        let now = NotShown { sockets, events: self.shared.events().hidden(), namespaces: 0 };
        let before = std::mem::replace(&mut self.not_shown, now);
        if before != now && now != NotShown::default() {
            let server = self.reports.server_id();
            tracing::debug!(server, now.sockets, now.events, "the Admin UI does not show everything");
        }
        now
    }

    /// Sends the changes of sockets, and the sampled events.
    fn tick(&mut self) {
        if Instant::now() < self.hold {
            return;
        }
        self.has_sent_sockets = true;
        let updates = self.shown.update(&self.io, self.shared.recording());
        self.send_updates(&updates);
        for event in self.shared.events().take() {
            let name = if event.is_incoming { "event_received" } else { "event_sent" };
            self.send(name, &(&event.nsp, &event.id, &event.values, timestamp(event.time)));
        }
    }

    fn send_updates(&self, updates: &[Update]) {
        for update in updates {
            self.send_update(update);
        }
    }

    fn send_update(&self, update: &Update) {
        let now = timestamp(SystemTime::now());
        match update {
            Update::Connected(record) => self.send("socket_connected", &(record, now)),
            Update::Changed(changes) => self.send("socket_updated", changes),
            Update::Disconnected { nsp, id, reason } => {
                self.send("socket_disconnected", &(nsp, id, reason, now));
            }
            Update::RoomJoined { nsp, room, id } => self.send("room_joined", &(nsp, room, id, now)),
            Update::RoomLeft { nsp, room, id } => self.send("room_left", &(nsp, room, id, now)),
        }
    }

    /// Sends an event to the administrators of all servers.
    fn send<T: ToArgs + ?Sized>(&self, event: &'static str, args: &T)
    where
        &'static str: EventName<T>,
    {
        log_error(event, self.io.of(self.shared.namespace()).emit(event, args));
    }
}

fn log_error(event: &'static str, sent: Result<(), EmitError>) {
    if let Err(error) = sent {
        tracing::debug!(event, %error, "other servers miss an event of the Admin UI");
    }
}

/// Returns the time as JavaScript writes a date in JSON.
fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
