//! A stub of content coding for builds without the feature `compression`.

use std::{convert::Infallible, future::Ready};

use http::{HeaderMap, Response};

use crate::{ResponseBody, config::engine::EngineConfig};

/// Not public API. Always returns `None`.
#[doc(hidden)]
pub fn __preferred_coding(_: &HeaderMap) -> Option<&'static str> {
    None
}

/// Not public API. Always returns `None`.
#[doc(hidden)]
pub fn __encode_once(_: &str, _: &[u8]) -> Option<Vec<u8>> {
    None
}

pub(crate) const fn compresses_responses(_: &EngineConfig) -> bool {
    false
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedCoding(Infallible);

impl AcceptedCoding {
    pub(crate) fn from_headers(_: &HeaderMap, _: &EngineConfig) -> Option<Self> {
        None
    }

    pub(crate) fn apply(self, _: Response<ResponseBody>) -> Ready<Response<ResponseBody>> {
        match self.0 {}
    }
}
