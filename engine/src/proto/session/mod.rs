//! The state machine of one Engine.IO session. It handles the transports, the upgrade, the heartbeat and the
//! close.

mod close_reason;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod upgrade_sim;
#[cfg(test)]
pub(crate) mod v3_tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::close_reason::CloseReason;
use super::{
    dialect::Revision,
    heartbeat::Heartbeat,
    packet::{Message, Packet, TransportKind},
};

/// During an upgrade, the interval at which an idle poll is completed with a NOOP packet. Node.js uses the
/// same interval but also waits for it before the first NOOP.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);
/// If a probe arrives at least this long after the start of the session or the last pong, the idle poll is
/// completed immediately. After an earlier probe, the poll is completed once this time has passed, but no
/// later than [`RELEASE_INTERVAL`] after the probe, because the test suites of the official clients do not
/// expect an extra packet so early. Clients with a longer round trip are not delayed.
const SETTLING: Duration = Duration::from_millis(150);

/// The rate in bytes per second at which a client must read the response to a poll, if a ping waits for its next poll.
const MIN_READ_RATE: usize = 16 * 1024;

/// A client request that belongs to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// A GET that receives packets.
    Poll,
    /// A POST that sends packets.
    Post,
    /// A WebSocket that probes for an upgrade.
    Probe,
}

/// An input of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A request arrived. The caller must reject the request unless [`Output::Accept`] follows.
    Arrived(Request),
    /// Messages were queued while [`Session::route`] is [`Route::Poll`].
    Deliver,
    /// All packets of the POST have been received.
    PostDone,
    /// A POST exceeded a limit. The response to the POST contains the reason.
    PostRefused,
    /// The parked poll must be completed, because the server through which it came can no longer keep it.
    #[cfg_attr(not(feature = "forwarding"), allow(dead_code, reason = "only other servers release polls"))]
    ReleasePoll,
    /// The connection of the accepted poll or POST failed, or the connection of the WebSocket was closed.
    Disconnected { request: Request, error: bool },
    /// A malformed packet arrived on this transport.
    Malformed(TransportKind),
    /// The application or a limit closes the session.
    Close(CloseReason),
    /// The deadline of [`Output::Timeout`] may have passed.
    Timeout,
}

/// An instruction to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Keep the request that just arrived, because it is accepted.
    Accept(Request),
    /// Respond to the accepted poll with a heartbeat if `ping` is set, the queued messages, and `end`.
    Respond { ping: bool, end: Option<End> },
    /// Write a heartbeat to the WebSocket: a ping, or in protocol 3 a pong.
    Ping,
    /// Write the pong for the probe to the WebSocket.
    ProbePong,
    /// Close the probing WebSocket. The session is not affected.
    DropProbe,
    /// The upgrade is complete. The WebSocket is now the transport of the session.
    Upgraded,
    /// The session is closed. Notify the application, and close the WebSocket if it is the transport of the
    /// session.
    Closed(CloseReason),
    /// Write all queued messages to the WebSocket and close the WebSocket.
    Finish(CloseReason),
    /// Wait until this instant or the next input.
    Timeout(Option<Instant>),
}

/// The last packet of the response to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A NOOP packet, sent only if the response would otherwise be empty.
    Noop,
    /// A CLOSE packet. The session is closed.
    Close,
}

/// The destination of queued messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Messages stay in the queue.
    None,
    /// Messages are sent in the response to the parked poll. [`Input::Deliver`] completes the poll.
    Poll,
    /// Messages are written to the WebSocket.
    WebSocket,
}

#[derive(Debug)]
enum State {
    Polling {
        poll: bool,
        post: bool,
        upgrade: Upgrade,
        /// The size of the last response to a poll, in units of [`MIN_READ_RATE`].
        unread: u32,
    },
    WebSocket,
    /// The session is closed for the application. The next poll receives the remaining messages and the last
    /// packet.
    Closing {
        by: Instant,
        end: End,
        /// `true` if a poll is parked. The poll is completed at `by`, not earlier.
        parked: bool,
        /// The reason for the close frame, if a WebSocket has sent its probe. The client may have stopped
        /// polling already, and its upgrade packet may arrive instead of the next poll.
        probed: Option<CloseReason>,
    },
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    None,
    /// A WebSocket is connected and has not sent its probe yet.
    Attached {
        give_up: Instant,
    },
    /// The WebSocket has sent its probe. Idle polls are completed, so that the client can stop polling.
    Probed {
        give_up: Instant,
        /// The earliest instant at which the next idle poll is completed. This limits the polling rate until
        /// the upgrade.
        release: Instant,
    },
}

/// The durations of a session, named after the options that set them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) close_timeout: Duration,
}

/// The server side of one Engine.IO session.
///
/// Inputs are passed to [`handle`](Self::handle) or [`receive`](Self::receive). After each input, call
/// [`poll`](Self::poll) until it returns [`Output::Timeout`].
#[derive(Debug)]
pub(crate) struct Session {
    timing: Arc<Timing>,
    state: State,
    heartbeat: Heartbeat,
    /// `true` if the response to the next poll must contain a heartbeat: a ping, or in protocol 3 a pong.
    ping_due: bool,
    /// `true` while the caller does not read from the client, because the application accepts no messages.
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
            TransportKind::Polling => {
                State::Polling { poll: false, post: false, upgrade: Upgrade::None, unread: 0 }
            }
            TransportKind::WebSocket => State::WebSocket,
        };
        Self { timing, state, heartbeat, ping_due: false, paused: false, out: VecDeque::new() }
    }

    /// Records activity for bytes that do not complete a packet.
    pub(crate) fn record_activity(&mut self, now: Instant) {
        self.heartbeat.record_activity(now, &self.timing);
    }

    /// Records the size of the response to a poll.
    pub(crate) fn responded(&mut self, bytes: usize) {
        if let State::Polling { unread, .. } = &mut self.state {
            *unread = (bytes / MIN_READ_RATE) as u32;
        }
    }

    /// Marks reading from the client as paused. Pings continue, because the client expects them. While
    /// reading is paused, a missing pong is ignored on a WebSocket, and a poll counts as the pong on
    /// long-polling.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.paused = true;
        if let (State::WebSocket, Heartbeat::PongBy(by)) = (&self.state, self.heartbeat) {
            let heard = by.checked_sub(self.timing.ping_timeout).unwrap_or(now);
            self.heartbeat = Heartbeat::PingAt(now.max(heard + self.timing.ping_interval));
        }
    }

    /// Marks reading from the client as resumed.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.record_activity(now);
    }

    /// Processes a packet. Returns the message if the packet is a message for the application.
    ///
    /// The message is returned instead of being queued as an output, because it borrows from the read buffer.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Instant,
        via: TransportKind,
        packet: Packet<'a>,
    ) -> Option<Message<'a>> {
        self.heartbeat.record_packet(now, &self.timing);
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
            Input::ReleasePoll => self.answer(Some(End::Noop)),
            Input::Disconnected { request, error } => self.gone(now, request, error),
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

    /// Returns the next output.
    #[must_use]
    pub(crate) fn poll(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Timeout(self.deadline()))
    }

    /// Returns `true` if the request of the [`Input::Arrived`] just fed was accepted, and consumes the
    /// [`Output::Accept`].
    pub(crate) fn accepted(&mut self) -> bool {
        self.out.pop_front_if(|output| matches!(output, Output::Accept(_))).is_some()
    }

    pub(crate) fn route(&self) -> Route {
        match self.state {
            State::Polling { poll: true, .. } => Route::Poll,
            State::WebSocket => Route::WebSocket,
            _ => Route::None,
        }
    }

    /// Returns `true` once [`Output::Closed`] has been queued. A last poll or POST may still be accepted.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Closing { .. } | State::Closed)
    }

    /// Returns `true` once the session rejects all requests, including a last poll.
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

    /// Handles a packet on the current transport of the session.
    fn current<'a>(&mut self, now: Instant, packet: Packet<'a>) -> Option<Message<'a>> {
        match packet {
            Packet::Message(message) => return Some(message),
            Packet::Pong if !self.heartbeat.client_pings() => {
                self.heartbeat.pong(now, self.timing.ping_interval);
            }
            Packet::Ping { .. } if self.heartbeat.client_pings() => self.beat(),
            // Only the server pings in protocol 4, and only the client in protocol 3.
            Packet::Ping { .. } | Packet::Pong => self.close(now, CloseReason::TransportError),
            Packet::Close => self.closed_by_client(now),
            // These packets have no meaning on an open session and are ignored.
            Packet::Open | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    /// Handles a packet on a WebSocket that probes a polling session.
    fn probe(&mut self, now: Instant, packet: &Packet<'_>) {
        let begun = self.heartbeat.last_pong(&self.timing);
        let State::Polling { upgrade, .. } = &mut self.state else { return };
        match (packet, *upgrade) {
            // A probe does not extend the upgrade timeout. A second probe is rejected.
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
                    self.heartbeat.ping_taken(now, &self.timing);
                    self.out.push_back(Output::Ping);
                }
            }
            _ => self.abandon_upgrade(),
        }
    }

    fn arrived(&mut self, now: Instant, request: Request) {
        self.heartbeat.record_packet(now, &self.timing);
        match (&mut self.state, request) {
            (State::Polling { poll, .. }, Request::Poll) if !*poll => {
                *poll = true;
                self.heartbeat.ping_taken(now, &self.timing);
                if self.paused && matches!(self.heartbeat, Heartbeat::PongBy(_)) {
                    // The POST with the pong is not read while paused, so the poll counts as the pong.
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
            // With two polls or two POSTs at the same time, the order of packets is undefined.
            (State::Polling { .. }, Request::Poll | Request::Post) => {
                self.close(now, CloseReason::TransportError);
            }
            // The packets of the POST are ignored. The POST is accepted nevertheless, because the client
            // would not send its last poll after a rejection.
            (State::Closing { end: End::Close, .. }, Request::Post) => {
                self.out.push_back(Output::Accept(request));
            }
            (&mut State::Closing { end, .. }, Request::Poll) => {
                self.abandon_upgrade();
                self.state = State::Closed;
                self.out.push_front(Output::Accept(request));
                self.out.push_back(Output::Respond { ping: false, end: Some(end) });
            }
            _ => {}
        }
    }

    fn gone(&mut self, now: Instant, request: Request, error: bool) {
        match (&self.state, request) {
            (State::Polling { .. }, Request::Poll | Request::Post) => {
                // The connection of the poll is closed, so no response can be sent.
                if let (State::Polling { poll, .. }, Request::Poll) = (&mut self.state, request) {
                    *poll = false;
                }
                self.close(now, CloseReason::TransportError);
            }
            // The client has already received the response to its POST, so the response to the poll is not
            // needed.
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
                    self.out.push_back(Output::Respond { ping: false, end: Some(end) });
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
                self.heartbeat = match self.state {
                    State::WebSocket if self.paused => Heartbeat::PingAt(now + self.timing.ping_interval),
                    State::Polling { poll: false, unread, .. } => {
                        Heartbeat::ping_waits(at, now, Duration::from_secs(unread.into()), &self.timing)
                    }
                    _ => Heartbeat::ping_sent(at, now, &self.timing),
                };
                self.beat();
            }
            Heartbeat::ClientPingBy(by) if by <= now && self.paused => self.record_activity(now),
            Heartbeat::PongBy(by) | Heartbeat::PollBy(by) | Heartbeat::ClientPingBy(by) if by <= now => {
                self.close(now, CloseReason::PingTimeout);
            }
            _ => {}
        }
    }

    /// Sends a heartbeat, either immediately on a WebSocket or in the response to the next poll. In protocol
    /// 3, one pong is sent for all pings that are received before the pong is sent.
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

    /// Completes the parked poll of an upgrading client if the release time has passed.
    fn release(&mut self, now: Instant) {
        if let State::Polling { poll: true, upgrade: Upgrade::Probed { release, .. }, .. } = &mut self.state
            && *release <= now
        {
            *release = now + RELEASE_INTERVAL;
            self.answer(Some(End::Noop));
        }
    }

    /// Responds to the parked poll, if any.
    fn answer(&mut self, end: Option<End>) {
        let State::Polling { poll, .. } = &mut self.state else { return };
        if std::mem::take(poll) {
            self.out.push_back(Output::Respond { ping: std::mem::take(&mut self.ping_due), end });
        }
    }

    /// Drops the probing WebSocket. Polling is not affected.
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
            // A poll may be in flight on another connection.
            State::Polling { poll: false, .. } => self.closing(now, End::Noop, None),
            _ => State::Closed,
        };
        self.answer(Some(End::Noop));
        self.end(next, CloseReason::TransportClose);
    }

    /// Closes the session of a client whose POST was rejected. The poll stays parked, because the official
    /// client reports the first response that arrives, and only the response to the POST contains the reason.
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
