//! The description of a socket, as Node.js sends it in response to `fetchSockets`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use engineio::{HandshakeRequest, RemoteAddr, Secure};
use http::{HeaderName, HeaderValue, Request, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::decode::{Malformed, Object, lenient};
use crate::{
    event::handshake::Handshake,
    hub::{rooms::Room, summary::Summary},
};

/// Encodes a description. All entries are present, because the Admin UI of Node.js fails without them.
pub fn to_json(summary: &Summary) -> String {
    let handshake = &summary.handshake;
    let mut headers = Map::new();
    for (name, value) in handshake.headers() {
        headers.entry(name).or_insert_with(|| value.into());
    }
    let query: Map<String, Value> =
        handshake.queries().map(|(name, value)| (name.into_owned(), value.into())).collect();
    let issued = handshake.issued().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let address = handshake.address().map_or_else(String::new, |address| address.ip().to_string());
    let fields = json!({
        "headers": headers,
        "time": handshake.time(),
        "address": address,
        "xdomain": handshake.cross_domain(),
        "secure": handshake.secure(),
        "issued": issued,
        "url": handshake.url(),
        "query": query,
    })
    .to_string();
    // JSON text that clients and the application have written is copied as it is.
    let auth = handshake.auth_json().unwrap_or("{}");
    let handshake = format!(r#"{},"auth":{auth}}}"#, fields.strip_suffix('}').unwrap_or_default());
    let data = summary.data.as_deref().filter(|data| *data != "null").unwrap_or("{}");
    let (id, rooms) = (json!(&*summary.id), json!(summary.rooms));
    format!(r#"{{"id":{id},"handshake":{handshake},"rooms":{rooms},"data":{data}}}"#)
}

#[derive(Deserialize)]
struct Record<'a> {
    id: String,
    #[serde(borrow)]
    handshake: Option<&'a RawValue>,
    #[serde(default)]
    rooms: Vec<Value>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RemoteHandshake {
    headers: HashMap<String, Value>,
    address: Value,
    secure: bool,
    issued: u64,
    url: String,
    auth: Value,
}

/// Decodes a description. Missing entries have defaults.
///
/// # Errors
///
/// Returns an error if the id is missing, or if `json` is not a JSON object.
pub fn from_json(json: &str) -> Result<Summary, Malformed> {
    let Object(Record { id, handshake, rooms, data }) = serde_json::from_str(json)?;
    let rooms =
        rooms.iter().map(|room| room.as_str().map_or_else(|| Room::from(room.to_string()), Room::from));
    Ok(Summary {
        id: id.into(),
        handshake: remote_handshake(lenient(handshake)),
        rooms: rooms.collect(),
        data: data.map(|data| data.get().into()),
    })
}

fn remote_handshake(remote: RemoteHandshake) -> Handshake {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = remote.url.parse::<Uri>().unwrap_or_default();
    for (name, value) in remote.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) {
            parts.headers.append(name, value);
        }
    }
    if let Some(ip) = remote.address.as_str().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        parts.extensions.insert(RemoteAddr(SocketAddr::new(ip, 0)));
    }
    if remote.secure {
        parts.extensions.insert(Secure);
    }
    let auth = if remote.auth.is_null() { "{}".to_owned() } else { remote.auth.to_string() };
    let issued =
        UNIX_EPOCH.checked_add(Duration::from_millis(remote.issued)).unwrap_or(SystemTime::UNIX_EPOCH);
    Handshake::remote(HandshakeRequest::new(&parts), &auth, issued)
}
