//! Clients with a low cost: each has one stream and sends as few bytes as the protocol permits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::sleep,
};

use crate::Failure;

/// The number of connections per client address. An address has 28,000 ports.
const PER_ADDRESS: usize = 4000;
const RECEIVE_BUFFER: u32 = 64 * 1024;
const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Opens a connection from an address that has a free port.
    async fn connect(server: SocketAddr, number: usize) -> Result<Self, Failure> {
        let socket = TcpSocket::new_v4()?;
        // Prevents automatic growth of the buffer, which would vary how much a client that does not read
        // receives.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let host = u8::try_from(2 + number / PER_ADDRESS)?;
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Opens a session over WebSocket, in the namespace `/`.
    pub(crate) async fn websocket(server: SocketAddr, number: usize) -> Result<Self, Failure> {
        let mut client = Self::connect(server, number).await?;
        client.stream.write_all(UPGRADE.as_bytes()).await?;
        client.head().await?;
        client.frame().await?;
        client.send("40").await?;
        let answer = client.frame().await?;
        if answer.starts_with("40") { Ok(client) } else { Err(answer.into()) }
    }

    /// Opens a session over long-polling in the namespace `/`, and parks a poll.
    pub(crate) async fn polling(server: SocketAddr, number: usize) -> Result<Self, Failure> {
        let mut client = Self::connect(server, number).await?;
        let open = client.request("GET", "", "").await?;
        let sid = open.split('"').nth(3).ok_or("no session")?.to_owned();
        client.request("POST", &sid, "40").await?;
        client.request("GET", &sid, "").await?;
        client.start("GET", &sid, "").await?;
        Ok(client)
    }

    async fn request(&mut self, method: &str, sid: &str, body: &str) -> Result<String, Failure> {
        self.start(method, sid, body).await?;
        let head = self.head().await?;
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len: usize = len.ok_or("no length")?.parse()?;
        let body = String::from_utf8(self.take(len).await?)?;
        if head.starts_with("HTTP/1.1 200") { Ok(body) } else { Err(head.into()) }
    }

    async fn start(&mut self, method: &str, sid: &str, body: &str) -> Result<(), Failure> {
        let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
        let len = body.len();
        let request = format!(
            "{method} /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len}\r\n\r\n{body}"
        );
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    async fn head(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(at) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(String::from_utf8(self.take(at + 4).await?)?);
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        while self.received.len() < len {
            self.read().await?;
        }
        let taken = self.received.drain(..len).collect();
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        Ok(taken)
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let read = self.stream.read_buf(&mut self.received).await?;
        if read == 0 { Err("the server has closed the connection".into()) } else { Ok(()) }
    }

    /// Reads the next frame. A cancelled call may lose a part of the frame.
    pub(crate) async fn frame(&mut self) -> Result<String, Failure> {
        let head = self.take(2).await?;
        let len = match head[1] {
            127 => {
                let len: [u8; 8] = self.take(8).await?.try_into().map_err(|_| "a length")?;
                usize::try_from(u64::from_be_bytes(len))?
            }
            126 => usize::from(u16::from_be_bytes([self.take(1).await?[0], self.take(1).await?[0]])),
            len => usize::from(len),
        };
        Ok(String::from_utf8(self.take(len).await?)?)
    }

    /// Sends a short text packet.
    pub(crate) async fn send(&mut self, text: &str) -> Result<(), Failure> {
        let len = u8::try_from(text.len())?;
        // A mask of zeros does not change the payload.
        let frame = [&[0x81, 0x80 | len, 0, 0, 0, 0], text.as_bytes()].concat();
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Reads at most `bytes` after each pause, until the connection ends.
    pub(crate) async fn trickle(mut self, bytes: usize, pause: Duration) -> Result<(), Failure> {
        let mut buffer = vec![0; bytes];
        while self.stream.read(&mut buffer).await? > 0 {
            sleep(pause).await;
        }
        Ok(())
    }

    /// Reads until the connection ends, and responds to pings. Adds a permit when this number of acknowledgements was
    /// received, or when the connection has ended before.
    pub(crate) async fn read_all(
        mut self,
        acknowledgements: usize,
        all: Arc<Semaphore>,
    ) -> Result<(), Failure> {
        let received = self.acknowledgements(acknowledgements).await;
        all.add_permits(1);
        received?;
        self.idle().await
    }

    async fn acknowledgements(&mut self, mut count: usize) -> Result<(), Failure> {
        while count > 0 {
            match self.frame().await? {
                ping if ping == "2" => self.send("3").await?,
                packet => count -= usize::from(packet.starts_with("43")),
            }
        }
        Ok(())
    }

    /// Responds to pings until the connection ends.
    pub(crate) async fn idle(mut self) -> Result<(), Failure> {
        loop {
            if self.frame().await? == "2" {
                self.send("3").await?;
            }
        }
    }
}
