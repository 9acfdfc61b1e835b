//! The policies for messages to a slow consumer.

use std::collections::VecDeque;

use crate::Frame;

/// The policy for a message that would increase the queue of a client beyond
/// [`max_buffered`](crate::EngineConfig::max_buffered) bytes.
///
/// # Examples
///
/// Clients receive positions, and only the latest position matters:
///
/// ```
/// use engineio::{EngineConfig, SlowConsumerPolicy};
///
/// let config = EngineConfig::default().slow_consumer(SlowConsumerPolicy::DropOldest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SlowConsumerPolicy {
    /// Disconnects the client with [`CloseReason::SlowConsumer`](crate::CloseReason::SlowConsumer), so that
    /// the client never misses a message without noticing. This is the default.
    #[default]
    Disconnect,
    /// Rejects the message with [`SendError::Full`](crate::SendError::Full); the session continues.
    DropNewest,
    /// Drops the oldest queued messages that were sent with this policy until the new message fits. If
    /// dropping all of them would not make enough room, rejects the new message as
    /// [`DropNewest`](Self::DropNewest) does, and drops nothing.
    DropOldest,
}

/// Drops the oldest droppable packets until their total cost reaches `needed` or no droppable packet is left.
/// The frames of a packet are dropped together. Returns the number of dropped packets and their cost.
pub(crate) fn drop_oldest(frames: &mut VecDeque<Frame>, needed: usize) -> (u64, usize) {
    let (mut packets, mut freed, mut from) = (0, 0, 0);
    while freed < needed
        && let Some(start) = frames.iter().skip(from).position(Frame::starts_droppable).map(|at| from + at)
    {
        let mut end = start;
        // Adjacent packets are removed in one pass. Droppable packets are usually adjacent.
        while freed < needed && frames.get(end).is_some_and(Frame::starts_droppable) {
            packets += 1;
            freed += frames[end].cost();
            end += 1;
            while let Some(rest) = frames.get(end).filter(|frame| frame.continues_group()) {
                freed += rest.cost();
                end += 1;
            }
        }
        frames.drain(start..end);
        from = start;
    }
    (packets, freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a queue of packets, each given as (droppable, number of frames).
    fn queue(packets: &[(bool, usize)]) -> VecDeque<Frame> {
        let mut frames = VecDeque::new();
        for (n, &(droppable, len)) in packets.iter().enumerate() {
            for at in 0..len {
                let frame = Frame::text(&n.to_string());
                frames.push_back(if droppable { frame.droppable(at == 0) } else { frame });
            }
        }
        frames
    }

    /// Frees the cost of `needed` frames. Returns the remaining packets and the result of the call.
    fn left(packets: &[(bool, usize)], needed: usize) -> (String, u64, usize) {
        let mut frames = queue(packets);
        let cost = Frame::text("0").cost();
        let (dropped, freed) = drop_oldest(&mut frames, needed * cost);
        let left = frames.iter().map(|frame| String::from_utf8_lossy(&frame.payload()[1..]).into_owned());
        (left.collect(), dropped, freed / cost)
    }

    #[test]
    fn the_oldest_go_whole_and_others_stay() {
        let packets = [(false, 1), (true, 1), (true, 3), (false, 2), (true, 1), (true, 2)];
        assert_eq!(left(&packets, 0), ("0122233455".into(), 0, 0));
        assert_eq!(left(&packets, 1), ("022233455".into(), 1, 1));
        assert_eq!(left(&packets, 2), ("033455".into(), 2, 4));
        assert_eq!(left(&packets, 4), ("033455".into(), 2, 4));
        assert_eq!(left(&packets, 5), ("03355".into(), 3, 5));
        assert_eq!(left(&packets, 6), ("033".into(), 4, 7));
        assert_eq!(left(&packets, 100), ("033".into(), 4, 7));
        assert_eq!(left(&[(false, 3)], 1), ("000".into(), 0, 0));
    }
}
