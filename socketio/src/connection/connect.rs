//! Handles CONNECT packets: admits clients and adds their sockets to namespaces.

use std::task::{Context, Poll};

use engineio::SlowConsumerPolicy;

use super::Connection;
use crate::{
    connection::membership::Stage,
    event::{
        handshake::{ConnectError, Handshake},
        legacy::{auth_from_query, is_legacy, split_query, unknown_namespace},
    },
    metrics::log::Limit,
    proto::{encode::Encoder, json, packet::Violation},
};

impl Connection {
    /// Handles a CONNECT packet.
    pub(super) fn connect(
        &mut self,
        namespace: &str,
        auth: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        if is_legacy(&self.session) {
            let (path, query) = split_query(namespace);
            return self.join(path, &auth_from_query(query), cx);
        }
        if namespace.len() > self.config.max_namespace_length {
            return Err(Violation::NameTooLong);
        }
        if !auth.is_empty() && json::check_depth(auth, self.config.max_json_depth).is_err() {
            return Err(Violation::InvalidPayload);
        }
        self.join(namespace, auth, cx)
    }

    fn join(&mut self, path: &str, auth: &str, cx: &mut Context<'_>) -> Result<(), Violation> {
        if let Some(at) = self.memberships.find(path) {
            if !matches!(self.memberships[at].stage, Stage::Admitting(_)) {
                return Err(Violation::ConnectedTwice);
            }
            // The official client may abandon a CONNECT packet silently and send another CONNECT packet, for
            // example under React in development mode. Drop the earlier admission and process the newest
            // packet.
            self.memberships.drop_membership(at);
            self.count_attempt()?;
        }
        if self.memberships.len() >= self.config.max_namespaces {
            self.namespaces.unknown.warnings.limit_hit(path, Limit::MaxNamespaces);
            return self.send_connect_error(path, &ConnectError::new("too many namespaces"));
        }
        if !self.admit(path, auth) {
            return self.send_connect_error(path, &unknown_namespace(&self.session));
        }
        self.poll_admission(self.memberships.len() - 1, cx)
    }

    /// Starts the admission of the client to a namespace. Returns `false` if there is no namespace with this
    /// path.
    pub(super) fn admit(&mut self, path: &str, auth: &str) -> bool {
        let handshake = Handshake::new(self.request.clone(), auth);
        let (session, signals) = (self.session.clone(), self.signals.clone());
        let admission = self.namespaces.admit(path, handshake, session, signals);
        let is_known = admission.is_some();
        if let Some(admission) = admission {
            self.memberships.add(path, admission);
        }
        is_known
    }

    /// Counts a failed or abandoned attempt to join a namespace. Returns a violation if there were too many
    /// attempts.
    fn count_attempt(&mut self) -> Result<(), Violation> {
        self.failed_attempts += 1;
        if self.failed_attempts > self.config.max_connect_attempts {
            return Err(Violation::TooManyAttempts);
        }
        Ok(())
    }

    pub(super) fn send_connect_error(&mut self, path: &str, error: &ConnectError) -> Result<(), Violation> {
        self.namespaces.record_refused(path, error);
        self.count_attempt()?;
        let encoder = Encoder { namespace: path, parser: self.config.parser.as_deref() };
        let encode =
            if is_legacy(&self.session) { Encoder::connect_error_legacy } else { Encoder::connect_error };
        if let Ok(frames) = encode(encoder, error.message(), error.details()) {
            // An error means that the session is closed, so the packet is not needed.
            let _ = self.session.send_with(frames.as_slice(), SlowConsumerPolicy::Disconnect);
        }
        Ok(())
    }

    /// Polls an admission, and adds the socket to the namespace once the client is admitted.
    pub(super) fn poll_admission(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        let membership = &mut self.memberships[at];
        let Stage::Admitting(admission) = &mut membership.stage else { return Ok(()) };
        let Poll::Ready(admitted) = admission.as_mut().poll(cx) else { return Ok(()) };
        let member = match admitted {
            Ok(member) => member,
            Err(refuse) => {
                let path = self.memberships.drop_membership(at);
                return self.send_connect_error(&path, &refuse);
            }
        };
        if !member.enter() {
            self.memberships.drop_membership(at);
            return Ok(());
        }
        self.connect_deadline = None;
        tracing::debug!(namespace = &*membership.path, id = member.socket().id().as_str(), "socket joined");
        let hook = member.connected(membership.key);
        membership.stage = match hook {
            Some(_) => Stage::Connecting(member),
            None => Stage::Open(member),
        };
        match hook {
            Some(hook) => self.start(hook, cx),
            None => self.advance(at, cx),
        }
    }
}
