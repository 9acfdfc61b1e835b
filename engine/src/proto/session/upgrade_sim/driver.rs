//! A model of the session driver, without sockets.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Item, Wire};
use crate::proto::{
    dialect::Revision,
    packet::{
        Message, Packet,
        TransportKind::{self, Polling, WebSocket},
    },
    session::{CloseReason, End, Input, Output, Request, Route, tests::Sim},
};

pub(super) struct Driver {
    pub(super) out: Vec<Item>,
    pub(super) sent: u32,
    pub(super) received: u32,
    pub(super) phase: Phase,
    pub(super) closed: Option<CloseReason>,
    sim: Sim,
    queue: VecDeque<u32>,
    poll: bool,
    post: bool,
    websocket: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Polling,
    /// The server has responded to the probe, and the client is about to stop polling.
    Probed,
    Upgraded,
}

impl Default for Driver {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            sent: 0,
            received: 0,
            phase: Phase::Polling,
            closed: None,
            sim: Sim::new(Polling),
            queue: VecDeque::new(),
            poll: false,
            post: false,
            websocket: None,
        }
    }
}

impl Driver {
    pub(super) fn now(&self) -> Instant {
        self.sim.now
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        self.sim.now = self.sim.now.max(now);
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        match self.sim.session.poll() {
            Output::Timeout(deadline) => deadline,
            output => panic!("{output:?} was left"),
        }
    }

    pub(super) fn send(&mut self, count: u8) {
        if self.closed.is_none() {
            self.queue.extend(self.sent..self.sent + u32::from(count));
            self.sent += u32::from(count);
        }
        self.turn();
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.sim.session.handle(self.sim.now, input);
        self.turn();
    }

    /// Handles an item that arrived. A request runs a [`turn`](Self::turn) immediately. The outputs of a
    /// packet are executed in the next turn.
    pub(super) fn take(&mut self, item: Item) {
        match item {
            Item::Get if self.accepts(Request::Poll) => {
                assert!(!std::mem::replace(&mut self.poll, true), "two polls");
                self.turn();
            }
            Item::Get => self.out.push(Item::Answer(None)),
            Item::PostHead if self.accepts(Request::Post) => {
                assert!(!std::mem::replace(&mut self.post, true), "two POSTs");
                self.turn();
            }
            Item::PostHead => self.out.push(Item::PostAnswer(false)),
            Item::PostBody(packets) if self.post => {
                self.out.extend(packets.into_iter().map(Item::PostPacket));
                self.out.push(Item::PostEnd);
            }
            Item::PostPacket(packet) if self.post => self.receive(Polling, &packet),
            Item::PostEnd if self.post => {
                self.sim.session.handle(self.sim.now, Input::PostDone);
                self.post = false;
                self.out.push(Item::PostAnswer(true));
            }
            Item::Up(number, Wire::Open) => {
                if self.accepts(Request::Probe) {
                    self.websocket = Some(number);
                    self.out.push(Item::Down(number, Wire::Open));
                } else {
                    self.out.push(Item::Down(number, Wire::End));
                }
                self.turn();
            }
            Item::Up(number, Wire::Packet(packet)) if self.websocket == Some(number) => {
                self.receive(WebSocket, &packet);
            }
            Item::Up(number, Wire::End) if self.websocket == Some(number) => {
                self.websocket = None;
                let gone = Input::Disconnected { request: Request::Probe, error: false };
                self.sim.session.handle(self.sim.now, gone);
            }
            // The item belongs to a request or a WebSocket that is already closed.
            _ => {}
        }
    }

    /// Executes the outputs of the session, and delivers queued messages to the current transport.
    pub(super) fn turn(&mut self) {
        loop {
            let outputs = self.sim.drain();
            for output in outputs {
                self.output(output);
            }
            match self.sim.session.route() {
                Route::Poll if !self.queue.is_empty() => {
                    self.sim.session.handle(self.sim.now, Input::Deliver);
                }
                Route::WebSocket => break self.write_queue(),
                Route::Poll | Route::None => break,
            }
        }
        assert_eq!(self.poll, self.sim.session.route() == Route::Poll);
        if self.phase == Phase::Probed && self.poll {
            let soon = self.now() + Duration::from_millis(100);
            assert!(self.deadline().is_some_and(|deadline| deadline <= soon), "the poll is not released");
        }
    }

    fn accepts(&mut self, request: Request) -> bool {
        self.turn();
        self.sim.session.handle(self.sim.now, Input::Arrived(request));
        let accepted = self.sim.session.accepted();
        let accepts = self.closed.is_none() || request != Request::Probe;
        assert!(accepts || !accepted, "accepted after the end");
        accepted
    }

    fn receive(&mut self, via: TransportKind, packet: &str) {
        let packet = Packet::decode(packet, Revision::V4).expect("the client sends packets");
        if let Some(Message::Text(text)) = self.sim.session.receive(self.sim.now, via, packet) {
            assert_eq!(self.closed, None, "a message after the end");
            assert_eq!(text, self.received.to_string(), "messages to the server");
            self.received += 1;
        }
    }

    fn output(&mut self, output: Output) {
        let last = matches!(
            output,
            Output::Respond { end: Some(End::Close | End::Noop), .. } | Output::DropProbe | Output::Finish(_)
        );
        assert!(self.closed.is_none() || last, "{output:?} after the end");
        match output {
            Output::Accept(_) | Output::Timeout(_) => panic!("{output:?} out of place"),
            Output::Respond { ping, end } => self.answer(ping, end),
            Output::Ping => self.write("2".into()),
            Output::ProbePong => {
                self.phase = Phase::Probed;
                self.write("3probe".into());
            }
            Output::DropProbe => {
                self.phase = Phase::Polling;
                self.end_websocket();
            }
            Output::Upgraded => {
                assert!(!self.post, "the client waits for its POST");
                self.phase = Phase::Upgraded;
            }
            Output::Finish(_) => self.finish(),
            Output::Closed(reason) => {
                self.closed = Some(reason);
                if std::mem::take(&mut self.post) {
                    self.out.push(Item::PostAnswer(reason == CloseReason::ForcedClose));
                }
                if self.sim.session.is_closed() {
                    self.finish();
                }
            }
        }
    }

    fn answer(&mut self, ping: bool, end: Option<End>) {
        assert!(std::mem::take(&mut self.poll), "an answer without a poll");
        let mut answer = vec!["2".to_owned(); usize::from(ping)];
        answer.extend(self.queue.drain(..).map(|message| format!("4{message}")));
        match end {
            Some(End::Close) => answer.push("1".into()),
            Some(End::Noop) if answer.is_empty() => answer.push("6".into()),
            _ => {}
        }
        assert!(!answer.is_empty(), "an answer without a packet");
        self.out.push(Item::Answer(Some(answer)));
    }

    fn write_queue(&mut self) {
        for message in std::mem::take(&mut self.queue) {
            self.write(format!("4{message}"));
        }
    }

    /// Writes a packet, unless the WebSocket was closed in the same turn.
    fn write(&mut self, packet: String) {
        let wire = |number| Item::Down(number, Wire::Packet(packet));
        self.out.extend(self.websocket.map(wire));
    }

    /// Writes the remaining messages to the WebSocket and closes the WebSocket.
    fn finish(&mut self) {
        if self.phase != Phase::Polling && self.websocket.is_some() {
            self.write_queue();
        }
        self.end_websocket();
    }

    fn end_websocket(&mut self) {
        if let Some(number) = self.websocket.take() {
            self.out.push(Item::Down(number, Wire::End));
        }
    }
}
