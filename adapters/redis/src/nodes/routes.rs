//! Which node has which slot, as one task sees it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Node, Topology};

/// The nodes of all slots at some moment.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    topology: Option<Arc<Topology>>,
    /// The node for what has no slot.
    home: Option<Node>,
}

impl Routes {
    pub(crate) fn new(topology: Option<Arc<Topology>>, home: Option<Node>) -> Self {
        Self { topology, home }
    }

    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        self.topology.clone()
    }

    pub(crate) fn node(&self, slot: Option<u16>) -> Option<&Node> {
        match slot {
            Some(slot) => self.topology.as_ref()?.owner(slot),
            None => self.home.as_ref(),
        }
    }
}

/// The routes of a task. When a slot is moved, the task waits before it uses the new node, because messages of the former
/// one may still be on their way, even through the new one.
#[derive(Debug)]
pub(crate) struct Course {
    routes: Routes,
    /// The routes before each of the last changes, with the time at which the change is settled.
    former: Vec<(Routes, Instant)>,
    settling: Duration,
}

impl Course {
    pub(crate) fn new(settling: Duration) -> Self {
        Self { routes: Routes::new(None, None), former: Vec::new(), settling }
    }

    /// Takes over the routes of this moment. Returns `true` if they have changed.
    pub(crate) fn follow(&mut self, routes: Routes) -> bool {
        let now = Instant::now();
        self.former.retain(|(_, settled)| *settled > now);
        let is_same = match (&self.routes.topology, &routes.topology) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let is_changed = !is_same || self.routes.home != routes.home;
        if is_changed {
            let former = std::mem::replace(&mut self.routes, routes);
            self.former.push((former, now + self.settling));
        }
        is_changed
    }

    pub(crate) fn node(&self, slot: Option<u16>) -> Option<&Node> {
        self.routes.node(slot)
    }

    /// Returns the time until the node of a slot may be used.
    pub(crate) fn settling(&self, slot: Option<u16>) -> Duration {
        let node = self.node(slot);
        let moved = |routes: &Routes| routes.node(slot).is_some_and(|former| Some(former) != node);
        let settled =
            self.former.iter().filter(|(routes, _)| moved(routes)).map(|(_, settled)| *settled).max();
        settled.map_or(Duration::ZERO, |settled| settled.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SETTLING: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_moved_slot_settles() {
        let (one, two) = (Node::new("one", 1), Node::new("two", 2));
        let topology = |slots: &[u16]| {
            let all = Topology::one(one.clone());
            let topology = slots.iter().fold(all, |topology, slot| topology.moved(*slot, two.clone()));
            Routes::new(Some(Arc::new(topology)), Some(one.clone()))
        };
        let mut course = Course::new(SETTLING);
        course.follow(topology(&[]));
        assert_eq!(course.settling(Some(7)), Duration::ZERO, "it had no node before");
        course.follow(topology(&[7]));
        assert_eq!(course.node(Some(7)), Some(&two));
        assert_eq!(course.settling(Some(7)), SETTLING);
        assert_eq!((course.settling(Some(8)), course.settling(None)), (Duration::ZERO, Duration::ZERO));

        advance(SETTLING / 2).await;
        course.follow(topology(&[7, 8]));
        assert_eq!((course.settling(Some(7)), course.settling(Some(8))), (SETTLING / 2, SETTLING));
        advance(SETTLING).await;
        course.follow(topology(&[7, 8]));
        assert_eq!(course.settling(Some(8)), Duration::ZERO);
        assert!(course.former.len() <= 1, "{course:?}");
    }
}
