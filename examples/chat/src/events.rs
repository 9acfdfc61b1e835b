//! The events exchanged by the page and the server, and their payloads.

use serde::{Deserialize, Serialize};
use socketio::TypedEvent;

// Events sent by the page.
pub(crate) const JOIN: TypedEvent<Join> = TypedEvent::new("join");
pub(crate) const SAY: TypedEvent<Say> = TypedEvent::new("say");
pub(crate) const TYPING: TypedEvent<Typing> = TypedEvent::new("typing");

// Events received by the page.
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
    /// Chosen by the page. Identifies a message that the page sends again because the acknowledgement was
    /// lost, so that it is delivered only once.
    pub(crate) key: String,
}

#[derive(Deserialize)]
pub(crate) struct Typing {
    pub(crate) room: String,
}

/// The state of a room, sent to a socket that joins it.
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
    /// Increases with every message, even across restarts. The page uses it to detect messages it has already
    /// shown.
    pub(crate) id: u64,
    pub(crate) from: String,
    pub(crate) text: String,
    /// Milliseconds since the Unix epoch.
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
