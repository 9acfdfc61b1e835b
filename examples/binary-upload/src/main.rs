//! Uploads in chunks. The client sends each chunk after the previous one is acknowledged, so it always knows
//! the progress. The server handles one chunk at a time per client, so chunks do not pile up in memory if the
//! disk is slow.
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! async function upload(file, onProgress) {
//!   const { id } = await socket.emitWithAck("begin", { name: file.name, size: file.size });
//!   for (let at = 0; at < file.size; at += 256 * 1024) {
//!     const { received } = await socket.emitWithAck("chunk", id, await file.slice(at, at + 256 * 1024).arrayBuffer());
//!     onProgress(received / file.size);
//!   }
//! }
//! ```

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::{Ack, ConnectError, DisconnectReason, EventError, Handshake, Namespace, Server, Socket};
use tokio::{fs::File, io::AsyncWriteExt, sync::Mutex};

const MAX_FILE: u64 = 100 * 1024 * 1024;
/// The maximum number of concurrent uploads per client.
const MAX_UPLOADS: usize = 4;

#[derive(Serialize, Deserialize)]
struct Begin {
    name: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct Started {
    id: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Progress {
    received: u64,
    done: bool,
}

struct Upload {
    file: File,
    path: PathBuf,
    received: u64,
    size: u64,
}

/// The uploads of one client.
struct Uploads {
    folder: Arc<PathBuf>,
    open: Mutex<(u64, HashMap<u64, Upload>)>,
}

async fn begin(socket: Socket<Uploads>, Begin { name, size }: Begin) -> Result<Ack<Started>, EventError> {
    // The name is untrusted, so only characters of plain file names are accepted.
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' '));
    if !is_name || name.starts_with('.') || size > MAX_FILE {
        return Err(EventError::public("not a file for this server"));
    }
    let (next, open) = &mut *socket.data().open.lock().await;
    if open.len() >= MAX_UPLOADS {
        return Err(EventError::public("too many uploads at once"));
    }
    *next += 1;
    let path = socket.data().folder.join(format!("{}-{next}-{name}", socket.id()));
    let file = File::create(&path).await?;
    open.insert(*next, Upload { file, path, received: 0, size });
    Ok(Ack(Started { id: *next }))
}

async fn chunk(socket: Socket<Uploads>, (id, bytes): (u64, Bytes)) -> Result<Ack<Progress>, EventError> {
    let (_, open) = &mut *socket.data().open.lock().await;
    let upload = open.get_mut(&id).ok_or_else(|| EventError::public("no such upload"))?;
    let received = upload.received + bytes.len() as u64;
    if received > upload.size {
        return Err(EventError::public("more than was announced"));
    }
    upload.file.write_all(&bytes).await?;
    upload.received = received;
    let done = received == upload.size;
    if done {
        upload.file.sync_all().await?;
        open.remove(&id);
    }
    Ok(Ack(Progress { received, done }))
}

/// Deletes unfinished uploads.
async fn left(socket: Socket<Uploads>, _: DisconnectReason) {
    let (_, open) = &mut *socket.data().open.lock().await;
    for (_, upload) in open.drain() {
        // Errors are ignored, so that the remaining files are still deleted.
        let _ = tokio::fs::remove_file(upload.path).await;
    }
}

fn server(folder: PathBuf) -> Server {
    let folder = Arc::new(folder);
    let admit = async move |_: Handshake| Ok::<_, ConnectError>(Uploads { folder, open: Mutex::default() });
    let uploads = Namespace::with_auth("/", admit)
        // Handles one chunk at a time. With more chunks queued, the server stops reading, and TCP slows the
        // client down.
        .max_in_flight(1)
        .on("begin", begin)
        .on("chunk", chunk)
        .on_disconnect(left);
    Server::new().namespace(uploads)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    server(std::env::temp_dir()).listen("127.0.0.1:3000").await
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use socketio::{Args, testing::TestServer};

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
    }

    fn a_file(name: &str, size: u64) -> Begin {
        Begin { name: name.into(), size }
    }

    #[tokio::test]
    async fn a_file_arrives_in_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let client = TestServer::new(server(folder.path().into())).connect("/").await;
        let content: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let Started { id } = client.emit_with_ack("begin", &a_file("a.bin", 1_000_000)).await.unwrap();
        let mut received = 0;
        for chunk in content.chunks(300_000) {
            received += chunk.len() as u64;
            let chunk = (id, Bytes::copy_from_slice(chunk));
            let progress: Progress = client.emit_with_ack("chunk", &chunk).await.unwrap();
            assert_eq!(progress, Progress { received, done: received == 1_000_000 });
        }
        assert_eq!(fs::read(&files(folder.path())[0]).unwrap(), content);
    }

    #[tokio::test]
    async fn what_is_not_finished_or_not_allowed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::new(server(folder.path().into()));
        let client = server.connect("/").await;
        for bad in [a_file("../a", 1), a_file(".profile", 1), a_file("", 1), a_file("huge", MAX_FILE + 1)] {
            let answer: Args = client.emit_with_ack("begin", &bad).await.unwrap();
            assert_eq!(answer.json(), r#"[{"error":"not a file for this server"}]"#);
        }
        let Started { id } = client.emit_with_ack("begin", &a_file("b.bin", 2)).await.unwrap();
        let answer: Args = client.emit_with_ack("chunk", &(id, Bytes::from_static(b"abc"))).await.unwrap();
        assert_eq!(answer.json(), r#"[{"error":"more than was announced"}]"#);
        assert_eq!(files(folder.path()).len(), 1);
        client.disconnect().await;
        server.server().close().await;
        assert_eq!(files(folder.path()), [] as [PathBuf; 0]);
    }
}
