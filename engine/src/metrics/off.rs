//! Zero-sized replacements for the metrics, used without the feature `metrics`.

#![allow(clippy::unused_self, reason = "with the feature it is used")]

use std::collections::VecDeque;

use crate::{CloseReason, Frame, Limit, Message, RequestError, TransportKind};

#[derive(Debug, Default)]
pub(crate) struct Metrics(());

impl Metrics {
    pub(crate) fn received(&self, _: &Message<'_>) {}

    pub(crate) fn sent(&self, _: &VecDeque<Frame>) {}

    pub(crate) fn flushed(&self, _: usize, _: &VecDeque<Frame>) {}

    pub(crate) fn refused(&self, _: RequestError) {}

    pub(crate) fn hit(&self, _: Limit) {}

    pub(crate) fn dropped(&self, _: u64) {}

    #[cfg(feature = "forwarding")]
    pub(crate) fn forwarded(&self) {}

    #[cfg(feature = "forwarding")]
    pub(crate) fn forwarding_failed(&self) {}
}

#[derive(Debug)]
pub(crate) struct OpenSession(());

impl OpenSession {
    pub(crate) fn new(_: &Metrics, _: TransportKind) -> Self {
        Self(())
    }

    pub(crate) fn upgraded(&mut self) {}

    pub(crate) fn closed(&mut self, _: CloseReason) {}
}
