//! What stands in for compression without the feature: types that have no values.

use std::{collections::VecDeque, convert::Infallible, future::Ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;

use crate::{
    config::EngineConfig,
    proto::{frame::Frame, websocket::Fault},
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed(Infallible);

impl Agreed {
    pub(crate) fn of(_: &HeaderMap, _: &EngineConfig) -> Option<Self> {
        None
    }

    pub(crate) fn header(self) -> HeaderValue {
        match self.0 {}
    }

    pub(crate) fn deflate(self) -> Deflate {
        match self.0 {}
    }

    pub(crate) fn inflate(self) -> Inflate {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Deflate(Infallible);

impl Deflate {
    pub(crate) fn compress(&mut self, _: &mut VecDeque<Frame>) -> usize {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Inflate(Infallible);

impl Inflate {
    pub(crate) fn inflate(&mut self, _: &[u8], _: usize) -> Result<Vec<u8>, Fault> {
        match self.0 {}
    }
}

pub(crate) type Slot = ();

/// Not public API.
#[doc(hidden)]
pub fn __preferred_coding(_: &HeaderMap) -> Option<&'static str> {
    None
}

/// Not public API.
#[doc(hidden)]
pub fn __encode_once(_: &str, _: &[u8]) -> Option<Vec<u8>> {
    None
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted(Infallible);

impl Wanted {
    pub(crate) fn of(_: &HeaderMap, _: &EngineConfig) -> Option<Self> {
        None
    }

    pub(crate) fn apply(self, _: Response<Full<Bytes>>) -> Ready<Response<Full<Bytes>>> {
        match self.0 {}
    }
}
