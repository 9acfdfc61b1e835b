//! Tests clients that disconnect and return at random: a client that recovers its session has missed no event
//! and received none twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use socketio::{ConnectionStateRecovery, ServerConfig, Socket};
use tokio::time::timeout;

use super::{Visitor, config, host, host_with, noticed, parser::Spaced};
use crate::support::{Heard, Host, eventually};

/// The server, and the events that the client is expected to receive.
struct Story {
    host: Host,
    connected: Heard<Socket>,
    socket: Option<Socket>,
    in_room: bool,
    /// The events that the client must have received since it last got a new session.
    expected: Vec<u64>,
    next: u64,
}

impl Story {
    fn emit(&mut self, rng: &mut impl Rng) {
        let (n, of) = (self.next, self.host.io.of("/"));
        self.next += 1;
        let (for_it, sent) = match rng.random_range(0..6) {
            0 => (true, of.emit("e", &n)),
            1 => (self.in_room, of.to("room").emit("e", &n)),
            2 => (!self.in_room, of.except("room").emit("e", &n)),
            3 => (false, of.to("elsewhere").emit("e", &n)),
            4 => (false, of.to("elsewhere").volatile().emit("e", &n)),
            _ => match &self.socket {
                Some(socket) => {
                    let sent = socket.emit("e", &n);
                    (sent.is_ok(), Ok(()))
                }
                None => (false, Ok(())),
            },
        };
        sent.unwrap();
        if for_it {
            self.expected.push(n);
        }
    }

    fn move_it(&mut self) {
        let Some(socket) = &self.socket else { return };
        if self.in_room {
            socket.leave("room");
        } else if socket.join("room").is_err() {
            return;
        }
        self.in_room = !self.in_room;
    }
}

async fn play(seed: u64, config: ServerConfig) -> (u32, u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (host, mut connected) = host_with(config).await;
    let mut visitor = Visitor::new(&host).await;
    let socket = Some(connected.next().await);
    let mut story = Story { host, connected, socket, in_room: false, expected: Vec::new(), next: 0 };
    let mut got: Vec<u64> = Vec::new();
    let (mut back, mut new) = (0, 0);
    for _ in 0..8 {
        for _ in 0..rng.random_range(0..8) {
            if rng.random_range(0..8) == 0 {
                story.move_it();
            } else {
                story.emit(&mut rng);
            }
        }
        // Receives a random part of the expected events.
        for _ in got.len()..rng.random_range(got.len()..=story.expected.len()) {
            got.push(visitor.event().await[1].as_u64().unwrap());
        }
        let gone = visitor.cut();
        if rng.random() {
            noticed(&story.host).await;
            story.socket = None;
        }
        for _ in 0..rng.random_range(0..4) {
            story.emit(&mut rng);
        }
        let (next, recovered) = gone.come_back(&story.host).await;
        visitor = next;
        story.socket = Some(story.connected.next().await);
        if recovered {
            back += 1;
        } else {
            new += 1;
            story.in_room = false;
            story.expected.clear();
            got.clear();
        }
        if rng.random() {
            story.host.io.of("/").emit("end", &()).unwrap();
            got.extend(visitor.until("end").await.iter().map(|n| n.as_u64().unwrap()));
            assert_eq!(got, story.expected, "seed {seed}");
        }
    }
    (back, new)
}

/// Runs many random stories against servers with this configuration.
async fn play_many(config: ServerConfig) {
    let first = rand::rng().next_u64();
    let (mut back, mut new) = (0, 0);
    for seed in first..first.saturating_add(60) {
        let (more_back, more_new) = play(seed, config.clone()).await;
        back += more_back;
        new += more_new;
    }
    assert!(new > 0 && back > new, "{back} times a client came back, {new} times it was told that it is new");
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_comes_twice() {
    play_many(config(ConnectionStateRecovery::default())).await;
}

#[tokio::test]
async fn the_same_holds_with_another_parser() {
    play_many(config(ConnectionStateRecovery::default()).parser(Spaced::shared())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_holds_while_others_emit() {
    let (host, _connected) = host(ConnectionStateRecovery::default()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let emitters: Vec<_> = (0..3_u64)
        .map(|who| {
            let (io, stop) = (host.io.clone(), stop.clone());
            tokio::spawn(async move {
                for n in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    io.of("/").emit("e", &(who, n)).unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    let mut visitor = Visitor::new(&host).await;
    // The last event received from each emitter.
    let mut last = [None; 3];
    let mut back = 0;
    for round in 0..60 {
        let pause = Duration::from_millis(rand::rng().random_range(0..8));
        let mut listen = Box::pin(async {
            loop {
                let event = visitor.event().await;
                let (who, n) = (event[1].as_u64().unwrap() as usize, event[2].as_u64().unwrap());
                assert!(last[who].is_none_or(|last| n == last + 1), "{n} of {who} after {last:?}");
                last[who] = Some(n);
            }
        });
        // An event whose packet is incomplete when the timeout expires does not count as received.
        let _ = timeout(pause, &mut listen).await;
        drop(listen);
        let gone = visitor.cut();
        if round % 3 == 0 {
            eventually(|| host.io.socket_count("/") == 0).await;
        }
        let (next, recovered) = gone.come_back(&host).await;
        visitor = next;
        back += u32::from(recovered);
        if !recovered {
            last = [None; 3];
        }
    }
    stop.store(true, Ordering::Relaxed);
    for emitter in emitters {
        emitter.await.unwrap();
    }
    assert!(back > 50, "{back} of 60");
}
