//! The event loop: one thread, and sockets that an [`Actor`] opens, writes to and closes.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    mem,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bench::job::Job;
use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};
use socket2::{Domain, Socket, Type};

use crate::meter::{Meter, nanoseconds};

/// A run without end is a server that has lost something. What the job says that it waits comes on top.
const LONGEST: Duration = Duration::from_mins(1);
const READ_BUFFER: usize = 256 * 1024;

/// What the clients do.
pub(crate) trait Actor {
    /// A connection stands.
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()>;

    /// Bytes have come, after those that the last call left. Returns how many it needs no longer.
    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize>;

    /// The server has closed a connection; its `id` may be given to another one.
    fn closed(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()>;

    /// Called once in each turn of the loop.
    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// Whether everything was answered. When the time that counts is over, nothing may be begun, but waited for.
    fn has_all(&self) -> bool;
}

/// Sockets by number, the clock, and what is counted.
pub(crate) struct Net {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Given back at the end of a turn: events of the closed socket may still be in this one.
    freed: Vec<usize>,
    server: SocketAddrV4,
    opened: usize,
    sleep: bool,
    now: u64,
    end: u64,
    /// Whether the time that counts is over.
    pub(crate) over: bool,
    pub(crate) meter: Meter,
}

struct Connection {
    stream: TcpStream,
    stands: bool,
    /// Read and not yet used.
    input: Vec<u8>,
    /// What the kernel would not take.
    output: Vec<u8>,
}

impl Net {
    pub(crate) fn new(job: &Job) -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            connections: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            server: SocketAddrV4::new(Ipv4Addr::LOCALHOST, job.port),
            opened: 0,
            sleep: job.sleep,
            now: 0,
            over: false,
            end: LONGEST.as_nanos() as u64 + nanoseconds(job.wait),
            meter: Meter::new(job)?,
        })
    }

    /// Nanoseconds since the beginning, as of the last event.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Begins a connection; its number is the lowest that was never used, or one that was closed.
    pub(crate) fn open(&mut self) -> anyhow::Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("a new socket")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // From one address there are only 28,000 ports, and one that was used is blocked for a minute.
        let [.., third, fourth] = (self.opened % 0xf000 + 0x101).to_be_bytes();
        self.opened += 1;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 0, third, fourth), 0).into()).context("bind")?;
        if let Err(error) = socket.connect(&self.server.into())
            && error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32)
        {
            return Err(error).context("connect");
        }
        let mut stream = TcpStream::from_std(socket.into());
        let id = self.free.pop().unwrap_or(self.connections.len());
        self.poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection { stream, stands: false, input: Vec::new(), output: Vec::new() };
        match self.connections.get_mut(id) {
            Some(place) => *place = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        Ok(id)
    }

    /// Closes a connection, if it is open.
    pub(crate) fn close(&mut self, id: usize) {
        if self.connections.get_mut(id).and_then(Option::take).is_some() {
            self.freed.push(id);
        }
    }

    /// Sends, now or when the kernel has room. What cannot be sent is noticed when the connection is read.
    pub(crate) fn send(&mut self, id: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(id) else { return };
        let mut sent = 0;
        if connection.output.is_empty() {
            sent = connection.stream.write(bytes).unwrap_or(0);
        }
        connection.output.extend_from_slice(&bytes[sent..]);
    }

    /// Plays until the time that counts is over and all is answered.
    pub(crate) fn run(&mut self, actor: &mut impl Actor) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(512);
        let mut buffer = vec![0; READ_BUFFER];
        let timeout = if self.sleep { Duration::from_millis(1) } else { Duration::ZERO };
        self.now = self.meter.now();
        loop {
            let before = self.now;
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            self.now = self.meter.now();
            if events.is_empty() {
                self.meter.idle += self.now - before;
            }
            for event in &events {
                self.event(actor, event, &mut buffer)?;
            }
            self.free.append(&mut self.freed);
            actor.turn(self)?;
            self.over = self.meter.is_over(self.now)?;
            if self.over && actor.has_all() {
                return Ok(());
            }
            ensure!(self.now < self.end, "not done in time: something was lost");
        }
    }

    fn event(&mut self, actor: &mut impl Actor, event: &Event, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Token(id) = event.token();
        let Some(Some(connection)) = self.connections.get_mut(id) else { return Ok(()) };
        if !connection.stands {
            if let Some(error) = connection.stream.take_error()? {
                return Err(error).context("connect");
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(());
            }
            connection.stands = true;
            actor.connected(self, id)?;
        } else if event.is_writable() && !connection.output.is_empty() {
            let sent = connection.stream.write(&connection.output).unwrap_or(0);
            connection.output.drain(..sent);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(actor, id, event.is_read_closed(), buffer)?;
        }
        Ok(())
    }

    /// Reads all there is: the kernel tells of new bytes, not of those that were left.
    fn read(
        &mut self,
        actor: &mut impl Actor,
        id: usize,
        to_end: bool,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        while let Some(Some(connection)) = self.connections.get_mut(id) {
            let length = match connection.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => {
                    self.close(id);
                    return actor.closed(self, id);
                }
                Ok(length) => length,
            };
            self.now = self.meter.now();
            let mut input = mem::take(&mut connection.input);
            let rest = if input.is_empty() {
                let used = actor.received(self, id, &buffer[..length])?;
                input.extend_from_slice(&buffer[used..length]);
                input
            } else {
                input.extend_from_slice(&buffer[..length]);
                let used = actor.received(self, id, &input)?;
                input.drain(..used);
                input
            };
            if let Some(Some(connection)) = self.connections.get_mut(id) {
                // Buffers that were needed once would need more memory than the machine has.
                connection.input = if rest.is_empty() { Vec::new() } else { rest };
            }
            if length < buffer.len() && !to_end {
                return Ok(());
            }
        }
        Ok(())
    }
}
