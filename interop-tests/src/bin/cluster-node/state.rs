//! The shared state of the server, the data of each socket, and the namespaces.

use std::{collections::HashMap, error::Error, sync::Arc};

use interop_tests::value::Value;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use socketio::{ConnectError, Handshake, Namespace, Server};

use crate::{commands::commands, environment::Environment, server_events::server_events};

/// The state that all sockets share.
pub(crate) struct App {
    pub(crate) server: Server,
    pub(crate) name: String,
    /// `true` if the rooms of all servers can be listed, as with the classic adapter of Node.js.
    pub(crate) lists_rooms: bool,
    /// The events `note` of other servers, by namespace.
    pub(crate) notes: Arc<Notes>,
}

pub(crate) type Notes = Mutex<HashMap<String, Vec<Vec<Value>>>>;

/// The data of one socket. Other servers see `{"v": value}`, or `{}`.
pub(crate) struct State {
    pub(crate) app: Arc<App>,
    pub(crate) value: Mutex<Option<Value>>,
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value.lock();
        let mut map = serializer.serialize_map(Some(usize::from(value.is_some())))?;
        if let Some(value) = &*value {
            map.serialize_entry("v", value)?;
        }
        map.end()
    }
}

/// The data of a socket that another server has saved.
#[derive(Deserialize)]
struct Saved {
    v: Option<Value>,
}

pub(crate) fn server(environment: &Environment) -> Result<Server, Box<dyn Error>> {
    let server = environment.server()?;
    let app = Arc::new(App {
        server: server.clone(),
        name: environment.name.clone(),
        lists_rooms: environment.adapter == "redis",
        notes: Arc::default(),
    });
    let namespace = |path: &str| {
        let shared = app.clone();
        let admit =
            async move |_: Handshake| Ok::<_, ConnectError>(State { app: shared, value: Mutex::default() });
        let shared = app.clone();
        let restore = move |Saved { v }| State { app: shared.clone(), value: Mutex::new(v) };
        let namespace = Namespace::with_auth(path, admit).share_data().restore_data(restore);
        server_events(commands(namespace), &app)
    };
    Ok(server
        .namespace(namespace("/"))
        .namespace(namespace("/custom"))
        .dynamic_if(namespace("/dyn-{digits}"), is_numbered)
        .dynamic(namespace("/any-{*rest}")))
}

async fn is_numbered(_: String, handshake: Handshake) -> bool {
    handshake.param("digits").is_ok_and(|digits: String| digits.bytes().all(|byte| byte.is_ascii_digit()))
}
