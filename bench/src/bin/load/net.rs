//! The event loop. One thread drives the sockets that an [`Actor`] opens, writes to and closes.

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

/// The maximum duration of a run, in addition to `Job::wait`. A longer run means that the server has lost a
/// message.
const LONGEST: Duration = Duration::from_mins(1);
const READ_BUFFER: usize = 256 * 1024;

/// The behavior of the clients.
pub(crate) trait Actor {
    /// Called when a connection is established.
    fn connected(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()>;

    /// Called with the received bytes, which begin with those that the last call did not consume. Returns the
    /// number of bytes consumed.
    fn received(&mut self, net: &mut Net, id: usize, bytes: &[u8]) -> anyhow::Result<usize>;

    /// Called when the server has closed a connection. Its `id` may be reused.
    fn closed(&mut self, net: &mut Net, id: usize) -> anyhow::Result<()>;

    /// Called once per turn of the event loop.
    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()>;

    /// Returns `true` if every operation has completed. After the measurement no operation may start, but
    /// pending ones are awaited.
    fn has_all(&self) -> bool;
}

/// The sockets, the clock and the meter.
pub(crate) struct Net {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Ids to be reused after the current turn, which may still contain events of the closed sockets.
    freed: Vec<usize>,
    server: SocketAddrV4,
    opened: usize,
    sleep: bool,
    now: u64,
    end: u64,
    /// `true` when the measurement is over.
    pub(crate) over: bool,
    pub(crate) meter: Meter,
}

struct Connection {
    stream: TcpStream,
    stands: bool,
    /// Bytes read but not yet consumed.
    input: Vec<u8>,
    /// Bytes that the kernel did not accept.
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

    /// Returns the time of the last event in nanoseconds since the beginning of the run.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Opens a connection. Its id is the lowest one that was never used, or the id of a closed connection.
    pub(crate) fn open(&mut self) -> anyhow::Result<usize> {
        self.open_to(self.server.port())
    }

    /// Opens a connection to another port than that of the job.
    pub(crate) fn open_to(&mut self, port: u16) -> anyhow::Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("a new socket")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Connections use many source addresses, because one address has only 28,000 ports and a used port is
        // blocked for a minute.
        let [.., third, fourth] = (self.opened % 0xf000 + 0x101).to_be_bytes();
        self.opened += 1;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 0, third, fourth), 0).into()).context("bind")?;
        if let Err(error) = socket.connect(&SocketAddrV4::new(*self.server.ip(), port).into())
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

    /// Closes a connection if it is open.
    pub(crate) fn close(&mut self, id: usize) {
        if self.connections.get_mut(id).and_then(Option::take).is_some() {
            self.freed.push(id);
        }
    }

    /// Writes bytes, or queues them until the socket is writable. Write errors are detected by the next read.
    pub(crate) fn send(&mut self, id: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(id) else { return };
        let mut sent = 0;
        if connection.output.is_empty() {
            sent = connection.stream.write(bytes).unwrap_or(0);
        }
        connection.output.extend_from_slice(&bytes[sent..]);
    }

    /// Runs until the measurement is over and all operations have completed.
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

    /// Reads until the socket is drained. Edge-triggered events report only new bytes.
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
                // Frees the buffer. Keeping the buffers of all connections would exceed the memory of the
                // machine.
                connection.input = if rest.is_empty() { Vec::new() } else { rest };
            }
            if length < buffer.len() && !to_end {
                return Ok(());
            }
        }
        Ok(())
    }
}
