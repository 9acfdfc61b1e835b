//! Sends events, acknowledgements and errors to a socket.

use std::{future::poll_fn, task::Poll};

use engineio::{Frame, SlowConsumerPolicy};

use crate::{
    event::{
        args::Args,
        error::{Chain, EmitError, EventError},
    },
    hub::{
        Flags,
        cluster::{EventPacket, Operation},
        history::Recipients,
        rooms::{Room, Target},
        socket_core::{Observed, SocketCore},
    },
    metrics::log::{Limit, clip},
    proto::{
        args::{ArgsError, ToArgs},
        encode::{Carrier, Encoder, Frames},
        packet::is_reserved,
    },
};

impl<T: Observed + ?Sized> SocketCore<T> {
    /// Sends a packet. Returns an error if the packet was not queued.
    pub(crate) fn send(&self, frames: &Frames) -> Result<(), EmitError> {
        self.check()?;
        Ok(self.session.send(frames.as_slice())?)
    }

    /// Sends an event according to the configured [`SlowConsumerPolicy`], and notifies the observers.
    pub(crate) fn send_event(&self, packet: Frames, flags: Flags) -> Result<(), EmitError> {
        self.check()?;
        if self.adapter.logs(flags) {
            return self.log_event(&packet, flags);
        }
        let packet = flags.apply_to(packet);
        let mut lost = false;
        let sent = self.with_offset(&packet, flags, |frames| {
            if flags.volatile {
                lost = !self.session.send_volatile(frames);
                return Poll::Ready(Ok(()));
            }
            // If the queue is full, an error is returned to the caller, so the client need not be
            // disconnected.
            let sent = match self.adapter.slow_consumer {
                SlowConsumerPolicy::Disconnect => self.session.send(frames),
                policy => self.session.send_with(frames, policy),
            };
            Poll::Ready(sent.map_err(EmitError::from))
        });
        if let Poll::Ready(sent) = sent {
            sent?;
        }
        if !lost {
            self.notify_observers(&packet);
        }
        Ok(())
    }

    /// Appends an event to the event log, which returns it for delivery.
    fn log_event(&self, packet: &Frames, flags: Flags) -> Result<(), EmitError> {
        let target = Target::new(vec![Room::from(self.id.as_str())], Vec::new());
        let packet = EventPacket(packet.clone().into_plain());
        let operation = || Operation::Broadcast { target, packet, flags: flags.into() };
        Ok(self.adapter.publish(flags, operation)?)
    }

    /// Queues an event. If the socket is recoverable, an offset is added to the event.
    fn with_offset(
        &self,
        packet: &Frames,
        flags: Flags,
        queue: impl FnOnce(&[Frame]) -> Poll<Result<(), EmitError>>,
    ) -> Poll<Result<(), EmitError>> {
        let (Some(recovery), Some(recoverable)) = (&self.adapter.recovery, self.recoverable()) else {
            return queue(packet.as_slice());
        };
        let queued = recovery.send(self.encoder(), packet, flags, |stamped, position| {
            // The lock of the recovery state is held, so the socket cannot leave before the event is queued.
            let sent = match self.check() {
                Ok(()) => queue(stamped.as_slice()),
                Err(error) => Poll::Ready(Err(error)),
            };
            let is_sent = matches!(sent, Poll::Ready(Ok(())));
            if is_sent {
                recoverable.record_sent(position, flags);
            }
            (is_sent.then_some(Recipients::Socket(self.id)), sent)
        });
        queued.unwrap_or_else(|error| Poll::Ready(Err(EmitError::encode(error))))
    }

    /// Sends an event as soon as the queue has space.
    pub(crate) async fn send_wait(&self, packet: &Frames) -> Result<(), EmitError> {
        if self.adapter.logs(Flags::default()) {
            self.check()?;
            return self.log_event(packet, Flags::default());
        }
        let mut waiting = self.session.send_waiter();
        // Check before each poll, because the socket may be disconnected while the event waits for space.
        poll_fn(|cx| match self.check() {
            Ok(()) => self.with_offset(packet, Flags::default(), |frames| {
                waiting.poll_send(cx, frames).map_err(EmitError::from)
            }),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await?;
        self.notify_observers(packet);
        Ok(())
    }

    pub(crate) fn notify_observers(&self, packet: &Frames) {
        if self.typed.has_outgoing() {
            notify_sent(self.path(), packet, [self]);
        }
        if self.adapter.observation.is_active() {
            self.adapter.observation.sent(self.path(), &[self.id], 1, packet);
        }
    }

    /// Returns an error if the socket is disconnected.
    pub(crate) fn check(&self) -> Result<(), EmitError> {
        let ended = self.lifecycle.left().is_some() || self.signals.close_requested();
        if ended { Err(EmitError::Disconnected) } else { Ok(()) }
    }

    /// Sends an error acknowledgement for an event whose arguments do not match the handler.
    pub(crate) fn reject_arguments(&self, event: &str, id: Option<u64>, error: ArgsError) {
        let error = EventError::from(error);
        self.warnings().invalid_arguments(self.path(), event, error.message());
        // No event is handled while the queue is full, so the queue has space for the acknowledgement.
        let _ = self.send_error_ack(id, &error);
    }

    /// Sends an error acknowledgement for an event whose name is too long.
    pub(crate) fn reject_name(&self, id: Option<u64>) {
        self.warnings().limit_hit(self.path(), Limit::MaxNameLength);
        let _ = self.send_error_ack(id, &EventError::public("the name of the event is too long"));
    }

    /// Logs a failed event. If the client expects an acknowledgement, sends the error as the acknowledgement.
    /// Returns the packet if the queue is full.
    pub(crate) fn send_failure(&self, event: &str, id: Option<u64>, error: &EventError) -> Option<Frames> {
        let (event, namespace) = (clip(event), self.path());
        if let Some(cause) = error.cause() {
            engineio::__log!(warn, event, namespace, cause = %Chain(cause), "event handler failed");
        } else {
            tracing::debug!(event, namespace, error = clip(error.message()), "event refused");
        }
        self.send_error_ack(id, error)
    }

    /// Sends an error acknowledgement if the client expects an acknowledgement. Returns the packet if the
    /// queue is full.
    fn send_error_ack(&self, id: Option<u64>, error: &EventError) -> Option<Frames> {
        let carrier = Carrier::Ack { id: id? };
        let answer = serde_json::json!({ "error": error.message() });
        let frames = self.encoder().args(carrier, &answer).ok()?;
        self.send_ack(frames)
    }

    /// Sends the acknowledgement of a handler. Returns the packet if the queue is full.
    pub(crate) fn send_ack(&self, frames: Frames) -> Option<Frames> {
        // Other errors mean that the client is disconnected.
        matches!(self.send(&frames), Err(EmitError::Full)).then_some(frames)
    }

    /// Sends an acknowledgement as soon as the queue has space.
    pub(crate) async fn send_ack_wait(&self, frames: &Frames) {
        let _counted = self.signals.wait_for_room();
        let mut waiting = self.session.send_waiter();
        let sent = poll_fn(|cx| match self.check() {
            Ok(()) => waiting.poll_send(cx, frames.as_slice()).map_err(EmitError::from),
            Err(error) => Poll::Ready(Err(error)),
        });
        // An error means that the client is disconnected.
        let _ = sent.await;
    }
}

/// Notifies the observers of each given socket that an event was sent to the socket.
pub(crate) fn notify_sent<'a, T: Observed + ?Sized + 'a>(
    namespace: &str,
    packet: &Frames,
    sockets: impl IntoIterator<Item = &'a SocketCore<T>>,
) {
    if let Some((name, args)) = Args::from_event(namespace, packet) {
        sockets.into_iter().for_each(|socket| socket.typed.notify_outgoing(&name, &args));
    }
}

/// Encodes an event. Fails if the event name is reserved.
pub(crate) fn encode_event<T: ToArgs + ?Sized>(
    encoder: Encoder<'_>,
    name: &str,
    id: Option<u64>,
    args: &T,
) -> Result<Frames, EmitError> {
    if is_reserved(name) {
        return Err(EmitError::ReservedEvent);
    }
    encoder.args(Carrier::Event { name, id }, args).map_err(EmitError::encode)
}
