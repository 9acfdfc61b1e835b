//! One Engine.IO session: transports, upgrade, heartbeat and end.

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod upgrade_sim;
#[cfg(test)]
pub(crate) mod v3_tests;

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    dialect::Revision,
    heartbeat::Heartbeat,
    packet::{Message, Packet, TransportKind},
};

/// How often a client that is upgrading gets a poll back if there is nothing else to say. Node has the same interval,
/// and lets it pass before the first time.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);
/// How old a session is before a probe releases its poll at once. Clients close by, whose probe comes sooner, wait for
/// the interval: a packet more in that time is one that the suites of the official clients do not expect. To others
/// this costs nothing.
const SETTLING: Duration = Duration::from_millis(150);

/// Why a session ended.
///
/// # Examples
///
/// ```
/// assert_eq!(engineio::CloseReason::PingTimeout.as_str(), "ping timeout");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the session, or its connection is gone.
    TransportClose,
    /// The client broke a rule of its transport, or its connection failed.
    TransportError,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// The client sent something that is no Engine.IO packet.
    ParseError,
    /// The application closed the session.
    ForcedClose,
    /// The application closed the session because the client broke the application's own protocol. Node does not
    /// tell it from a [forced close](Self::ForcedClose).
    Violation,
    /// The server is shutting down; clients reconnect, to another server if there is one.
    ServerShuttingDown,
    /// The client did not take its messages, and the queue for them is full.
    SlowConsumer,
    /// The session was [pending](field@crate::EngineConfig::max_pending_sessions), and gave way to a newer one.
    Evicted,
}

impl CloseReason {
    /// The reason in the words of the Node.js server. It has no word for a slow consumer, whose transport
    /// fails to deliver: that is a `transport error`. One that gives way is a `forced close`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError | Self::SlowConsumer => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose | Self::Violation | Self::Evicted => "forced close",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}

impl CloseReason {
    /// All reasons, in the order of their variants.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; Self::Evicted as usize + 1] = [
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::Violation,
        Self::ServerShuttingDown,
        Self::SlowConsumer,
        Self::Evicted,
    ];

    /// Whether the server ends the session of a client that is still there and listens.
    pub(crate) const fn is_graceful(self) -> bool {
        matches!(self, Self::ForcedClose | Self::Violation | Self::ServerShuttingDown)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that waits for its answer, or for its place in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// A GET that takes what the server sends.
    Poll,
    /// A POST that brings packets.
    Post,
    /// A WebSocket that wants to take the session over.
    Probe,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A request arrived. Unless [`Output::Accept`] follows, it must be refused.
    Arrived(Request),
    /// Messages wait while [`Session::route`] is [`Route::Answer`].
    Deliver,
    /// All packets of the POST have been received.
    PostDone,
    /// A POST went beyond a limit: its client hears so by the answer to it.
    PostRefused,
    /// The connection of the accepted poll or POST failed, or that of the WebSocket ended.
    Gone { request: Request, error: bool },
    /// Something that is no packet arrived.
    Malformed(TransportKind),
    /// The application, or a limit, ends the session.
    Close(CloseReason),
    /// The deadline of [`Output::Timeout`] may have passed.
    Timeout,
}

/// What the caller must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The request that arrived belongs to the session from now on.
    Accept(Request),
    /// Answer the accepted poll with a heartbeat if one is due, with all messages that wait, and with `end`.
    Answer { ping: bool, end: Option<End> },
    /// Write a heartbeat to the WebSocket: a ping, or in protocol 3 the answer to one.
    Ping,
    /// Write the answer to a probe to the WebSocket.
    ProbePong,
    /// Close the WebSocket that probed; the session goes on without it.
    DropProbe,
    /// The WebSocket carries the session from now on.
    Upgraded,
    /// The session has ended: tell the application, and close the WebSocket if it carried the session.
    Closed(CloseReason),
    /// Write what is left to the WebSocket, and close it.
    Finish(CloseReason),
    /// Nothing more to do until this instant, or until the next input.
    Timeout(Option<Instant>),
}

/// The last packet of the answer to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Only there so that the answer is not empty.
    Noop,
    /// The session has ended.
    Close,
}

/// Where messages to the client go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nowhere: they wait.
    Hold,
    /// Into the answer to the parked poll, by [`Input::Deliver`].
    Answer,
    /// To the WebSocket.
    WebSocket,
}

#[derive(Debug)]
enum State {
    Polling {
        poll: bool,
        post: bool,
        upgrade: Upgrade,
    },
    WebSocket,
    /// Closed for the application; the next poll takes what is left and the last packet.
    Closing {
        by: Instant,
        end: End,
        /// A poll is parked that is to be answered no sooner than by then.
        parked: bool,
        /// A WebSocket has probed, so the client may have left polling already: then its upgrade packet may come
        /// in place of the next poll. With the reason for the close frame.
        probed: Option<CloseReason>,
    },
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// A WebSocket is there and has not said anything yet.
    Attached {
        give_up: Instant,
    },
    /// It has sent a probe: polls are released, so that the client can stop polling.
    Probed {
        give_up: Instant,
        /// From when on the next poll is released. The client polls at this pace until it upgrades.
        release: Instant,
    },
}

/// The durations of a session, from the options of the same names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) close_timeout: Duration,
}

/// The server side of one Engine.IO session.
///
/// Feed it with [`handle`](Self::handle) or [`receive`](Self::receive), then call [`poll`](Self::poll) until it
/// returns [`Output::Timeout`]; only then feed it again.
#[derive(Debug)]
pub(crate) struct Session {
    timing: Arc<Timing>,
    state: State,
    heartbeat: Heartbeat,
    /// A heartbeat waits for the next poll: a ping, or in protocol 3 the answer to one.
    ping_due: bool,
    /// Whether nothing is read from the client, because the application takes no messages.
    paused: bool,
    out: VecDeque<Output>,
}

impl Session {
    pub(crate) fn new(
        now: Instant,
        timing: Arc<Timing>,
        transport: TransportKind,
        revision: Revision,
    ) -> Self {
        let heartbeat = Heartbeat::new(now, &timing, revision);
        let state = match transport {
            TransportKind::Polling => State::Polling { poll: false, post: false, upgrade: Upgrade::None },
            TransportKind::WebSocket => State::WebSocket,
        };
        Self { timing, state, heartbeat, ping_due: false, paused: false, out: VecDeque::new() }
    }

    /// Takes note of bytes that are not yet a packet.
    pub(crate) fn record_activity(&mut self, now: Instant) {
        self.heartbeat.record_activity(now, &self.timing);
    }

    /// Nothing is read from the client any more. Pings go on, because the client expects them; that it does not answer
    /// says nothing about it.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.paused = true;
        if let (State::WebSocket, Heartbeat::PongBy(by)) = (&self.state, self.heartbeat) {
            let heard = by.checked_sub(self.timing.ping_timeout).unwrap_or(now);
            self.heartbeat = Heartbeat::PingAt(now.max(heard + self.timing.ping_interval));
        }
    }

    /// What the client sends is read again.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.record_activity(now);
    }

    /// Takes a packet; gives back the message in it if there is one for the application.
    ///
    /// A message is handed through instead of being queued as an output, because it borrows the read buffer.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Instant,
        via: TransportKind,
        packet: Packet<'a>,
    ) -> Option<Message<'a>> {
        self.record_activity(now);
        match (&self.state, via) {
            (State::Polling { .. }, TransportKind::Polling)
            | (State::WebSocket, TransportKind::WebSocket) => self.current(now, packet),
            (State::Polling { .. }, TransportKind::WebSocket) => {
                self.probe(now, &packet);
                None
            }
            (State::Closing { probed: Some(reason), .. }, TransportKind::WebSocket) => {
                if packet == Packet::Upgrade {
                    self.out.push_back(Output::Finish(*reason));
                    self.state = State::Closed;
                } else {
                    self.abandon_upgrade();
                }
                None
            }
            _ => None,
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Arrived(request) => self.arrived(now, request),
            Input::Deliver => self.answer(None),
            Input::PostDone => {
                if let State::Polling { post, .. } = &mut self.state {
                    *post = false;
                }
            }
            Input::PostRefused => self.post_refused(now),
            Input::Gone { request, error } => self.gone(now, request, error),
            Input::Malformed(via) => match (&self.state, via) {
                (State::Polling { .. } | State::Closing { .. }, TransportKind::WebSocket) => {
                    self.abandon_upgrade();
                }
                (State::Polling { .. }, TransportKind::Polling) | (State::WebSocket, _) => {
                    self.close(now, CloseReason::ParseError);
                }
                _ => {}
            },
            Input::Close(reason) => self.close(now, reason),
            Input::Timeout => self.timeout(now),
        }
    }

    /// Takes the next output.
    #[must_use]
    pub(crate) fn poll(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Timeout(self.deadline()))
    }

    /// Whether the request of the [`Input::Arrived`] just fed was accepted; takes that output.
    pub(crate) fn accepted(&mut self) -> bool {
        self.out.pop_front_if(|output| matches!(output, Output::Accept(_))).is_some()
    }

    pub(crate) fn route(&self) -> Route {
        match self.state {
            State::Polling { poll: true, .. } => Route::Answer,
            State::WebSocket => Route::WebSocket,
            _ => Route::Hold,
        }
    }

    /// Whether the application has been told of the end; a last request may still come.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Closed)
    }

    /// Whether nothing can happen any more, not even a last poll.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn deadline(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.deadline();
        match self.state {
            State::Polling { upgrade: Upgrade::None, .. } | State::WebSocket => Some(heartbeat),
            State::Polling { poll: true, upgrade: Upgrade::Probed { give_up, release }, .. } => {
                Some(heartbeat.min(give_up).min(release))
            }
            State::Polling {
                upgrade: Upgrade::Attached { give_up } | Upgrade::Probed { give_up, .. },
                ..
            } => Some(heartbeat.min(give_up)),
            State::Closing { by, .. } => Some(by),
            State::Closed => None,
        }
    }

    /// A packet on the transport that carries the session.
    fn current<'a>(&mut self, now: Instant, packet: Packet<'a>) -> Option<Message<'a>> {
        match packet {
            Packet::Message(message) => return Some(message),
            Packet::Pong if !self.heartbeat.is_of_client() => {
                self.heartbeat.pong(now, self.timing.ping_interval);
            }
            Packet::Ping { .. } if self.heartbeat.is_of_client() => self.beat(),
            // In protocol 4 only the server pings, in protocol 3 only the client.
            Packet::Ping { .. } | Packet::Pong => self.close(now, CloseReason::TransportError),
            Packet::Close => self.closed_by_client(now),
            // Meaningless on an open session, and harmless.
            Packet::Open | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    /// A packet on a WebSocket beside a polling session.
    fn probe(&mut self, now: Instant, packet: &Packet<'_>) {
        let begun = self.heartbeat.begun(&self.timing);
        let State::Polling { upgrade, .. } = &mut self.state else { return };
        match (packet, *upgrade) {
            // A probe gains no time, and there is no second one.
            (Packet::Ping { probe: true }, Upgrade::Attached { give_up }) => {
                let release = begun.map_or(now, |begun| begun + SETTLING);
                let release = release.clamp(now, now + RELEASE_INTERVAL);
                *upgrade = Upgrade::Probed { give_up, release };
                self.out.push_back(Output::ProbePong);
                if release <= now {
                    self.answer(Some(End::Noop));
                }
            }
            (Packet::Upgrade, Upgrade::Attached { .. } | Upgrade::Probed { .. }) => {
                self.answer(Some(End::Noop));
                self.state = State::WebSocket;
                self.out.push_back(Output::Upgraded);
                if std::mem::take(&mut self.ping_due) {
                    self.out.push_back(Output::Ping);
                }
            }
            _ => self.abandon_upgrade(),
        }
    }

    fn arrived(&mut self, now: Instant, request: Request) {
        self.record_activity(now);
        match (&mut self.state, request) {
            (State::Polling { poll, .. }, Request::Poll) if !*poll => {
                *poll = true;
                if self.paused && matches!(self.heartbeat, Heartbeat::PongBy(_)) {
                    // Its POST with the pong is not read. A poll is an answer as good.
                    self.heartbeat.pong(now, self.timing.ping_interval);
                }
                self.out.push_back(Output::Accept(request));
                self.release(now);
                if self.ping_due {
                    self.answer(None);
                }
            }
            (State::Polling { post, .. }, Request::Post) if !*post => {
                *post = true;
                self.out.push_back(Output::Accept(request));
            }
            (State::Polling { upgrade: upgrade @ Upgrade::None, .. }, Request::Probe) => {
                *upgrade = Upgrade::Attached { give_up: now + self.timing.upgrade_timeout };
                self.out.push_back(Output::Accept(request));
            }
            // Two polls or two POSTs at once: the client's view of the order is lost.
            (State::Polling { .. }, Request::Poll | Request::Post) => {
                self.close(now, CloseReason::TransportError);
            }
            // What it brings is ignored; a refusal would make the client give up before its last poll.
            (State::Closing { end: End::Close, .. }, Request::Post) => {
                self.out.push_back(Output::Accept(request));
            }
            (&mut State::Closing { end, .. }, Request::Poll) => {
                self.abandon_upgrade();
                self.state = State::Closed;
                self.out.push_front(Output::Accept(request));
                self.out.push_back(Output::Answer { ping: false, end: Some(end) });
            }
            _ => {}
        }
    }

    fn gone(&mut self, now: Instant, request: Request, error: bool) {
        match (&self.state, request) {
            (State::Polling { .. }, Request::Poll | Request::Post) => {
                // There is nobody left who could read an answer.
                if let (State::Polling { poll, .. }, Request::Poll) = (&mut self.state, request) {
                    *poll = false;
                }
                self.close(now, CloseReason::TransportError);
            }
            // The client has heard what there was to hear.
            (State::Closing { parked: true, .. }, Request::Poll) => self.state = State::Closed,
            (State::Polling { .. } | State::Closing { .. }, Request::Probe) => self.abandon_upgrade(),
            (State::WebSocket, Request::Probe) => {
                let reason = if error { CloseReason::TransportError } else { CloseReason::TransportClose };
                self.close(now, reason);
            }
            _ => {}
        }
    }

    fn timeout(&mut self, now: Instant) {
        match self.state {
            State::Closing { by, end, parked, .. } if by <= now => {
                self.abandon_upgrade();
                self.state = State::Closed;
                if parked {
                    self.out.push_back(Output::Answer { ping: false, end: Some(end) });
                }
            }
            State::Polling {
                upgrade: Upgrade::Attached { give_up } | Upgrade::Probed { give_up, .. },
                ..
            } if give_up <= now => self.abandon_upgrade(),
            _ => self.release(now),
        }
        if matches!(self.state, State::Closing { .. } | State::Closed) {
            return;
        }
        match self.heartbeat {
            Heartbeat::PingAt(at) if at <= now => {
                self.heartbeat = if self.paused && matches!(self.state, State::WebSocket) {
                    Heartbeat::PingAt(now + self.timing.ping_interval)
                } else {
                    Heartbeat::PongBy(now + self.timing.ping_timeout)
                };
                self.beat();
            }
            Heartbeat::HeardBy(by) if by <= now && self.paused => self.record_activity(now),
            Heartbeat::PongBy(by) | Heartbeat::HeardBy(by) if by <= now => {
                self.close(now, CloseReason::PingTimeout);
            }
            _ => {}
        }
    }

    /// Sends a heartbeat: at once to a WebSocket, otherwise with the next poll. One answers all pings that came before it
    /// left.
    fn beat(&mut self) {
        if self.route() == Route::WebSocket {
            if !self.out.contains(&Output::Ping) {
                self.out.push_back(Output::Ping);
            }
        } else {
            self.ping_due = true;
            self.answer(None);
        }
    }

    /// Lets a client that is upgrading have its poll back, if it is time.
    fn release(&mut self, now: Instant) {
        if let State::Polling { poll: true, upgrade: Upgrade::Probed { release, .. }, .. } = &mut self.state
            && *release <= now
        {
            *release = now + RELEASE_INTERVAL;
            self.answer(Some(End::Noop));
        }
    }

    /// Answers the parked poll, if there is one.
    fn answer(&mut self, end: Option<End>) {
        let State::Polling { poll, .. } = &mut self.state else { return };
        if std::mem::take(poll) {
            self.out.push_back(Output::Answer { ping: std::mem::take(&mut self.ping_due), end });
        }
    }

    /// Forgets the WebSocket that wanted to take over; polling goes on as if it had never been there.
    fn abandon_upgrade(&mut self) {
        let dropped = match &mut self.state {
            State::Polling { upgrade, .. } => std::mem::replace(upgrade, Upgrade::None) != Upgrade::None,
            State::Closing { probed, .. } => probed.take().is_some(),
            _ => false,
        };
        if dropped {
            self.out.push_back(Output::DropProbe);
        }
    }

    fn closed_by_client(&mut self, now: Instant) {
        let next = match self.state {
            // One may be on its way, over another connection.
            State::Polling { poll: false, .. } => self.closing(now, End::Noop, None),
            _ => State::Closed,
        };
        self.answer(Some(End::Noop));
        self.end(next, CloseReason::TransportClose);
    }

    /// Ends the session of a client that hears by the answer to its POST what was wrong. The answer to its poll might
    /// arrive sooner, and the official client takes what comes first for the reason: so the poll stays parked.
    fn post_refused(&mut self, now: Instant) {
        let next = match self.state {
            State::Polling { poll: true, .. } => {
                let by = now + self.timing.close_timeout;
                State::Closing { by, end: End::Close, parked: true, probed: None }
            }
            State::Polling { .. } => State::Closed,
            _ => return,
        };
        self.end(next, CloseReason::TransportError);
    }

    fn closing(&self, now: Instant, end: End, probed: Option<CloseReason>) -> State {
        State::Closing { by: now + self.timing.close_timeout, end, parked: false, probed }
    }

    fn close(&mut self, now: Instant, reason: CloseReason) {
        let next = match self.state {
            State::Closing { .. } if reason == CloseReason::Evicted => {
                self.abandon_upgrade();
                self.state = State::Closed;
                return;
            }
            State::Closing { .. } | State::Closed => return,
            State::Polling { poll: false, upgrade, .. } if reason.is_graceful() => {
                let probed = matches!(upgrade, Upgrade::Probed { .. }).then_some(reason);
                self.closing(now, End::Close, probed)
            }
            _ => State::Closed,
        };
        self.answer(Some(End::Close));
        self.end(next, reason);
    }

    fn end(&mut self, next: State, reason: CloseReason) {
        if !matches!(next, State::Closing { probed: Some(_), .. }) {
            self.abandon_upgrade();
        }
        self.state = next;
        self.out.push_back(Output::Closed(reason));
    }
}
