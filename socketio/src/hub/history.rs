//! Stores the last events of a namespace with their offsets, for clients that have missed events.

use std::{collections::VecDeque, io::Write as _, time::Instant};

use engineio::{__Shrink as Shrink, Frame, Sid};

use crate::{
    config::ConnectionStateRecovery,
    hub::rooms::{Room, Target},
    proto::encode::{Encoder, Frames},
};

/// The length of the prefix that identifies the server. The prefix is needed because a client may send an
/// offset from before a restart.
const EPOCH: usize = 6;
const DIGITS: usize = 12;

/// An offset on the wire. All offsets have the same length, so an offset can be overwritten in place.
pub(crate) type Offset = [u8; EPOCH + DIGITS];

/// The sequence number of an event of a namespace. The first event has position 1.
pub(crate) type Position = u64;

/// The recipients of an event.
#[derive(Debug)]
pub(crate) enum Recipients {
    Target(Target),
    Socket(Sid),
}

impl Recipients {
    fn contain(&self, sid: Sid, rooms: &[Room]) -> bool {
        match self {
            Self::Socket(socket) => *socket == sid,
            Self::Target(target) => target.selects(sid, rooms),
        }
    }

    fn cost(&self) -> usize {
        let names = match self {
            Self::Target(target) => [&*target.rooms, &*target.except],
            Self::Socket(_) => [&[][..]; 2],
        };
        names.into_iter().flatten().map(|name| size_of::<Room>() + name.len()).sum()
    }
}

#[derive(Debug)]
struct Stored {
    at: Instant,
    recipients: Recipients,
    frames: Frames,
}

impl Stored {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.recipients.cost() + cost(&self.frames)
    }
}

/// Returns the number of bytes that the frames occupy in the queue of a client.
pub(crate) fn cost(frames: &Frames) -> usize {
    frames.as_slice().iter().map(Frame::cost).sum()
}

/// The last events of a namespace, without gaps.
#[derive(Debug)]
pub(crate) struct History {
    epoch: [u8; EPOCH],
    stored: VecDeque<Stored>,
    /// The position of the last event.
    last: Position,
    bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        let mut epoch = [0; EPOCH];
        epoch.copy_from_slice(&Sid::random().as_str().as_bytes()[..EPOCH]);
        Self { epoch, stored: VecDeque::new(), last: 0, bytes: 0 }
    }
}

impl History {
    /// Returns the position of the last event.
    pub(crate) fn position(&self) -> Position {
        self.last
    }

    /// Returns the offset of the event at `position`.
    pub(crate) fn offset(&self, position: Position) -> Offset {
        let mut offset = [b'0'; EPOCH + DIGITS];
        offset[..EPOCH].copy_from_slice(&self.epoch);
        // At a thousand events per second, 12 hex digits suffice for thousands of years.
        let _ = write!(&mut offset[EPOCH..], "{position:012x}");
        offset
    }

    /// Returns the position of an offset from a client, or `None` if the offset is invalid or in the future.
    /// An offset from another server is mapped to 0, because the client has seen no event of this server.
    pub(crate) fn read(&self, offset: &str) -> Option<Position> {
        let offset: &Offset = offset.as_bytes().try_into().ok()?;
        let (epoch, digits) = offset.split_at(EPOCH);
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        if *epoch != self.epoch {
            return Some(0);
        }
        let position = Position::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        (position <= self.last).then_some(position)
    }

    /// Appends an event at the next position.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        recipients: Recipients,
        frames: &Frames,
        limits: &ConnectionStateRecovery,
    ) {
        let stored = Stored { at: now, recipients, frames: frames.detached() };
        self.last += 1;
        self.bytes += stored.cost();
        self.stored.push_back(stored);
        while self.bytes > limits.max_bytes && self.forget_first() {}
    }

    /// Drops events older than the maximum duration of an interruption.
    pub(crate) fn purge(&mut self, now: Instant, limits: &ConnectionStateRecovery) {
        let is_old = |stored: &Stored| now.duration_since(stored.at) > limits.max_disconnection_duration;
        while self.stored.front().is_some_and(is_old) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) -> bool {
        let first = self.stored.pop_front();
        self.stored.shrink();
        self.bytes -= first.as_ref().map_or(0, Stored::cost);
        first.is_some()
    }

    /// Returns the events after a position that were sent to a socket, or `None` if some of these events were
    /// already dropped, or if their number or size exceeds the limits or `max_bytes`.
    pub(crate) fn missed(
        &self,
        after: Position,
        sid: Sid,
        rooms: &[Room],
        limits: &ConnectionStateRecovery,
        max_bytes: usize,
    ) -> Option<Vec<(Position, Frames)>> {
        let first = self.last + 1 - self.stored.len() as Position;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let max_bytes = max_bytes.min(limits.max_missed_bytes);
        let (mut missed, mut bytes) = (Vec::new(), 0);
        for (position, stored) in (after + 1..).zip(self.stored.range(skip.min(self.stored.len())..)) {
            if !stored.recipients.contain(sid, rooms) {
                continue;
            }
            bytes += cost(&stored.frames);
            if missed.len() >= limits.max_missed_packets || bytes > max_bytes {
                return None;
            }
            missed.push((position, stored.frames.detached()));
        }
        Some(missed)
    }
}

/// An encoded event with space for the offset. The offset is written when the event is queued.
#[derive(Debug)]
pub(crate) struct OffsetTemplate<'a> {
    encoder: Encoder<'a>,
    /// The text of the event, after the headroom for the frame header.
    text: Vec<u8>,
    /// The index of the offset in `text`.
    at: usize,
    attachments: Vec<Frame>,
    uncompressed: bool,
}

impl<'a> OffsetTemplate<'a> {
    /// Appends space for an offset to the arguments of an event that `encoder` has encoded.
    pub(crate) fn new(encoder: Encoder<'a>, packet: &Frames, uncompressed: bool) -> Self {
        let (text, attachments) = packet.plain().split_first().map_or((&[][..], &[][..]), |(text, rest)| {
            // Strip the message type at the start and the closing bracket of the array at the end.
            let payload = text.payload();
            (&payload[1..payload.len() - 1], rest)
        });
        let mut buffer = Vec::with_capacity(Frame::HEADROOM + text.len() + size_of::<Offset>() + 4);
        buffer.resize(Frame::HEADROOM, 0);
        buffer.extend_from_slice(text);
        buffer.extend_from_slice(b",\"");
        let at = buffer.len();
        buffer.extend_from_slice(&[b'0'; size_of::<Offset>()]);
        buffer.extend_from_slice(b"\"]");
        Self { encoder, text: buffer, at, attachments: attachments.to_vec(), uncompressed }
    }

    /// Returns the event with the given offset, encoded for the clients. Fails if a custom parser cannot
    /// encode the event.
    pub(crate) fn stamp(&mut self, offset: Offset) -> Result<Frames, serde_json::Error> {
        self.text[self.at..self.at + offset.len()].copy_from_slice(&offset);
        let text = Frame::from_headroom(&mut self.text, Frame::HEADROOM);
        let text = if self.uncompressed { text.uncompressed() } else { text };
        let plain = if self.attachments.is_empty() {
            text.into()
        } else {
            Frames::Many(std::iter::once(text).chain(self.attachments.iter().cloned()).collect())
        };
        let frames = match self.encoder.translate(plain, None)? {
            Frames::Translated { wire, .. } => Frames::Many(wire),
            plain => return Ok(plain),
        };
        Ok(if self.uncompressed { frames.uncompressed() } else { frames })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> ConnectionStateRecovery {
        ConnectionStateRecovery::default()
    }

    fn event(text: &str) -> Frames {
        Frames::One([Frame::text(text)])
    }

    fn everyone() -> Recipients {
        Recipients::Target(Target::default())
    }

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn missed(history: &History, after: Position, limits: &ConnectionStateRecovery) -> Option<usize> {
        history.missed(after, Sid::random(), &[], limits, usize::MAX).map(|missed| missed.len())
    }

    #[test]
    fn offsets_are_read_back() {
        let (mut history, now) = (History::default(), start());
        for position in 1..300 {
            history.push(now, everyone(), &event("a"), &limits());
            let offset = history.offset(position);
            assert_eq!(history.read(std::str::from_utf8(&offset).unwrap()), Some(position));
        }
        let ahead = history.offset(300);
        assert_eq!(history.read(std::str::from_utf8(&ahead).unwrap()), None);
        let other = History::default().offset(300);
        assert_eq!(history.read(std::str::from_utf8(&other).unwrap()), Some(0), "of another server");
        for bad in ["", "abc", "aaaaaa00000000000g", "aaaaaa+00000000001", "aaaaaa0000000000001"] {
            assert_eq!(history.read(bad), None, "{bad}");
        }
        assert!(history.offset(9) < history.offset(10));
    }

    #[test]
    fn the_bytes_of_all_events_are_limited_exactly() {
        let now = start();
        let one = Stored { at: now, recipients: everyone(), frames: event("abc") }.cost();
        for (max_bytes, first_known) in [(3 * one, 1), (3 * one - 1, 2), (one, 3), (one - 1, 4), (0, 4)] {
            let (mut history, limits) = (History::default(), limits().max_bytes(max_bytes));
            for _ in 0..3 {
                history.push(now, everyone(), &event("abc"), &limits);
            }
            for after in 0..=3 {
                let known = (after + 1 >= first_known).then_some(3 - after as usize);
                assert_eq!(missed(&history, after, &limits), known, "{max_bytes} {after}");
            }
            assert!(history.bytes <= max_bytes);
        }
    }

    #[test]
    fn what_a_client_missed_is_limited_exactly() {
        let (mut history, now) = (History::default(), start());
        for _ in 0..3 {
            history.push(now, everyone(), &event("abc"), &limits());
        }
        let bytes = 3 * cost(&event("abc"));
        for (limits, max_bytes, expected) in [
            (limits().max_missed_packets(3), usize::MAX, Some(3)),
            (limits().max_missed_packets(2), usize::MAX, None),
            (limits().max_missed_bytes(bytes), usize::MAX, Some(3)),
            (limits().max_missed_bytes(bytes - 1), usize::MAX, None),
            (limits(), bytes, Some(3)),
            (limits(), bytes - 1, None),
        ] {
            let missed = history.missed(0, Sid::random(), &[], &limits, max_bytes);
            assert_eq!(missed.map(|missed| missed.len()), expected, "{limits:?} {max_bytes}");
        }
    }

    #[test]
    fn events_expire_exactly() {
        let (mut history, now) = (History::default(), start());
        let max = limits().max_disconnection_duration;
        history.push(now, everyone(), &event("a"), &limits());
        history.push(now + Duration::from_nanos(1), everyone(), &event("a"), &limits());
        history.purge(now + max, &limits());
        assert_eq!(missed(&history, 0, &limits()), Some(2));
        history.purge(now + max + Duration::from_nanos(1), &limits());
        assert_eq!((missed(&history, 0, &limits()), missed(&history, 1, &limits())), (None, Some(1)));
        history.purge(now + 2 * max, &limits());
        assert_eq!((history.bytes, missed(&history, 2, &limits())), (0, Some(0)));
    }

    #[test]
    fn the_places_of_what_is_forgotten_come_back() {
        let (mut history, now) = (History::default(), start());
        for _ in 0..1000 {
            history.push(now, everyone(), &event("a"), &limits());
        }
        history.purge(now + 2 * limits().max_disconnection_duration, &limits());
        assert!(history.stored.capacity() <= 16);
    }

    #[test]
    fn an_offset_takes_its_place_behind_the_arguments() {
        let mut unstamped = OffsetTemplate::new(Encoder::plain("/n"), &event(r#"2/n,["a",1]"#), false);
        for offset in [*b"012345678901234567", *b"abcdefabcdefabcdef"] {
            let frames = unstamped.stamp(offset).unwrap();
            let text = String::from_utf8(frames.as_slice()[0].payload().to_vec()).unwrap();
            assert_eq!(text, format!(r#"42/n,["a",1,"{}"]"#, std::str::from_utf8(&offset).unwrap()));
        }
    }
}
