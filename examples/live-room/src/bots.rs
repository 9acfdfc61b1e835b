//! Viewers that talk: WebSocket clients that read everything, comment and like.

use std::{io, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    net::TcpStream,
    time::{Instant, interval, sleep, sleep_until},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

const NAMES: [&str; 12] =
    ["Ada", "Bruno", "Chen", "Dalia", "Emeka", "Fatima", "Goran", "Hana", "Ilse", "Jonas", "Kaya", "Luis"];
const TEXTS: [&str; 14] = [
    "hello from Lagos",
    "🔥🔥🔥",
    "first time here, hi all",
    "can you play the last one again?",
    "👏👏",
    "who else is on a train?",
    "the sound is great today",
    "<b>bold?</b> no 😄",
    "greetings from Osaka",
    "❤️",
    "what is this song called?",
    "hi host!",
    "so good",
    "my cat likes it too 🐈",
];
/// The number of bots that measure the time of an acknowledgement.
const PROBES: u32 = 20;
/// The comments of all bots together, per second.
const COMMENTS: f64 = 12.0;
/// The likes of all bots together, per second.
const LIKES: f64 = 50.0;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
/// The round trips since the last report, in milliseconds.
type RoundTrips = Arc<Mutex<Vec<f64>>>;

/// Connects `count` bots, and keeps them until the process ends.
pub(crate) async fn run(address: &str, count: u32, key: &str) -> io::Result<()> {
    let round_trips = RoundTrips::default();
    for index in 0..count {
        // All bots together make this number of connects a second.
        if index % 20 == 19 {
            sleep(Duration::from_millis(20)).await;
        }
        let name = format!("{} {index}", NAMES[index as usize % NAMES.len()]);
        let socket = join(address, &name, "").await?;
        let round_trips = (index < PROBES).then(|| round_trips.clone());
        let pause = |per_second: f64| Duration::from_secs_f64((f64::from(count) / per_second).max(1.0));
        tokio::spawn(talk(socket, pause(COMMENTS), pause(LIKES), round_trips));
    }
    report(join(address, "load", key).await?, round_trips).await
}

/// Opens a WebSocket and joins the namespace `/`.
async fn join(address: &str, name: &str, key: &str) -> io::Result<Socket> {
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    // The default buffer has 128 KiB, which is 640 MB for 5,000 bots.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    let connected = connect_async_with_config(url, Some(config), true).await;
    let (mut socket, _) = connected.map_err(io::Error::other)?;
    // Names and keys contain no characters that must be escaped.
    let connect = format!(r#"40{{"name":"{name}","key":"{key}"}}"#);
    socket.send(Message::text(connect)).await.map_err(io::Error::other)?;
    Ok(socket)
}

/// A time between now and twice `pause`. With many bots, `pause` is minutes long, and some begin at once.
fn within(pause: Duration) -> Instant {
    Instant::now() + pause.mul_f64(rand::rng().random_range(0.0..2.0))
}

/// Reads all messages and sends comments and likes, until the connection ends.
async fn talk(mut socket: Socket, comments: Duration, likes: Duration, round_trips: Option<RoundTrips>) {
    let (mut comment, mut like) = (within(comments), within(likes));
    let mut probe_clock = interval(Duration::from_millis(100));
    let mut last_probe = None;
    loop {
        let message = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => "3".to_owned(),
                Some(Ok(Message::Text(text))) if text.starts_with("430[") => {
                    let taken: Option<Instant> = last_probe.take();
                    if let (Some(sent), Some(round_trips)) = (taken, &round_trips) {
                        round_trips.lock().push(sent.elapsed().as_secs_f64() * 1000.0);
                    }
                    continue;
                }
                Some(Ok(_)) => continue,
                _ => return,
            },
            () = sleep_until(comment) => {
                comment = within(comments);
                let text = TEXTS[rand::rng().random_range(0..TEXTS.len())];
                format!(r#"42["comment","{text}"]"#)
            }
            () = sleep_until(like) => {
                like = within(likes);
                r#"42["like"]"#.to_owned()
            }
            _ = probe_clock.tick(), if round_trips.is_some() && last_probe.is_none() => {
                last_probe = Some(Instant::now());
                r#"420["probe"]"#.to_owned()
            }
        };
        if socket.send(Message::text(message)).await.is_err() {
            return;
        }
    }
}

/// Reports the percentiles once a second, as the host. Returns when the server has ended.
async fn report(mut socket: Socket, round_trips: RoundTrips) -> io::Result<()> {
    let mut clock = interval(Duration::from_secs(1));
    loop {
        let message = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => "3".to_owned(),
                Some(Ok(_)) => continue,
                _ => return Ok(()),
            },
            _ = clock.tick() => {
                let mut times = std::mem::take(&mut *round_trips.lock());
                times.sort_by(f64::total_cmp);
                let percentile = |percent: usize| times.get(times.len() * percent / 100).copied();
                let (Some(p50), Some(p99)) = (percentile(50), percentile(99)) else { continue };
                format!(r#"42["latency",{{"p50":{p50:.3},"p99":{p99:.3}}}]"#)
            }
        };
        if socket.send(Message::text(message)).await.is_err() {
            return Ok(());
        }
    }
}
