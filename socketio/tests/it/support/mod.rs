//! Servers on the loopback interface, clients for them, and helpers that wait without sleeping.

mod host;

pub(crate) use testkit::{
    Http, HttpResponse, Polling, Tree, UPGRADE, WebSocket as Client, eventually,
    frames::{BINARY, FIN, TEXT, binary, frame, text},
    payload, stalls,
    waiting::{Heard, Log, log},
    within,
};
use tokio::sync::RwLock;

pub(crate) use self::host::{Host, serve, serve_namespace};

/// Guards the rate limit of log lines, which all servers of the process share. A test that exhausts the limit
/// takes the write lock.
pub(crate) static LOG_RATE: RwLock<()> = RwLock::const_new(());

/// Encodes three bytes in base64, the encoding of attachments over long-polling.
pub(crate) fn base64([a, b, c]: [u8; 3]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63])).iter().collect()
}
