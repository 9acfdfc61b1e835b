//! The recipients that a client chooses.

use std::time::Duration;

use serde::Deserialize;
use socketio::{BroadcastOperator, Socket};

use crate::state::State;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Target {
    via: Via,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    local: bool,
    /// In milliseconds.
    timeout: Option<u64>,
}

impl Target {
    pub(crate) fn recipients(self, socket: &Socket<State>) -> BroadcastOperator {
        let mut recipients = match self.via {
            Via::Socket => socket.broadcast(),
            Via::Nsp => socket.namespace(),
        };
        for room in self.to {
            recipients = recipients.to(room);
        }
        for room in self.except {
            recipients = recipients.except(room);
        }
        if self.volatile {
            recipients = recipients.volatile();
        }
        if self.local {
            recipients = recipients.local();
        }
        if let Some(timeout) = self.timeout {
            recipients = recipients.timeout(Duration::from_millis(timeout));
        }
        recipients
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// Excludes the sender.
    Socket,
    #[default]
    Nsp,
}

/// The name of a room, or a target.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Where {
    Room(String),
    Target(Target),
}

impl Where {
    pub(crate) fn recipients(self, socket: &Socket<State>) -> BroadcastOperator {
        match self {
            Self::Room(room) => socket.namespace().to(room),
            Self::Target(target) => target.recipients(socket),
        }
    }
}

/// One room or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Rooms {
    One(String),
    Several(Vec<String>),
}

impl Rooms {
    pub(crate) fn names(self) -> Vec<String> {
        match self {
            Self::One(room) => vec![room],
            Self::Several(rooms) => rooms,
        }
    }
}
