//! The namespace `/`: admission, event handlers, and the state of the rooms.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use socketio::{
    Ack, ConnectError, DisconnectReason, EmitError, EventError, Handshake, Namespace, Server, Socket,
};
use tokio::{sync::Notify, time::sleep};

use crate::events::{
    Auth, IS_TYPING, JOIN, JOINED, Join, LEFT, Member, Message, ROOM, ROOMS, Receipt, RoomInfo, RoomState,
    SAID, SAY, Say, TYPING, Typing,
};

// Lengths in characters.
const MAX_NICKNAME: usize = 24;
const MAX_ROOM_NAME: usize = 32;
const MAX_TEXT: usize = 2_000;
const MAX_KEY: usize = 64;

const MAX_ROOMS: usize = 100;
const MAX_MEMBERS: usize = 200; // Per room.
const MAX_HISTORY: usize = 50; // Messages per room.

/// The state shared by all connections.
#[derive(Default)]
pub(crate) struct Chat {
    /// Locked while events are emitted, which never blocks. All members therefore see the messages of a room
    /// in the order of its history, and a new member receives each message once: in the history or after it.
    rooms: Mutex<Rooms>,
    changed: Notify,
}

/// The data of each socket.
pub(crate) struct Person {
    chat: Arc<Chat>,
    nickname: String,
}

pub(crate) fn namespace(chat: Arc<Chat>) -> Namespace<Person> {
    Namespace::with_auth("/", async move |handshake: Handshake| {
        let auth: Auth = handshake.auth()?;
        let nickname = one_line("A nickname", &auth.nickname, MAX_NICKNAME).map_err(ConnectError::new)?;
        Ok::<_, ConnectError>(Person { chat, nickname })
    })
    .on(JOIN, join)
    .on(SAY, say)
    .on(TYPING, typing)
    .on_disconnect(async |socket: Socket<Person>, _: DisconnectReason| {
        let chat = &socket.data().chat;
        chat.rooms.lock().leave(&socket).unwrap_or_else(|error| eprintln!("chat: {error}"));
        chat.changed.notify_one();
    })
}

/// Broadcasts the list of rooms after it has changed, at most four times per second.
pub(crate) async fn announce_rooms(chat: Arc<Chat>, io: Server) {
    loop {
        chat.changed.notified().await;
        let rooms = chat.rooms.lock().list();
        io.emit(ROOMS, &rooms).unwrap_or_else(|error| eprintln!("chat: {error}"));
        sleep(Duration::from_millis(250)).await;
    }
}

/// Joins a room and leaves the previous one. Joining the same room again only sends its state.
async fn join(socket: Socket<Person>, wish: Join) -> Result<(), EventError> {
    let Person { chat, nickname } = socket.data();
    let name = one_line("A room name", &wish.room, MAX_ROOM_NAME).map_err(EventError::public)?;
    let mut rooms = chat.rooms.lock();
    if rooms.of_member(&name, socket.id()).is_none() {
        rooms.make_space(&name)?;
        rooms.leave(&socket)?;
        // Fails if the socket has disconnected. Its `on_disconnect` may already have run, so the member added
        // below would never be removed.
        socket.join(channel(&name))?;
        let member = Member { id: socket.id().to_owned(), nickname: nickname.clone() };
        socket.to(channel(&name)).emit(JOINED, &member)?;
        rooms.by_name.entry(name.clone()).or_default().members.insert(member.id.clone(), member);
        chat.changed.notify_one();
    }
    // The state is sent as an event, because only events emitted under the lock keep their order.
    socket.emit(ROOM, &rooms.state(name))?;
    Ok(())
}

async fn say(socket: Socket<Person>, wish: Say) -> Result<Ack<Receipt>, EventError> {
    let Person { chat, nickname } = socket.data();
    let text = checked("A message", &wish.text, MAX_TEXT).map_err(EventError::public)?;
    let key = checked("A message key", &wish.key, MAX_KEY).map_err(EventError::public)?;
    let mut rooms = chat.rooms.lock();
    let id = rooms.next_id();
    let Some(room) = rooms.of_member(&wish.room, socket.id()) else {
        return Err(EventError::public("You are not in this room."));
    };
    if let Some(known) = room.history.iter().find(|known| known.key == key && known.from == *nickname) {
        return Ok(Ack(Receipt { id: known.id, at: known.at }));
    }
    let message = Message { id, from: nickname.clone(), text, at: now().as_millis() as u64, key };
    let receipt = Receipt { id, at: message.at };
    socket.to(channel(&wish.room)).emit(SAID, &message)?;
    if room.history.len() == MAX_HISTORY {
        room.history.pop_front();
    }
    room.history.push_back(message);
    Ok(Ack(receipt))
}

async fn typing(socket: Socket<Person>, wish: Typing) -> Result<(), EventError> {
    let Person { chat, nickname } = socket.data();
    if chat.rooms.lock().of_member(&wish.room, socket.id()).is_some() {
        socket.to(channel(&wish.room)).volatile().emit(IS_TYPING, nickname)?;
    }
    Ok(())
}

#[derive(Default)]
struct Rooms {
    by_name: BTreeMap<String, Room>,
    last_id: u64,
}

#[derive(Default)]
struct Room {
    /// Keyed by socket id.
    members: BTreeMap<String, Member>,
    history: VecDeque<Message>,
}

impl Rooms {
    /// Returns the room if the socket is a member.
    fn of_member(&mut self, name: &str, id: &str) -> Option<&mut Room> {
        self.by_name.get_mut(name).filter(|room| room.members.contains_key(id))
    }

    /// Makes sure that the room can be joined. An empty room keeps its history until its place is needed for
    /// a new room.
    fn make_space(&mut self, name: &str) -> Result<(), EventError> {
        match self.by_name.get(name) {
            Some(room) if room.members.len() < MAX_MEMBERS => return Ok(()),
            Some(_) => return Err(EventError::public("This room is full.")),
            None if self.by_name.len() < MAX_ROOMS => return Ok(()),
            None => {}
        }
        let mut empty = self.by_name.iter().filter(|(_, room)| room.members.is_empty());
        let Some(empty) = empty.next().map(|(name, _)| name.clone()) else {
            return Err(EventError::public("There are too many rooms, please take one of them."));
        };
        self.by_name.remove(&empty);
        Ok(())
    }

    /// Removes the socket from its room and notifies the other members.
    fn leave(&mut self, socket: &Socket<Person>) -> Result<(), EmitError> {
        for (name, room) in &mut self.by_name {
            if let Some(member) = room.members.remove(socket.id()) {
                socket.leave(&channel(name));
                socket.to(channel(name)).emit(LEFT, &member)?;
            }
        }
        Ok(())
    }

    fn state(&self, name: String) -> RoomState {
        let (members, history) = match self.by_name.get(&name) {
            Some(room) => (room.members.values().cloned().collect(), room.history.iter().cloned().collect()),
            None => (Vec::new(), Vec::new()),
        };
        RoomState { room: name, members, history, rooms: self.list() }
    }

    fn list(&self) -> Vec<RoomInfo> {
        let taken = self.by_name.iter().filter(|(_, room)| !room.members.is_empty());
        taken.map(|(name, room)| RoomInfo { name: name.clone(), members: room.members.len() }).collect()
    }

    fn next_id(&mut self) -> u64 {
        // Based on the clock in microseconds, which exceeds all ids of earlier runs and fits into a
        // JavaScript number.
        self.last_id = (self.last_id + 1).max(now().as_micros() as u64);
        self.last_id
    }
}

/// Returns the Socket.IO room of a chat room. The `#` prevents users from joining the private room that each
/// socket has under its own id, where they could read events meant for another user.
fn channel(room: &str) -> String {
    format!("#{room}")
}

/// Like `checked`, but also rejects control characters such as line breaks.
fn one_line(what: &str, text: &str, max: usize) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err(format!("{what} cannot contain control characters."));
    }
    checked(what, text, max)
}

/// Returns the text without surrounding white space, or an error message if its length is invalid.
fn checked(what: &str, text: &str, max: usize) -> Result<String, String> {
    let text = text.trim();
    if (1..=max).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{what} has 1 to {max} characters."))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
