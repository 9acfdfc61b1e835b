//! Dispatch of the frames from the WebSocket.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Driver, PASS_COST, deadlines::fail_websocket, receive};
use crate::{
    Limit,
    proto::{
        frame::Frame,
        packet::{Packet, TransportKind},
        session::{Input, Request, Route, Session},
        websocket::{Event, Fault},
    },
    session::application::{Application, Connection},
    transport::{peer_timeouts::PingVerdict, thread_buffers::with_read_buffer, websocket::WebSocket},
};

impl<A: Application> Driver<A> {
    /// Reads once and dispatches every complete frame. Returns `true` if there was input.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(websocket) = &self.websocket else { return false };
        if websocket.is_closing() || self.budget == 0 {
            return false;
        }
        if is_paused(&self.session, &self.connection) {
            self.read_blocked = true;
            return false;
        }
        with_read_buffer(|buffer| {
            let Some(websocket) = &mut self.websocket else { return false };
            let Poll::Ready(read) = websocket.poll_read(cx, buffer) else { return false };
            self.process(cx, now, read);
            true
        })
    }

    /// Processes the result of a read. `None` means that the client has closed its side.
    ///
    /// Out of line, because most wake-ups of a session find nothing to read.
    #[inline(never)]
    fn process(&mut self, cx: &mut Context<'_>, now: Instant, read: Option<&mut [u8]>) {
        let Some(read) = read else {
            self.websocket = None;
            let input = Input::Disconnected { request: Request::Probe, error: false };
            return self.session.handle(now.into_std(), input);
        };
        if !read.is_empty() {
            self.budget = self.budget.saturating_sub(PASS_COST);
            self.session.record_activity(now.into_std());
        }
        let mut kept = self.websocket.as_mut().map(WebSocket::take_kept).unwrap_or_default();
        let input = if kept.is_empty() { &mut *read } else { &mut *kept };
        let used = self.decode(cx, now, input);
        if let Some(websocket) = &mut self.websocket {
            websocket.keep(read, kept, used);
            websocket.update_message_timeout(now.into_std(), self.shared.config.message_timeout);
        }
    }

    /// Decodes and dispatches complete frames in place. Returns the number of bytes consumed.
    fn decode(&mut self, cx: &mut Context<'_>, now: Instant, input: &mut [u8]) -> usize {
        let now = now.into_std();
        let written = self.take_written();
        if written > 0 {
            // Replies to this input may need the space in the send queue.
            self.handle.written(written);
        }
        let revision = self.handle.dialect().revision;
        let Self { shared, handle, session, connection, websocket, close, budget, read_blocked, .. } = self;
        let (config, limits) = (&*shared.config, &*shared.limits);
        let Some(websocket) = websocket else { return input.len() };
        let mut at = 0;
        websocket.unread_ready = false;
        while at < input.len() {
            *read_blocked = is_paused(session, connection);
            if *budget == 0 || *read_blocked {
                websocket.unread_ready = true;
                break;
            }
            *budget -= 1;
            let decoder = &mut websocket.decoder;
            let event =
                match decoder.decode(&mut input[at..], config.max_http_buffer_size, config.max_fragments) {
                    Ok(None) => break,
                    Ok(Some((used, event))) => {
                        at += used;
                        event
                    }
                    Err(fault) => {
                        *close = Some(fail_websocket(handle, session, now, fault));
                        return input.len();
                    }
                };
            let packet = match event {
                Some(Event::Text(text)) => {
                    websocket.timeouts.on_message();
                    let packet = Packet::decode(&text, revision);
                    receive(limits, session, connection, cx, now, TransportKind::WebSocket, packet);
                    if &*text == "5" && session.route() == Route::WebSocket {
                        // The handler of the next message in this read may query the transport.
                        handle.upgraded();
                    }
                    continue;
                }
                Some(Event::Binary(bytes)) => {
                    websocket.timeouts.on_message();
                    Packet::decode_binary(bytes, revision)
                }
                Some(Event::Ping(payload)) => {
                    match websocket.timeouts.ping(now, config.max_pings_per_second) {
                        PingVerdict::Reply => websocket.queue_pong(payload),
                        PingVerdict::Ignore => handle.record_limit_hit(Limit::MaxPingsPerSecond),
                        PingVerdict::Close => {
                            *close = Some(fail_websocket(handle, session, now, Fault::TooManyPings));
                            return input.len();
                        }
                    }
                    continue;
                }
                Some(Event::Close(code)) => {
                    *close = Some(Frame::close_reply(code));
                    session.handle(now, Input::Disconnected { request: Request::Probe, error: false });
                    break;
                }
                Some(Event::Pong) | None => continue,
            };
            receive(limits, session, connection, cx, now, TransportKind::WebSocket, packet);
        }
        at
    }
}

/// Returns `true` if the application does not accept the messages that the WebSocket may receive. A probing
/// WebSocket receives no messages and is never paused.
fn is_paused(session: &Session, connection: &impl Connection) -> bool {
    !connection.is_ready() && session.route() == Route::WebSocket
}
