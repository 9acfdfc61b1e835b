//! The application under test, an echo with a few commands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use engineio::{Application, CloseReason, Connection, Frame, HandshakeRequest, Message, SessionHandle};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Echoes every message, except for these commands. `close` closes the session, `burst 3` sends `0`, `1` and
/// `2`, `pause` makes all sessions stop accepting messages until [`Latch::open`], `work` pauses the session
/// until its task continues it, `hang` leaves the session with a task that never completes, `known` marks the
/// session as established, and `panic` panics.
///
/// In the query string, `greet` sends a message immediately, `reflect` sends the information about the
/// request, `unknown` marks the session as not established, and `panic` panics.
pub(crate) struct Echo {
    sessions: mpsc::Sender<SessionHandle>,
    ends: mpsc::Sender<CloseReason>,
    pub(crate) gate: Arc<Latch>,
}

impl Echo {
    pub(crate) fn new() -> (Self, mpsc::Receiver<SessionHandle>, mpsc::Receiver<CloseReason>) {
        let (sessions, opened) = mpsc::channel(10_000);
        let (ends, ended) = mpsc::channel(10_000);
        (Self { sessions, ends, gate: Arc::default() }, opened, ended)
    }
}

/// Blocks the handling of messages, and holds the wakers of the blocked session tasks.
#[derive(Default)]
pub(crate) struct Latch {
    closed: AtomicBool,
    /// A lower bound of the number of polls of session tasks.
    pub(crate) polls: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl Latch {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::Release);
        for waker in self.wakers.lock().drain(..) {
            waker.wake();
        }
    }
}

pub(crate) struct EchoConnection {
    session: SessionHandle,
    ends: mpsc::Sender<CloseReason>,
    gate: Arc<Latch>,
    busy: bool,
    hangs: bool,
    known: bool,
}

impl Application for Echo {
    type Connection = EchoConnection;

    fn on_connect(&self, session: SessionHandle, request: Arc<HandshakeRequest>) -> EchoConnection {
        assert!(request.query("panic").is_none(), "asked to panic");
        if let Some(greeting) = request.query("greet") {
            session.send(&[Frame::text(&greeting)]).unwrap();
        }
        if request.query("reflect").is_some() {
            let told = (request.url(), request.header("Host"), request.address(), request.secure());
            session.send(&[Frame::text(&format!("{told:?}"))]).unwrap();
        }
        self.sessions.try_send(session.clone()).unwrap();
        EchoConnection {
            session,
            ends: self.ends.clone(),
            gate: self.gate.clone(),
            busy: false,
            hangs: false,
            known: request.query("unknown").is_none(),
        }
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: Message<'_>, _: &mut Context<'_>) {
        assert!(self.is_ready(), "a message for a connection that is not ready");
        let frame = match message {
            Message::Text("close") => return self.session.close(),
            Message::Text("pause") => return self.gate.closed.store(true, Ordering::Release),
            Message::Text("work") => return self.busy = true,
            Message::Text("hang") => return self.hangs = true,
            Message::Text("known") => return self.known = true,
            Message::Text("panic") => panic!("asked to panic"),
            Message::Text(text) => {
                if let Some(count) = text.strip_prefix("burst ") {
                    let frames: Vec<_> =
                        (0..count.parse().unwrap()).map(|n: u32| Frame::text(&n.to_string())).collect();
                    self.session.send(&frames).unwrap();
                    return;
                }
                Frame::text(text)
            }
            Message::Binary(bytes) => Frame::binary(bytes.into_owned().into()),
        };
        // The echo fails if the session has closed, which is fine.
        let _ = self.session.send(&[frame]);
    }

    fn is_established(&self) -> bool {
        self.known
    }

    fn is_ready(&self) -> bool {
        !self.busy && !self.gate.is_closed()
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.busy = false;
        self.gate.polls.fetch_add(1, Ordering::Relaxed);
        let mut wakers = self.gate.wakers.lock();
        if !self.is_ready() && !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        if self.hangs { Poll::Pending } else { Poll::Ready(()) }
    }

    fn on_close(&mut self, reason: CloseReason) {
        self.ends.try_send(reason).unwrap();
    }
}
