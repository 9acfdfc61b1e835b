//! Defines zero-sized replacements of the metrics, which are used without the feature `metrics`.

#![allow(clippy::unused_self, reason = "with the feature it is used")]

use crate::event::{AckResponse, error::EventError};

#[derive(Debug, Clone, Default)]
pub(crate) struct NamespaceMetrics(());

impl NamespaceMetrics {
    pub(crate) fn new(_: &str) -> Self {
        Self(())
    }

    pub(crate) fn unknown() -> Self {
        Self(())
    }

    pub(crate) fn connect_refused(&self) {}

    pub(crate) fn socket_joined(&self) {}

    pub(crate) fn socket_left(&self) {}

    pub(crate) fn ack_timed_out(&self) {}

    pub(crate) fn broadcast(&self) {}

    #[cfg(feature = "rate-limit")]
    pub(crate) fn rate_limited(&self) {}
}

#[derive(Debug, Clone)]
pub(crate) struct EventMetrics(());

impl EventMetrics {
    pub(crate) fn new(_: &str, _: &str) -> Self {
        Self(())
    }

    pub(crate) fn found<'a>(_: impl FnOnce() -> &'a Self) -> Self {
        Self(())
    }

    pub(crate) fn received(&self) {}

    pub(crate) fn refused(&self) {}

    pub(crate) fn failed(&self, _: &EventError) {}

    pub(crate) fn start(&self) -> HandlerTime {
        HandlerTime(())
    }
}

#[derive(Debug)]
pub(crate) struct HandlerTime(());

impl HandlerTime {
    pub(crate) fn done(self, _: &Result<AckResponse, EventError>) {}
}
