//! Binary packets whose attachments have not all arrived.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    namespace::dispatch::MemberKey,
    proto::{
        attachments::resolve,
        packet::{Kind, TextPacket, Violation},
    },
};

/// A binary packet with the attachments received so far.
pub(crate) struct PartialPacket {
    pub(crate) kind: Kind,
    /// The membership to which the packet is addressed. `None` if the client had left the namespace when the
    /// text arrived.
    pub(crate) membership: Option<MemberKey>,
    pub(crate) id: Option<u64>,
    pub(crate) payload: Box<str>,
    pub(crate) attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
}

impl PartialPacket {
    pub(crate) fn new(packet: &TextPacket<'_>, membership: Option<MemberKey>) -> Self {
        Self {
            kind: packet.kind,
            membership,
            id: packet.id,
            payload: packet.payload.into(),
            attachments: Vec::new(),
            missing: packet.attachments,
            bytes: 0,
        }
    }

    /// Adds the next attachment. If the packet is now complete, resolves its placeholders and returns `true`.
    pub(crate) fn push(&mut self, attachment: Bytes, max_bytes: usize) -> Result<bool, Violation> {
        self.bytes += attachment.len();
        if self.bytes > max_bytes {
            return Err(Violation::TooLarge);
        }
        self.attachments.push(attachment);
        self.missing -= 1;
        if self.missing > 0 {
            return Ok(false);
        }
        let resolved =
            resolve(&self.payload, self.attachments.len()).map_err(|_| Violation::InvalidPayload)?;
        if let Cow::Owned(payload) = resolved {
            self.payload = payload.into();
        }
        Ok(true)
    }
}
