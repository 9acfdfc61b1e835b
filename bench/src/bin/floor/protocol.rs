//! The subset of Engine.IO and Socket.IO that the load generator uses.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    rc::Rc,
};

use bench::frame::{self, BINARY, CLOSE, PING, PONG, TEXT};
use serde_json::value::RawValue;

use crate::{
    http::{self, Asks, Parsed, Request},
    wire::{Slots, Wire},
};

const ROOM: &str = "r";
/// The separator between packets in the body of a poll.
const SEPARATOR: u8 = 0x1e;

/// The state of the server.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) wires: Slots<Wire>,
    sessions: Slots<Session>,
    by_sid: HashMap<Box<str>, usize>,
    rooms: HashMap<Box<str>, BTreeSet<usize>>,
    opened: u64,
    /// Frames to write to the current connection after its input has been processed.
    reply: Vec<u8>,
    /// Events published in this turn of the event loop, encoded as frames. `news_of_polls` has the same
    /// events as packets.
    news: Vec<u8>,
    news_of_polls: Vec<u8>,
}

#[derive(Default)]
struct Session {
    sid: Box<str>,
    websocket: Option<usize>,
    pending_poll: Option<usize>,
    /// Packets to be sent with the next poll.
    outbox: Vec<u8>,
    rooms: Vec<Box<str>>,
    /// The text packet of a binary event whose attachment has not arrived yet.
    incomplete: Vec<u8>,
}

impl Server {
    /// Processes received bytes. Returns the number of bytes consumed, or `None` if the connection must be
    /// closed.
    pub(crate) fn received(&mut self, wire: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let is_websocket = self.wires.get_mut(wire)?.is_websocket;
            let step = if is_websocket {
                self.frames(wire, &mut bytes[used..])?
            } else {
                match http::parse(&bytes[used..]) {
                    Parsed::Request(request) => self.request(wire, &request)?,
                    Parsed::Partial => 0,
                    Parsed::Invalid => return None,
                }
            };
            if step == 0 {
                break;
            }
            used += step;
        }
        Some(used)
    }

    fn frames(&mut self, wire: usize, bytes: &mut [u8]) -> Option<usize> {
        let session = self.wires.get_mut(wire)?.session?;
        let mut used = 0;
        let mut open = true;
        while open && let Some(found) = frame::read(&bytes[used..]) {
            let payload = &mut bytes[used..][found.payload.clone()];
            used += found.payload.end;
            frame::unmask(payload, found.mask?);
            match found.opcode {
                TEXT => open = self.packet(session, Some(wire), payload).is_some(),
                BINARY => {
                    let event = mem::take(&mut self.sessions.get_mut(session)?.incomplete);
                    frame::write(&mut self.reply, TEXT, &event);
                    frame::write(&mut self.reply, BINARY, payload);
                }
                PING => frame::write(&mut self.reply, PONG, payload),
                CLOSE => {
                    frame::write(&mut self.reply, CLOSE, payload);
                    open = false;
                }
                _ => {}
            }
        }
        if !self.reply.is_empty() {
            self.wires.get_mut(wire)?.send(&self.reply);
            self.reply.clear();
        }
        open.then_some(used)
    }

    /// Processes a packet. `None` closes the connection.
    fn packet(&mut self, session: usize, websocket: Option<usize>, packet: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(packet).ok()?;
        match text.as_bytes() {
            b"2probe" => {
                frame::write(&mut self.reply, TEXT, b"3probe");
                self.send_poll(session, b"6");
            }
            b"5" => self.sessions.get_mut(session)?.websocket = websocket,
            b"40" => {
                self.join(session, ROOM);
                let sid = &self.sessions.get_mut(session)?.sid;
                let packet = format!(r#"40{{"sid":"{sid}"}}"#);
                self.answer(session, websocket, packet.as_bytes());
            }
            [b'4', b'2', ..] => self.event(session, websocket, &text[2..])?,
            [b'4', b'5', ..] => self.sessions.get_mut(session)?.incomplete = packet.into(),
            _ => {}
        }
        Some(())
    }

    fn event(&mut self, session: usize, websocket: Option<usize>, event: &str) -> Option<()> {
        let digits = event.bytes().take_while(u8::is_ascii_digit).count();
        let (id, array) = event.split_at(digits);
        let (name, argument): (&str, &RawValue) = serde_json::from_str(array).ok()?;
        let argument = argument.get();
        let mut packet = Vec::with_capacity(argument.len() + 16);
        let write = |packet: &mut Vec<u8>, parts: &[&str]| {
            for part in parts {
                packet.extend_from_slice(part.as_bytes());
            }
        };
        match name {
            "echo" => write(&mut packet, &[r#"42["echo","#, argument, "]"]),
            "ack" => write(&mut packet, &["43", id, "[", argument, "]"]),
            "join" => {
                self.join(session, serde_json::from_str(argument).ok()?);
                write(&mut packet, &["43", id, "[]"]);
            }
            "leave" => {
                self.leave(session, serde_json::from_str(argument).ok()?);
                write(&mut packet, &["43", id, "[]"]);
            }
            "publish" => {
                write(&mut packet, &[r#"42["news","#, argument, "]"]);
                frame::write(&mut self.news, TEXT, &packet);
                append(&mut self.news_of_polls, &packet);
                return Some(());
            }
            _ => return None,
        }
        self.answer(session, websocket, &packet);
        Some(())
    }

    fn answer(&mut self, session: usize, websocket: Option<usize>, packet: &[u8]) {
        if websocket.is_some() {
            frame::write(&mut self.reply, TEXT, packet);
        } else {
            self.send_poll(session, packet);
        }
    }

    fn send_poll(&mut self, session: usize, packets: &[u8]) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        append(&mut session.outbox, packets);
        if let Some(wire) = session.pending_poll.take().and_then(|wire| self.wires.get_mut(wire)) {
            wire.send(&http::ok(&session.outbox));
            session.outbox.clear();
        }
    }

    fn join(&mut self, session: usize, room: &str) {
        let Some(Session { rooms, .. }) = self.sessions.get_mut(session) else { return };
        rooms.push(room.into());
        self.rooms.entry(room.into()).or_default().insert(session);
    }

    fn leave(&mut self, session: usize, room: &str) {
        if let Some(Session { rooms, .. }) = self.sessions.get_mut(session) {
            rooms.retain(|other| **other != *room);
        }
        if let Some(members) = self.rooms.get_mut(room) {
            members.remove(&session);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn request(&mut self, wire: usize, request: &Request<'_>) -> Option<usize> {
        let session = match request.sid {
            Some(sid) => *self.by_sid.get(sid)?,
            None => self.open(),
        };
        match request.asks {
            Asks::WebSocket(key) => {
                let mut answer = http::switching(key).into_bytes();
                if request.sid.is_none() {
                    self.sessions.get_mut(session)?.websocket = Some(wire);
                    frame::write(&mut answer, TEXT, self.open_packet(session)?.as_bytes());
                }
                let wire = self.wires.get_mut(wire)?;
                wire.session = Some(session);
                wire.is_websocket = true;
                wire.send(&answer);
            }
            Asks::Poll if request.sid.is_none() => {
                let answer = http::ok(self.open_packet(session)?.as_bytes());
                self.wires.get_mut(wire)?.send(&answer);
            }
            Asks::Poll => {
                let polled = self.sessions.get_mut(session)?;
                let wire_id = wire;
                let wire = self.wires.get_mut(wire)?;
                if polled.outbox.is_empty() {
                    polled.pending_poll = Some(wire_id);
                } else {
                    wire.send(&http::ok(&polled.outbox));
                    polled.outbox.clear();
                }
            }
            Asks::Post(body) => {
                for packet in body.split(|byte| *byte == SEPARATOR) {
                    self.packet(session, None, packet)?;
                }
                self.wires.get_mut(wire)?.send(&http::ok(b"ok"));
            }
        }
        Some(request.length)
    }

    fn open(&mut self) -> usize {
        self.opened += 1;
        let sid: Box<str> = format!("{:020}", self.opened).into();
        let id = self.sessions.next_id();
        self.by_sid.insert(sid.clone(), id);
        self.sessions.insert(id, Session { sid, ..Session::default() });
        id
    }

    fn open_packet(&mut self, session: usize) -> Option<String> {
        let sid = &self.sessions.get_mut(session)?.sid;
        Some(format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        ))
    }

    /// Sends the published events to all sessions, with one write per session.
    pub(crate) fn end_of_turn(&mut self) {
        if self.news.is_empty() {
            return;
        }
        let frames: Rc<[u8]> = mem::take(&mut self.news).into();
        let packets = mem::take(&mut self.news_of_polls);
        let members = mem::take(self.rooms.entry(ROOM.into()).or_default());
        for &member in &members {
            match self.sessions.get_mut(member).map(|session| session.websocket) {
                Some(Some(wire)) => {
                    if let Some(wire) = self.wires.get_mut(wire) {
                        wire.send_shared(&frames);
                    }
                }
                _ => self.send_poll(member, &packets),
            }
        }
        self.rooms.insert(ROOM.into(), members);
    }

    /// Removes a connection, and its session if the connection was the session's WebSocket.
    pub(crate) fn close(&mut self, wire: usize) {
        self.reply.clear();
        let Some(Wire { session: Some(id), .. }) = self.wires.remove(wire) else { return };
        let Some(session) = self.sessions.remove(id) else { return };
        self.by_sid.remove(&session.sid);
        for room in session.rooms {
            self.leave(id, &room);
        }
    }
}

fn append(packets: &mut Vec<u8>, packet: &[u8]) {
    if !packets.is_empty() {
        packets.push(SEPARATOR);
    }
    packets.extend_from_slice(packet);
}
