//! The open packet. See <https://socket.io/docs/v4/engine-io-protocol/#handshake>.

use std::time::Duration;

use itoa::Buffer;

use super::sid::Sid;

/// The content of the open packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenPacket<'a> {
    pub(crate) sid: &'a Sid,
    /// The part of the id that names the server.
    pub(crate) server: &'a str,
    pub(crate) may_upgrade: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_payload: usize,
}

impl OpenPacket<'_> {
    /// Returns the JSON of the packet, without the packet type. The keys are in the same order as in Node.js.
    pub(crate) fn encode(&self) -> String {
        let upgrades = if self.may_upgrade { r#""websocket""# } else { "" };
        let (mut interval, mut timeout, mut max) = (Buffer::new(), Buffer::new(), Buffer::new());
        // None of the values needs escaping. `format!` would cost three times as much.
        [
            r#"{"sid":""#,
            self.sid.as_str(),
            self.server,
            r#"","upgrades":["#,
            upgrades,
            r#"],"pingInterval":"#,
            interval.format(self.ping_interval.as_millis()),
            r#","pingTimeout":"#,
            timeout.format(self.ping_timeout.as_millis()),
            r#","maxPayload":"#,
            max.format(self.max_payload),
            "}",
        ]
        .concat()
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
            server: "",
            may_upgrade: true,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
        };
        assert_eq!(
            packet.encode(),
            r#"{"sid":"abcdefghijklmnopqrst","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert!(OpenPacket { may_upgrade: false, ..packet }.encode().contains(r#""upgrades":[]"#));
    }
}
