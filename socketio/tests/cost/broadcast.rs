//! A broadcast is encoded once and does not allocate for its recipients.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use socketio::{BroadcastOperator, Namespace, Server, Socket, ToArgs};
use testkit::WebSocket as Client;

use crate::lab::{Host, Lab};

const FEW: usize = 10;
const MANY: usize = 1000;

fn lab() -> Lab {
    let join = async |socket: Socket, room: String| socket.join(room).unwrap();
    Lab::new(Server::new().namespace(Namespace::new("/").on("join", join)))
}

async fn members(host: Arc<Host>) -> Vec<Client> {
    let mut clients = Vec::with_capacity(MANY);
    for n in 0..MANY {
        let mut client = Client::join(&host).await;
        assert_eq!(client.ask(r#"421["join","many"]"#).await, "431[]");
        if n < FEW {
            assert_eq!(client.ask(r#"421["join","few"]"#).await, "431[]");
        }
        clients.push(client);
    }
    clients
}

/// Receives the packets of `times` broadcasts to both rooms.
async fn take(mut clients: Vec<Client>, times: usize, attachment: bool) -> Vec<Client> {
    for (n, client) in clients.iter_mut().enumerate() {
        for _ in 0..if n < FEW { 2 * times } else { times } {
            client.text().await;
            if attachment {
                client.binary().await;
            }
        }
    }
    clients
}

/// Returns the number of allocations of one broadcast.
fn allocations<T: ToArgs + ?Sized>(lab: &Lab, target: BroadcastOperator, args: &T) -> u64 {
    lab.on_server(|| target.emit("news", args).unwrap()).count_total
}

#[test]
fn a_broadcast_allocates_nothing_for_its_recipients() {
    let lab = lab();
    let (mut clients, _) = lab.run(members(lab.host.clone()));
    let text = "x".repeat(1000);
    let attachment = Bytes::from(vec![0; 1000]);
    for round in 0..2 {
        for attached in [false, true] {
            let count = |target: BroadcastOperator| {
                if attached {
                    allocations(&lab, target, &(&text, &attachment))
                } else {
                    allocations(&lab, target, text.as_str())
                }
            };
            let io = &lab.host.io;
            let (few, many) = (count(io.to("few")), count(io.to("many")));
            clients = lab.run(take(clients, 1, attached)).0;
            // The first round is not checked because the run queue of the runtime grows.
            assert!(round == 0 || many <= few, "{many} allocations for {MANY} members, {few} for {FEW}");
        }
    }
}

#[test]
fn a_broadcast_with_acknowledgements_allocates_the_tables_of_its_recipients_alone() {
    let lab = lab();
    let (mut clients, _) = lab.run(members(lab.host.clone()));
    for round in 0..2 {
        let count = |room| {
            let mut request = None;
            let ask = || request = Some(lab.host.io.to(room).emit_with_ack::<(), _>("news", "x").unwrap());
            let count = lab.on_server(ask).count_total as usize;
            (count, request)
        };
        let ((few, first), (many, second)) = (count("few"), count("many"));
        // Both requests are pending until here, so the second one uses the table of the first one.
        drop((first, second));
        clients = lab.run(take(clients, 1, false)).0;
        // A vector and a queue of the recipients grow by doubling.
        let grown = 2 * (MANY / FEW).ilog2() as usize + 2;
        assert!(round == 0 || many <= few + MANY - FEW + grown, "{many} for {MANY} members, {few} for {FEW}");
    }
}

#[test]
fn a_membership_takes_at_most_32_bytes() {
    let lab = lab();
    let join = async |host: Arc<Host>| {
        let mut clients = Vec::with_capacity(MANY);
        for _ in 0..MANY {
            clients.push(Client::join(&host).await);
        }
        clients
    };
    let (_clients, _) = lab.run(join(lab.host.clone()));
    let (mut bytes, mut memberships) = (0, 0);
    for rooms in [0..1, 1..2, 2..3, 3..10, 10..100] {
        memberships += i64::try_from(rooms.len() * MANY).unwrap();
        let join = || lab.host.io.of("/").sockets_join(rooms.map(|room| room.to_string())).unwrap();
        bytes += lab.on_server(join).bytes_current;
        assert!(bytes <= 32 * memberships, "{bytes} bytes for {memberships} memberships");
    }
}

/// A value that counts how often it is serialized.
struct Counted<'a>(&'a AtomicUsize);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_str("counted")
    }
}

#[derive(Serialize)]
struct News<'a> {
    counted: Counted<'a>,
}

#[test]
fn a_broadcast_is_encoded_once() {
    let lab = lab();
    let (clients, _) = lab.run(members(lab.host.clone()));
    let written = AtomicUsize::new(0);
    let news = || News { counted: Counted(&written) };
    lab.host.io.to("many").emit("news", &news()).unwrap();
    assert_eq!(written.swap(0, Ordering::Relaxed), 1, "in a struct");
    lab.host.io.to("many").emit("news", &(1, Counted(&written))).unwrap();
    assert_eq!(written.swap(0, Ordering::Relaxed), 1, "as one of several arguments");
    lab.host.io.to("many").emit("news", &[Counted(&written)][..]).unwrap();
    assert_eq!(written.swap(0, Ordering::Relaxed), 1, "in a list");
    lab.host.io.to("many").emit("news", &Counted(&written)).unwrap();
    // The shape of a single value is probed first, which is one more call. It is not one call per member.
    assert_eq!(written.swap(0, Ordering::Relaxed), 2, "alone");
    drop(clients);
}
