//! `PUBLISH` to a subscriber of the same Redis, without a server: what the messages of a cluster cost at least.

use std::{collections::VecDeque, fmt::Write as _};

use anyhow::{Context as _, ensure};
use bench::job::Job;

use crate::{
    cluster::Numbered,
    net::{Actor, Net},
    pace::Pacer,
};

const CHANNEL: &str = "bare";

/// The elements of an array.
type Parts<'a> = Vec<&'a [u8]>;

/// Two connections to Redis.
pub(crate) struct Bare {
    message: Numbered,
    pace: Pacer,
    subscriber: Option<usize>,
    publisher: Option<usize>,
    is_subscribed: bool,
    started: bool,
    /// The due times of the publications that were not received, in their order.
    in_flight: VecDeque<u64>,
    published: u64,
}

impl Bare {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        Ok(Self {
            // As long as the message of an adapter.
            message: Numbered::new(r#"["news","nobody-listens-to-this-head-of-a-message""#),
            pace: Pacer::new(job.rate.context("needs a rate")?),
            subscriber: None,
            publisher: None,
            is_subscribed: false,
            started: false,
            in_flight: VecDeque::new(),
            published: 0,
        })
    }

    /// Handles a message to the subscriber: the kind, the channel, and the payload or the number of channels.
    fn message(&mut self, net: &mut Net, parts: &[&[u8]]) -> anyhow::Result<()> {
        if !self.is_subscribed {
            ensure!(parts[0] == b"subscribe", "no subscription");
            self.is_subscribed = true;
            return Ok(());
        }
        ensure!(parts[0] == b"message" && parts[1] == CHANNEL.as_bytes(), "another message");
        let number = self.message.number(parts[2])?;
        ensure!(number == self.published - self.in_flight.len() as u64, "message {number} is not the next");
        let began = self.in_flight.pop_front().context("a message that was not sent")?;
        net.meter.operation(began, net.now());
        Ok(())
    }
}

impl Actor for Bare {
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()> {
        if self.subscriber == Some(id) {
            net.send(id, &command(&["SUBSCRIBE", CHANNEL]));
        }
        Ok(())
    }

    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut used = 0;
        if self.publisher == Some(id) {
            // The responses are the numbers of subscribers.
            ensure!(!bytes.contains(&b'-'), "Redis refuses: {}", String::from_utf8_lossy(bytes));
            return Ok(bytes.len());
        }
        while let Some((parts, length)) = parts(&bytes[used..])? {
            used += length;
            self.message(net, &parts)?;
        }
        Ok(used)
    }

    fn closed(&mut self, _net: &mut Net, _id: usize) -> anyhow::Result<()> {
        anyhow::bail!("Redis closed a connection")
    }

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        if self.subscriber.is_none() {
            self.subscriber = Some(net.open()?);
            self.publisher = Some(net.open()?);
        }
        let Some(publisher) = self.publisher.filter(|_| self.is_subscribed) else { return Ok(()) };
        if !self.started {
            self.started = true;
            self.pace.start(net.now());
            net.meter.warm_up(net.now());
        }
        while !net.over
            && let Some((_, time)) = self.pace.due(net.now())
        {
            let message = self.message.with(self.published);
            net.send(publisher, &command(&["PUBLISH", CHANNEL, message]));
            self.published += 1;
            self.in_flight.push_back(time);
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.in_flight.is_empty()
    }
}

/// Encodes a command.
fn command(arguments: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        let _ = write!(out, "${}\r\n{argument}\r\n", argument.len());
    }
    out.into_bytes()
}

/// Parses an array of three strings, or of two strings and a number. Returns its elements and its length, or
/// `None` if it is incomplete.
fn parts(bytes: &[u8]) -> anyhow::Result<Option<(Parts<'_>, usize)>> {
    let mut used = 0;
    let line = |used: &mut usize| {
        let length = bytes.get(*used..)?.windows(2).position(|window| window == b"\r\n")?;
        let line = &bytes[*used..*used + length];
        *used += length + 2;
        Some(line)
    };
    let Some(head) = line(&mut used) else { return Ok(None) };
    ensure!(head == b"*3", "Redis sends {}", String::from_utf8_lossy(head));
    let mut parts = Vec::with_capacity(3);
    for _ in 0..3 {
        let Some(head) = line(&mut used) else { return Ok(None) };
        match head.split_first() {
            Some((b':', number)) => parts.push(number),
            Some((b'$', length)) => {
                let length: usize = std::str::from_utf8(length)?.parse()?;
                let Some(part) = bytes.get(used..used + length) else { return Ok(None) };
                used += length + 2;
                parts.push(part);
            }
            _ => anyhow::bail!("Redis sends {}", String::from_utf8_lossy(head)),
        }
    }
    Ok((used <= bytes.len()).then_some((parts, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_when_it_is_complete() {
        let bytes = b"*3\r\n$7\r\nmessage\r\n$4\r\nbare\r\n$2\r\nhi\r\n";
        let (found, length) = parts(bytes).unwrap().unwrap();
        assert_eq!((found, length), (vec![&b"message"[..], b"bare", b"hi"], bytes.len()));
        for end in 0..bytes.len() {
            assert!(parts(&bytes[..end]).unwrap().is_none(), "{end}");
        }
        let (found, _) = parts(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nbare\r\n:1\r\n").unwrap().unwrap();
        assert_eq!(found[2], b"1");
        assert!(parts(b"-ERR\r\n").is_err());
    }
}
