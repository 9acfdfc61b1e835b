//! Restores the order of the messages of one sender.
//!
//! NATS delivers the messages of a sender in order, but each subscription has a queue of its own. A message that
//! was taken from one queue may have been preceded by one that is still in another queue. So all queues are
//! emptied after each first message, and the messages are sorted by their numbers.

use std::fmt;

use async_nats::{Message, Subscriber};
use futures::{
    FutureExt, StreamExt,
    stream::{Abortable, SelectAll},
};
use tokio::{sync::mpsc, task::unconstrained};

/// The header with the order of a message.
pub(crate) const ORDER: &str = "Sio-Order";
/// The header with the tokens of rooms. Servers without sockets in any of them ignore the message.
pub(crate) const ROOMS: &str = "Sio-Rooms";

/// The position of a message among those of its sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order<'a> {
    pub(crate) sender: &'a str,
    pub(crate) number: u64,
}

impl fmt::Display for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sender, self.number)
    }
}

impl<'a> Order<'a> {
    /// Reads the header. Messages without it stay in the order of their arrival on each subject.
    fn of(message: &'a Message) -> Self {
        let header = message.headers.as_ref().and_then(|headers| headers.get(ORDER));
        header.and_then(|header| Self::parse(header.as_str())).unwrap_or_default()
    }

    pub(crate) fn parse(header: &'a str) -> Option<Self> {
        let (sender, number) = header.rsplit_once(' ')?;
        Some(Self { sender, number: number.parse().ok()? })
    }
}

/// All subscriptions of a connection.
pub(crate) struct Subscriptions {
    all: SelectAll<Abortable<Subscriber>>,
    added: mpsc::Receiver<Abortable<Subscriber>>,
}

impl Subscriptions {
    pub(crate) fn new(added: mpsc::Receiver<Abortable<Subscriber>>) -> Self {
        Self { all: SelectAll::new(), added }
    }

    /// Returns messages in the order in which each sender has sent them. Returns `None` if no subscription can be
    /// added any more.
    pub(crate) async fn next(&mut self) -> Option<Vec<Message>> {
        let first = loop {
            tokio::select! {
                biased;
                added = self.added.recv() => self.all.push(added?),
                Some(message) = self.all.next() => break message,
            }
        };
        let mut messages = vec![first];
        while let Ok(added) = self.added.try_recv() {
            self.all.push(added);
        }
        // The set may yield once although a message is there.
        let mut misses = 0;
        while misses < 2 {
            match unconstrained(self.all.next()).now_or_never() {
                Some(Some(message)) => {
                    messages.push(message);
                    misses = 0;
                }
                Some(None) | None => misses += 1,
            }
        }
        if messages.len() > 1 {
            messages.sort_by(|one, other| Order::of(one).cmp(&Order::of(other)));
        }
        Some(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed() {
        let order = Order { sender: "abc", number: 7 };
        assert_eq!(order.to_string(), "abc 7");
        assert_eq!(Order::parse("abc 7"), Some(order));
        for header in ["", "abc", "abc x", "abc -1", "abc 99999999999999999999"] {
            assert_eq!(Order::parse(header), None, "{header}");
        }
    }
}
