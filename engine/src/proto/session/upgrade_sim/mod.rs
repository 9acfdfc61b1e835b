//! A simulation of the upgrade on a network of arbitrary latency. A model of the official client and a model
//! of the driver are connected by lanes. Each lane preserves the order of its items, but the order across
//! lanes is arbitrary.

mod any_input;
mod client;
mod driver;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use self::{
    client::{Client, Probe},
    driver::{Driver, Phase},
};
use crate::proto::session::{CloseReason, Input};

/// The maximum latency of a lane. The upgrade and the heartbeat wait for at most ten lanes in sequence, so
/// responses always arrive within the timeouts of 10 and 20 seconds.
const LATENCY: Duration = Duration::from_millis(900);
/// The time after which everything has arrived and any upgrade has completed or failed.
const SETTLED: Duration = Duration::from_secs(25);

/// An ordered channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Gets,
    Answers,
    Posts,
    /// The packets of a POST that has arrived. The application handles the packets at its own pace.
    Work,
    PostAnswers,
    Up,
    Down,
}

const LANES: [Lane; 7] =
    [Lane::Gets, Lane::Answers, Lane::Posts, Lane::Work, Lane::PostAnswers, Lane::Up, Lane::Down];

/// An item in transit. Each WebSocket has a number, because a failed WebSocket may still be closing while the
/// next WebSocket opens.
#[derive(Debug)]
enum Item {
    Get,
    /// `None` if the request was rejected.
    Answer(Option<Vec<String>>),
    PostHead,
    PostBody(Vec<String>),
    PostPacket(String),
    PostEnd,
    PostAnswer(bool),
    Up(u32, Wire),
    Down(u32, Wire),
}

#[derive(Debug)]
enum Wire {
    Open,
    Packet(String),
    End,
}

impl Item {
    fn lane(&self) -> Lane {
        match self {
            Self::Get => Lane::Gets,
            Self::Answer(_) => Lane::Answers,
            Self::PostHead | Self::PostBody(_) => Lane::Posts,
            Self::PostPacket(_) | Self::PostEnd => Lane::Work,
            Self::PostAnswer(_) => Lane::PostAnswers,
            Self::Up(..) => Lane::Up,
            Self::Down(..) => Lane::Down,
        }
    }

    fn websocket(&self) -> Option<u32> {
        match self {
            Self::Up(number, _) | Self::Down(number, _) => Some(*number),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Break {
    /// The client closes the WebSocket.
    Close,
    /// Items in transit are lost, and both sides see the end of the stream.
    Reset,
    /// Items in transit are no longer delivered, and neither side is notified.
    Silence,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    ServerSends(u8),
    ClientSends(u8),
    /// Delivers items from a lane, in one turn of the server.
    Deliver(Lane, u8),
    Probe,
    Break(Break),
    Wait(u64),
    /// The application closes the session.
    Close,
}

#[derive(Default)]
struct World {
    client: Client,
    driver: Driver,
    lanes: [VecDeque<(Instant, Item)>; LANES.len()],
    broken: Option<u32>,
    silent: Option<u32>,
    /// Set once the connection of the session's current transport has failed. The session may then be closed,
    /// and messages may be lost.
    lost: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.client.poll();
        world.check();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ServerSends(count) => self.driver.send(count),
            Step::ClientSends(count) => self.client.send(count),
            Step::Deliver(lane, count) => self.deliver(lane, count),
            Step::Probe => self.client.open_websocket(),
            Step::Break(kind) => self.break_websocket(kind),
            Step::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Step::Close => self.driver.feed(Input::Close(CloseReason::ForcedClose)),
        }
        self.check();
    }

    fn deliver(&mut self, lane: Lane, count: u8) {
        for _ in 0..count {
            let Some((_, item)) = self.lanes[lane as usize].pop_front() else { break };
            match item {
                item if item.websocket().is_some_and(|number| self.silent == Some(number)) => {}
                Item::Answer(answer) => self.client.answered(answer),
                Item::PostAnswer(ok) => self.client.posted(ok),
                Item::Down(number, wire) => self.client.read(number, wire),
                item => self.driver.take(item),
            }
        }
        self.driver.turn();
        self.check();
    }

    /// Advances the clock. Delivers items at the maximum latency and fires deadlines.
    fn wait(&mut self, duration: Duration) {
        let until = self.driver.now() + duration;
        loop {
            let oldest = LANES
                .into_iter()
                .filter_map(|lane| self.lanes[lane as usize].front().map(|(sent, _)| (*sent + LATENCY, lane)))
                .min_by_key(|(at, _)| *at);
            let deadline = self.driver.deadline().filter(|deadline| *deadline <= until);
            match (oldest.filter(|(at, _)| *at <= until), deadline) {
                (Some((at, lane)), deadline) if deadline.is_none_or(|deadline| at < deadline) => {
                    self.driver.set_now(at);
                    self.deliver(lane, 1);
                }
                (_, Some(deadline)) => {
                    self.driver.set_now(deadline);
                    self.driver.feed(Input::Timeout);
                }
                _ => return self.driver.set_now(until),
            }
            self.check();
        }
    }

    fn break_websocket(&mut self, kind: Break) {
        let number = self.client.websocket;
        if self.client.ended || self.client.probe == Probe::None {
            return;
        }
        self.broken = Some(number);
        match kind {
            Break::Silence => self.silent = Some(number),
            Break::Close => {
                self.client.out.push(Item::Up(number, Wire::End));
                self.client.read(number, Wire::End);
            }
            Break::Reset => {
                for lane in &mut self.lanes {
                    lane.retain(|(_, item)| item.websocket() != Some(number));
                }
                self.client.out.push(Item::Up(number, Wire::End));
                self.driver.out.push(Item::Down(number, Wire::End));
            }
        }
    }

    /// Moves the output of both sides into the lanes, and checks the invariants.
    fn check(&mut self) {
        let now = self.driver.now();
        for item in self.client.out.drain(..).chain(self.driver.out.drain(..)) {
            self.lanes[item.lane() as usize].push_back((now, item));
        }
        let switched = self.client.probe == Probe::Done;
        self.lost |= switched && self.broken == Some(self.client.websocket);
        match self.driver.deadline() {
            Some(deadline) => assert!(deadline > now, "a deadline in the past"),
            None => assert!(self.driver.closed.is_some(), "nothing will ever happen"),
        }
        let closed = self.driver.closed.unwrap_or(CloseReason::ForcedClose);
        assert!(self.lost || closed == CloseReason::ForcedClose, "ended by {closed}");
    }

    /// Checks the final state, after everything has arrived.
    fn check_end(&self) {
        if self.lost {
            return;
        }
        assert_eq!(self.client.received, self.driver.sent, "messages to the client");
        if self.driver.closed.is_some() {
            assert!(self.client.ended, "the client was not told");
        } else {
            assert!(!self.client.ended, "the client gave up");
            assert_eq!(self.driver.received, self.client.sent, "messages to the server");
            let upgraded = self.driver.phase == Phase::Upgraded;
            assert_eq!(self.client.probe == Probe::Done, upgraded);
            assert!(upgraded || self.client.websocket == 0 || self.broken.is_some());
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = prop::sample::select(LANES.as_slice());
    let kind = prop::sample::select([Break::Close, Break::Reset, Break::Silence].as_slice());
    let step = prop_oneof![
        4 => (1..4_u8).prop_map(Step::ServerSends),
        4 => (1..4_u8).prop_map(Step::ClientSends),
        30 => (lane, 1..4_u8).prop_map(|(lane, count)| Step::Deliver(lane, count)),
        2 => Just(Step::Probe),
        1 => kind.prop_map(Step::Break),
        2 => (1..15_000_u64).prop_map(Step::Wait),
    ];
    let close = prop::option::weighted(0.2, Just(Step::Close));
    (prop::collection::vec(step, 0..150), close).prop_map(|(mut steps, close)| {
        steps.extend(close);
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_upgrade_loses_doubles_and_reorders_nothing(steps in steps(), patience in 0..100_000_u64) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.wait(SETTLED);
        world.check_end();
        world.wait(Duration::from_millis(patience));
        world.step(Step::ServerSends(1));
        world.step(Step::ClientSends(1));
        world.wait(SETTLED);
        world.check_end();
    }
}
