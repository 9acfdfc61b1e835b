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
const MAX_TOLD: usize = 10_000;
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
    is_told: bool,
}

impl AdminData {
    pub(crate) fn new(socket: &LocalSocket) -> Self {
        let session = socket.session();
        Self {
            client_id: client_id(session.id()),
            transport: session.transport().as_str().to_owned(),
            is_told: true,
        }
    }
}

/// Returns the sockets that are shown of other servers.
pub(crate) async fn sockets(io: &Server, shared: &Shared) -> Vec<SocketRecord> {
    let others = io.of(shared.namespace()).timeout(SNAPSHOT_TIMEOUT);
    let told = match others.server_side_emit_with_ack::<Vec<SocketRecord>, _>(SOCKETS, &()).await {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, "the sockets of other servers are not shown");
            return Vec::new();
        }
    };
    // Each server tells as many as it shows, which is input from outside.
    let answers = told.answers.into_iter();
    let mut sockets: Vec<_> = answers.flat_map(|(_, sockets)| sockets.into_iter().take(MAX_TOLD)).collect();
    // A server in Rust without the Admin UI responds that it has no handler.
    let silent = told.missing.iter().filter(|(_, error)| matches!(error, AckError::Timeout)).count();
    if silent > 0 {
        tracing::debug!(servers = ?told.missing, "other servers do not tell their sockets");
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
            // A server without the Admin UI would not tell what becomes of its sockets.
            let data = admin_data(&socket).filter(|data| !data.is_told)?;
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

/// Tells the worker while an administrator is at a server of Node.js, which does not tell so itself. Runs until the
/// server is closed.
pub(crate) async fn watch_node(shared: Shared) {
    loop {
        tokio::time::sleep(NODE_INTERVAL).await;
        let Some(io) = shared.server() else { return };
        let administrators = fetch(&io, shared.namespace()).await;
        if administrators.iter().any(|socket| admin_data(socket).is_none_or(|data| !data.is_told)) {
            shared.send(Command::Watch).await;
        }
    }
}
