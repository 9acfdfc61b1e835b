//! Request-response scenarios with events, attachments, acknowledgements and rooms.

use std::collections::VecDeque;

use anyhow::{Context as _, ensure};
use bench::{
    frame::{self, BINARY, TEXT},
    job::{Job, Kind},
};

use crate::{net::Net, pace::Pacer, payload::event_argument, sockets::Scenario};

/// The number of sockets that join and leave the same room.
const SOCKETS_IN_A_ROOM: usize = 10;
const ATTACHMENT: usize = 1024;

/// A prepared request and the expected messages.
struct Call {
    request: Vec<u8>,
    answers: Vec<(u8, Vec<u8>)>,
}

impl Call {
    fn new(request: &str, answer: &str) -> Self {
        Self { request: frame::text(request), answers: vec![(TEXT, answer.into())] }
    }

    fn with_attachment(mut self, attachment: &[u8]) -> Self {
        frame::write_masked(&mut self.request, BINARY, attachment);
        self.answers.push((BINARY, attachment.into()));
        self
    }
}

/// Sockets that repeat their calls in a loop.
pub(crate) struct RoundTrips {
    /// Socket `n` repeats the calls of script `n % scripts.len()`.
    scripts: Vec<Vec<Call>>,
    sockets: Vec<Asker>,
    window: usize,
    pace: Option<Pacer>,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Asker {
    /// Start times, or due times, of calls that have not been sent yet.
    waiting: VecDeque<u64>,
    /// Start times of the calls in flight, in the order of their responses.
    in_flight: VecDeque<u64>,
    /// The index of the next call to send.
    next: usize,
    /// The index of the call whose response is expected next.
    expected: usize,
    /// The index of the expected message within that response.
    part: usize,
}

impl RoundTrips {
    pub(crate) fn new(job: &Job) -> Self {
        let argument = event_argument(100);
        let scripts = match job.kind {
            Kind::Binary => {
                let attachment: Vec<u8> = (0..ATTACHMENT).map(|i| (i * 7) as u8).collect();
                let event = r#"451-["echo-bin",{"_placeholder":true,"num":0}]"#;
                vec![vec![Call::new(event, event).with_attachment(&attachment)]]
            }
            Kind::Ack => {
                let call =
                    |id| Call::new(&format!(r#"42{id}["ack",{argument}]"#), &format!("43{id}[{argument}]"));
                vec![(0..10).map(call).collect()]
            }
            Kind::Rooms => (0..job.connections.div_ceil(SOCKETS_IN_A_ROOM)).map(join_and_leave).collect(),
            _ => {
                let event = format!(r#"42["echo",{argument}]"#);
                vec![vec![Call::new(&event, &event)]]
            }
        };
        Self {
            scripts,
            sockets: (0..job.connections).map(|_| Asker::default()).collect(),
            window: job.window,
            pace: job.rate.map(Pacer::new),
            buffer: Vec::new(),
        }
    }

    fn send(&mut self, net: &mut Net, socket: usize) {
        let asker = &mut self.sockets[socket];
        let script = &self.scripts[socket % self.scripts.len()];
        self.buffer.clear();
        while asker.in_flight.len() < self.window
            && let Some(began) = asker.waiting.pop_front()
        {
            self.buffer.extend_from_slice(&script[asker.next].request);
            asker.next = (asker.next + 1) % script.len();
            asker.in_flight.push_back(began);
        }
        if !self.buffer.is_empty() {
            net.send(socket, &self.buffer);
        }
    }
}

fn join_and_leave(room: usize) -> Vec<Call> {
    let call = |id, event| Call::new(&format!(r#"42{id}["{event}","room-{room}"]"#), &format!("43{id}[]"));
    vec![call(0, "join"), call(1, "leave")]
}

/// Compares messages. An acknowledgement without arguments may contain `null`, which is how `socketioxide`
/// serializes `()`.
fn is_answer(got: &[u8], expected: &[u8]) -> bool {
    got == expected
        || expected.strip_suffix(b"[]").is_some_and(|head| got.strip_prefix(head) == Some(b"[null]"))
}

impl Scenario for RoundTrips {
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        let now = net.now();
        if let Some(pace) = &mut self.pace {
            pace.start(now);
        } else {
            for socket in 0..self.sockets.len() {
                self.sockets[socket].waiting.extend(std::iter::repeat_n(now, self.window));
                self.send(net, socket);
            }
        }
        net.meter.warm_up(now);
        Ok(())
    }

    fn message(&mut self, net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let asker = &mut self.sockets[socket];
        let script = &self.scripts[socket % self.scripts.len()];
        let call = &script[asker.expected];
        let (expected_opcode, expected) = &call.answers[asker.part];
        ensure!(
            opcode == *expected_opcode && is_answer(payload, expected),
            "socket {socket} got {} instead of {}",
            String::from_utf8_lossy(payload),
            String::from_utf8_lossy(expected)
        );
        asker.part += 1;
        if asker.part == call.answers.len() {
            let began = asker.in_flight.pop_front().context("an answer to nothing")?;
            asker.part = 0;
            asker.expected = (asker.expected + 1) % script.len();
            net.meter.operation(began, net.now());
            if self.pace.is_none() && !net.over {
                asker.waiting.push_back(net.now());
            }
        }
        Ok(())
    }

    fn read_all(&mut self, net: &mut Net, socket: usize) {
        self.send(net, socket);
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        while !net.over
            && let Some(pace) = &mut self.pace
            && let Some((number, time)) = pace.due(net.now())
        {
            let socket = number % self.sockets.len();
            self.sockets[socket].waiting.push_back(time);
            self.send(net, socket);
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.sockets.iter().all(|asker| asker.in_flight.is_empty())
    }
}
