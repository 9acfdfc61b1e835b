//! The open packet: <https://socket.io/docs/v4/engine-io-protocol/#handshake>.

use super::{packet::TransportKind, sid::Sid};
use crate::config::engine::EngineConfig;

/// The text of the open packet, without its type, with the keys in Node's order.
pub(crate) fn open_packet(sid: &Sid, transport: TransportKind, config: &EngineConfig) -> String {
    let may_upgrade = transport == TransportKind::Polling
        && config.allow_upgrades
        && config.transports.contains(&TransportKind::WebSocket);
    let upgrades = if may_upgrade { r#""websocket""# } else { "" };
    let EngineConfig { ping_interval, ping_timeout, max_http_buffer_size, .. } = config;
    // Nothing of it needs an escape.
    format!(
        r#"{{"sid":"{}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{max_http_buffer_size}}}"#,
        sid.as_str(),
        ping_interval.as_millis(),
        ping_timeout.as_millis(),
    )
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
