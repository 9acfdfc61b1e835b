//! Connection state recovery, which restores the socket of a returning client and sends the missed events.

use std::sync::Arc;

use engineio::SlowConsumerPolicy;

use crate::{
    handles::{
        socket::{Socket, SocketParts},
        typed::Data,
    },
    hub::{
        event_log::{Claimed, Entered, EventLog, Missed},
        history::cost,
        recovery::{Recoverable, RecoveryClaim},
    },
    proto::encode::Frames,
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

/// Like [`restore`], but with the events of a log that all servers share. Fails if the client might miss an
/// event. Then returns the data, unless it is shared already.
pub(crate) async fn restore_logged<D: Send + Sync + 'static>(
    parts: &SocketParts<D>,
    log: &EventLog,
    claimed: &Claimed,
    data: D,
) -> Result<Socket<D>, Option<D>> {
    let path = parts.adapter.path();
    let _following = log.follow();
    let mut missed = Missed::after(claimed);
    if log.read(path, claimed, &mut missed).await.is_none() {
        return Err(Some(data));
    }
    if claimed.session.is_connected {
        parts.adapter.replace_socket(claimed.sid);
    }
    let data = Arc::new(data);
    let recoverable = Recoverable::recovered(claimed.pid, data.clone());
    let socket = Socket::from_parts(parts.clone(), claimed.sid, Data::Shared(data), Some(recoverable));
    loop {
        let Some(recoverable) = socket.0.recoverable() else { return Err(None) };
        let enter = |missed: &Missed| send_and_join(parts, claimed, missed, &socket);
        match log.enter(claimed, &mut missed, recoverable, enter) {
            Entered::Joined => break,
            Entered::Refused => return Err(None),
            Entered::Behind => log.read(path, claimed, &mut missed).await.ok_or(None)?,
        }
    }
    socket.count();
    Ok(socket)
}

/// Queues the CONNECT response and the missed events, and adds the socket to its rooms.
fn send_and_join<D: Send + Sync + 'static>(
    parts: &SocketParts<D>,
    claimed: &Claimed,
    missed: &Missed,
    socket: &Socket<D>,
) -> Option<()> {
    let (session, adapter) = (&parts.session, &parts.adapter);
    let stamped = |(offset, packet): &(_, Frames)| {
        let packet = packet.with_argument(adapter.path(), &format!("{offset}"));
        adapter.encoder().translate(packet, None)
    };
    let events = missed.events.iter().map(stamped).collect::<Result<Vec<_>, _>>().ok()?;
    let answer = socket.connect_response().ok()?;
    adapter.change(|rooms, _| {
        if rooms.find(socket.id()).is_some() {
            // The old socket has not left yet.
            return None;
        }
        session.send(answer.as_slice()).ok()?;
        for frames in events {
            // A full queue closes the session, so the client recovers again.
            let _ = session.send_with(frames.as_slice(), SlowConsumerPolicy::Disconnect);
        }
        let slot = socket.insert(rooms);
        if claimed.session.rooms.iter().all(|room| **room != *socket.id()) {
            rooms.leave(slot, socket.id());
        }
        for room in &claimed.session.rooms {
            rooms.join(slot, room, usize::MAX);
        }
        Some(())
    })
}
