//! The events between the servers of a cluster: changes of the room, and the counts of each server.
//!
//! A change of the room is sent to all viewers and to the other servers, as the same event. A new server asks the
//! others for the state.

use std::{collections::HashMap, sync::Arc, time::Duration};

use socketio::{BroadcastOperator, EventError, Namespace, Server, Socket, ToArgs};
use tokio::time::Instant;

use crate::room::{Comment, Room, State, Viewer};

/// A server that has not reported its viewers for this time is gone. Servers report at least every five seconds.
const REPORT_TIMEOUT: Duration = Duration::from_secs(12);

/// The numbers of viewers of the other servers, each with the time of the report.
#[derive(Default)]
pub(crate) struct Servers(HashMap<String, (usize, Instant)>);

impl Servers {
    fn report(&mut self, id: String, viewers: usize) {
        self.0.insert(id, (viewers, Instant::now()));
    }

    /// Returns the number of viewers of these servers.
    pub(crate) fn viewers(&mut self) -> usize {
        self.0.retain(|_, (_, time)| time.elapsed() < REPORT_TIMEOUT);
        self.0.values().map(|(viewers, _)| viewers).sum()
    }
}

/// Sends a change to all viewers and to the other servers.
pub(crate) fn announce<T: ToArgs>(
    socket: &Socket<Viewer>,
    event: &'static str,
    change: &T,
) -> Result<(), EventError> {
    socket.namespace().server_side_emit(event, change)?;
    socket.namespace().emit(event, change)?;
    Ok(())
}

/// Reports the viewers of this server, and its likes since the last report.
pub(crate) fn report(io: &Server, viewers: usize, likes: u64) {
    if let Some(id) = io.server_id() {
        // If the queue to the other servers is full, their counts are wrong until the next report.
        let _ = io.server_side_emit("counts", &(id.to_string(), viewers, likes));
    }
}

/// Asks the other servers for the state of the room.
pub(crate) async fn join(io: Server) {
    io.cluster_connected().await;
    // The queue to the other servers is not full at the start.
    let _ = io.server_side_emit("joined", &());
}

/// Returns the namespace with the handlers of events of other servers.
pub(crate) fn for_servers(namespace: Namespace<Viewer>, room: &Arc<Room>) -> Namespace<Viewer> {
    let [asked, states, counts, comments, pins, mutes, slow, closes] = std::array::from_fn(|_| room.clone());
    namespace
        .on_server("joined", async move |all: BroadcastOperator, ()| {
            let state = asked.state.lock();
            all.server_side_emit("state", &(&*state,))
        })
        .on_server("state", async move |_, (state,): (State,)| {
            // All other servers respond, some of which may be new as well.
            let mut own = states.state.lock();
            if state.changes > own.changes {
                *own = state;
            }
        })
        .on_server("counts", async move |_, (id, viewers, likes): (String, usize, u64)| {
            counts.change(|state| state.likes += likes);
            counts.others.lock().report(id, viewers);
        })
        .on_server("comments", async move |_, (batch,): (Vec<Comment>,)| {
            comments.change(|state| state.keep(batch));
        })
        .on_server("pinned", async move |_, pinned: Option<Comment>| {
            pins.change(|state| state.pinned = pinned);
        })
        .on_server("muted", async move |_, viewer: u64| mutes.change(|state| state.mute(viewer)))
        .on_server("slow mode", async move |_, seconds: u64| slow.change(|state| state.slow_mode = seconds))
        .on_server("closed", async move |_, is_closed: bool| {
            closes.change(|state| state.is_closed = is_closed);
        })
}
