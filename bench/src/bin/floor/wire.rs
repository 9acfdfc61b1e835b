//! TCP connections in numbered slots.

use std::{collections::VecDeque, io::Write as _, rc::Rc};

use mio::net::TcpStream;

/// A TCP connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// Bytes read but not yet consumed.
    pub(crate) input: Vec<u8>,
    /// Buffers that the kernel did not accept completely, each with the number of bytes already written.
    output: VecDeque<(Rc<[u8]>, usize)>,
    /// The session of the WebSocket or of the pending poll.
    pub(crate) session: Option<usize>,
    pub(crate) is_websocket: bool,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), output: VecDeque::new(), session: None, is_websocket: false }
    }

    /// Writes bytes, and queues a copy of those that the kernel does not accept.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let sent = if self.output.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        if sent < bytes.len() {
            self.output.push_back((bytes[sent..].into(), 0));
        }
    }

    /// Writes a shared buffer, and queues it if the kernel does not accept all of it.
    pub(crate) fn send_shared(&mut self, bytes: &Rc<[u8]>) {
        let sent = if self.output.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        if sent < bytes.len() {
            self.output.push_back((Rc::clone(bytes), sent));
        }
    }

    /// Writes queued bytes when the socket becomes writable.
    pub(crate) fn flush(&mut self) {
        while let Some((bytes, written)) = self.output.front_mut() {
            *written += self.stream.write(&bytes[*written..]).unwrap_or(0);
            if *written < bytes.len() {
                return;
            }
            self.output.pop_front();
        }
        if self.output.capacity() > 0 {
            self.output = VecDeque::new();
        }
    }
}

/// A slab. Freed ids are reused.
pub(crate) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Returns the id to pass to the next call of [`Slots::insert`].
    pub(crate) fn next_id(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    pub(crate) fn insert(&mut self, id: usize, value: T) {
        self.slots[id] = Some(value);
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut T> {
        self.slots.get_mut(id)?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<T> {
        let value = self.slots.get_mut(id)?.take()?;
        self.free.push(id);
        Some(value)
    }
}
