//! A stub of the permessage-deflate negotiation for builds without the feature `compression`.

use http::{HeaderMap, HeaderValue};

use crate::{config::engine::EngineConfig, proto::deflate::Negotiated};

pub(crate) fn negotiate(_: &HeaderMap, _: &EngineConfig) -> Option<Negotiated> {
    None
}

pub(crate) fn response_header(negotiated: Negotiated) -> HeaderValue {
    match negotiated.0 {}
}
