//! Delivers packets to the sockets of a namespace on this server.

use std::sync::Arc;

use engineio::SlowConsumerPolicy;

use crate::{
    event::error::EmitError,
    hub::{
        Adapter, Flags,
        ack_collector::{AckCollector, Outcome, PendingBroadcast},
        acks::AckWaiter,
        cluster::LogOffset,
        history,
        observation::Recipients,
        rooms::Target,
        sending::notify_sent,
        socket_core::AnySocket,
    },
    metrics::log::Limit,
    proto::encode::Frames,
};

impl Adapter {
    /// Sends a packet to the sockets of the target on this server.
    ///
    /// Packets are queued under a lock, so all members of a room receive broadcasts in the same order. The
    /// critical section is short: per socket, it increments one reference count of the shared frames and
    /// wakes at most one task. If this method returns an error, nothing was queued.
    pub(crate) fn deliver(&self, target: &Target, packet: &Frames, flags: Flags) -> Result<(), EmitError> {
        let mut observed = self.observed_recipients();
        let mut queue = |socket: &AnySocket, packet: &Frames| {
            // On error, the session has already applied the policy: the socket is being disconnected, or the
            // dropped packet was counted.
            if send(socket, packet, flags, self.slow_consumer).is_ok() {
                add(&mut observed, socket);
            }
        };
        match &self.recovery {
            None => self.each(target, |_, socket| queue(socket, packet)),
            Some(recovery) => {
                let queued = recovery.send(self.encoder(), packet, flags, |stamped, position| {
                    self.each(target, |_, socket| match socket.recoverable() {
                        Some(recoverable) => {
                            queue(socket, stamped);
                            recoverable.record_sent(position, flags);
                        }
                        None => queue(socket, packet),
                    });
                    (Some(history::Recipients::Target(target.clone())), ())
                });
                queued.map_err(EmitError::encode)?;
            }
        }
        self.notify(observed, packet);
        Ok(())
    }

    /// Returns `true` if an event is appended to the event log, which returns it for delivery.
    pub(crate) fn logs(&self, flags: Flags) -> bool {
        self.event_log.is_some() && !flags.volatile && !flags.local
    }

    /// Sends an event of the event log to the sockets of the target on this server. Recoverable clients
    /// receive the offset as an additional argument.
    pub(crate) fn deliver_logged(
        &self,
        target: &Target,
        packet: &Frames,
        flags: Flags,
        offset: Option<LogOffset>,
    ) -> Result<(), EmitError> {
        let encode = |frames| self.encoder().translate(frames, None).map(|frames| flags.apply_to(frames));
        let plain = encode(packet.clone()).map_err(EmitError::encode)?;
        let (Some(log), Some(offset)) = (&self.event_log, offset) else {
            return self.deliver(target, &plain, flags);
        };
        let stamped = packet.with_argument(&self.path, &offset.to_string());
        let stamped = encode(stamped).map_err(EmitError::encode)?;
        let mut observed = self.observed_recipients();
        log.deliver(offset, (target, packet), !flags.volatile, || {
            self.each(target, |_, socket| {
                let packet = match socket.recoverable() {
                    Some(recoverable) if recoverable.was_replayed(offset) => return,
                    Some(_) => &stamped,
                    None => &plain,
                };
                if send(socket, packet, flags, self.slow_consumer).is_ok() {
                    add(&mut observed, socket);
                }
            });
        });
        self.notify(observed, &plain);
        Ok(())
    }

    fn observed_recipients(&self) -> Option<Box<Recipients>> {
        Recipients::new(self.has_outgoing_observer, self.observation.is_active())
    }

    fn notify(&self, observed: Option<Box<Recipients>>, packet: &Frames) {
        let Some(observed) = observed else { return };
        if observed.wants_all {
            notify_sent(&self.path, packet, observed.all.iter().map(|socket| &**socket));
        }
        observed.notify(&self.observation, &self.path, packet);
    }

    /// Like [`deliver`](Self::deliver), but for a packet that all recipients acknowledge under the same id.
    pub(crate) fn deliver_with_ack(
        &self,
        target: &Target,
        packet: &Frames,
        id: u64,
        flags: Flags,
    ) -> PendingBroadcast {
        let outcomes = Arc::new(AckCollector::default());
        let mut observed = self.observed_recipients();
        let mut limit_hit_by_any = false;
        self.each(target, |_, socket| {
            let at = outcomes.add_recipient(socket);
            let waiter = AckWaiter::Broadcast(outcomes.clone(), at);
            let sent = socket.acks().insert(id, waiter, self.config.max_pending_acks).and_then(|()| {
                // The packet must not be dropped silently, because the caller waits for its acknowledgement.
                send(socket, packet, flags, SlowConsumerPolicy::Disconnect)
                    .inspect_err(|_| drop(socket.acks().remove(id)))
            });
            match sent {
                Ok(()) => add(&mut observed, socket),
                Err(error) => {
                    limit_hit_by_any |= matches!(error, EmitError::TooManyAcks);
                    outcomes.resolve(at, Outcome::Failed(error));
                }
            }
        });
        if limit_hit_by_any {
            self.hooks.warnings.limit_hit(&self.path, Limit::MaxPendingAcks);
        }
        self.notify(observed, packet);
        PendingBroadcast { id, outcomes, remote: None }
    }
}

fn add(observed: &mut Option<Box<Recipients>>, socket: &AnySocket) {
    if let Some(observed) = observed {
        observed.add(socket);
    }
}

fn send(
    socket: &AnySocket,
    packet: &Frames,
    flags: Flags,
    slow_consumer: SlowConsumerPolicy,
) -> Result<(), EmitError> {
    let session = socket.session();
    if flags.volatile {
        return session.send_volatile(packet.as_slice()).then_some(()).ok_or(EmitError::Full);
    }
    Ok(session.send_with(packet.as_slice(), slow_consumer)?)
}
