//! Disconnects of sockets while other sockets stay connected.

use bench::{
    frame::{self, CLOSE},
    job::Job,
};

use crate::{meter::nanoseconds, net::Net, sockets::Scenario};

/// The number of concurrent disconnects.
const AT_ONCE: usize = 16;
/// Seconds to wait for work that the server does after closing a connection.
const AFTERWARDS: f64 = 0.1;

/// Disconnects the first sockets, a few at a time.
pub(crate) struct Disconnect {
    leaving: usize,
    asked: usize,
    gone: usize,
    end: u64,
    close: Vec<u8>,
}

impl Disconnect {
    pub(crate) fn new(job: &Job) -> Self {
        Self { leaving: job.connections, asked: 0, gone: 0, end: u64::MAX, close: close_frame() }
    }
}

/// Returns the close frame that a browser sends when the user leaves the page.
pub(crate) fn close_frame() -> Vec<u8> {
    let mut close = Vec::new();
    frame::write_masked(&mut close, CLOSE, &1001_u16.to_be_bytes());
    close
}

impl Scenario for Disconnect {
    fn start(&mut self, net: &mut Net) -> anyhow::Result<()> {
        net.meter.start()
    }

    fn message(&mut self, _net: &mut Net, socket: usize, _opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        anyhow::bail!("socket {socket} got {}", String::from_utf8_lossy(payload))
    }

    fn read_all(&mut self, _net: &mut Net, _socket: usize) {}

    fn turn(&mut self, net: &mut Net) -> anyhow::Result<()> {
        while self.asked < self.leaving && self.asked - self.gone < AT_ONCE {
            net.send(self.asked, &self.close);
            self.asked += 1;
        }
        if net.now() >= self.end { net.meter.stop() } else { Ok(()) }
    }

    fn closed(&mut self, net: &mut Net, socket: usize) -> anyhow::Result<()> {
        anyhow::ensure!(socket < self.asked, "the server closed socket {socket}");
        self.gone += 1;
        net.meter.operations(1);
        if self.gone == self.leaving {
            self.end = net.now() + nanoseconds(AFTERWARDS);
        }
        Ok(())
    }
}
