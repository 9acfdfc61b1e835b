//! Parses an HTTP request into a checked intent or a protocol error.

use std::borrow::Cow;
#[cfg(feature = "forwarding")]
use std::{
    hash::{DefaultHasher, Hasher as _},
    net::SocketAddr,
};

use memchr::memchr;

#[cfg(feature = "forwarding")]
use crate::config::forwarding::Location;
use crate::{
    RequestError,
    config::engine::EngineConfig,
    http::{
        view::RequestHead,
        websocket_handshake::{WebSocketKey, websocket_key},
    },
    proto::{
        dialect::{Dialect, Revision},
        packet::TransportKind,
        payload::jsonp::Jsonp,
    },
    session::{mailbox::SessionHandle, registry::Registry},
    transport::polling::PollId,
};

/// The checked purpose of a request.
#[derive(Debug)]
pub(crate) enum Intent {
    /// Opens a session over long-polling.
    Open(Dialect),
    /// Opens a session over WebSocket, with the key of the client.
    OpenWebSocket(WebSocketKey, Dialect),
    /// Polls for the packets that a session sends.
    Poll(SessionHandle, PollId),
    /// Posts packets to a session.
    Post(SessionHandle),
    /// Upgrades a session to WebSocket, with the key of the client.
    Upgrade(SessionHandle, WebSocketKey, Dialect),
    /// Attempts to upgrade a session that already uses WebSocket, with the key of the client. The new
    /// WebSocket is closed immediately.
    UpgradedAlready(WebSocketKey, Dialect),
    /// Belongs to a session of another server, which is at this address. A WebSocket handshake has the key of the
    /// client.
    #[cfg(feature = "forwarding")]
    Forward(SocketAddr, Option<WebSocketKey>),
    /// Uses a method other than GET and POST on a session.
    Unsupported,
}

/// The query parameters of the protocol. If a parameter is repeated, its last value is used.
#[derive(Debug, Default)]
struct Query<'a> {
    transport: Cow<'a, str>,
    sid: Cow<'a, str>,
    protocol: Cow<'a, str>,
    base64: bool,
    jsonp: Option<Jsonp>,
}

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        // Most queries contain no escapes. The check has no early exit, so that the compiler can vectorize
        // it.
        let escaped = query.bytes().fold(0, |escaped, byte| escaped | u8::from(matches!(byte, b'%' | b'+')));
        let escaped = escaped != 0;
        let decoded = |part| if escaped { decoded(part) } else { Cow::Borrowed(part) };
        let mut rest = query;
        while !rest.is_empty() {
            let (key, value);
            (key, value, rest) = pair(rest);
            let value = decoded(value);
            match &*decoded(key) {
                "transport" => parsed.transport = value,
                "sid" => parsed.sid = value,
                "EIO" => parsed.protocol = value,
                "j" => parsed.jsonp = Jsonp::from_query(&value),
                "b64" => parsed.base64 = !value.is_empty(),
                _ => {}
            }
        }
        parsed
    }

    fn dialect(&self, transport: TransportKind, config: &EngineConfig) -> Dialect {
        // Scripts are not subject to the same-origin policy, so JSONP requires the option that allows old
        // clients.
        let jsonp = self.jsonp.filter(|_| config.allow_eio3 && transport == TransportKind::Polling);
        let revision = Revision::from_query(&self.protocol);
        Dialect { revision, base64: self.base64 || jsonp.is_some(), jsonp }
    }
}

/// Returns the key and the value of the first pair, and the rest of the query.
fn pair(query: &str) -> (&str, &str, &str) {
    let (pair, rest) = split(query, memchr(b'&', query.as_bytes()));
    // Keys are so short that a call of `memchr` would cost more.
    let (key, value) = split(pair, pair.bytes().position(|byte| byte == b'='));
    (key, value, rest)
}

/// Splits a text around the ASCII byte at an index.
fn split(text: &str, at: Option<usize>) -> (&str, &str) {
    at.map_or((text, ""), |at| (&text[..at], &text[at + 1..]))
}

/// Decodes a part of a query. This is more expensive than all other checks of a poll together.
fn decoded(part: &str) -> Cow<'_, str> {
    let value = format!("={part}");
    form_urlencoded::parse(value.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
        .into()
}

impl Intent {
    /// Checks a request in the same order as the Node.js server, so that an invalid request yields the same
    /// code.
    pub(crate) fn from_request(
        request: &impl RequestHead,
        config: &EngineConfig,
        sessions: &Registry,
    ) -> Result<Self, RequestError> {
        let key = websocket_key(request);
        // In HTTP/2, the method of a WebSocket handshake is CONNECT.
        let method = if request.connects_websocket() { "GET" } else { request.method() };
        let query = Query::parse(request.query());
        let transport = [TransportKind::Polling, TransportKind::WebSocket]
            .into_iter()
            .find(|transport| transport.as_str() == query.transport && config.transports.contains(transport))
            .ok_or(RequestError::UnknownTransport)?;
        let dialect = query.dialect(transport, config);
        if query.sid.is_empty() {
            return Self::open(method, dialect, transport, key, config);
        }
        let sid = &*query.sid;
        #[cfg(feature = "forwarding")]
        let sid = match config.forwarding.as_ref().map(|forwarding| forwarding.locate(sid)) {
            Some(Location::Remote(address)) => return Ok(Self::Forward(address, key.transpose()?)),
            Some(Location::Here(sid)) => sid,
            None => sid,
        };
        let session = sessions.get(sid).ok_or(RequestError::UnknownSession)?;
        if dialect.revision != session.dialect().revision {
            return Err(RequestError::ProtocolMismatch);
        }
        if let Some(key) = key {
            if transport == TransportKind::WebSocket && session.has_upgraded() {
                return Ok(Self::UpgradedAlready(key?, dialect));
            }
            let allowed = config.allow_upgrades
                && transport == TransportKind::WebSocket
                && session.transport() == TransportKind::Polling;
            return if allowed {
                Ok(Self::Upgrade(session, key?, dialect))
            } else {
                Err(RequestError::TransportMismatch)
            };
        }
        if session.transport() != transport || transport == TransportKind::WebSocket {
            return Err(RequestError::TransportMismatch);
        }
        Ok(match method {
            "GET" => Self::Poll(session, poll_id(request, config)),
            "POST" => Self::Post(session),
            _ => Self::Unsupported,
        })
    }

    fn open(
        method: &str,
        dialect: Dialect,
        transport: TransportKind,
        key: Option<Result<WebSocketKey, RequestError>>,
        config: &EngineConfig,
    ) -> Result<Self, RequestError> {
        if method != "GET" {
            return Err(RequestError::BadHandshakeMethod);
        }
        let intent = match (transport, key) {
            (TransportKind::Polling, None) => Self::Open(dialect),
            (TransportKind::WebSocket, Some(key)) => Self::OpenWebSocket(key?, dialect),
            _ => return Err(RequestError::BadRequest),
        };
        if dialect.revision == Revision::V3 && !config.allow_eio3 {
            return Err(RequestError::UnsupportedProtocol);
        }
        Ok(intent)
    }
}

#[cfg(feature = "forwarding")]
fn poll_id(request: &impl RequestHead, config: &EngineConfig) -> PollId {
    let query = config.forwarding.as_ref().map_or(0, |_| {
        let mut hasher = DefaultHasher::new();
        hasher.write(request.query().as_bytes());
        hasher.finish()
    });
    PollId { query, ..PollId::default() }
}

#[cfg(not(feature = "forwarding"))]
fn poll_id(_: &impl RequestHead, _: &EngineConfig) -> PollId {
    PollId::default()
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;
    use crate::{proto::sid::Sid, session::outbound::Outbound};

    fn check(request: &Request<()>, session: Option<TransportKind>) -> Result<Intent, u8> {
        let session = session.map(|transport| (transport, Dialect::CURRENT));
        check_with(&EngineConfig::default(), request, session)
    }

    fn check_with(
        config: &EngineConfig,
        request: &Request<()>,
        session: Option<(TransportKind, Dialect)>,
    ) -> Result<Intent, u8> {
        let sessions = Registry::new();
        if let Some((transport, dialect)) = session {
            let sid = Sid::parse("abcdefghijklmnopqrst").unwrap();
            sessions.insert(SessionHandle::new(sid, transport, dialect, Outbound::for_test(1000)));
        }
        Intent::from_request(request, config, &sessions).map_err(RequestError::code)
    }

    fn get(query: &str) -> Request<()> {
        Request::get(format!("/socket.io/?{query}")).body(()).unwrap()
    }

    fn websocket(query: &str) -> Request<()> {
        Request::get(format!("/socket.io/?{query}"))
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
    }

    const SID: &str = "abcdefghijklmnopqrst";

    #[test]
    fn handshakes_are_checked_in_the_order_of_the_reference() {
        assert!(matches!(check(&get("EIO=4&transport=polling&t=x"), None), Ok(Intent::Open(_))));
        assert!(matches!(check(&get("EIO=4&transport=polling&sid="), None), Ok(Intent::Open(_))));
        for transport in
            ["", "transport=", "transport=webtransport", "transport=__proto__", "transport=Polling"]
        {
            assert_eq!(check(&get(&format!("EIO=4&{transport}")), None).unwrap_err(), 0, "{transport}");
        }
        let last_wins = get("EIO=4&transport=nothing&transport=polling");
        assert!(matches!(check(&last_wins, None), Ok(Intent::Open(_))));
        assert_eq!(check(&get("EIO=4&transport=websocket"), None).unwrap_err(), 3);
        for protocol in ["EIO=3", "EIO=5", "EIO=abc", "x=y"] {
            let refused = check(&get(&format!("transport=polling&{protocol}")), None);
            assert_eq!(refused.unwrap_err(), 5, "{protocol}");
        }
        let mut post = get("EIO=4&transport=polling");
        *post.method_mut() = Method::POST;
        assert_eq!(check(&post, None).unwrap_err(), 2);
    }

    #[test]
    fn requests_of_a_session_must_fit_it() {
        let poll = format!("EIO=4&transport=polling&sid={SID}");
        let polling = Some(TransportKind::Polling);
        let upgraded = Some(TransportKind::WebSocket);
        assert_eq!(check(&get(&poll), None).unwrap_err(), 1);
        assert_eq!(check(&get("EIO=4&transport=polling&sid=__proto__"), polling).unwrap_err(), 1);
        assert!(matches!(check(&get(&poll), polling), Ok(Intent::Poll(..))));
        assert_eq!(check(&get(&poll), upgraded).unwrap_err(), 3);
        assert_eq!(check(&get(&poll.replace("EIO=4", "EIO=3")), polling).unwrap_err(), 3);
        let mut request = get(&poll);
        *request.method_mut() = Method::POST;
        assert!(matches!(check(&request, polling), Ok(Intent::Post(_))));
        *request.method_mut() = Method::PUT;
        assert!(matches!(check(&request, polling), Ok(Intent::Unsupported)));
    }

    #[test]
    fn older_clients_are_served_where_they_are_allowed() {
        let config = EngineConfig::default().allow_eio3(true);
        let v3 = |base64| Dialect { revision: Revision::V3, base64, jsonp: None };
        for (query, dialect) in [
            ("EIO=3", v3(false)),
            ("EIO=2&b64=1", v3(true)),
            ("x=y&b64=", v3(false)),
            ("EIO=4", Dialect::CURRENT),
        ] {
            let polling = check_with(&config, &get(&format!("transport=polling&{query}")), None);
            assert!(matches!(polling, Ok(Intent::Open(got)) if got == dialect), "{query}");
            let direct = check_with(&config, &websocket(&format!("transport=websocket&{query}")), None);
            assert!(matches!(direct, Ok(Intent::OpenWebSocket(_, got)) if got == dialect), "{query}");
        }
    }

    #[test]
    fn polls_are_answered_by_scripts_where_older_clients_are_allowed() {
        let dialect = |config: &EngineConfig, request| match check_with(config, &request, None) {
            Ok(Intent::Open(dialect) | Intent::OpenWebSocket(_, dialect)) => dialect,
            other => panic!("{other:?}"),
        };
        let allowed = EngineConfig::default().allow_eio3(true);
        let script = dialect(&allowed, get("EIO=4&transport=polling&j=x7"));
        assert_eq!((script.jsonp, script.base64), (Jsonp::from_query("7"), true));
        assert_eq!(dialect(&allowed, websocket("EIO=4&transport=websocket&j=7")), Dialect::CURRENT);
        let refused = dialect(&EngineConfig::default(), get("EIO=4&transport=polling&j=7"));
        assert_eq!(refused, Dialect::CURRENT);
    }

    #[test]
    fn a_session_keeps_its_revision() {
        let config = EngineConfig::default().allow_eio3(true);
        let session = |revision| Some((TransportKind::Polling, Dialect { revision, ..Dialect::CURRENT }));
        for (revision, eio, fits) in [
            (Revision::V3, "EIO=3", true),
            (Revision::V3, "x=y", true),
            (Revision::V3, "EIO=4", false),
            (Revision::V4, "EIO=4", true),
            (Revision::V4, "EIO=3", false),
        ] {
            let poll = get(&format!("transport=polling&sid={SID}&{eio}"));
            let upgrade = websocket(&format!("transport=websocket&sid={SID}&{eio}"));
            for request in [poll, upgrade] {
                let result = check_with(&config, &request, session(revision));
                assert_eq!(result.err(), (!fits).then_some(3), "{revision:?} {eio}");
            }
        }
    }

    #[test]
    fn websocket_handshakes_are_checked_before_the_upgrade() {
        let open = websocket("EIO=4&transport=websocket");
        assert!(matches!(check(&open, None), Ok(Intent::OpenWebSocket(..))));
        assert_eq!(check(&websocket("EIO=3&transport=websocket"), None).unwrap_err(), 5);
        assert_eq!(check(&websocket("EIO=4&transport=polling"), None).unwrap_err(), 3);

        let upgrade = websocket(&format!("EIO=4&transport=websocket&sid={SID}"));
        assert!(matches!(check(&upgrade, Some(TransportKind::Polling)), Ok(Intent::Upgrade(..))));
        assert_eq!(check(&upgrade, Some(TransportKind::WebSocket)).unwrap_err(), 3);
        assert_eq!(check(&upgrade, None).unwrap_err(), 1);

        for (name, value) in [
            ("sec-websocket-key", "abc"),
            ("sec-websocket-key", "AAAA"),
            ("sec-websocket-version", "8"),
            ("upgrade", "h2c"),
        ] {
            let mut bad = websocket("EIO=4&transport=websocket");
            bad.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(check(&bad, None).unwrap_err(), 3, "{name}: {value}");
        }
    }
}
