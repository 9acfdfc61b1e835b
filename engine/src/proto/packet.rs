//! Engine.IO packets. See <https://socket.io/docs/v4/engine-io-protocol/#packet-encoding>.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::dialect::Revision;

/// The transport over which the packets of a session are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// HTTP long-polling. The client receives packets in the response to a pending GET, and sends packets in
    /// the body of a POST.
    Polling,
    /// A WebSocket. Each packet is one WebSocket message.
    WebSocket,
}

impl TransportKind {
    /// Returns the name on the wire: `polling` or `websocket`.
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

/// A message from the client, passed to [`Connection::on_message`](crate::Connection::on_message).
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
    /// A text message, without the packet type.
    Text(&'a str),
    /// A binary message. The bytes are borrowed from the receive buffer where possible, and owned if they had
    /// to be decoded, for example from base64.
    Binary(Cow<'a, [u8]>),
}

/// A received packet.
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

/// The packet type of a message in the binary encoding of protocol 3. It is a byte value, not an ASCII digit.
pub(crate) const BINARY_MESSAGE: u8 = 4;

/// The error for a packet that cannot be decoded. The session is closed with the reason `parse error`. If the
/// packet arrived on a probing WebSocket, only the upgrade is canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Packet<'a> {
    /// Decodes a text packet, which consists of the packet type and the data.
    pub(crate) fn decode(text: &'a str, revision: Revision) -> Result<Self, Malformed> {
        let kind = text.as_bytes().first().ok_or(Malformed)?;
        // A first byte that matches below is ASCII, so the slice after it starts at a character boundary.
        Ok(match kind {
            b'4' => Self::Message(Message::Text(&text[1..])),
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping { probe: &text[1..] == "probe" },
            b'3' => Self::Pong,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => {
                let base64 = match revision {
                    Revision::V4 => &text[1..],
                    // In protocol 3, the packet type follows the `b`.
                    Revision::V3 => text[1..].strip_prefix('4').ok_or(Malformed)?,
                };
                let bytes = BASE64_STANDARD.decode(base64).map_err(|_| Malformed)?;
                Self::Message(Message::Binary(Cow::Owned(bytes)))
            }
            _ => return Err(Malformed),
        })
    }

    /// Decodes a binary packet. In protocol 3, the packet begins with its type, and only messages are
    /// accepted.
    pub(crate) fn decode_binary(bytes: Cow<'a, [u8]>, revision: Revision) -> Result<Self, Malformed> {
        let bytes = match (revision, bytes) {
            (Revision::V4, bytes) => bytes,
            (Revision::V3, Cow::Borrowed([BINARY_MESSAGE, bytes @ ..])) => Cow::Borrowed(bytes),
            (Revision::V3, Cow::Owned(mut bytes)) if bytes.first() == Some(&BINARY_MESSAGE) => {
                bytes.remove(0);
                Cow::Owned(bytes)
            }
            (Revision::V3, _) => return Err(Malformed),
        };
        Ok(Self::Message(Message::Binary(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Packet<'_>, Malformed> {
        Packet::decode(text, Revision::V4)
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Message::Binary(bytes.into()))
    }

    #[test]
    fn binary_messages_of_protocol_3_name_their_type() {
        let decode = |text| Packet::decode(text, Revision::V3);
        assert_eq!(decode("4hé"), Ok(Packet::Message(Message::Text("hé"))));
        assert_eq!(decode("b4AQID"), Ok(binary(&[1, 2, 3])));
        assert_eq!(decode("b4"), Ok(binary(&[])));
        for bad in ["bAQID", "b", "b2AQID", "bé", "b4*"] {
            assert_eq!(decode(bad), Err(Malformed), "{bad}");
        }
        for (bytes, read) in [
            (&[4, 1, 2][..], Ok(binary(&[1, 2]))),
            (&[4], Ok(binary(&[]))),
            (&[], Err(Malformed)),
            (&[2], Err(Malformed)),
            (b"4a", Err(Malformed)),
        ] {
            assert_eq!(Packet::decode_binary(Cow::Borrowed(bytes), Revision::V3), read, "{bytes:?}");
            assert_eq!(Packet::decode_binary(Cow::Owned(bytes.to_vec()), Revision::V3), read, "{bytes:?}");
            assert_eq!(Packet::decode_binary(Cow::Borrowed(bytes), Revision::V4), Ok(binary(bytes)));
        }
    }

    #[test]
    fn reads_each_type() {
        assert_eq!(decode("4hé"), Ok(Packet::Message(Message::Text("hé"))));
        assert_eq!(decode("4"), Ok(Packet::Message(Message::Text(""))));
        assert_eq!(decode("2"), Ok(Packet::Ping { probe: false }));
        assert_eq!(decode("2probe"), Ok(Packet::Ping { probe: true }));
        assert_eq!(decode("3"), Ok(Packet::Pong));
        assert_eq!(decode("bAQID"), Ok(Packet::Message(Message::Binary(Cow::Borrowed(&[1, 2, 3])))));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for bad in ["", "7", "x", "éabcd", "\u{1e}", "b*", "bAQI", " 4"] {
            assert_eq!(decode(bad), Err(Malformed), "{bad:?}");
        }
    }
}
