//! The open packet: <https://socket.io/docs/v4/engine-io-protocol/#handshake>.

use std::{fmt, time::Duration};

use super::sid::Sid;

/// The content of the open packet. `Display` writes it as JSON without the packet type, with the keys in
/// Node's order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenPacket<'a> {
    pub(crate) sid: &'a Sid,
    pub(crate) may_upgrade: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_payload: usize,
}

impl fmt::Display for OpenPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upgrades = if self.may_upgrade { r#""websocket""# } else { "" };
        // No value needs an escape.
        write!(
            f,
            r#"{{"sid":"{}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            self.sid.as_str(),
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.max_payload,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_keys_of_the_reference_in_its_order() {
        let sid = Sid::parse("abcdefghijklmnopqrst").unwrap();
        let packet = OpenPacket {
            sid: &sid,
            may_upgrade: true,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
        };
        assert_eq!(
            packet.to_string(),
            r#"{"sid":"abcdefghijklmnopqrst","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert!(OpenPacket { may_upgrade: false, ..packet }.to_string().contains(r#""upgrades":[]"#));
    }
}
