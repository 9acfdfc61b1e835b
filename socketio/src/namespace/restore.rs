//! Connection state recovery, which restores the socket of a returning client and sends the missed events.

use crate::{
    handles::{
        socket::{Socket, SocketParts},
        typed::Data,
    },
    hub::{history::cost, recovery::RecoveryClaim},
};

/// Queues the CONNECT response and the missed events for a returning client, and then recovers the socket of
/// the client. Returns `None` if there is no saved socket, or if the client might miss an event.
pub(crate) fn restore<D: Send + Sync + 'static>(
    parts: &SocketParts<D>,
    claim: Option<&RecoveryClaim>,
) -> Option<Socket<D>> {
    let claim = claim?;
    // The saved socket is removed from the recovery state, so only one connection can recover it.
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
            // The response could not be queued. Save the socket for the next connection of the client.
            memory.save(saved);
            return None;
        }
        for frames in missed {
            // An event that could not be queued is still missed, and the next recovery sends it.
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
