//! The description of a socket, as Node.js sends it in response to `fetchSockets`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
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

/// The entry of the data of a socket that the Admin UI of Node.js adds.
const ADMIN: &str = "_admin";

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
    let data = with_admin_data(data, summary.admin_data.as_deref());
    let (id, rooms) = (json!(&*summary.id), json!(summary.rooms));
    format!(r#"{{"id":{id},"handshake":{handshake},"rooms":{rooms},"data":{data}}}"#)
}

/// Adds the data for the Admin UI. Data that is not an object has no place for it.
fn with_admin_data<'a>(data: &'a str, admin_data: Option<&str>) -> Cow<'a, str> {
    let (Some(admin_data), Some(entries)) = (admin_data, data.strip_prefix('{')) else { return data.into() };
    let separator = if entries.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"{ADMIN}\":{admin_data}{separator}{entries}").into()
}

/// Returns the data without the data for the Admin UI, and that.
fn without_admin_data(data: &RawValue) -> (Box<str>, Option<Box<str>>) {
    let entries = Some(data.get()).filter(|data| data.contains(ADMIN));
    let entries: Option<BTreeMap<String, &RawValue>> =
        entries.and_then(|data| serde_json::from_str(data).ok());
    let removed = entries.and_then(|mut entries| {
        let admin_data = entries.remove(ADMIN)?.get().into();
        Some((serde_json::to_string(&entries).ok()?.into(), Some(admin_data)))
    });
    removed.unwrap_or_else(|| (data.get().into(), None))
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
    let (data, admin_data) = data.map(without_admin_data).unzip();
    Ok(Summary {
        id: id.into(),
        handshake: remote_handshake(lenient(handshake)),
        rooms: rooms.collect(),
        data,
        admin_data: admin_data.flatten(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_for_the_admin_ui_is_an_entry_of_the_data() {
        let admin = r#"{"transport":"polling"}"#;
        for (data, with_admin) in [
            ("{}", r#"{"_admin":{"transport":"polling"}}"#),
            (r#"{"a":1.50}"#, r#"{"_admin":{"transport":"polling"},"a":1.50}"#),
        ] {
            assert_eq!(with_admin_data(data, Some(admin)), with_admin);
            assert_eq!(with_admin_data(data, None), data);
            let json = format!(r#"{{"id":"x","data":{with_admin}}}"#);
            let summary = from_json(&json).unwrap();
            assert_eq!((summary.data.as_deref(), summary.admin_data.as_deref()), (Some(data), Some(admin)));
        }
        // There is no place for it.
        assert_eq!(with_admin_data("[1]", Some(admin)), "[1]");
        for data in [r#""_admin""#, r#"["_admin"]"#, r#"{"b":"_admin","a":1}"#] {
            let summary = from_json(&format!(r#"{{"id":"x","data":{data}}}"#)).unwrap();
            assert_eq!((summary.data.as_deref(), summary.admin_data), (Some(data), None));
        }
    }
}
