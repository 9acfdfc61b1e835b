//! The way of a client into a namespace.

use std::task::{Context, Poll};

use engineio::SlowConsumer;

use super::Connection;
use crate::{
    connection::membership::Stage,
    event::{
        handshake::{Handshake, Refuse},
        legacy::{auth_of_query, is_legacy, split_query, unknown_namespace},
    },
    metrics::log::Limit,
    proto::{encode::Encoder, json, packet::Violation},
};

impl Connection {
    /// A client wants to join a namespace.
    pub(super) fn connect(
        &mut self,
        namespace: &str,
        auth: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        if is_legacy(&self.session) {
            let (path, query) = split_query(namespace);
            return self.join(path, &auth_of_query(query), cx);
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
        if let Some(at) = self.stays.find(path) {
            if !matches!(self.stays[at].stage, Stage::Admitting(_)) {
                return Err(Violation::ConnectedTwice);
            }
            // The official client takes a CONNECT back without a word and asks again, as React does in development:
            // the newest counts, and the one before is dropped.
            self.stays.drop_stay(at);
            self.count_attempt()?;
        }
        if self.stays.len() >= self.config.max_namespaces {
            self.namespaces.others.warnings.limit_hit(path, Limit::MaxNamespaces);
            return self.refuse(path, &Refuse::new("too many namespaces"));
        }
        if !self.admit(path, auth) {
            return self.refuse(path, &unknown_namespace(&self.session));
        }
        self.poll_admission(self.stays.len() - 1, cx)
    }

    /// Begins to ask a namespace whether the client may come in; says whether there is one.
    pub(super) fn admit(&mut self, path: &str, auth: &str) -> bool {
        let handshake = Handshake::new(self.request.clone(), auth);
        let (session, ending) = (self.session.clone(), self.ending.clone());
        let admission = self.namespaces.admit(path, handshake, session, ending);
        let is_known = admission.is_some();
        if let Some(admission) = admission {
            self.stays.add(path, admission);
        }
        is_known
    }

    /// Counts an attempt to join that led to nothing.
    fn count_attempt(&mut self) -> Result<(), Violation> {
        self.failed_attempts += 1;
        if self.failed_attempts > self.config.max_connect_attempts {
            return Err(Violation::TooManyAttempts);
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, path: &str, refuse: &Refuse) -> Result<(), Violation> {
        self.namespaces.refused(path, refuse);
        self.count_attempt()?;
        let encoder = Encoder { namespace: path, parser: self.config.parser.as_deref() };
        let encode =
            if is_legacy(&self.session) { Encoder::connect_error_legacy } else { Encoder::connect_error };
        if let Ok(frames) = encode(encoder, refuse.message(), refuse.details()) {
            // A session that has ended needs no answer.
            let _ = self.session.send_droppable(frames.as_slice(), SlowConsumer::Disconnect);
        }
        Ok(())
    }

    /// Goes on with an admission, and puts the client into the namespace once it is admitted.
    pub(super) fn poll_admission(&mut self, at: usize, cx: &mut Context<'_>) -> Result<(), Violation> {
        let stay = &mut self.stays[at];
        let Stage::Admitting(admission) = &mut stay.stage else { return Ok(()) };
        let Poll::Ready(admitted) = admission.as_mut().poll(cx) else { return Ok(()) };
        let member = match admitted {
            Ok(member) => member,
            Err(refuse) => {
                let path = self.stays.drop_stay(at);
                return self.refuse(&path, &refuse);
            }
        };
        if !member.enter() {
            self.stays.drop_stay(at);
            return Ok(());
        }
        self.join_by = None;
        tracing::debug!(namespace = &*stay.path, id = member.socket().id().as_str(), "socket joined");
        let hook = member.connected(stay.key);
        stay.stage = match hook {
            Some(_) => Stage::Connecting(member),
            None => Stage::Open(member),
        };
        match hook {
            Some(hook) => self.start(hook, cx),
            None => self.advance(at, cx),
        }
    }
}
