//! A minimal server that shows the lower bound of the cost. It has one thread and one epoll instance, and
//! makes one read and one write per batch of input. It distinguishes WebSocket from HTTP, validates UTF-8,
//! parses the JSON, and sends back what it received. It has no limits, heartbeats, timeouts or API. The
//! difference between another server and the floor is the cost of that server's own code.
//!
//! `PORT=3000 floor` listens on 127.0.0.1.

mod http;
mod protocol;
mod wire;

use std::{
    env,
    io::{ErrorKind, Read as _},
    mem,
    net::Ipv4Addr,
};

use mio::{Events, Interest, Poll, Token, net::TcpListener};

use crate::{protocol::Server, wire::Wire};

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(512);
    let mut buffer = vec![0; READ_BUFFER];
    let mut server = Server::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut server)?;
                continue;
            }
            let Token(id) = event.token();
            if event.is_writable()
                && let Some(wire) = server.wires.get_mut(id)
            {
                wire.flush();
            }
            if event.is_readable() || event.is_read_closed() {
                read(&mut server, id, event.is_read_closed(), &mut buffer);
            }
        }
        server.end_of_turn();
    }
}

fn accept(listener: &TcpListener, poll: &Poll, server: &mut Server) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nodelay(true)?;
        let id = server.wires.next_id();
        poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
        server.wires.insert(id, Wire::new(stream));
    }
}

/// Reads until the socket is drained. Edge-triggered events report only new bytes.
fn read(server: &mut Server, id: usize, to_end: bool, buffer: &mut [u8]) {
    while let Some(wire) = server.wires.get_mut(id) {
        let length = match wire.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => return server.close(id),
            Ok(length) => length,
        };
        let mut input = mem::take(&mut wire.input);
        let used = if input.is_empty() {
            let used = server.received(id, &mut buffer[..length]);
            input.extend_from_slice(used.map_or(&[], |used| &buffer[used..length]));
            used
        } else {
            input.extend_from_slice(&buffer[..length]);
            let used = server.received(id, &mut input);
            input.drain(..used.unwrap_or(0));
            used
        };
        match server.wires.get_mut(id) {
            _ if used.is_none() => server.close(id),
            Some(wire) => wire.input = input,
            None => {}
        }
        if length < buffer.len() && !to_end {
            return;
        }
    }
}
