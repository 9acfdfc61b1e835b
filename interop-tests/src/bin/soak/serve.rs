//! The server, and the commands that its parent sends as lines.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write as _,
    net::Ipv4Addr,
    num::{NonZeroU32, ParseIntError},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use socketio::{
    Ack, Args, DisconnectReason, EmitError, EngineConfig, ListenConfig, Namespace, Server, ServerConfig,
    SlowConsumerPolicy, Socket,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{Failure, HEAP};

const ROOM: &str = "room";
/// The maximum number of batches per second. At higher rates, a batch has several broadcasts.
const STRETCHES: u32 = 1000;
/// The number of messages between two yields to other tasks.
const AT_A_STRETCH: usize = 64;

/// The policy for clients that do not read their messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Disconnects them.
    Disconnect,
    /// Drops the newest messages.
    DropNewest,
    /// Drops the oldest messages.
    DropOldest,
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "disconnect" => Ok(Self::Disconnect),
            "drop-newest" => Ok(Self::DropNewest),
            "drop-oldest" => Ok(Self::DropOldest),
            _ => Err("there are `disconnect`, `drop-newest` and `drop-oldest`".to_owned()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnect => "disconnect",
            Self::DropNewest => "drop-newest",
            Self::DropOldest => "drop-oldest",
        })
    }
}

impl Policy {
    fn config(self) -> ServerConfig {
        let slow_consumer = match self {
            Self::Disconnect => SlowConsumerPolicy::Disconnect,
            Self::DropNewest => SlowConsumerPolicy::DropNewest,
            Self::DropOldest => SlowConsumerPolicy::DropOldest,
        };
        // The defaults reserve a tenth of the descriptors, which the ramp needs.
        ServerConfig::default()
            .engine(EngineConfig::default().slow_consumer(slow_consumer).max_sessions(100_000))
            .listen(ListenConfig::default().max_connections(100_000))
    }
}

/// The number of disconnects by reason, and the time of the last disconnect.
type Reasons = Arc<Mutex<(BTreeMap<String, usize>, Option<Instant>)>>;

/// The sockets in the room.
type Members = Arc<Mutex<Vec<Socket>>>;

/// Prints its port, then executes commands until the input ends.
pub(crate) async fn serve(policy: Policy) -> Result<(), Failure> {
    let (reasons, members) = (Reasons::default(), Members::default());
    let (noted, joined) = (reasons.clone(), members.clone());
    let namespace = Namespace::new("/")
        .on("join", async move |socket: Socket, ()| {
            joined.lock().push(socket.clone());
            socket.join(ROOM)
        })
        .on("answer", async |_, size: usize| Ack("x".repeat(size)))
        .on("echo", async |socket, args: Args| socket.emit("echo", &args))
        .on_disconnect(async move |_, reason: DisconnectReason| {
            let (reasons, last) = &mut *noted.lock();
            *reasons.entry(format!("{reason:?}")).or_default() += 1;
            *last = Some(Instant::now());
        });
    let io = Server::with_config(policy.config()).namespace(namespace);
    // Clients may connect before the server accepts them.
    let listener = ListenConfig::default().bind((Ipv4Addr::LOCALHOST, 0)).await?;
    say(listener.local_addr()?.port());
    let serving = tokio::spawn(io.clone().serve(listener).into_future());

    let mut begin = Instant::now();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["gauges"] => say(format_args!(
                "{} {} {} {} {}",
                io.session_count(),
                io.socket_count("/"),
                tokio::runtime::Handle::current().metrics().num_alive_tasks(),
                HEAP.allocated(),
                HEAP.max_allocated(),
            )),
            // The duration is from the first broadcast to the last disconnect.
            ["reasons"] => {
                let (reasons, last) = &*reasons.lock();
                let last = last.map_or(Duration::ZERO, |last| last - begin);
                say(format_args!("{} {}", last.as_millis(), serde_json::to_string(reasons)?));
            }
            ["answers"] => {
                begin = Instant::now();
                say("done");
            }
            ["broadcast", messages, size, rate] => {
                begin = Instant::now();
                // Runs on a worker thread, like the handlers of applications.
                tokio::spawn(broadcast(io.clone(), messages.parse()?, parse(size)?, rate.parse()?)).await??;
                say("done");
            }
            ["each", messages, size] => {
                begin = Instant::now();
                let members = std::mem::take(&mut *members.lock());
                let refused = tokio::spawn(each(members, messages.parse()?, parse(size)?)).await??;
                say(refused);
            }
            _ => return Err(format!("no command: {line}").into()),
        }
    }
    serving.abort();
    Ok(())
}

fn parse(number: &str) -> Result<usize, ParseIntError> {
    number.parse()
}

/// Broadcasts messages of this size to the room, at up to `rate` per second.
async fn broadcast(io: Server, messages: usize, size: usize, rate: NonZeroU32) -> Result<(), Failure> {
    let text = "x".repeat(size);
    let at_once = rate.get().div_ceil(STRETCHES);
    let mut pace = interval(Duration::from_secs(1) * at_once / rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..messages {
        if n % at_once as usize == 0 {
            pace.tick().await;
        }
        io.to(ROOM).emit("news", &text)?;
    }
    Ok(())
}

/// Sends different messages of this size to each member. Returns how many were refused for members that
/// stayed connected.
async fn each(mut members: Vec<Socket>, messages: usize, size: usize) -> Result<usize, Failure> {
    let (mut refused, mut sent) = (0, 0);
    for n in 0..messages {
        let mut stayed = Vec::with_capacity(members.len());
        for socket in members {
            match socket.emit("news", &format!("{n:x<size$}")) {
                Err(EmitError::Disconnected) => continue,
                Err(EmitError::Full) => refused += 1,
                other => other?,
            }
            stayed.push(socket);
            sent += 1;
            if sent % AT_A_STRETCH == 0 {
                yield_now().await;
            }
        }
        members = stayed;
    }
    Ok(refused)
}

fn say(line: impl fmt::Display) {
    println!("{line}");
    // A failure means that the parent has exited, so the input ends next.
    let _ = std::io::stdout().flush();
}
