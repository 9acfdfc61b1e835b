//! Many clients upgrade while messages are in flight in both directions.

use std::sync::Arc;

use engineio::{EngineConfig, Frame, SessionHandle};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::support::{Http, Polling, Server, UPGRADE, Wire, eventually, frame};

const CLIENTS: usize = 200;
const AT_ONCE: usize = 20;
const MESSAGES: usize = 100;

/// Behaves like the official client. It has one poll and one POST at a time and upgrades as soon as it is
/// connected.
struct Client {
    polling: Polling,
    /// Packets queued until the previous POST completes.
    outbox: Vec<String>,
    posting: bool,
    /// The number of messages this client has sent.
    sent: usize,
    /// The number of echoes received. `pushed` counts the other messages.
    echoed: usize,
    pushed: usize,
    via_websocket: usize,
}

impl Client {
    fn new(polling: Polling) -> Self {
        Self { polling, outbox: Vec::new(), posting: false, sent: 0, echoed: 0, pushed: 0, via_websocket: 0 }
    }

    async fn run(mut self, websocket: Http) -> usize {
        let mut websocket = self.poll_until_upgraded(websocket).await;
        for packet in std::mem::take(&mut self.outbox) {
            websocket.send(frame(0x81, packet)).await;
        }
        while self.echoed < MESSAGES || self.pushed < MESSAGES {
            if let Some(packet) = self.next_message() {
                websocket.send(frame(0x81, packet)).await;
            }
            self.via_websocket += 1;
            let packet = websocket.text().await;
            self.receive(&packet);
        }
        websocket.send(frame(0x81, "4over")).await;
        assert_eq!(websocket.text().await, "4over");
        self.via_websocket
    }

    /// Polls and posts during the handshake and the probe. Returns the WebSocket after the upgrade.
    async fn poll_until_upgraded(&mut self, mut http: Http) -> Wire {
        http.start("GET", &self.polling.upgrade_query(), UPGRADE, "").await;
        self.polling.start_poll().await;
        let mut polling = true;
        let mut opening = Some(http);
        let mut probing = None::<Wire>;
        let mut pausing = false;
        while !pausing || polling || self.posting {
            if !pausing {
                let message = self.next_message();
                self.outbox.extend(message);
                self.post().await;
                if !polling {
                    self.polling.start_poll().await;
                    polling = true;
                }
            }
            let Self { polling: session, posting, .. } = &mut *self;
            tokio::select! {
                answer = session.get.response(), if polling => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    polling = false;
                    answer.body.split('\u{1e}').for_each(|packet| self.receive(packet));
                }
                answer = session.post.response(), if *posting => {
                    assert_eq!(answer.body, "ok");
                    *posting = false;
                }
                answer = async { opening.as_mut().unwrap().response().await }, if opening.is_some() => {
                    assert_eq!(answer.status, 101);
                    let mut wire = Wire::from_parts(opening.take().unwrap().into_parts());
                    wire.send(frame(0x81, "2probe")).await;
                    probing = Some(wire);
                }
                packet = async { probing.as_mut().unwrap().text().await }, if probing.is_some() && !pausing => {
                    assert_eq!(packet, "3probe");
                    pausing = true;
                }
            }
        }
        let mut websocket = probing.unwrap();
        websocket.send(frame(0x81, "5")).await;
        websocket
    }

    fn next_message(&mut self) -> Option<String> {
        let message = (self.sent < MESSAGES).then(|| format!("4{}", self.sent));
        self.sent += usize::from(message.is_some());
        message
    }

    async fn post(&mut self) {
        if !self.posting && !self.outbox.is_empty() {
            let body = std::mem::take(&mut self.outbox).join("\u{1e}");
            self.polling.post.start("POST", &self.polling.query, "", body).await;
            self.posting = true;
        }
    }

    fn receive(&mut self, packet: &str) {
        match packet.strip_prefix("4pushed ") {
            Some(n) => {
                assert_eq!(n, self.pushed.to_string());
                self.pushed += 1;
            }
            None if packet == "6" => {}
            None => {
                assert_eq!(packet, format!("4{}", self.echoed));
                self.echoed += 1;
            }
        }
    }
}

/// Sends messages that are not echoes, a few at a time.
async fn push(session: SessionHandle) {
    for n in 0..MESSAGES {
        session.send(&[Frame::text(&format!("pushed {n}"))]).unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_double_and_reorder_nothing() {
    let mut server = Server::start(EngineConfig::default()).await;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let place = places.clone().acquire_owned().await.unwrap();
        let client = Client::new(Polling::open(&server).await);
        let websocket = Http::connect(&server).await;
        let session = server.session().await;
        assert_eq!(session.id().as_str(), client.polling.sid);
        clients.spawn(async move {
            let pushing = tokio::spawn(push(session));
            let via_websocket = client.run(websocket).await;
            pushing.await.unwrap();
            drop(place);
            via_websocket
        });
    }
    let via_websocket: usize = clients.join_all().await.into_iter().sum();
    let all = CLIENTS * MESSAGES * 2;
    assert!(
        (all / 20..all).contains(&via_websocket),
        "the upgrade was not in the midst: {via_websocket} of {all}"
    );
    for _ in 0..CLIENTS {
        server.end().await;
    }
    eventually(|| server.engine.session_count() == 0).await;
}
