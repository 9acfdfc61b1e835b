//! The Socket.IO layer of a client: scripted events, acknowledgements and attachments.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    client::Packet,
    history::Record,
    scenario::{Answer, Event, Kind, Plan, of_kind},
};

pub(crate) struct Talk {
    plan: Arc<Plan>,
    record: Record,
    /// An event with missing attachments.
    partial: Option<Partial>,
    /// Maps acknowledgement ids to event numbers.
    owed: BTreeMap<u32, u32>,
}

struct Partial {
    text: String,
    missing: usize,
    attachments: Vec<Vec<u8>>,
}

/// The effect of a message from the server.
pub(crate) enum Reaction {
    None,
    /// The client has joined the namespace.
    Joined,
    Left,
    Answer(Duration, Packet),
}

impl Talk {
    pub(crate) fn new(plan: Arc<Plan>, record: Record) -> Self {
        Self { plan, record, partial: None, owed: BTreeMap::new() }
    }

    /// Returns the packets of the next event, and the pause before it.
    pub(crate) fn event(&mut self, n: u32) -> Option<(Duration, Vec<Packet>)> {
        let event = self.plan.up.get(n as usize)?;
        let id = if event.answer == Answer::NotAsked {
            String::new()
        } else {
            // The id differs from the event number, so that a mix-up of the two is detected.
            self.owed.insert(n + 1000, n);
            (n + 1000).to_string()
        };
        let json = event.json("up", n);
        let header = match event.attachments.len() {
            0 => format!("42{id}{json}"),
            count => format!("45{count}-{id}{json}"),
        };
        self.record.lock().owed = self.owed.len();
        let attachments = event.bytes(n).map(Packet::Binary);
        Some((event.pause, std::iter::once(Packet::Text(header)).chain(attachments).collect()))
    }

    pub(crate) fn binary(&mut self, bytes: Vec<u8>) -> Reaction {
        let Some(partial) = &mut self.partial else { return self.wrong("an attachment of nothing") };
        partial.attachments.push(bytes);
        if partial.attachments.len() < partial.missing {
            return Reaction::None;
        }
        let partial = self.partial.take().unwrap();
        self.received(&partial.text, &partial.attachments)
    }

    /// Handles a text message, without its Engine.IO packet type.
    pub(crate) fn text(&mut self, text: &str) -> Reaction {
        if self.partial.is_some() {
            return self.wrong(&format!("in place of an attachment came {text}"));
        }
        let (kind, rest) = text.split_at(1);
        match kind {
            "0" if rest.starts_with(r#"{"sid":""#) => Reaction::Joined,
            "1" if rest.is_empty() => Reaction::Left,
            "2" => self.received(rest, &[]),
            "3" => self.acknowledged(rest),
            "5" => {
                let (count, text) = rest.split_once('-').unwrap();
                self.partial = Some(Partial {
                    text: text.to_owned(),
                    missing: count.parse().unwrap(),
                    attachments: Vec::new(),
                });
                Reaction::None
            }
            _ => self.wrong(&format!("unexpected packet {text}")),
        }
    }

    fn received(&mut self, text: &str, attachments: &[Vec<u8>]) -> Reaction {
        let (id, json) = text.split_at(text.find('[').unwrap());
        let (name, rest) = json[2..].split_once('"').unwrap();
        let n: u32 = rest[1..].split([',', ']']).next().unwrap().parse().unwrap();
        let mut record = self.record.lock();
        let kind = match name {
            "down" => Kind::Event,
            "volatile" => Kind::Volatile,
            _ => Kind::Broadcast,
        };
        match kind {
            Kind::Event => record.down.push(n),
            Kind::Volatile => record.volatile.push(n),
            Kind::Broadcast => {
                record.broadcasts.push(n);
                return Reaction::None;
            }
        }
        let expected = of_kind(&self.plan.down, kind).nth(n as usize);
        let right = |expected: &&Event| {
            expected.json(name, n) == json
                && expected.bytes(n).eq(attachments.iter().cloned())
                && id.is_empty() == (expected.answer == Answer::NotAsked)
        };
        let Some(expected) = expected.filter(right) else {
            record.wrong.push(format!("event {n} of the server arrived as {text}"));
            return Reaction::None;
        };
        match expected.answer {
            Answer::After(wait) => Reaction::Answer(wait, Packet::Text(format!("43{id}[{n}]"))),
            Answer::NotAsked | Answer::Never => Reaction::None,
        }
    }

    fn acknowledged(&mut self, rest: &str) -> Reaction {
        let (id, json) = rest.split_at(rest.find('[').unwrap());
        match self.owed.remove(&id.parse().unwrap()) {
            Some(n) if json == format!("[{n}]") => {
                self.record.lock().owed = self.owed.len();
                Reaction::None
            }
            other => self.wrong(&format!("acknowledgement {rest} for {other:?}")),
        }
    }

    fn wrong(&self, what: &str) -> Reaction {
        self.record.lock().wrong.push(what.to_owned());
        Reaction::None
    }
}
