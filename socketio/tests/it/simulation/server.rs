//! The application under test. It emits its scripted events and records what it receives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, Args, ConnectError, DisconnectReason, Handshake, Namespace, Server, ServerConfig, Socket,
    WithAckFlag,
};
use tokio::time::{Instant, sleep};

use super::{
    history::Record,
    scenario::{Answer, Event, Kind, Plan, of_kind},
};

/// Longer than any delay of a network on which sessions must survive.
const ACK_TIMEOUT: Duration = Duration::from_secs(40);
const ROOM: &str = "all";

/// The server's state for one client.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) plan: Arc<Plan>,
    pub(crate) record: Record,
    /// The number of broadcasts sent so far.
    pub(crate) broadcasts: Arc<AtomicU32>,
}

/// The CONNECT payload of a client.
#[derive(Deserialize)]
struct Auth {
    seat: usize,
}

/// An event argument.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Number(u32),
    Text(String),
    Attachment(Bytes),
}

pub(crate) fn server(seats: Vec<Seat>, max_in_flight: usize) -> Server {
    let seats: Arc<[Seat]> = seats.into();
    let admit = async move |handshake: Handshake| {
        let Auth { seat: number } = handshake.auth()?;
        // Delays the admission of every second client.
        if number % 2 == 1 {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, ConnectError>(seats[number].clone())
    };
    let namespace = Namespace::with_auth("/", admit)
        .max_in_flight(max_in_flight)
        .on_connect(connected)
        .on("up", up)
        .on(
            "bye",
            async |socket: Socket<Seat>, close: bool| {
                if close { socket.close() } else { socket.disconnect() }
            },
        )
        .on_disconnect(async |socket: Socket<Seat>, reason: DisconnectReason| {
            socket.data().record.lock().disconnected.push((reason, Instant::now()));
        });
    Server::with_config(ServerConfig::default().ack_timeout(ACK_TIMEOUT)).namespace(namespace)
}

async fn connected(socket: Socket<Seat>) {
    let seat = socket.data();
    seat.record.lock().connected += 1;
    // The first events of some clients arrive during this pause and are queued.
    sleep(seat.plan.welcome).await;
    let mut record = seat.record.lock();
    // `join` fails if the socket has disconnected. Such a client receives no broadcast.
    if socket.join(ROOM).is_ok() {
        record.first_broadcast = Some(seat.broadcasts.load(Ordering::Relaxed));
    }
    drop(record);
    tokio::spawn(push(socket));
}

async fn push(socket: Socket<Seat>) {
    let seat = socket.data().clone();
    let (mut event, mut volatile) = (0, 0);
    for next in &seat.plan.down {
        if next.pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(next.pause).await;
        }
        if !socket.connected() {
            break;
        }
        match next.kind {
            Kind::Event => {
                emit(&socket, next, event);
                event += 1;
            }
            Kind::Volatile => {
                let to_this = socket.namespace().to(socket.id()).volatile();
                to_this.emit("volatile", &args(next, volatile)).unwrap();
                volatile += 1;
            }
            Kind::Broadcast => {
                let n = seat.broadcasts.fetch_add(1, Ordering::Relaxed);
                socket.namespace().to(ROOM).emit("broadcast", &n).unwrap();
            }
        }
    }
    seat.record.lock().all_emitted = true;
}

fn args(event: &Event, n: u32) -> Args {
    let attachments = event.bytes(n).map(|bytes| Value::Attachment(bytes.into()));
    Args::from_values([Value::Number(n), Value::Text(event.text(n))].into_iter().chain(attachments)).unwrap()
}

fn emit(socket: &Socket<Seat>, event: &Event, n: u32) {
    let seat = socket.data();
    let args = args(event, n);
    if event.answer == Answer::NotAsked {
        let connected = socket.connected();
        let emitted = socket.emit("down", &args);
        if connected
            && seat.plan.must_live
            && let Err(error) = emitted
        {
            seat.record.lock().wrong.push(format!("event {n} could not be sent: {error}"));
        }
        return;
    }
    let answer = socket.emit_with_ack::<u32, _>("down", &args);
    let record = seat.record.clone();
    record.lock().asked.push(n);
    tokio::spawn(async move {
        let answer = answer.await;
        record.lock().answers.push((n, answer, Instant::now()));
    });
}

/// Acknowledges every event that requests it, immediately or after a delay.
async fn up(socket: Socket<Seat>, event: WithAckFlag<Args>) -> Option<Ack<u32>> {
    let seat = socket.data();
    let n: u32 = event.args.get(0).unwrap();
    seat.record.lock().up.push(n);
    let expected = of_kind(&seat.plan.up, Kind::Event).nth(n as usize);
    let is_right = expected.is_some_and(|expected| {
        event.args.get::<String>(1).is_ok_and(|text| text == expected.text(n))
            && event.args.len() == 2 + expected.attachments.len()
            && event.args.attachments().iter().map(Bytes::as_ref).eq(expected.bytes(n))
            && event.wants_ack == (expected.answer != Answer::NotAsked)
    });
    if !is_right {
        seat.record.lock().wrong.push(format!("event {n} of the client arrived as {event:?}"));
    }
    if let Some(Event { answer: Answer::After(wait), .. }) = expected
        && !wait.is_zero()
    {
        sleep(*wait).await;
    }
    event.wants_ack.then_some(Ack(n))
}
