//! The open packet: <https://socket.io/docs/v4/engine-io-protocol/#handshake>.

use serde::Serialize;

use super::{packet::TransportKind, sid::Sid};
use crate::config::EngineConfig;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Open<'a> {
    sid: &'a str,
    upgrades: &'a [&'static str],
    ping_interval: u128,
    ping_timeout: u128,
    max_payload: usize,
}

/// The text of the open packet, without its type, with the keys in Node's order.
pub(crate) fn open_packet(sid: &Sid, transport: TransportKind, config: &EngineConfig) -> String {
    let may_upgrade = transport == TransportKind::Polling
        && config.allow_upgrades
        && config.transports.contains(&TransportKind::WebSocket);
    let open = Open {
        sid: sid.as_str(),
        upgrades: if may_upgrade { &["websocket"] } else { &[] },
        ping_interval: config.ping_interval.as_millis(),
        ping_timeout: config.ping_timeout.as_millis(),
        max_payload: config.max_http_buffer_size,
    };
    // A struct of strings and numbers always serializes.
    serde_json::to_string(&open).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_keys_of_the_reference_in_its_order() {
        let sid = Sid::parse("abcdefghijklmnopqrst").unwrap();
        let config = EngineConfig::default();
        assert_eq!(
            open_packet(&sid, TransportKind::Polling, &config),
            r#"{"sid":"abcdefghijklmnopqrst","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert!(open_packet(&sid, TransportKind::WebSocket, &config).contains(r#""upgrades":[]"#));
        let closed = config.clone().allow_upgrades(false);
        assert!(open_packet(&sid, TransportKind::Polling, &closed).contains(r#""upgrades":[]"#));
        let polling = config.transports([TransportKind::Polling]);
        assert!(open_packet(&sid, TransportKind::Polling, &polling).contains(r#""upgrades":[]"#));
    }
}
