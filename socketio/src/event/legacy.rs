//! Support for version 2 clients, which use [revision
//! 4](https://github.com/socketio/socket.io-protocol/tree/v4) of the Socket.IO protocol over Engine.IO 3.
//!
//! Unlike newer clients, version 2 clients join the namespace `/` without a CONNECT packet, send a query
//! after the name of any other namespace instead of an auth payload, compute their own socket ids, and accept
//! any JSON value as a connection error.

use engineio::SessionHandle;
use serde_json::{Map, Value, json};

use crate::event::handshake::ConnectError;

/// Returns `true` if the session belongs to a version 2 client.
pub(crate) fn is_legacy(session: &SessionHandle) -> bool {
    session.protocol() == 3
}

/// Splits the namespace field of a packet into path and query.
pub(crate) fn split_query(namespace: &str) -> (&str, &str) {
    namespace.split_once('?').unwrap_or((namespace, ""))
}

/// The maximum number of query parameters that are parsed. Node.js parses the same number.
const MAX_PARAMETERS: usize = 1000;

/// Converts the query of a namespace into the auth payload that newer clients send. The payload is an object
/// of strings. As in Node.js, the values of a repeated parameter become an array.
pub(crate) fn auth_from_query(query: &str) -> String {
    let mut auth = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(MAX_PARAMETERS) {
        let value = Value::from(value.into_owned());
        match auth.get_mut(&*name) {
            None => drop(auth.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(auth).to_string()
}

/// Returns the error for a namespace that does not exist. As in Node.js, version 2 clients receive this error
/// as an object with a `message`, like newer clients, and not as a plain string.
pub(crate) fn unknown_namespace(session: &SessionHandle) -> ConnectError {
    const MESSAGE: &str = "Invalid namespace";
    let error = ConnectError::new(MESSAGE);
    if is_legacy(session) { error.data(json!({ "message": MESSAGE })) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_auth() {
        assert_eq!(split_query("/adm?a=1&b=?"), ("/adm", "a=1&b=?"));
        assert_eq!(split_query("/adm"), ("/adm", ""));
        assert_eq!(auth_from_query(""), "{}");
        assert_eq!(auth_from_query("token=1&u=%20b"), r#"{"token":"1","u":" b"}"#);
        assert_eq!(auth_from_query("u=a+b&flag&e=%C3%A9%22"), r#"{"e":"é\"","flag":"","u":"a b"}"#);
        assert_eq!(auth_from_query("a=1&b=x&a=2&a=3"), r#"{"a":["1","2","3"],"b":"x"}"#);
    }

    #[test]
    fn the_parameters_of_a_query_are_limited_exactly() {
        let count = |parameters: usize| {
            let query: Vec<String> = (0..parameters).map(|n| n.to_string()).collect();
            serde_json::from_str::<Map<String, Value>>(&auth_from_query(&query.join("&"))).unwrap().len()
        };
        assert_eq!((count(MAX_PARAMETERS), count(MAX_PARAMETERS + 1)), (MAX_PARAMETERS, MAX_PARAMETERS));
    }
}
