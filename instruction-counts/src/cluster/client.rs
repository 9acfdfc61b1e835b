//! A WebSocket client that expects known packets.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    hot_paths::{UPGRADE, masked},
    valgrind::Failure,
};

const TEXT: u8 = 1;
/// The time within which a server must respond.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects a socket.
    pub(super) fn connect(server: SocketAddr) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(UPGRADE)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(0);
            let at = head.len() - 1;
            stream.read_exact(&mut head[at..])?;
        }
        let mut client = Self { stream };
        client.expect("0{")?;
        client.ask("40", "40{")?;
        Ok(client)
    }

    pub(super) fn send(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.stream.write_all(&masked(TEXT, text.as_bytes()))?)
    }

    /// Sends a packet, and reads the response, which must start with the given text.
    pub(super) fn ask(&mut self, text: &str, start: &str) -> Result<(), Failure> {
        self.send(text)?;
        self.expect(start)
    }

    /// Reads a packet, which must be the given one.
    pub(super) fn take(&mut self, expected: &str) -> Result<(), Failure> {
        let text = self.packet()?;
        if text == expected { Ok(()) } else { Err(format!("instead of {expected}: {text}").into()) }
    }

    fn expect(&mut self, start: &str) -> Result<(), Failure> {
        let text = self.packet()?;
        if text.starts_with(start) { Ok(()) } else { Err(format!("instead of {start}: {text}").into()) }
    }

    /// Reads the next packet, and responds to pings.
    fn packet(&mut self) -> Result<String, Failure> {
        loop {
            let [mut head, mut long] = [[0; 2]; 2];
            self.stream.read_exact(&mut head)?;
            let mut len = usize::from(head[1]);
            if len == 126 {
                self.stream.read_exact(&mut long)?;
                len = u16::from_be_bytes(long).into();
            }
            let mut payload = vec![0; len];
            self.stream.read_exact(&mut payload)?;
            let text = String::from_utf8(payload)?;
            if text != "2" {
                return Ok(text);
            }
            self.send("3")?;
        }
    }
}
