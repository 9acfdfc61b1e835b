//! Replacements for the types of permessage-deflate without the feature `compression`. They are uninhabited,
//! except for [`Slot`].

use std::{collections::VecDeque, convert::Infallible};

use crate::proto::{frame::Frame, websocket::Fault};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Negotiated(pub(crate) Infallible);

impl Negotiated {
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
