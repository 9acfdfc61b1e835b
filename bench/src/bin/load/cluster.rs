//! Events that a client of one server publishes to a room, and that clients of another server receive. The first
//! socket is the publisher, all others are recipients.

use std::collections::VecDeque;

use anyhow::{Context as _, ensure};
use bench::{
    frame::{self, TEXT},
    job::{Job, Kind},
};

use crate::{
    net::Net,
    pace::Pacer,
    payload::event_argument,
    sockets::{Scenario, own_room},
};

const PUBLISHER: usize = 0;
/// A room in which nobody is.
const EMPTY_ROOM: &str = "nobody";
/// The number of the first publication. All numbers have ten digits.
const FIRST: u64 = 1_000_000_000;
const DIGITS: usize = 10;

/// An event whose argument contains the number of the publication.
pub(crate) struct Numbered {
    text: String,
    /// The position of the number.
    position: usize,
}

impl Numbered {
    /// Returns an event that begins with `head`, the JSON of its name and first arguments.
    pub(crate) fn new(head: &str) -> Self {
        let text = format!("{head},{}]", event_argument(100));
        let position = text.len() - "}]".len() - DIGITS;
        Self { text, position }
    }

    /// Returns the event with a number.
    pub(crate) fn with(&mut self, number: u64) -> &str {
        let range = self.position..self.position + DIGITS;
        self.text.replace_range(range, &(FIRST + number).to_string());
        &self.text
    }

    /// Returns the number of a received event.
    pub(crate) fn number(&self, payload: &[u8]) -> anyhow::Result<u64> {
        let (position, end) = (self.position, self.position + DIGITS);
        let expected = self.text.as_bytes();
        payload
            .get(position..end)
            .filter(|_| payload[..position] == expected[..position] && payload[end..] == expected[end..])
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_sub(FIRST))
            .with_context(|| format!("got {}", String::from_utf8_lossy(payload)))
    }
}

/// The publications of a run.
pub(crate) struct Publications {
    event: Numbered,
    /// The event that the recipients get.
    delivered: Numbered,
    /// The event to the empty room, if the measured publications have no recipients.
    undelivered: Option<Numbered>,
    recipients: Vec<Recipient>,
    window: usize,
    pace: Option<Pacer>,
    /// The number of publications to the room of the recipients.
    published: u64,
    /// Publications that some recipients have not received, beginning with the oldest one.
    in_flight: VecDeque<Publication>,
    is_last_sent: bool,
    deliveries: u64,
    overtaken: u64,
}

struct Publication {
    began: u64,
    missing: usize,
}

#[derive(Default)]
struct Recipient {
    /// The number of the oldest publication that was not received.
    next: u64,
    /// Later publications that were received before it.
    early: Vec<u64>,
}

impl Recipient {
    /// Returns `false` if the publication overtook another one.
    fn receive(&mut self, number: u64) -> anyhow::Result<bool> {
        ensure!(number >= self.next && !self.early.contains(&number), "got publication {number} twice");
        if number > self.next {
            self.early.push(number);
            return Ok(false);
        }
        self.next += 1;
        while let Some(position) = self.early.iter().position(|early| *early == self.next) {
            self.early.swap_remove(position);
            self.next += 1;
        }
        Ok(true)
    }
}

impl Publications {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        ensure!(job.connections > 1 && job.rooms == 1, "needs a publisher, recipients and one room");
        let publish_to = |room| Numbered::new(&format!(r#"42["publish-to",{room:?}"#));
        let undelivered = (job.kind == Kind::ClusterNobody).then(|| publish_to(EMPTY_ROOM));
        ensure!(undelivered.is_none() || job.rate.is_some(), "nobody says when the next one is due");
        Ok(Self {
            event: publish_to(&own_room(0)),
            delivered: Numbered::new(r#"42["news""#),
            undelivered,
            recipients: (1..job.connections).map(|_| Recipient::default()).collect(),
            window: job.window,
            pace: job.rate.map(Pacer::new),
            published: 0,
            in_flight: VecDeque::new(),
            is_last_sent: false,
            deliveries: 0,
            overtaken: 0,
        })
    }

    /// Publishes to the room of the recipients.
    fn publish(&mut self, net: &mut Net, began: u64) {
        net.send(PUBLISHER, &frame::text(self.event.with(self.published)));
        self.published += 1;
        self.in_flight.push_back(Publication { began, missing: self.recipients.len() });
    }
}

impl Scenario for Publications {
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        if let Some(pace) = &mut self.pace {
            pace.start(net.now());
        }
        net.meter.warm_up(net.now());
        Ok(())
    }

    fn message(&mut self, net: &mut Net, socket: usize, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        ensure!(socket != PUBLISHER && opcode == TEXT, "socket {socket} got a message with opcode {opcode}");
        let number = self.delivered.number(payload).with_context(|| format!("socket {socket}"))?;
        ensure!(number < self.published, "socket {socket} got publication {number}, which was not sent");
        let in_order =
            self.recipients[socket - 1].receive(number).with_context(|| format!("socket {socket}"))?;
        self.overtaken += u64::from(!in_order);
        self.deliveries += 1;
        let oldest = self.published - self.in_flight.len() as u64;
        let publication = &mut self.in_flight[(number - oldest) as usize];
        publication.missing -= 1;
        if publication.missing == 0 && self.undelivered.is_none() {
            net.meter.operation(publication.began, net.now());
        }
        while self.in_flight.front().is_some_and(|oldest| oldest.missing == 0) {
            self.in_flight.pop_front();
        }
        Ok(())
    }

    fn read_all(&mut self, _net: &mut Net, _socket: usize) {}

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        if net.over {
            // The other server receives the last publication after all those to the empty room.
            if self.undelivered.is_some() && !self.is_last_sent {
                self.is_last_sent = true;
                self.publish(net, net.now());
            }
            if self.overtaken > 0 {
                net.meter.extra.insert("overtaken".into(), self.overtaken as f64 / self.deliveries as f64);
            }
            return Ok(());
        }
        loop {
            let began = match &mut self.pace {
                None if self.in_flight.len() < self.window => net.now(),
                None => return Ok(()),
                Some(pace) => {
                    let Some((_, time)) = pace.due(net.now()) else { return Ok(()) };
                    time
                }
            };
            match &mut self.undelivered {
                None => self.publish(net, began),
                Some(event) => {
                    net.send(PUBLISHER, &frame::text(event.with(0)));
                    net.meter.operations(1);
                }
            }
        }
    }

    fn has_all(&self) -> bool {
        self.in_flight.is_empty() && (self.undelivered.is_none() || self.is_last_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_number_that_was_given() {
        let mut event = Numbered::new(r#"42["news""#);
        let text = event.with(7).to_owned();
        assert_eq!(event.number(text.as_bytes()).unwrap(), 7);
        assert_eq!(event.number(event.text.replace("1000000007", "1000000012").as_bytes()).unwrap(), 12);
        assert!(event.number(text.replace("anna", "anne").as_bytes()).is_err());
        assert!(event.number(&text.as_bytes()[..30]).is_err());
    }

    #[test]
    fn a_recipient_notices_repeated_and_overtaking_publications() {
        let mut recipient = Recipient::default();
        let received = [0, 2, 3, 1, 4].map(|number| recipient.receive(number).unwrap());
        assert_eq!(received, [true, false, false, true, true]);
        assert_eq!((recipient.next, recipient.early.len()), (5, 0));
        assert!(recipient.receive(3).is_err());
        assert!(!recipient.receive(6).unwrap() && recipient.receive(6).is_err());
    }
}
