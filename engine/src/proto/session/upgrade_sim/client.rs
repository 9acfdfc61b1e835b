//! A model of the official client. Unlike the official client, the model continues to poll if its WebSocket
//! fails during the pause.

use super::{Item, Wire};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    #[default]
    None,
    Opening,
    /// `2probe` was sent.
    Sent,
    /// `3probe` was received. The client waits for the poll and the POST in flight, and starts no new
    /// requests.
    Pausing,
    /// `5` was sent, and all packets that follow use the WebSocket.
    Done,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) out: Vec<Item>,
    pub(super) probe: Probe,
    /// The number of the latest WebSocket.
    pub(super) websocket: u32,
    pub(super) sent: u32,
    pub(super) received: u32,
    pub(super) ended: bool,
    polling: bool,
    posting: bool,
    outbox: Vec<String>,
}

impl Client {
    pub(super) fn send(&mut self, count: u8) {
        for _ in 0..count {
            if !self.ended {
                self.outbox.push(format!("4{}", self.sent));
                self.sent += 1;
            }
        }
        self.flush();
    }

    pub(super) fn poll(&mut self) {
        self.polling = true;
        self.out.push(Item::Get);
    }

    pub(super) fn open_websocket(&mut self) {
        if self.probe == Probe::None && !self.ended {
            self.websocket += 1;
            self.probe = Probe::Opening;
            self.out.push(Item::Up(self.websocket, Wire::Open));
        }
    }

    pub(super) fn answered(&mut self, answer: Option<Vec<String>>) {
        self.polling = false;
        match answer {
            Some(packets) => packets.iter().for_each(|packet| self.packet(packet)),
            None => self.ended = true,
        }
        self.go_on();
    }

    pub(super) fn posted(&mut self, ok: bool) {
        self.posting = false;
        self.ended |= !ok;
        self.go_on();
    }

    pub(super) fn read(&mut self, number: u32, wire: Wire) {
        if number != self.websocket || self.probe == Probe::None || self.ended {
            return;
        }
        match (wire, self.probe) {
            (Wire::Open, Probe::Opening) => {
                self.probe = Probe::Sent;
                self.write("2probe");
            }
            (Wire::Packet(packet), Probe::Sent) => {
                assert_eq!(packet, "3probe");
                self.probe = Probe::Pausing;
            }
            (Wire::Packet(packet), Probe::Done) => self.packet(&packet),
            (Wire::End, Probe::Done) => self.ended = true,
            (Wire::End, _) => self.probe = Probe::None,
            (wire, probe) => panic!("{wire:?} while {probe:?}"),
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        let idle = !self.polling && !self.posting;
        match self.probe {
            _ if self.ended => return,
            Probe::Done => {}
            Probe::Pausing if idle => {
                self.write("5");
                self.probe = Probe::Done;
            }
            Probe::Pausing => return,
            _ if !self.polling => self.poll(),
            _ => {}
        }
        self.flush();
    }

    fn packet(&mut self, packet: &str) {
        assert!(!self.ended, "{packet} after the end");
        match packet.split_at(1) {
            ("4", message) => {
                assert_eq!(message, self.received.to_string(), "messages to the client");
                self.received += 1;
            }
            ("2", "") => self.outbox.push("3".into()),
            ("1", "") => self.ended = true,
            ("6", "") => {}
            _ => panic!("{packet} from the server"),
        }
    }

    fn flush(&mut self) {
        if self.ended || self.outbox.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut self.outbox);
        match self.probe {
            Probe::Done => packets.iter().for_each(|packet| self.write(packet)),
            Probe::None | Probe::Opening | Probe::Sent if !self.posting => {
                self.posting = true;
                self.out.extend([Item::PostHead, Item::PostBody(packets)]);
            }
            _ => self.outbox = packets,
        }
    }

    fn write(&mut self, packet: &str) {
        self.out.push(Item::Up(self.websocket, Wire::Packet(packet.into())));
    }
}
