//! The rooms that sockets of other servers were told to join a moment ago.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use socketio::Room;
use tokio::time::Instant;

/// The time within which the other servers subscribe to the channels of rooms that their sockets have joined.
const SUBSCRIBING: Duration = Duration::from_secs(2);
/// The maximum number of rooms that are remembered for that time.
const MAX_JOINED: usize = 4096;

/// The namespaces and rooms that this server has told sockets of other servers to join, and when. The other
/// servers may not be subscribed to the channels of these rooms yet.
#[derive(Debug, Default)]
pub struct RecentJoins(Mutex<HashMap<(Arc<str>, Room), Instant>>);

impl RecentJoins {
    /// Remembers rooms that have channels of their own.
    pub fn remember<'a>(&self, namespace: &Arc<str>, rooms: impl Iterator<Item = &'a Room>) {
        let now = Instant::now();
        let mut joined = self.0.lock();
        for room in rooms {
            if joined.len() >= MAX_JOINED {
                joined.retain(|_, since| now.duration_since(*since) < SUBSCRIBING);
            }
            if joined.len() < MAX_JOINED {
                joined.insert((namespace.clone(), room.clone()), now);
            }
        }
    }

    /// Returns `true` if other servers may not be subscribed to the channel of the room yet. They receive the
    /// messages of the channel of the namespace in any case.
    pub fn contains(&self, namespace: &Arc<str>, room: &Room) -> bool {
        let mut joined = self.0.lock();
        if joined.is_empty() {
            return false;
        }
        let key = (namespace.clone(), room.clone());
        let is_recent = joined.get(&key).is_some_and(|since| since.elapsed() < SUBSCRIBING);
        if !is_recent {
            joined.remove(&key);
        }
        is_recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rooms_are_remembered_for_two_seconds_exactly() {
        let (joins, namespace) = (RecentJoins::default(), Arc::from("/"));
        joins.remember(&namespace, ["a".into()].iter());
        tokio::time::advance(Duration::from_millis(1_999)).await;
        assert!(joins.contains(&namespace, &"a".into()));
        assert!(!joins.contains(&namespace, &"b".into()) && !joins.contains(&"/other".into(), &"a".into()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!joins.contains(&namespace, &"a".into()));
        assert!(joins.0.lock().is_empty());
    }

    #[test]
    fn the_number_of_rooms_is_limited_exactly() {
        let (joins, namespace) = (RecentJoins::default(), Arc::from("/"));
        let many: Vec<Room> = (0..=MAX_JOINED).map(|number| Room::from(number.to_string())).collect();
        joins.remember(&namespace, many.iter());
        assert!(joins.contains(&namespace, &many[MAX_JOINED - 1]));
        assert!(!joins.contains(&namespace, &many[MAX_JOINED]));
    }
}
