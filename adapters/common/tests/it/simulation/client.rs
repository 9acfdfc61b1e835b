//! A client, which records what it receives and answers questions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use socketio::testing::{TestClient, TestEvent};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::history::History;

/// What the test tells a client.
#[derive(Debug)]
pub(crate) enum Command {
    /// Sends an event that the server passes on to all others.
    Say(u32),
    Leave,
}

/// Returns the bytes of an event that has some.
pub(crate) fn bytes_of(number: usize) -> Bytes {
    (0..number % 50).map(|at| (number + at) as u8).collect()
}

/// Returns how long a client takes to answer a question. `None` means that it does not answer.
pub(crate) fn answer_delay(socket: &str, question: usize) -> Option<Duration> {
    let hash = socket.bytes().fold(question as u64, |hash, byte| hash * 31 % 1009 + u64::from(byte));
    match hash % 8 {
        0 => None,
        1 | 2 => Some(Duration::from_millis(hash * 2)),
        _ => Some(Duration::ZERO),
    }
}

/// Runs until the client is told to leave or is disconnected. Dropping the sender of the commands drops the
/// connection.
pub(crate) async fn run(
    mut client: TestClient,
    mut commands: mpsc::Receiver<Command>,
    history: Arc<History>,
) {
    let id = client.id().to_owned();
    let mut answers: Vec<(Instant, TestEvent)> = Vec::new();
    loop {
        let next = answers.iter().map(|(at, _)| *at).min();
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Say(number)) => {
                    // An error means that the server has disconnected the client.
                    let _ = client.emit("say", &number).await;
                }
                Some(Command::Leave) => {
                    history.ended(&id);
                    client.disconnect().await;
                    return;
                }
                None => {
                    history.ended(&id);
                    return;
                }
            },
            event = client.next_event() => {
                let Some(event) = event else {
                    history.ended(&id);
                    return;
                };
                let number = read(&event, &history, &id);
                if event.ack.is_some() && let Some(delay) = answer_delay(&id, number) {
                    answers.push((Instant::now() + delay, event));
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                for (_, event) in answers.extract_if(.., |(at, _)| *at <= now) {
                    let _ = client.answer(&event, &id).await;
                }
            }
        }
    }
}

/// Records an event, and returns its number.
fn read(event: &TestEvent, history: &History, id: &str) -> usize {
    let number: usize = event.args.get(0).expect("each event has a number");
    let is_right = match event.name.as_str() {
        "bytes" => event.args.attachments() == [bytes_of(number)],
        _ => event.args.len() == 1,
    };
    if !is_right {
        history.violation(format!("event {number} arrived as {event:?}"));
    }
    history.received(id, number);
    number
}
