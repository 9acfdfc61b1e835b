//! The description of a socket that is sent to the UI.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use socketio::{Handshake, LocalSocket, RemoteSocket, Sid};

use crate::fleet::AdminData;

/// Longer values of headers and of the query are cut off.
const MAX_VALUE_BYTES: usize = 256;
/// Further headers and parameters are left out.
const MAX_VALUES: usize = 32;
/// Longer data of a socket is left out.
const MAX_DATA_BYTES: usize = 4096;
/// Further rooms of a socket are left out.
pub(crate) const MAX_ROOMS: usize = 32;
/// The UI gets only the start of the id of a session, because the id is a secret. It identifies the client.
const CLIENT_ID_LENGTH: usize = 8;
const REDACTED: &str = "[redacted]";

/// The headers and parameters that are not shown by default.
const SECRETS: [&str; 11] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "password",
    "proxy-authorization",
    "secret",
    "sid",
    "token",
    "x-api-key",
];

/// A socket, as the UI and other servers get it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SocketRecord {
    pub(crate) id: String,
    #[serde(rename = "clientId")]
    client_id: String,
    transport: String,
    nsp: String,
    data: Value,
    handshake: HandshakeRecord,
    pub(crate) rooms: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct HandshakeRecord {
    address: String,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    /// In milliseconds since 1970.
    issued: u64,
    secure: bool,
    time: String,
    url: String,
    xdomain: bool,
}

/// The options of the records.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// The names of headers and of parameters whose values are not shown, in lower case.
    pub(crate) secrets: BTreeSet<String>,
    /// The header of a trusted proxy with the address of the client.
    pub(crate) address_header: Option<String>,
}

impl Default for Recording {
    fn default() -> Self {
        Self { secrets: SECRETS.map(str::to_owned).into(), address_header: None }
    }
}

impl Recording {
    pub(crate) fn record(&self, socket: &LocalSocket) -> SocketRecord {
        let AdminData { client_id, transport, .. } = AdminData::new(socket);
        SocketRecord {
            id: socket.id().to_owned(),
            client_id,
            transport,
            nsp: socket.path().to_owned(),
            data: data_value(shown_data(socket).as_deref()),
            handshake: self.handshake(socket.handshake()),
            rooms: rooms(socket).into_iter().collect(),
        }
    }

    /// Returns the record of a socket of a server of Node.js.
    pub(crate) fn record_remote(&self, path: &str, socket: &RemoteSocket, data: AdminData) -> SocketRecord {
        let rooms = socket.rooms().iter().take(MAX_ROOMS);
        let shared = socket.data::<Value>().map(|data| data.to_string());
        SocketRecord {
            id: socket.id().to_owned(),
            client_id: cut(&data.client_id),
            transport: cut(&data.transport),
            nsp: path.to_owned(),
            data: data_value(shared.ok().filter(|data| data.len() <= MAX_DATA_BYTES).as_deref()),
            handshake: self.handshake(socket.handshake()),
            rooms: rooms.map(|room| String::from(&**room)).collect(),
        }
    }

    fn handshake(&self, handshake: &Handshake) -> HandshakeRecord {
        let forwarded = self.address_header.as_deref().and_then(|name| handshake.header(name));
        let peer = || handshake.address().map(|address| address.ip().to_string()).unwrap_or_default();
        let query = self.values(handshake.queries());
        let path = handshake.url().split('?').next().unwrap_or_default();
        let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
        let issued = handshake.issued().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        HandshakeRecord {
            address: forwarded.map_or_else(peer, cut),
            headers: self.values(handshake.headers()),
            query,
            issued: issued.try_into().unwrap_or_default(),
            secure: handshake.secure(),
            time: handshake.time(),
            url: format!("{}?{parameters}", cut(path)),
            xdomain: handshake.cross_domain(),
        }
    }

    fn values<T: AsRef<str>>(&self, values: impl Iterator<Item = (T, T)>) -> BTreeMap<String, String> {
        let shown = values.take(MAX_VALUES).map(|(name, value)| {
            let name = cut(name.as_ref());
            let is_secret = self.secrets.contains(&name.to_lowercase());
            let value = if is_secret { REDACTED.to_owned() } else { cut(value.as_ref()) };
            (name, value)
        });
        shown.collect()
    }
}

/// Returns what is shown of the id of a session.
pub(crate) fn client_id(session: &Sid) -> String {
    session.as_str().chars().take(CLIENT_ID_LENGTH).collect()
}

/// Returns the data of a socket as JSON text, if it is shown.
pub(crate) fn shown_data(socket: &LocalSocket) -> Option<Box<str>> {
    socket.data_json().filter(|data| data.len() <= MAX_DATA_BYTES)
}

/// Returns the value of JSON text. The UI expects an object.
pub(crate) fn data_value(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_else(|| Value::Object(Map::new()))
}

/// Returns the rooms of a socket that are shown.
pub(crate) fn rooms(socket: &LocalSocket) -> BTreeSet<String> {
    socket.rooms(MAX_ROOMS).iter().map(|room| String::from(&**room)).collect()
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_VALUE_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_VALUE_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_long_values_are_cut() {
        let recording = Recording::default();
        let long = "é".repeat(MAX_VALUE_BYTES);
        let values = [("Cookie", "a=b"), ("host", "here"), ("long", &long), ("TOKEN", "x")];
        let shown = recording.values(values.into_iter());
        assert_eq!((&*shown["Cookie"], &*shown["TOKEN"], &*shown["host"]), (REDACTED, REDACTED, "here"));
        assert_eq!(shown["long"], format!("{}…", "é".repeat(MAX_VALUE_BYTES / 2)));
        assert_eq!(cut(&"x".repeat(MAX_VALUE_BYTES)).len(), MAX_VALUE_BYTES);
        let many: Vec<_> = (0..=MAX_VALUES).map(|at| (at.to_string(), String::new())).collect();
        assert_eq!(recording.values(many.into_iter()).len(), MAX_VALUES);
    }
}
