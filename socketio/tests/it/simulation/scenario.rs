//! The plan of a run: the events of both sides, the transports, and how each session ends. All of it is drawn
//! from the seed.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, rngs::StdRng};

use super::network::Sky;

/// The transports that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transports {
    Upgrade,
    Polling,
    WebSocket,
}

/// How a client ends its session, if the session survives until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Leaves the namespace and closes the session, like `disconnect()`.
    Disconnect,
    /// Closes the session.
    Close,
    /// Drops its connections without closing the session.
    Vanish,
    /// Asks the server to disconnect the socket.
    ServerDisconnects,
    /// Asks the server to close the session.
    ServerCloses,
}

/// The acknowledgement that the receiver of an event sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    NotAsked,
    After(Duration),
    Never,
}

/// How the server emits an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Volatile,
    /// Sent to the room of all clients.
    Broadcast,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) pause: Duration,
    pub(crate) answer: Answer,
    pub(crate) filler: usize,
    pub(crate) attachments: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) transports: Transports,
    /// `true` if the network has only faults that a session survives. Then nothing may be lost.
    pub(crate) must_live: bool,
    pub(crate) up: Vec<Event>,
    pub(crate) down: Vec<Event>,
    pub(crate) farewell: Farewell,
    /// The time and the condition of a disturbance that affects all connections of this client, existing and
    /// new.
    pub(crate) storm: Option<(Duration, Sky)>,
    /// The idle time of client and server before the end.
    pub(crate) idle: Duration,
    pub(crate) keep_alive: bool,
    /// The duration of the connect hook.
    pub(crate) welcome: Duration,
}

pub(crate) fn plans(rng: &mut StdRng) -> Vec<Arc<Plan>> {
    let clients = [1, 1, 2, 3][rng.random_range(0..4)];
    (0..clients).map(|_| Arc::new(plan(rng))).collect()
}

fn plan(rng: &mut StdRng) -> Plan {
    let must_live = rng.random_bool(0.6);
    let sky = [Sky::Silent, Sky::Stalled, Sky::Cut][rng.random_range(0..3)];
    Plan {
        transports: [Transports::Upgrade, Transports::Upgrade, Transports::Polling, Transports::WebSocket]
            [rng.random_range(0..4)],
        must_live,
        up: script(rng, false),
        down: script(rng, true),
        farewell: [
            Farewell::Disconnect,
            Farewell::Close,
            Farewell::Vanish,
            Farewell::ServerDisconnects,
            Farewell::ServerCloses,
        ][rng.random_range(0..5)],
        storm: (!must_live && rng.random_bool(0.5)).then(|| (millis(rng, 3000), sky)),
        idle: if rng.random_bool(0.2) { millis(rng, 120_000) } else { Duration::ZERO },
        keep_alive: rng.random_bool(0.5),
        welcome: if rng.random_bool(0.3) { millis(rng, 300) } else { Duration::ZERO },
    }
}

fn script(rng: &mut StdRng, of_server: bool) -> Vec<Event> {
    let len = if rng.random_bool(0.1) { rng.random_range(0..120) } else { rng.random_range(0..25) };
    // The fraction of events that are sent without a pause.
    let haste = rng.random_range(0.2..1.0);
    (0..len)
        .map(|_| {
            let kind = match rng.random_range(0..10) {
                0 if of_server => Kind::Volatile,
                1 if of_server => Kind::Broadcast,
                _ => Kind::Event,
            };
            let plain = kind == Kind::Event;
            Event {
                kind,
                pause: if rng.random_bool(haste) { Duration::ZERO } else { millis(rng, 200) },
                answer: match rng.random_range(0..40) {
                    0..6 if plain => Answer::After(Duration::ZERO),
                    6..8 if plain => Answer::After(millis(rng, 300)),
                    8 if plain && of_server => Answer::Never,
                    _ => Answer::NotAsked,
                },
                filler: if rng.random_bool(0.05) {
                    rng.random_range(0..2000)
                } else {
                    rng.random_range(0..40)
                },
                attachments: match rng.random_range(0..6) {
                    0 if plain => vec![rng.random_range(0..200)],
                    1 if plain => vec![rng.random_range(0..20), rng.random_range(0..20)],
                    _ => Vec::new(),
                },
            }
        })
        .collect()
}

fn millis(rng: &mut StdRng, most: u64) -> Duration {
    Duration::from_millis(rng.random_range(1..=most))
}

impl Event {
    /// Returns the text of an event. The repeated letter differs between neighboring events.
    pub(crate) fn text(&self, n: u32) -> String {
        let letter = char::from(b'a' + (n % 26) as u8);
        std::iter::repeat_n(letter, self.filler).chain("ü€".chars()).collect()
    }

    pub(crate) fn bytes(&self, n: u32) -> impl Iterator<Item = Vec<u8>> {
        self.attachments.iter().map(move |&len| (0..len).map(|at| (n as usize * 31 + at) as u8).collect())
    }

    /// Returns the payload of the event's packet.
    pub(crate) fn json(&self, name: &str, n: u32) -> String {
        let placeholder = |at| format!(r#",{{"_placeholder":true,"num":{at}}}"#);
        let attachments: String = (0..self.attachments.len()).map(placeholder).collect();
        format!(r#"["{name}",{n},"{}"{attachments}]"#, self.text(n))
    }
}

/// Returns the events of one kind in a script. Events are numbered per kind.
pub(crate) fn of_kind(script: &[Event], kind: Kind) -> impl Iterator<Item = &Event> {
    script.iter().filter(move |event| event.kind == kind)
}
