//! A client that comes back to its namespace: it gets its socket, and then what it has missed.

use crate::{
    handles::{
        observers::Data,
        socket::{Socket, SocketParts},
    },
    hub::{history::cost, recovery::Claim},
};

/// The socket of a client that comes back, with all that it has missed on its way to it; `None` if there is any doubt.
pub(crate) fn restore<D: Send + Sync + 'static>(
    parts: &SocketParts<D>,
    claim: Option<&Claim>,
) -> Option<Socket<D>> {
    let claim = claim?;
    // Out of the memory, so that nobody else can have it.
    let saved = parts.adapter.recovery.as_ref()?.take(claim)?;
    let data = saved.data().clone().downcast().ok()?;
    let recoverable = saved.recoverable();
    let socket = Socket::make(parts.clone(), saved.sid(), Data::Shared(data), Some(recoverable));
    let answer = socket.connect_answer().ok()?;
    let session = &parts.session;
    parts.adapter.change(|rooms, memory| {
        let (memory, recoverable) = (memory?, socket.0.recoverable()?);
        let missed = memory.catch_up(&saved, claim, recoverable, session.buffered() + cost(&answer))?;
        if session.send(answer.as_slice()).is_err() {
            // This connection is lost as well. The next may find the socket.
            memory.save(saved);
            return None;
        }
        for frames in missed {
            // What does not arrive any more is missed once more.
            let _ = session.send(frames.as_slice());
        }
        let slot = socket.insert(rooms);
        if saved.rooms().iter().all(|room| **room != *socket.id()) {
            rooms.leave(slot, socket.id());
        }
        for room in saved.rooms() {
            rooms.join(slot, room, usize::MAX);
        }
        memory.revive(recoverable.pid, socket.any());
        Some(())
    })?;
    socket.count();
    Some(socket)
}
