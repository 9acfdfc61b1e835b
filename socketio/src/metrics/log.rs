//! Logs why operations failed.
//!
//! Clients can cause any number of failures. The first failure of a kind is logged as a warning; further
//! failures of the same kind are logged at the level `debug`.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{
    event::error::{Chain, EventError},
    proto::packet::Violation,
};

/// Returns at most the first 256 bytes of an untrusted text.
pub(crate) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}

/// The kinds of warnings that were already logged for a namespace or for the server, with one bit per kind.
#[derive(Debug, Default)]
pub(crate) struct Warnings(AtomicU32);

// The bits from 0 are assigned to `Limit`, the bits from `FIRST_VIOLATION` to `Violation`, and the last bits
// to the other kinds.
const FIRST_VIOLATION: u32 = 8;
const UNHANDLED_EVENT: u32 = 29;
const INVALID_ARGUMENTS: u32 = 30;
const CONNECT_REFUSED: u32 = 31;

/// A limit of the [config](crate::ServerConfig) or of middleware that is logged under its name. Packets that exceed a limit of
/// the protocol decoder are logged as a [`Violation`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    ConnectTimeout,
    MaxDynamicNamespaces,
    MaxNameLength,
    MaxNamespaces,
    MaxPendingAcks,
    MaxRooms,
    #[cfg(feature = "rate-limit")]
    EventRate,
}

impl Limit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectTimeout => "connect_timeout",
            Self::MaxDynamicNamespaces => "max_dynamic_namespaces",
            Self::MaxNameLength => "max_name_length",
            Self::MaxNamespaces => "max_namespaces",
            Self::MaxPendingAcks => "max_pending_acks",
            Self::MaxRooms => "max_rooms",
            #[cfg(feature = "rate-limit")]
            Self::EventRate => "rate_limit",
        }
    }
}

/// Logs a message. The first message of a kind is logged as a warning.
macro_rules! warn_first {
    ($warnings:expr, $bit:expr, $message:literal, $($fields:tt)*) => {
        if $warnings.is_first($bit) {
            tracing::warn!($($fields)*, concat!($message, " (further ones are logged at the level debug)"));
        } else {
            tracing::debug!($($fields)*, $message);
        }
    };
}

/// Logs the error of a hook if `result` is an error.
pub(crate) fn hook_returned(hook: &'static str, namespace: &str, result: Result<(), EventError>) {
    if let Err(error) = result {
        let error =
            error.cause().map_or_else(|| error.message().to_owned(), |cause| Chain(cause).to_string());
        engineio::__log!(warn, namespace, error, "the {hook} hook failed");
    }
}

impl Warnings {
    fn is_first(&self, bit: u32) -> bool {
        let bit = 1 << bit;
        self.0.load(Ordering::Relaxed) & bit == 0 && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub(crate) fn unhandled_event(&self, namespace: &str, event: &str) {
        let event = clip(event);
        warn_first!(self, UNHANDLED_EVENT, "event without a handler", namespace, event);
    }

    pub(crate) fn invalid_arguments(&self, namespace: &str, event: &str, error: &str) {
        let (event, error) = (clip(event), clip(error));
        warn_first!(self, INVALID_ARGUMENTS, "the arguments do not fit the handler", namespace, event, error);
    }

    pub(crate) fn connect_refused(&self, namespace: &str, message: &str) {
        let (namespace, reason) = (clip(namespace), clip(message));
        warn_first!(self, CONNECT_REFUSED, "connection to a namespace refused", namespace, reason);
    }

    pub(crate) fn limit_hit(&self, namespace: &str, limit: Limit) {
        let (namespace, bit) = (clip(namespace), limit as u32);
        warn_first!(self, bit, "limit hit", namespace, limit = limit.as_str());
    }

    pub(crate) fn violation(&self, violation: Violation) {
        let bit = FIRST_VIOLATION + violation as u32;
        warn_first!(self, bit, "protocol violation: the connection is closed", ?violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_bit_of_its_own() {
        assert!((Limit::MaxRooms as u32) < FIRST_VIOLATION);
        #[cfg(feature = "rate-limit")]
        assert!((Limit::EventRate as u32) < FIRST_VIOLATION);
        assert!(FIRST_VIOLATION + (Violation::TooLarge as u32) < UNHANDLED_EVENT);
        let warnings = Warnings::default();
        for bit in 0..32 {
            assert!(warnings.is_first(bit));
            assert!(!warnings.is_first(bit));
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"é".repeat(200)).len(), 256);
        assert_eq!(clip(&format!("x{}", "é".repeat(200))).len(), 255);
    }
}
