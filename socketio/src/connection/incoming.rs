//! Decodes packets from the client and dispatches them to the sockets.

use std::task::Context;

use bytes::Bytes;
use engineio::Message;

use super::{
    Connection,
    membership::{QueuedItem, Stage},
    partial::PartialPacket,
};
use crate::{
    event::{
        handshake::ConnectError,
        legacy::{is_legacy, split_query},
        reason::DisconnectReason,
    },
    hub::acks::AckArgs,
    namespace::dispatch::traced,
    proto::{
        args::{ArgsError, RawArgs},
        attachments::resolve,
        json,
        json::MAX_DEPTH,
        packet,
        packet::{Kind, TextPacket, Violation, event_name},
    },
};

impl Connection {
    /// Handles a message, and closes the session if the message violates the protocol.
    pub(super) fn receive(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        let result = match message {
            message if self.decoder.is_some() => self.custom_message(message, cx),
            Message::Text(text) => self.text(text, cx),
            Message::Binary(bytes) => self.binary(bytes.into_owned().into(), cx),
        };
        self.check(result);
    }

    fn text(&mut self, text: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if self.partial.is_some() {
            return Err(Violation::UnexpectedText);
        }
        let packet = TextPacket::decode(text, self.config.packet_limits())?;
        if packet.kind == Kind::Connect {
            return self.connect(packet.namespace, packet.payload, cx);
        }
        let at = self.membership_of(packet.namespace)?;
        if packet.attachments > 0 {
            let membership = at.map(|at| self.memberships[at].key);
            self.partial = Some(Box::new(PartialPacket::new(&packet, membership)));
            return Ok(());
        }
        self.packet(at, packet.kind, packet.id, packet.payload, Vec::new(), cx)
    }

    fn binary(&mut self, bytes: Bytes, cx: &mut Context<'_>) -> Result<(), Violation> {
        let partial = self.partial.as_mut().ok_or(Violation::UnexpectedBinary)?;
        if !partial.push(bytes, self.config.engine.get_max_http_buffer_size())? {
            return Ok(());
        }
        let Some(packet) = self.partial.take() else { return Ok(()) };
        let at = packet.membership.and_then(|key| self.memberships.find_present(key));
        self.packet(at, packet.kind, packet.id, &packet.payload, packet.attachments, cx)
    }

    /// Handles a message in the encoding of a custom parser.
    fn custom_message(&mut self, message: Message<'_>, cx: &mut Context<'_>) -> Result<(), Violation> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let packet = match decoder.decode(message) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, "undecodable message");
                return Err(Violation::Undecodable);
            }
        };
        let (kind, id, payload) = (packet.kind, packet.id, &*packet.payload);
        packet::check(kind, id, payload)?;
        if kind == Kind::Connect {
            if packet.attachments.is_empty() {
                return self.connect(&packet.namespace, payload, cx);
            }
            return self
                .send_connect_error(&packet.namespace, &ConnectError::new("auth must not hold binary data"));
        }
        let at = self.membership_of(&packet.namespace)?;
        let attachments = packet.attachments.into_owned();
        let payload = resolve(payload, attachments.len()).map_err(|_| Violation::InvalidPayload)?;
        self.packet(at, kind, id, &payload, attachments, cx)
    }

    /// Finds the membership to which a packet is addressed. Returns `None` if the client has recently left
    /// the namespace.
    fn membership_of(&self, namespace: &str) -> Result<Option<usize>, Violation> {
        let (path, _) = if is_legacy(&self.session) { split_query(namespace) } else { (namespace, "") };
        let at = self.memberships.find(path);
        if at.is_some() || self.memberships.is_known(path) { Ok(at) } else { Err(Violation::NotConnected) }
    }

    /// Handles a packet for a namespace. The packet is ignored if `at` is `None`, because the client has
    /// recently left the namespace.
    fn packet(
        &mut self,
        at: Option<usize>,
        kind: Kind,
        id: Option<u64>,
        payload: &str,
        mut attachments: Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let Some(at) = at else { return Ok(()) };
        let max_depth = self.config.max_json_depth;
        // The JSON check enforces `MAX_DEPTH`, so only a lower limit is checked here.
        if max_depth < MAX_DEPTH && !payload.is_empty() {
            json::check_depth(payload, max_depth).map_err(|_| Violation::InvalidPayload)?;
        }
        let capacity = self.capacity(|this| kind == Kind::Event && this.is_heavy(payload));
        let membership = &mut self.memberships[at];
        match kind {
            Kind::Ack => {
                json::check(payload).map_err(|_| Violation::InvalidPayload)?;
                if let (Some(member), Some(id)) = (membership.member(), id) {
                    member.socket().resolve(id, AckArgs { payload: payload.into(), attachments });
                }
                Ok(())
            }
            Kind::Event if membership.may_start(capacity) => {
                self.event(at, id, payload, &mut attachments, cx)
            }
            Kind::Event => {
                // Report a violation when the event arrives, not when it is dequeued.
                if let Err(violation) = event_name(payload, self.config.max_name_length)
                    && violation != Violation::NameTooLong
                {
                    return Err(violation);
                }
                self.memberships.enqueue(at, QueuedItem::Event { id, payload: payload.into(), attachments });
                Ok(())
            }
            Kind::Disconnect | Kind::Connect | Kind::ConnectError => {
                match &membership.stage {
                    // Events that are already queued are still handled within `disconnect_grace`.
                    Stage::Open(member) => {
                        member.socket().leave_namespace(DisconnectReason::ClientNamespaceDisconnect);
                    }
                    _ => self.memberships.enqueue(at, QueuedItem::Disconnect),
                }
                self.advance(at, cx)
            }
        }
    }

    /// Starts the handler of an event.
    pub(super) fn event(
        &mut self,
        at: usize,
        id: Option<u64>,
        payload: &str,
        attachments: &mut [Bytes],
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let (name, args_offset) = match event_name(payload, self.config.max_name_length) {
            Ok(name) => name,
            Err(Violation::NameTooLong) => {
                self.memberships[at].member().inspect(|member| member.socket().reject_name(id));
                return Ok(());
            }
            Err(violation) => return Err(violation),
        };
        let raw = RawArgs { payload, args_offset, attachments: attachments.into(), wants_ack: id.is_some() };
        let membership = &mut self.memberships[at];
        let Some(member) = membership.member() else { return Ok(()) };
        match member.event(membership.key, &name, id, raw) {
            Ok(Some(handler)) => {
                membership.in_flight += 1;
                let handler = traced(handler, &membership.path, &name);
                let was_light = !self.session.is_heavy();
                self.start(handler, cx)?;
                if was_light && (self.running.is_some() || self.session.is_heavy()) {
                    self.record_event(&name);
                }
                Ok(())
            }
            Ok(None) => {
                member.socket().warnings().unhandled_event(&membership.path, &name);
                json::check(payload).map_err(|_| Violation::InvalidPayload)
            }
            Err(ArgsError::Malformed) => Err(Violation::InvalidPayload),
            Err(error @ ArgsError::Mismatch(_)) => {
                member.socket().reject_arguments(&name, id, error);
                Ok(())
            }
        }
    }

    /// Takes note of an event whose handler has made its client heavy, or is pending and may do so.
    #[cold]
    fn record_event(&mut self, name: &str) {
        let events = &self.namespaces.heavy_events;
        if self.session.is_heavy() {
            events.insert(events.number(name));
        } else {
            self.pending_event = Some(events.number(name));
        }
    }
}
