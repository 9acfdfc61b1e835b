//! What the page and the server say to each other: the events and what they carry.

use serde::{Deserialize, Serialize};
use socketio::TypedEvent;

// What the page sends:
pub(crate) const JOIN: TypedEvent<Join> = TypedEvent::new("join");
pub(crate) const SAY: TypedEvent<Say> = TypedEvent::new("say");
pub(crate) const TYPING: TypedEvent<Typing> = TypedEvent::new("typing");

// What it receives:
pub(crate) const ROOM: TypedEvent<RoomState> = TypedEvent::new("room");
pub(crate) const SAID: TypedEvent<Message> = TypedEvent::new("said");
pub(crate) const JOINED: TypedEvent<Member> = TypedEvent::new("joined");
pub(crate) const LEFT: TypedEvent<Member> = TypedEvent::new("left");
pub(crate) const IS_TYPING: TypedEvent<String> = TypedEvent::new("is_typing");
pub(crate) const ROOMS: TypedEvent<Vec<RoomInfo>> = TypedEvent::new("rooms");

#[derive(Deserialize)]
pub(crate) struct Auth {
    pub(crate) nickname: String,
}

#[derive(Deserialize)]
pub(crate) struct Join {
    pub(crate) room: String,
}

#[derive(Deserialize)]
pub(crate) struct Say {
    pub(crate) room: String,
    pub(crate) text: String,
    /// Chosen by the page, which repeats a message whose acknowledgement was lost: it must not be heard twice.
    pub(crate) key: String,
}

#[derive(Deserialize)]
pub(crate) struct Typing {
    pub(crate) room: String,
}

/// A room as somebody finds it who comes in.
#[derive(Serialize)]
pub(crate) struct RoomState {
    pub(crate) room: String,
    pub(crate) members: Vec<Member>,
    pub(crate) history: Vec<Message>,
    pub(crate) rooms: Vec<RoomInfo>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) nickname: String,
}

#[derive(Clone, Serialize)]
pub(crate) struct Message {
    /// Grows with every message, across restarts too: the page tells by it what it has shown already.
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    #[serde(skip)]
    pub(crate) key: String,
}

#[derive(Serialize)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) at: u64,
}

#[derive(Serialize)]
pub(crate) struct RoomInfo {
    pub(crate) name: String,
    pub(crate) members: usize,
}
