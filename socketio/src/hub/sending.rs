//! What leaves by a socket.

use std::{future::poll_fn, task::Poll};

use engineio::{Frame, SlowConsumerPolicy};

use crate::{
    event::{
        args::Args,
        error::{Chain, EmitError, EventError},
    },
    hub::{
        Flags,
        history::Recipients,
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
    /// Sends a packet, or says that it was not sent.
    pub(crate) fn send(&self, frames: &Frames) -> Result<(), EmitError> {
        self.check()?;
        Ok(self.session.send(frames.as_slice())?)
    }

    /// Sends an event by the policy of the namespace, and shows it to those who look at what is sent.
    pub(crate) fn send_event(&self, packet: Frames, flags: Flags) -> Result<(), EmitError> {
        self.check()?;
        let packet = flags.mark(packet);
        let mut lost = false;
        let sent = self.with_offset(&packet, flags, |frames| {
            if flags.volatile {
                lost = !self.session.send_volatile(frames);
                return Poll::Ready(Ok(()));
            }
            // The caller hears of a full queue, and the client need not be disconnected for it.
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

    /// Lets an event be queued: with its offset, if the client may come back.
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
            // From here on it cannot leave before the event is queued.
            let sent = match self.check() {
                Ok(()) => queue(stamped.as_slice()),
                Err(error) => Poll::Ready(Err(error)),
            };
            let is_sent = matches!(sent, Poll::Ready(Ok(())));
            if is_sent {
                recoverable.note_sent(position, flags);
            }
            (is_sent.then_some(Recipients::Socket(self.id)), sent)
        });
        queued.unwrap_or_else(|error| Poll::Ready(Err(EmitError::Encode(error))))
    }

    /// Sends an event once there is room for it.
    pub(crate) async fn send_wait(&self, packet: &Frames) -> Result<(), EmitError> {
        let mut waiting = self.session.send_waiter();
        // The socket may leave while it waits.
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
    }

    /// Whether anything may be sent.
    pub(crate) fn check(&self) -> Result<(), EmitError> {
        let ended = self.left.get().is_some() || self.signals.is_requested();
        if ended { Err(EmitError::Disconnected) } else { Ok(()) }
    }

    /// Answers an event whose arguments are not of the type of its handler.
    pub(crate) fn fail_arguments(&self, event: &str, id: Option<u64>, error: ArgsError) {
        let error = EventError::from(error);
        self.warnings().invalid_arguments(self.path(), event, error.message());
        // No event is handled while the queue is full.
        let _ = self.answer_error(id, &error);
    }

    /// Answers an event whose name is too long.
    pub(crate) fn fail_name(&self, id: Option<u64>) {
        self.warnings().limit_hit(self.path(), Limit::MaxNameLength);
        let _ = self.answer_error(id, &EventError::public("the name of the event is too long"));
    }

    /// Answers an event that failed, if the client waits for an answer; gives the answer back if the queue is full.
    pub(crate) fn fail(&self, event: &str, id: Option<u64>, error: &EventError) -> Option<Frames> {
        let (event, namespace) = (clip(event), self.path());
        if let Some(cause) = error.cause() {
            engineio::__log!(warn, event, namespace, cause = %Chain(cause), "event handler failed");
        } else {
            tracing::debug!(event, namespace, error = clip(error.message()), "event refused");
        }
        self.answer_error(id, error)
    }

    /// Tells the client what went wrong, if it waits for an answer; gives the answer back if the queue is full.
    fn answer_error(&self, id: Option<u64>, error: &EventError) -> Option<Frames> {
        let carrier = Carrier::Ack { id: id? };
        let answer = serde_json::json!({ "error": error.message() });
        let frames = self.encoder().args(carrier, &answer).ok()?;
        self.answer(frames)
    }

    /// Sends the answer of a handler; gives it back if the queue is full.
    pub(crate) fn answer(&self, frames: Frames) -> Option<Frames> {
        // If the client has gone, nobody waits any more.
        matches!(self.send(&frames), Err(EmitError::Full)).then_some(frames)
    }

    /// Sends an answer once there is room for it, so that an answer is never lost.
    pub(crate) async fn answer_wait(&self, frames: &Frames) {
        let mut waiting = self.session.send_waiter();
        let sent = poll_fn(|cx| match self.check() {
            Ok(()) => waiting.poll_send(cx, frames.as_slice()).map_err(EmitError::from),
            Err(error) => Poll::Ready(Err(error)),
        });
        // If the client has gone, nobody waits any more.
        let _ = sent.await;
    }
}

/// Shows an event to those who look at what is sent, once for each socket that it was sent to.
pub(crate) fn notify_sent<'a, T: Observed + ?Sized + 'a>(
    namespace: &str,
    packet: &Frames,
    sockets: impl IntoIterator<Item = &'a SocketCore<T>>,
) {
    if let Some((name, args)) = Args::of_event(namespace, packet) {
        sockets.into_iter().for_each(|socket| socket.typed.notify_outgoing(&name, &args));
    }
}

/// Encodes an event, if its name may be used.
pub(crate) fn encode_event<T: ToArgs + ?Sized>(
    encoder: Encoder<'_>,
    name: &str,
    id: Option<u64>,
    args: &T,
) -> Result<Frames, EmitError> {
    if is_reserved(name) {
        return Err(EmitError::ReservedEvent);
    }
    encoder.args(Carrier::Event { name, id }, args).map_err(EmitError::Encode)
}
