//! The room: comments, likes, and what the host may do.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, ConnectError, EmitError, EventError, Handshake, JoinError, Namespace, Server, Socket,
    middleware::{RateLimit, RateLimitPolicy},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    cluster::{self, Servers, announce},
    panel::{self, Latency},
};

/// Comments are sent together, so that a browser draws ten times a second and not for each comment.
const TICK: Duration = Duration::from_millis(100);
/// The maximum number of comments in a tick. Nobody reads more; the rest is counted.
const MAX_BATCH: usize = 20;
/// The number of comments that a new viewer gets.
const RECENT: usize = 50;
/// The number of comments that the host can pin.
const KEPT: usize = 500;
const MAX_NAME: usize = 24;
const MAX_TEXT: usize = 200;
const MAX_SLOW_MODE: u64 = 600;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comment {
    id: u64,
    /// The id of the viewer.
    by: u64,
    name: String,
    text: String,
    is_host: bool,
}

/// The comments of a tick, and the number of those that were left out.
#[derive(Debug, Default, Serialize)]
struct Batch {
    comments: Vec<Comment>,
    skipped: u64,
}

/// What a new viewer gets.
#[derive(Debug, Serialize)]
struct Welcome {
    id: u64,
    is_host: bool,
    recent: Vec<Comment>,
    pinned: Option<Comment>,
    slow_mode: u64,
    viewers: usize,
    likes: u64,
    is_closed: bool,
}

/// The data of a socket. A viewer that returns to another server keeps it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Viewer {
    id: u64,
    name: String,
    is_host: bool,
    #[serde(skip)]
    last_comment: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Auth {
    name: String,
    /// The key of the host.
    #[serde(default)]
    key: String,
}

pub(crate) struct Room {
    key: String,
    /// The number of likes at this server since the last report.
    likes: AtomicU64,
    /// The number of events of viewers.
    pub(crate) received: AtomicU64,
    /// The number of messages to viewers.
    pub(crate) sent: AtomicU64,
    pub(crate) latency: Mutex<Latency>,
    pub(crate) state: Mutex<State>,
    pub(crate) others: Mutex<Servers>,
    batch: Mutex<Batch>,
}

/// The state that all servers have.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    kept: VecDeque<Comment>,
    pub(crate) pinned: Option<Comment>,
    /// The minimum number of seconds between two comments of a viewer.
    pub(crate) slow_mode: u64,
    muted: HashSet<u64>,
    pub(crate) is_closed: bool,
    pub(crate) likes: u64,
    /// The number of changes since the room was opened.
    pub(crate) changes: u64,
}

impl State {
    /// Keeps comments, so that the host can pin them and new viewers get them. Those of muted viewers are left out.
    pub(crate) fn keep(&mut self, comments: impl IntoIterator<Item = Comment>) {
        self.kept.extend(comments.into_iter().filter(|comment| !self.muted.contains(&comment.by)));
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
    }

    /// Mutes a viewer, and removes the comments of the viewer.
    pub(crate) fn mute(&mut self, viewer: u64) {
        self.muted.insert(viewer);
        self.kept.retain(|comment| comment.by != viewer);
        if self.pinned.as_ref().is_some_and(|comment| comment.by == viewer) {
            self.pinned = None;
        }
    }
}

impl Room {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            likes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            latency: Mutex::default(),
            state: Mutex::default(),
            others: Mutex::default(),
            batch: Mutex::default(),
        }
    }

    /// Returns the key that makes a viewer the host.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn admit(&self, handshake: &Handshake) -> Result<Viewer, ConnectError> {
        let Auth { name, key } = handshake.auth()?;
        let name = clean(&name, MAX_NAME);
        if name.is_empty() {
            return Err(ConnectError::new("a name is needed"));
        }
        let is_host = key == self.key;
        Ok(Viewer { id: random_id(), name, is_host, last_comment: Mutex::default() })
    }

    /// Changes the state. What is sent to other servers during the change is in order with the states that new servers
    /// get.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        state.changes += 1;
        change(&mut state);
    }

    fn welcome(&self, viewer: &Viewer, viewers: usize) -> Welcome {
        let viewers = viewers + self.others.lock().viewers();
        let state = self.state.lock();
        Welcome {
            id: viewer.id,
            is_host: viewer.is_host,
            recent: state.kept.iter().skip(state.kept.len().saturating_sub(RECENT)).cloned().collect(),
            pinned: state.pinned.clone(),
            slow_mode: state.slow_mode,
            viewers,
            likes: state.likes,
            is_closed: state.is_closed,
        }
    }

    /// Takes a comment for the next batch.
    fn comment(&self, viewer: &Viewer, text: &str) -> Result<u64, EventError> {
        let text = clean(text, MAX_TEXT);
        if text.is_empty() {
            return Err("the comment is empty".into());
        }
        let state = self.state.lock();
        if state.is_closed {
            return Err("the room is closed".into());
        }
        if state.muted.contains(&viewer.id) {
            return Err("the host has muted you".into());
        }
        if !viewer.is_host {
            let pause = Duration::from_secs(state.slow_mode);
            let mut last = viewer.last_comment.lock();
            let left = last.map_or(Duration::ZERO, |last| pause.saturating_sub(last.elapsed()));
            if left > Duration::ZERO {
                return Err(format!("slow mode: wait {} s", left.as_millis().div_ceil(1000)).into());
            }
            *last = Some(Instant::now());
        }
        let id = random_id();
        let comment = Comment { id, by: viewer.id, name: viewer.name.clone(), text, is_host: viewer.is_host };
        let mut batch = self.batch.lock();
        if batch.comments.len() < MAX_BATCH || viewer.is_host {
            batch.comments.push(comment);
        } else {
            batch.skipped += 1;
        }
        Ok(id)
    }

    /// Returns the comments since the last call, except those of viewers that were muted meanwhile. All servers keep
    /// them.
    fn take_batch(&self, io: &Server) -> Batch {
        let mut batch = std::mem::take(&mut *self.batch.lock());
        if !batch.comments.is_empty() {
            self.change(|state| {
                batch.comments.retain(|comment| !state.muted.contains(&comment.by));
                state.keep(batch.comments.iter().cloned());
                // If the queue to the other servers is full, they do not keep these comments.
                let _ = io.server_side_emit("comments", &(&batch.comments,));
            });
        }
        batch
    }

    /// Pins one of the comments that are kept, or none.
    fn pin(&self, id: Option<u64>) -> Result<Option<Comment>, EventError> {
        let find = |id| self.state.lock().kept.iter().find(|comment| comment.id == id).cloned();
        let pinned = id.map(|id| find(id).ok_or("no such comment")).transpose()?;
        self.change(|state| state.pinned.clone_from(&pinned));
        Ok(pinned)
    }
}

/// Returns an id that no other server returns, and that JavaScript represents exactly.
fn random_id() -> u64 {
    rand::random::<u64>() >> 11
}

/// Returns a text without control characters and surrounding spaces, cut after `max` characters. The page
/// shows it as text, so markup has no effect.
fn clean(text: &str, max: usize) -> String {
    let visible = text.chars().map(|char| if char.is_whitespace() { ' ' } else { char });
    let visible: String = visible.filter(|char| !char.is_control() && !is_direction(*char)).collect();
    visible.trim().chars().take(max).collect::<String>().trim_end().to_owned()
}

/// Returns `true` for characters that change the direction of the text after them.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the namespace with the handlers of the room.
pub(crate) fn namespace(room: &Arc<Room>) -> Namespace<Viewer> {
    let second = Duration::from_secs(1);
    let [admitting, entered, counting, comments, likes, reports] = std::array::from_fn(|_| room.clone());
    let namespace = Namespace::with_auth("/", async move |handshake| admitting.admit(&handshake))
        .wrap(RateLimit::new(20, second).events(["like"]).policy(RateLimitPolicy::Drop).per_socket())
        .wrap(RateLimit::new(3, second).events(["comment"]).per_socket())
        .wrap(async move |_, event, next| {
            counting.received.fetch_add(1, Ordering::Relaxed);
            next.run(event).await
        })
        .on_connect(async move |socket: Socket<Viewer>| {
            // A recovered viewer gets the events that it has missed instead.
            if !socket.recovered() {
                socket.emit("welcome", &entered.welcome(socket.data(), socket.sockets().len()))?;
            }
            Ok::<_, EmitError>(())
        })
        .on("comment", async move |socket: Socket<Viewer>, text: String| {
            comments.comment(socket.data(), &text).map(Ack)
        })
        .on_unit("like", async move |_| _ = likes.likes.fetch_add(1, Ordering::Relaxed))
        .on_unit("panel", async |socket: Socket<Viewer>| socket.join(panel::ROOM))
        .on_unit("close panel", async |socket: Socket<Viewer>| {
            socket.leave(panel::ROOM);
            Ok::<_, JoinError>(())
        })
        // The viewers of `--bots` measure the time of an acknowledgement.
        .on_unit("probe", async |_| ())
        .on("latency", async move |socket: Socket<Viewer>, latency: Latency| {
            only_host(&socket)?;
            *reports.latency.lock() = latency;
            Ok::<_, EventError>(())
        });
    let namespace = namespace.share_data().restore_data(|viewer| viewer);
    cluster::for_servers(for_host(namespace, room), room)
}

fn only_host(socket: &Socket<Viewer>) -> Result<(), EventError> {
    if socket.data().is_host { Ok(()) } else { Err("only the host may do this".into()) }
}

fn for_host(namespace: Namespace<Viewer>, room: &Arc<Room>) -> Namespace<Viewer> {
    let [pins, mutes, slow, closes] = std::array::from_fn(|_| room.clone());
    namespace
        .on("pin", async move |socket: Socket<Viewer>, id: Option<u64>| {
            only_host(&socket)?;
            announce(&socket, "pinned", &pins.pin(id)?)
        })
        .on("mute", async move |socket: Socket<Viewer>, viewer: u64| {
            only_host(&socket)?;
            mutes.change(|state| state.mute(viewer));
            announce(&socket, "muted", &viewer)
        })
        .on("slow mode", async move |socket: Socket<Viewer>, seconds: u64| {
            only_host(&socket)?;
            let seconds = seconds.min(MAX_SLOW_MODE);
            slow.change(|state| state.slow_mode = seconds);
            announce(&socket, "slow mode", &seconds)
        })
        .on("close", async move |socket: Socket<Viewer>, is_closed: bool| {
            only_host(&socket)?;
            closes.change(|state| state.is_closed = is_closed);
            announce(&socket, "closed", &is_closed)
        })
}

/// Sends the comments of each tick, and the counts if they have changed.
pub(crate) async fn publish(room: Arc<Room>, io: Server) {
    let mut clock = interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut reported, mut shown) = (0, (0, 0));
    for tick in 0_u64.. {
        clock.tick().await;
        let viewers = io.socket_count("/");
        let batch = room.take_batch(&io);
        let mut sent = 0;
        if tick.is_multiple_of(5) {
            let (likes, is_due) = (room.likes.swap(0, Ordering::Relaxed), tick.is_multiple_of(50));
            if likes > 0 || viewers != reported || is_due {
                room.change(|state| {
                    state.likes += likes;
                    cluster::report(&io, viewers, likes);
                });
                reported = viewers;
            }
            let counts = (viewers + room.others.lock().viewers(), room.state.lock().likes);
            if counts != shown || is_due {
                // The next counts replace these, so they need not arrive. Behind the comments, they often would not.
                let _ = io.local().volatile().emit("counts", &counts);
                shown = counts;
                sent += viewers;
            }
        }
        if !batch.comments.is_empty() {
            // If the queue to the other servers is full, their viewers miss these comments.
            let _ = io.emit("comments", &batch);
            sent += viewers;
        }
        room.sent.fetch_add(sent as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use socketio::{
        MemoryBus, ServerConfig,
        serde_json::{Value, json},
        testing::{TestClient, TestServer},
    };

    use super::*;

    fn start() -> TestServer {
        let room = Arc::new(Room::new("key"));
        let server = TestServer::new(Server::new().namespace(namespace(&room)));
        tokio::spawn(publish(room, server.server().clone()));
        server
    }

    async fn join(server: &TestServer, name: &str, key: &str) -> (TestClient, Value) {
        let auth = json!({ "name": name, "key": key });
        let mut client = server.client("/").auth(&auth).connect().await.unwrap();
        let welcome = client.wait_for("welcome").await;
        (client, welcome)
    }

    async fn comment(client: &TestClient, text: &str) -> Value {
        client.emit_with_ack("comment", text).await.unwrap()
    }

    #[test]
    fn names_and_texts_are_cleaned() {
        assert_eq!(clean("  Ann\u{0}\n\u{202e}Lee\t", 24), "Ann Lee");
        assert_eq!(clean(&"é".repeat(300), 200).chars().count(), 200);
        assert_eq!(clean("\u{200f} \r\n", 24), "");
        assert_eq!(clean("<b>", 24), "<b>");
    }

    #[tokio::test(start_paused = true)]
    async fn comments_are_sent_together() {
        let server = start();
        let ((ann, _), (mut bob, _)) = (join(&server, "Ann", "").await, join(&server, " Bob ", "").await);
        comment(&ann, "one").await;
        comment(&ann, " two ").await;
        let batch: Value = bob.wait_for("comments").await;
        let texts: Vec<&Value> =
            batch["comments"].as_array().unwrap().iter().map(|said| &said["text"]).collect();
        assert_eq!(texts, ["one", "two"]);
        let (_, welcome) = join(&server, "Eve", "").await;
        assert_eq!(welcome["recent"][1]["name"], "Ann");
        assert_eq!(welcome["viewers"], 3);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_host_pins_mutes_and_closes() {
        let server = start();
        let ((mut ann, welcome), (host, _)) =
            (join(&server, "Ann", "other").await, join(&server, "Host", "key").await);
        let id = comment(&ann, "hello").await;
        ann.wait_for::<Value>("comments").await;
        for event in ["pin", "mute", "slow mode"] {
            let refused: Value = ann.emit_with_ack(event, &1).await.unwrap();
            assert_eq!(refused, json!({ "error": "only the host may do this" }), "{event}");
        }
        host.emit_with_ack::<(), _>("pin", &id).await.unwrap();
        assert_eq!(ann.wait_for::<Value>("pinned").await["text"], "hello");
        host.emit_with_ack::<(), _>("slow mode", &30).await.unwrap();
        assert_eq!(comment(&ann, "again").await, json!({ "error": "slow mode: wait 30 s" }));
        host.emit_with_ack::<(), _>("close", &true).await.unwrap();
        assert_eq!(comment(&ann, "again").await, json!({ "error": "the room is closed" }));
        host.emit_with_ack::<(), _>("close", &false).await.unwrap();
        // Three comments a second are accepted.
        tokio::time::advance(Duration::from_secs(1)).await;
        host.emit_with_ack::<(), _>("mute", &welcome["id"]).await.unwrap();
        assert_eq!(ann.wait_for::<Value>("muted").await, welcome["id"]);
        assert_eq!(comment(&ann, "again").await, json!({ "error": "the host has muted you" }));
        let (_, welcome) = join(&server, "Eve", "").await;
        assert_eq!((&welcome["recent"], &welcome["pinned"]), (&json!([]), &json!(null)));
    }

    #[test]
    fn a_comment_of_a_muted_viewer_from_another_server_is_not_kept() {
        let comment = |id, by| Comment { id, by, name: "Ann".into(), text: "hello".into(), is_host: false };
        let mut state = State::default();
        state.mute(7);
        state.keep([comment(1, 7), comment(2, 8)]);
        assert_eq!(state.kept.iter().map(|comment| comment.id).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_starts_later_has_the_likes() {
        let bus = MemoryBus::new();
        let start = || {
            let room = Arc::new(Room::new("key"));
            let io = Server::with_cluster(ServerConfig::default(), bus.clone()).namespace(namespace(&room));
            tokio::spawn(publish(room, io.clone()));
            tokio::spawn(cluster::join(io.clone()));
            TestServer::new(io)
        };
        let first = start();
        let (mut ann, _) = join(&first, "Ann", "").await;
        ann.emit("like", &()).await.unwrap();
        while ann.wait_for::<(usize, u64)>("counts").await.1 == 0 {}
        let second = start();
        let (mut bob, _) = join(&second, "Bob", "").await;
        // The counts are sent at least every five seconds.
        let counts = [bob.wait_for::<(usize, u64)>("counts").await, bob.wait_for("counts").await];
        assert!(counts.contains(&(2, 1)), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_needed() {
        let server = start();
        let refused = server.client("/").auth(&json!({ "name": "\u{202e}" })).connect().await.err().unwrap();
        assert_eq!(refused.message(), "a name is needed");
    }
}
