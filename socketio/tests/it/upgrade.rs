//! Upgrades many clients from long-polling to WebSocket while events with and without attachments are in
//! flight in both directions, and checks that each event arrives exactly once and in order.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::OptionFuture;
use parking_lot::Mutex;
use socketio::{Ack, Args, ConnectError, Handshake, Namespace, Socket};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
};

use crate::support::{Client, Host, Polling, base64, serve_namespace};

const CLIENTS: usize = 200;
const AT_ONCE: usize = 20;
const EVENTS: u32 = 100;

/// Returns three bytes that identify an attachment.
fn attachment(n: u32, part: u8) -> [u8; 3] {
    [n as u8, part, 0xfe]
}

/// Returns the number of attachments of an event.
fn parts(n: u32) -> u8 {
    (n % 3) as u8
}

/// Returns the text packet of an event.
fn header(name: &str, n: u32) -> String {
    match parts(n) {
        0 => format!(r#"42["{name}",{n}]"#),
        1 => format!(r#"451-["{name}",{n},{{"_placeholder":true,"num":0}}]"#),
        _ => format!(r#"452-["{name}",{n},{{"_placeholder":true,"num":0}},{{"_placeholder":true,"num":1}}]"#),
    }
}

/// A packet sent to or received from a client, independent of the transport.
#[derive(Debug, Clone, PartialEq)]
enum Packet {
    Text(String),
    Attachment([u8; 3]),
}

fn packets(name: &str, n: u32) -> impl Iterator<Item = Packet> {
    let text = Packet::Text(header(name, n));
    std::iter::once(text).chain((0..parts(n)).map(move |part| Packet::Attachment(attachment(n, part))))
}

impl Packet {
    fn polling(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Attachment(bytes) => format!("b{}", base64(*bytes)),
        }
    }
}

/// The events that arrived at the server. Their order is checked on arrival.
#[derive(Default)]
struct Arrived(Mutex<Vec<u32>>);

/// Sends the server's own events in small batches.
async fn push(socket: Socket<Arrived>) {
    let bytes = |n, part| Bytes::copy_from_slice(&attachment(n, part));
    for n in 0..EVENTS {
        match parts(n) {
            0 => socket.emit("pushed", &n).unwrap(),
            1 => socket.emit("pushed", &(n, bytes(n, 0))).unwrap(),
            _ => socket.emit("pushed", &(n, bytes(n, 0), bytes(n, 1))).unwrap(),
        }
        yield_now().await;
    }
}

async fn echo(socket: Socket<Arrived>, args: Args) {
    let n: u32 = args.get(0).unwrap();
    let expected = (0..parts(n)).map(|part| attachment(n, part));
    assert!(args.attachments().iter().map(Bytes::as_ref).eq(expected), "event {n} has lost its attachments");
    socket.data().0.lock().push(n);
    socket.emit("echo", &args).unwrap();
}

async fn host() -> Host {
    let admit = async |_: Handshake| Ok::<_, ConnectError>(Arrived::default());
    let namespace = Namespace::with_auth("/", admit)
        .on_connect(async |socket| drop(tokio::spawn(push(socket))))
        .on("echo", echo)
        .on("arrived", async |socket, ()| Ack(socket.data().0.lock().clone()));
    serve_namespace(namespace).await
}

async fn probe(host: Arc<Host>, query: String) -> Client {
    let mut websocket = Client::connect(&host, &query).await;
    assert_eq!(websocket.ask("2probe").await, "3probe");
    websocket
}

/// A client that behaves like the official one: at most one poll and one POST at a time, and a concurrent
/// upgrade.
struct Upgrading {
    polling: Polling,
    probe_at: usize,
    /// Packets that are queued until the current POST completes.
    outbox: Vec<Packet>,
    posting: bool,
    /// The number of events that were sent or queued.
    sent: u32,
    /// The packets expected next: echoes here, the server's own events in `pushed`.
    echoes: Vec<Packet>,
    pushed: Vec<Packet>,
    /// The attachments that the last text packet still lacks.
    missing: Vec<Packet>,
    via_websocket: usize,
}

impl Upgrading {
    /// Opens a session that starts the upgrade when `probe_at` echoes are still outstanding.
    async fn open(host: &Host, probe_at: usize) -> Self {
        let mut polling = Polling::open(host).await;
        polling.send("40").await;
        let all = |name| {
            let mut packets: Vec<_> = (0..EVENTS).flat_map(|n| packets(name, n)).collect();
            packets.reverse();
            packets
        };
        let (echoes, pushed) = (all("echo"), all("pushed"));
        let (outbox, missing) = (Vec::new(), Vec::new());
        Self { polling, probe_at, outbox, posting: false, sent: 0, echoes, pushed, missing, via_websocket: 0 }
    }

    async fn run(mut self, host: Arc<Host>) -> usize {
        let mut websocket = self.poll_until_upgraded(host).await;
        while !self.echoes.is_empty() || !self.pushed.is_empty() {
            // Packets queued for a POST are sent first.
            let event = self.next_event();
            for packet in self.outbox.drain(..).chain(event) {
                match packet {
                    Packet::Text(text) => websocket.send(text).await,
                    Packet::Attachment(bytes) => websocket.send_binary(&bytes).await,
                }
            }
            self.via_websocket += 1;
            let packet = if self.missing.is_empty() {
                Packet::Text(websocket.text().await)
            } else {
                Packet::Attachment(websocket.binary().await.try_into().unwrap())
            };
            self.receive(packet);
        }
        let arrived: Vec<_> = (0..EVENTS).collect();
        assert_eq!(websocket.ask(r#"421["arrived"]"#).await, format!("431[{}]", serde_json::json!(arrived)));
        self.via_websocket
    }

    /// Polls and posts while the WebSocket opens and probes. Returns the WebSocket once the upgrade is
    /// complete.
    async fn poll_until_upgraded(&mut self, host: Arc<Host>) -> Client {
        let mut probing = None;
        let mut websocket = None;
        let mut polling = false;
        while websocket.is_none() || polling || self.posting {
            if websocket.is_none() {
                let event = self.next_event();
                self.outbox.extend(event);
                self.post().await;
                if !polling {
                    self.polling.start_poll().await;
                    polling = true;
                }
                if self.echoes.len() <= self.probe_at && probing.is_none() {
                    probing = Some(tokio::spawn(probe(host.clone(), self.polling.upgrade_query())));
                }
            }
            let Self { polling: session, posting, .. } = &mut *self;
            let probed = OptionFuture::from(probing.as_mut());
            tokio::select! {
                answer = session.get.response(), if polling => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    polling = false;
                    answer.body.split('\u{1e}').for_each(|packet| self.receive_polled(packet));
                }
                answer = session.post.response(), if *posting => {
                    assert_eq!(answer.body, "ok");
                    *posting = false;
                }
                Some(client) = probed, if websocket.is_none() => websocket = Some(client.unwrap()),
            }
        }
        let mut websocket = websocket.unwrap();
        websocket.send("5").await;
        websocket
    }

    fn next_event(&mut self) -> Vec<Packet> {
        let n = self.sent;
        if n == EVENTS {
            return Vec::new();
        }
        self.sent += 1;
        packets("echo", n).collect()
    }

    async fn post(&mut self) {
        if !self.posting && !self.outbox.is_empty() {
            let packets: Vec<_> = self.outbox.drain(..).map(|packet| packet.polling()).collect();
            let body = packets.join("\u{1e}");
            self.polling.post.start("POST", &self.polling.target, "", body).await;
            self.posting = true;
        }
    }

    fn receive_polled(&mut self, packet: &str) {
        let first = packet.starts_with("40{") && self.missing.is_empty();
        if packet == "6" || first {
            return;
        }
        let packet = match self.missing.last() {
            Some(expected) if expected.polling() == packet => expected.clone(),
            _ => Packet::Text(packet.to_owned()),
        };
        self.receive(packet);
    }

    /// Checks that a packet is the next expected one of its kind, and that attachments directly follow their
    /// text packet.
    fn receive(&mut self, packet: Packet) {
        if let Some(expected) = self.missing.pop() {
            assert_eq!(packet, expected);
            return;
        }
        let Packet::Text(text) = &packet else { panic!("an attachment of nothing") };
        let queue = if text.contains(r#"["pushed","#) { &mut self.pushed } else { &mut self.echoes };
        assert_eq!(Some(packet), queue.pop());
        while let Some(attachment) = queue.pop_if(|next| matches!(next, Packet::Attachment(_))) {
            self.missing.insert(0, attachment);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_double_and_reorder_nothing() {
    let host = Arc::new(host().await);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    let each = (0..EVENTS).flat_map(|n| packets("", n)).count();
    for n in 0..CLIENTS {
        let place = places.clone().acquire_owned().await.unwrap();
        let host = host.clone();
        clients.spawn(async move {
            let via_websocket = Upgrading::open(&host, each - n % (each / 2)).await.run(host).await;
            drop(place);
            via_websocket
        });
    }
    let via_websocket: usize = clients.join_all().await.into_iter().sum();
    let all = CLIENTS * each * 2;
    let midst = all / 10..all - all / 10;
    assert!(midst.contains(&via_websocket), "the upgrade was not in the midst: {via_websocket} of {all}");
    host.deserted("/").await;
}
