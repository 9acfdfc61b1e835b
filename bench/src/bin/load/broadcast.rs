//! Broadcasts from one socket to all others, or within each of several rooms from one socket to the room.

use anyhow::{Context as _, ensure};
use bench::{
    frame::{self, TEXT},
    job::Job,
};

use crate::{
    net::Net,
    pace::Pacer,
    payload::event_argument,
    sockets::{Scenario, own_room},
};

/// The position of the digit that distinguishes publications in flight.
const DIGIT: usize = r#"42["news",{"from":"ann"#.len();

pub(crate) struct Broadcast {
    /// Socket `n` is in room `n % rooms.len()`.
    rooms: Vec<Room>,
    /// The number of the last publication received, per socket and slot, counted from 1.
    received: Vec<Vec<usize>>,
    pace: Option<Pacer>,
    deliveries: usize,
    /// Deliveries that arrived out of order. They are permitted but reported.
    overtaken: usize,
}

/// A room. Its publisher has up to `window` publications in flight, each with a different digit.
struct Room {
    publisher: usize,
    sockets: usize,
    slots: Vec<Slot>,
    published: usize,
}

/// A publication that is sent repeatedly.
struct Slot {
    publication: Vec<u8>,
    expected: Vec<u8>,
    began: u64,
    /// The number of the current repetition, counted from 1.
    number: usize,
    /// The number of sockets that have not received it yet.
    missing: usize,
}

impl Slot {
    fn new(digit: usize, event: &str) -> Self {
        let argument = event_argument(100).replacen("anna", &format!("ann{digit}"), 1);
        Self {
            publication: frame::text(&format!("42[{event},{argument}]")),
            expected: format!(r#"42["news",{argument}]"#).into(),
            began: 0,
            number: 0,
            missing: 0,
        }
    }
}

impl Broadcast {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        ensure!((1..=10).contains(&job.window), "a digit must tell publications apart");
        let rooms = job.rooms.max(1);
        ensure!(job.connections.is_multiple_of(rooms), "rooms are of one size");
        let room = |publisher| {
            let event = if job.rooms == 0 {
                r#""publish""#.to_owned()
            } else {
                format!(r#""publish-to",{:?}"#, own_room(publisher))
            };
            Room {
                publisher,
                sockets: job.connections / rooms,
                slots: (0..job.window).map(|digit| Slot::new(digit, &event)).collect(),
                published: 0,
            }
        };
        Ok(Self {
            rooms: (0..rooms).map(room).collect(),
            received: vec![vec![0; job.window]; job.connections],
            pace: job.rate.map(Pacer::new),
            deliveries: 0,
            overtaken: 0,
        })
    }

    fn publish(&mut self, net: &mut Net) {
        for room in &mut self.rooms {
            room.publish(net, &mut self.pace);
        }
    }
}

impl Room {
    fn publish(&mut self, net: &mut Net, pace: &mut Option<Pacer>) {
        loop {
            let position = self.published % self.slots.len();
            let slot = &mut self.slots[position];
            if slot.missing > 0 || net.over {
                return;
            }
            slot.began = match pace {
                None => net.now(),
                Some(pace) => {
                    let Some((_, time)) = pace.due(net.now()) else { return };
                    time
                }
            };
            self.published += 1;
            slot.number = self.published;
            slot.missing = self.sockets;
            net.send(self.publisher, &slot.publication);
        }
    }
}

impl Scenario for Broadcast {
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        if let Some(pace) = &mut self.pace {
            pace.start(net.now());
        }
        self.publish(net);
        net.meter.warm_up(net.now());
        Ok(())
    }

    fn message(&mut self, net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let digit = payload.get(DIGIT).map_or(usize::MAX, |digit| usize::from(digit.wrapping_sub(b'0')));
        let rooms = self.rooms.len();
        let slot = self.rooms[socket % rooms]
            .slots
            .get_mut(digit)
            .filter(|slot| opcode == TEXT && payload == slot.expected)
            .with_context(|| format!("socket {socket} got {}", String::from_utf8_lossy(payload)))?;
        let received = &mut self.received[socket];
        ensure!(received[digit] < slot.number, "socket {socket} got publication {} twice", slot.number);
        self.overtaken += usize::from(received.iter().any(|number| *number > slot.number));
        self.deliveries += 1;
        received[digit] = slot.number;
        slot.missing -= 1;
        net.meter.operation(slot.began, net.now());
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.rooms.iter().flat_map(|room| &room.slots).all(|slot| slot.missing == 0)
    }

    fn read_all(&mut self, net: &mut Net, socket: usize) {
        let rooms = self.rooms.len();
        self.rooms[socket % rooms].publish(net, &mut self.pace);
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        self.publish(net);
        if self.overtaken > 0 {
            net.meter.extra.insert("overtaken".into(), self.overtaken as f64 / self.deliveries as f64);
        }
        Ok(())
    }
}
