//! The messages that no node has taken yet, and which of them are sent.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{REFUSED, Unit};
use crate::nodes::Node;

/// The slot of a message. `None` if any node takes it.
type Slot = Option<u16>;

/// The messages that no node has taken yet.
#[derive(Default)]
pub(super) struct Held {
    pub(super) units: VecDeque<Unit>,
    /// The slots of the units. What follows for them is held too.
    slots: HashSet<Slot>,
    /// The slots for which only the first message is sent: a node that becomes able to take messages while it reads many
    /// of them would refuse the first and take the last.
    probed: HashSet<Slot>,
    /// The slots whose first message was taken.
    proven: HashSet<Slot>,
    pub(super) retry: Option<Instant>,
}

impl Held {
    pub(super) fn push(&mut self, unit: Unit, delay: Duration) {
        self.slots.insert(unit.content.slot());
        self.units.push_back(unit);
        let retry = Instant::now() + delay;
        self.retry = Some(self.retry.map_or(retry, |earlier| earlier.min(retry)));
    }

    /// Takes all messages out, to send them again.
    pub(super) fn take(&mut self) -> VecDeque<Unit> {
        let Self { units, slots, proven, .. } = std::mem::take(self);
        self.probed = slots.difference(&proven).copied().collect();
        units
    }

    /// Records that a node has taken a message.
    pub(super) fn set_taken(&mut self, slot: Slot) {
        if self.probed.remove(&slot) {
            self.proven.insert(slot);
        }
    }
}

/// Decides which of the messages that are looked at in one turn are sent, so that each slot keeps its order.
#[derive(Default)]
pub(super) struct Turn {
    /// The slots whose first message is sent alone.
    probes: HashSet<Slot>,
    /// The slots of which a message is sent to another node than the owner.
    asked: HashMap<Slot, Node>,
}

impl Turn {
    /// Returns the time for which the next message must be held, or `None` if it is sent. `asked` is the node that the
    /// owner of the slot has named.
    pub(super) fn delay(&mut self, held: &Held, slot: Slot, asked: Option<&Node>) -> Option<Duration> {
        if held.slots.contains(&slot) {
            return Some(REFUSED);
        }
        // Two nodes may take the messages of a slot at the same time, and so change their order, if it is moved back.
        let is_elsewhere = self.asked.get(&slot).is_some_and(|node| asked != Some(node));
        if is_elsewhere || self.probes.contains(&slot) {
            return Some(Duration::ZERO);
        }
        self.probes.extend(held.probed.get(&slot));
        if let Some(node) = asked {
            self.asked.insert(slot, node.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Some(866);
    const OTHER: Slot = Some(867);

    #[test]
    fn a_slot_has_one_node_in_a_turn() {
        let (held, mut turn, node) = (Held::default(), Turn::default(), Node::new("asked", 1));
        assert_eq!(turn.delay(&held, SLOT, Some(&node)), None);
        assert_eq!(turn.delay(&held, SLOT, Some(&node)), None);
        assert_eq!(turn.delay(&held, SLOT, None), Some(Duration::ZERO));
        assert_eq!(turn.delay(&held, SLOT, Some(&Node::new("another", 1))), Some(Duration::ZERO));
        assert_eq!(turn.delay(&held, OTHER, None), None);
    }

    #[test]
    fn what_was_held_begins_with_one_message() {
        let mut held = Held { slots: HashSet::from([SLOT]), ..Held::default() };
        assert_eq!(Turn::default().delay(&held, SLOT, None), Some(REFUSED));
        held.take();
        let mut turn = Turn::default();
        assert_eq!(turn.delay(&held, SLOT, None), None);
        assert_eq!(turn.delay(&held, SLOT, None), Some(Duration::ZERO));
        assert_eq!(turn.delay(&held, OTHER, None), None);
        assert_eq!(turn.delay(&held, OTHER, None), None);

        // The node has taken the first. The others follow at once.
        held.set_taken(SLOT);
        held.slots.insert(SLOT);
        held.take();
        let mut turn = Turn::default();
        assert_eq!(turn.delay(&held, SLOT, None), None);
        assert_eq!(turn.delay(&held, SLOT, None), None);
    }
}
