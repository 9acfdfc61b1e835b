//! One Engine.IO packet: <https://socket.io/docs/v4/engine-io-protocol/#packet-encoding>.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The kind of connection that carries the packets of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// HTTP long-polling: a pending GET for what the server sends, a POST for what the client sends.
    Polling,
    /// A WebSocket: one frame for each packet.
    WebSocket,
}

impl TransportKind {
    /// The name on the wire: `polling` or `websocket`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(engineio::TransportKind::WebSocket.as_str(), "websocket");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// A message from the client, lent to [`Connection::message`](crate::Connection::message).
///
/// # Examples
///
/// ```
/// use engineio::Message;
///
/// fn len(message: &Message<'_>) -> usize {
///     match message {
///         Message::Text(text) => text.len(),
///         Message::Binary(bytes) => bytes.len(),
///     }
/// }
/// assert_eq!(len(&Message::Text("hello")), 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, without the packet type.
    Text(&'a str),
    /// Bytes: borrowed from a WebSocket frame, owned when they came as base64.
    Binary(Cow<'a, [u8]>),
}

/// A packet as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Open,
    Close,
    Ping { probe: bool },
    Pong,
    Message(Message<'a>),
    Upgrade,
    Noop,
}

/// The packet cannot be read: the session ends with `parse error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Packet<'a> {
    /// Reads a text packet: its type, then its data.
    pub(crate) fn decode(text: &'a str) -> Result<Self, Malformed> {
        let kind = text.as_bytes().first().ok_or(Malformed)?;
        // A first byte that matches below is ASCII, so the slice after it starts at a character.
        Ok(match kind {
            b'4' => Self::Message(Message::Text(&text[1..])),
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping { probe: &text[1..] == "probe" },
            b'3' => Self::Pong,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => Self::decode_base64(&text[1..])?,
            _ => return Err(Malformed),
        })
    }

    /// Reads a binary message that came as text.
    pub(crate) fn decode_base64(text: &str) -> Result<Self, Malformed> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| Malformed)?;
        Ok(Self::Message(Message::Binary(Cow::Owned(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_type() {
        assert_eq!(Packet::decode("4hé"), Ok(Packet::Message(Message::Text("hé"))));
        assert_eq!(Packet::decode("4"), Ok(Packet::Message(Message::Text(""))));
        assert_eq!(Packet::decode("2"), Ok(Packet::Ping { probe: false }));
        assert_eq!(Packet::decode("2probe"), Ok(Packet::Ping { probe: true }));
        assert_eq!(Packet::decode("3"), Ok(Packet::Pong));
        assert_eq!(Packet::decode("bAQID"), Ok(Packet::Message(Message::Binary(Cow::Borrowed(&[1, 2, 3])))));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for bad in ["", "7", "x", "éabcd", "\u{1e}", "b*", "bAQI", " 4"] {
            assert_eq!(Packet::decode(bad), Err(Malformed), "{bad:?}");
        }
    }
}
