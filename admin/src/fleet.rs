//! The other servers of the cluster: their sockets, and the administrators of those in Node.js.

use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use socketio::{AckError, LocalSocket, RemoteSocket, Server};

use crate::{
    admin::{SOCKETS, Shared},
    record::{SocketRecord, client_id},
    worker::{Command, SNAPSHOT_TIMEOUT},
};

/// The maximum number of sockets that are taken from another server.
const MAX_REPORTED: usize = 10_000;
/// The interval in which administrators at servers of Node.js are looked for.
const NODE_INTERVAL: Duration = Duration::from_secs(5);

/// The data of a socket for the Admin UI. `instrument` in Node.js adds it to the data of each socket, and shows sockets
/// of other servers by it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdminData {
    pub(crate) client_id: String,
    pub(crate) transport: String,
    /// `true` if the server of the socket responds to [`SOCKETS`]. Missing from Node.js.
    #[serde(default)]
    is_reported: bool,
}

impl AdminData {
    pub(crate) fn new(socket: &LocalSocket) -> Self {
        let session = socket.session();
        Self {
            client_id: client_id(session.id()),
            transport: session.transport().as_str().to_owned(),
            is_reported: true,
        }
    }
}

/// Returns the sockets that are shown of other servers.
pub(crate) async fn sockets(io: &Server, shared: &Shared) -> Vec<SocketRecord> {
    let others = io.of(shared.namespace()).timeout(SNAPSHOT_TIMEOUT);
    let found = match others.server_side_emit_with_ack::<Vec<SocketRecord>, _>(SOCKETS, &()).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "the sockets of other servers are not shown");
            return Vec::new();
        }
    };
    // The number of sockets in a response is input from outside.
    let answers = found.answers.into_iter();
    let mut sockets: Vec<_> =
        answers.flat_map(|(_, sockets)| sockets.into_iter().take(MAX_REPORTED)).collect();
    // A server in Rust without the Admin UI responds that it has no handler.
    let silent = found.missing.iter().filter(|(_, error)| matches!(error, AckError::Timeout)).count();
    if silent > 0 {
        tracing::debug!(servers = ?found.missing, "other servers have not reported their sockets");
        sockets.extend(node_sockets(io, shared, silent).await);
    }
    sockets
}

/// Returns the sockets that are shown of servers of Node.js, for each of which the limit holds. The requests go to all
/// servers of the cluster.
async fn node_sockets(io: &Server, shared: &Shared, servers: usize) -> Vec<SocketRecord> {
    let namespaces = io.namespaces();
    let found = join_all(namespaces.iter().map(|path| fetch(io, path))).await;
    let found = namespaces.iter().zip(found).flat_map(|(path, sockets)| {
        sockets.into_iter().filter_map(move |socket| {
            // A server without the Admin UI would not report changes of its sockets.
            let data = admin_data(&socket).filter(|data| !data.is_reported)?;
            Some(shared.recording().record_remote(path, &socket, data))
        })
    });
    found.take(shared.max_sockets().saturating_mul(servers)).collect()
}

async fn fetch(io: &Server, path: &str) -> Vec<RemoteSocket> {
    io.of(path).timeout(SNAPSHOT_TIMEOUT).fetch_sockets().await.unwrap_or_else(|error| error.sockets)
}

fn admin_data(socket: &RemoteSocket) -> Option<AdminData> {
    socket.admin_data().ok().flatten()
}

/// Notifies the worker while an administrator is connected to a server of Node.js, which does not notify other servers.
/// Runs until the server is closed.
pub(crate) async fn watch_node(shared: Shared) {
    loop {
        tokio::time::sleep(NODE_INTERVAL).await;
        let Some(io) = shared.server() else { return };
        let administrators = fetch(&io, shared.namespace()).await;
        if administrators.iter().any(|socket| admin_data(socket).is_none_or(|data| !data.is_reported)) {
            shared.send(Command::Watch).await;
        }
    }
}
