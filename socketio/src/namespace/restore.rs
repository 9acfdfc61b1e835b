//! Connection state recovery: gives a returning client its socket and the events it missed.

use crate::{
    handles::{
        observers::Data,
        socket::{Socket, SocketParts},
    },
    hub::{history::cost, recovery::RecoveryClaim},
};

/// Recovers the socket of a returning client, after queueing the CONNECT response and the missed events.
/// Returns `None` unless it is certain that nothing is lost.
pub(crate) fn restore<D: Send + Sync + 'static>(
    parts: &SocketParts<D>,
    claim: Option<&RecoveryClaim>,
) -> Option<Socket<D>> {
    let claim = claim?;
    // Taken out of the recovery state, so that only one connection can recover it.
    let saved = parts.adapter.recovery.as_ref()?.take(claim)?;
    let data = saved.data().clone().downcast().ok()?;
    let recoverable = saved.recoverable();
    let socket = Socket::from_parts(parts.clone(), saved.sid(), Data::Shared(data), Some(recoverable));
    let answer = socket.connect_response().ok()?;
    let session = &parts.session;
    parts.adapter.change(|rooms, memory| {
        let (memory, recoverable) = (memory?, socket.0.recoverable()?);
        let missed = memory.catch_up(&saved, claim, recoverable, session.buffered() + cost(&answer))?;
        if session.send(answer.as_slice()).is_err() {
            // This connection cannot take the response: keep the socket for the next one.
            memory.save(saved);
            return None;
        }
        for frames in missed {
            // An event that cannot be sent is missed again, and the next recovery sends it.
            let _ = session.send(frames.as_slice());
        }
        let slot = socket.insert(rooms);
        if saved.rooms().iter().all(|room| **room != *socket.id()) {
            rooms.leave(slot, socket.id());
        }
        for room in saved.rooms() {
            rooms.join(slot, room, usize::MAX);
        }
        memory.on_rejoin(recoverable.pid, socket.any());
        Some(())
    })?;
    socket.count();
    Some(socket)
}
