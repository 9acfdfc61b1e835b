//! Clients that read nothing or very little, and their effect on other clients.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Failure, Verdict,
    child::{Server, kernel_buffers, mib, resident},
    client::Client,
    serve::Policy,
};

/// The maximum size of the messages that are buffered for all clients, the default of `max_buffered_total`.
const BUDGET: usize = 512 << 20;
/// The maximum resident memory of the server.
const MAX_RESIDENT: usize = BUDGET + BUDGET / 10;
/// The maximum time until a slow client is disconnected: the longer of `slow_consumer_grace` and
/// `write_timeout` by default, and a second for the server to act.
const MAX_STALL: Duration = Duration::from_secs(30 + 1);
/// The maximum memory that the kernel may use for a client that does not read, in the buffers of both sides.
const MAX_KERNEL: usize = 320 << 10;
/// The maximum 99th percentile of echoes while others do not read. Twice the percentile without clients and
/// the percentile with reading clients are permitted as well.
const MAX_P99: Duration = Duration::from_millis(1);
/// The maximum 99th percentile of echoes from the first to the last broadcast of a flood. Both cores are busy
/// for the first tenth of a second with the kernel's allocations for each client, and echoes of that time
/// wait for some 10 ms.
const MAX_FLOOD_P99: Duration = Duration::from_millis(5);
const MESSAGE: usize = 1024;
/// The rate of broadcasts per second of a flood, higher than the server can reach.
const FLOOD: usize = 10_000;
/// The size of a message for a single client. Messages of this size are buffered in a separate frame each.
const OWN_MESSAGE: usize = 10_000;
/// The size of an answer to a client.
const ANSWER: usize = 1_000_000;
/// The bytes that are sent to each reading client at full speed. For all clients together, they are within
/// the budget.
const MAX_READ: usize = 400_000;
/// The bytes that are sent to each trickling client, more than may be buffered for a client permanently.
const TRICKLED: usize = 2_000_000;
/// The maximum number of trickling clients.
const MAX_TRICKLING: usize = 100;
/// The pause of a trickling client between two reads.
const TRICKLE: Duration = Duration::from_secs(1);
/// The number of bytes after which the operating system reports free buffer space to the server.
const HALF_BUFFER: usize = 32 * 1024;
/// The pause of the canary between two echoes.
const BREATH: Duration = Duration::from_millis(2);
/// This number gives the canary an address that no other client has.
const CANARY: usize = 100_000;

/// The number of clients in the room, and the policy of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) clients: usize,
    pub(crate) policy: Policy,
}

/// The amount of data that is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loads {
    /// The broadcasts per second, and the duration.
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
    /// The megabytes of broadcasts at full speed.
    pub(crate) megabytes: usize,
    /// The megabytes that are sent to each client separately.
    pub(crate) each: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    None,
    Reading,
    Stalled,
    /// Half of them read a byte per second, the others half a buffer in five seconds.
    Trickling,
}

/// The messages that the server sends.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Broadcasts at a rate per second.
    Room { messages: usize, rate: usize },
    /// Different messages to each client.
    Each { messages: usize },
    /// Acknowledgements that each client has requested.
    Answers { messages: usize },
}

impl Load {
    /// Returns a load of this number of bytes for each client, at full speed.
    fn each(bytes: usize) -> Self {
        Self::Each { messages: bytes / OWN_MESSAGE }
    }

    fn command(self) -> String {
        match self {
            Self::Room { messages, rate } => format!("broadcast {messages} {MESSAGE} {rate}"),
            Self::Each { messages } => format!("each {messages} {OWN_MESSAGE}"),
            Self::Answers { .. } => "answers".to_owned(),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room { messages, rate } => {
                write!(f, "{messages} broadcasts of {MESSAGE} bytes, {rate} in a second at most")
            }
            Self::Each { messages } => write!(f, "{messages} messages of {OWN_MESSAGE} bytes to each client"),
            Self::Answers { messages } => write!(f, "{messages} answers of {ANSWER} bytes to each client"),
        }
    }
}

/// The measurements of a phase.
struct Shown {
    /// All echoes.
    song: Song,
    /// The echoes until the last client was disconnected, or all echoes if none was.
    together: Song,
    resident: usize,
    /// The bytes that the server had allocated for the load.
    live: usize,
    kernel: usize,
    reasons: BTreeMap<String, usize>,
    /// The time from the end of the load until the last client was disconnected. Zero if clients request the load,
    /// because requests wait while the budget is used up, and a client that is not owed anything is not slow.
    stall: Duration,
}

/// Broadcasts first to nobody, to clients that read, and to clients that do not. Then broadcasts at full
/// speed, sends separate messages to each client, and lets each client request answers.
pub(crate) async fn run(room: Room, loads: Loads) -> Result<Verdict, Failure> {
    let Loads { rate, seconds, megabytes, each } = loads;
    let mut verdict = Verdict::default();
    let paced = Load::Room { messages: rate * seconds, rate };
    let nobody = phase(room, Clients::None, paced).await?;
    let reading = phase(room, Clients::Reading, paced).await?;
    reading.judge(&mut verdict, room, Clients::Reading);
    let stalled = phase(room, Clients::Stalled, paced).await?;
    stalled.judge(&mut verdict, room, Clients::Stalled);
    let bound = MAX_P99.max(2 * nobody.song.at(99)).max(reading.song.at(99));
    verdict.demand(stalled.together.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));

    let flood = Load::Room { messages: megabytes * 1000, rate: FLOOD };
    let nobody = phase(room, Clients::None, flood).await?;
    let stalled = phase(room, Clients::Stalled, flood).await?;
    stalled.judge(&mut verdict, room, Clients::Stalled);
    let bound = MAX_FLOOD_P99.max(2 * nobody.song.at(99)).max(reading.song.at(99));
    verdict.demand(stalled.song.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));

    let read = Load::each(MAX_READ.min(each * 1_000_000));
    beside_readers(&mut verdict, room, read, Load::each(each * 1_000_000)).await?;
    let answers = Load::Answers { messages: each };
    beside_readers(&mut verdict, room, answers, answers).await?;

    let few = Room { clients: room.clients.min(MAX_TRICKLING), ..room };
    let trickling = phase(few, Clients::Trickling, Load::each(TRICKLED)).await?;
    trickling.judge(&mut verdict, few, Clients::Trickling);
    Ok(verdict)
}

/// Compares the echoes beside clients that read one load with those beside clients that read nothing of another.
async fn beside_readers(
    verdict: &mut Verdict,
    room: Room,
    read: Load,
    not_read: Load,
) -> Result<(), Failure> {
    let reading = phase(room, Clients::Reading, read).await?;
    reading.judge(verdict, room, Clients::Reading);
    let stalled = phase(room, Clients::Stalled, not_read).await?;
    stalled.judge(verdict, room, Clients::Stalled);
    let bound = MAX_FLOOD_P99.max(reading.song.at(99));
    verdict.demand(stalled.song.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));
    Ok(())
}

impl Shown {
    /// Demands that the clients cost little. Clients that read must stay connected, and the others must be
    /// disconnected for not reading if the policy says so.
    fn judge(&self, verdict: &mut Verdict, room: Room, clients: Clients) {
        // Buffers of many sizes that come and go leave gaps in the memory of the default allocator.
        let memory = if clients == Clients::Reading { self.live } else { self.resident };
        verdict.demand(memory <= MAX_RESIDENT, format!("{} of memory", mib(memory)));
        // A client whose requests wait may end because it does not read pings.
        let is_slow = |reason: &str| {
            ["Closed(SlowConsumer", "Closed(PingTimeout"].iter().any(|start| reason.starts_with(start))
        };
        let slow = self.reasons.iter().filter(|(reason, _)| is_slow(reason));
        let slow = slow.map(|(_, count)| count).sum::<usize>();
        let others = self.reasons.values().sum::<usize>() - slow;
        verdict.demand(others == 0, format!("{others} were ended for another reason: {:?}", self.reasons));
        if clients == Clients::Reading {
            return verdict.demand(slow == 0, format!("{slow} clients were ended that read"));
        }
        let kernel = self.kernel;
        verdict.demand(kernel < room.clients * MAX_KERNEL, format!("{} in the kernel", mib(kernel)));
        if room.policy == Policy::Disconnect {
            let all = room.clients;
            verdict.demand(slow == all, format!("{slow} of {all} clients were ended for not reading"));
            let stall = self.stall;
            verdict.demand(stall <= MAX_STALL, format!("one was ended {stall:.1?} after the last message"));
        }
    }
}

async fn join(server: &Server, number: usize) -> Result<Client, Failure> {
    let mut client = Client::websocket(server.address, number).await?;
    client.send(r#"420["join"]"#).await?;
    client.frame().await?;
    Ok(client)
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
async fn phase(room: Room, clients: Clients, load: Load) -> Result<Shown, Failure> {
    let mut server = Server::start(room.policy).await?;
    let (mut joined, mut stalled, mut active) = (Vec::new(), Vec::new(), JoinSet::new());
    let count = if clients == Clients::None { 0 } else { room.clients };
    for number in 0..count {
        joined.push(join(&server, number).await?);
    }
    let (kernel, alone) = (kernel_buffers()?, server.gauges().await?);
    let peaks = Arc::new((AtomicUsize::new(0), AtomicUsize::new(kernel)));
    let watching = tokio::spawn(watch(server.pid, peaks.clone()));
    let canary = Canary::start(server.address);
    let (began, used) = (Instant::now(), server.cpu_time()?);
    let requested = if let Load::Answers { messages } = load { messages } else { 0 };
    let answered = Arc::new(Semaphore::new(0));
    for (number, mut client) in joined.into_iter().enumerate() {
        for id in 0..requested {
            client.send(&format!(r#"42{id}["answer",{ANSWER}]"#)).await?;
        }
        match clients {
            Clients::None | Clients::Stalled => stalled.push(client),
            Clients::Reading => drop(active.spawn(client.read_all(requested, answered.clone()))),
            Clients::Trickling if number % 2 == 0 => drop(active.spawn(client.trickle(1, TRICKLE))),
            Clients::Trickling => drop(active.spawn(client.trickle(HALF_BUFFER, 5 * TRICKLE))),
        }
    }
    server.ask(&load.command()).await?;
    if clients == Clients::Reading {
        drop(answered.acquire_many(u32::try_from(count)?).await?);
    }
    let (took, used) = (began.elapsed(), server.cpu_time()?.saturating_sub(used));
    let expected = if clients == Clients::Reading || room.policy != Policy::Disconnect { 0 } else { count };
    let (last_end, reasons) = ends(&mut server, expected).await?;
    let times = canary.stop()?;
    watching.abort();

    let last_end = Some(last_end).filter(|end| !end.is_zero());
    let together = times.iter().filter(|(at, _)| last_end.is_none_or(|end| *at < began + end));
    let live = server.gauges().await?.peak_bytes.saturating_sub(alone.live_bytes);
    let shown = Shown {
        live,
        together: Song::new(together),
        song: Song::new(&times),
        resident: peaks.0.load(Ordering::Relaxed),
        kernel: peaks.1.load(Ordering::Relaxed).saturating_sub(kernel),
        reasons,
        stall: if requested > 0 { Duration::ZERO } else { last_end.unwrap_or_default().saturating_sub(took) },
    };
    let cores = used.as_secs_f64() / took.as_secs_f64();
    println!("{count} clients, {clients:?}, policy {}: {load}", room.policy);
    println!("  sent in {took:.1?}, with {cores:.2} cores for the server");
    let (resident, kernel) = (mib(shown.resident), mib(shown.kernel));
    println!("  memory: {resident}, of it live for this {}; buffers of the kernel: {kernel} more", mib(live));
    println!("  canary: {}", shown.song);
    if let Some(end) = last_end {
        println!("  ended until {end:.1?}: {:?}", shown.reasons);
        println!("  canary until then: {}", shown.together);
    }
    Ok(shown)
}

/// Waits until the expected number of clients is disconnected, or until twice the permitted time has passed.
/// Returns the time from the beginning of the load to the last disconnect, and the reasons.
async fn ends(server: &mut Server, expected: usize) -> Result<(Duration, BTreeMap<String, usize>), Failure> {
    let begin = Instant::now();
    loop {
        let answer = server.ask("reasons").await?;
        let (last_end, reasons) = answer.split_once(' ').ok_or("reasons")?;
        let reasons: BTreeMap<String, usize> = serde_json::from_str(reasons)?;
        if reasons.values().sum::<usize>() >= expected || begin.elapsed() > 2 * MAX_STALL {
            return Ok((Duration::from_millis(last_end.parse()?), reasons));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Records the peaks of resident memory and of kernel buffers.
async fn watch(pid: u32, peaks: Arc<(AtomicUsize, AtomicUsize)>) -> Result<(), Failure> {
    loop {
        peaks.0.fetch_max(resident(pid)?, Ordering::Relaxed);
        peaks.1.fetch_max(kernel_buffers()?, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
}

/// The time of an echo request, and the duration until the echo arrived.
type Echo = (Instant, Duration);

/// A client that requests one echo after another. It has its own thread, so other clients of this process do
/// not delay it.
struct Canary {
    told: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Echo>, Failure>>,
}

impl Canary {
    fn start(server: SocketAddr) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let told = told.clone();
            move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(sing(server, &told))
            }
        });
        Self { told, thread }
    }

    fn stop(self) -> Result<Vec<Echo>, Failure> {
        self.told.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the canary panicked")?
    }
}

async fn sing(server: SocketAddr, told: &AtomicBool) -> Result<Vec<Echo>, Failure> {
    let mut client = Client::websocket(server, CANARY).await?;
    let mut times = Vec::new();
    while !told.load(Ordering::Relaxed) {
        let asked = Instant::now();
        client.send(r#"42["echo",1]"#).await?;
        while !client.frame().await?.starts_with("42") {
            // The frame was a ping. The pong is sent now, the echo is still to come.
            client.send("3").await?;
        }
        times.push((asked, asked.elapsed()));
        sleep(BREATH).await;
    }
    Ok(times)
}

/// The durations of echoes, sorted.
struct Song(Vec<Duration>);

impl Song {
    fn new<'a>(echoes: impl IntoIterator<Item = &'a Echo>) -> Self {
        let mut times: Vec<_> = echoes.into_iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        Self(times)
    }

    /// Returns the percentile.
    fn at(&self, share: usize) -> Duration {
        self.0.get(self.0.len().saturating_sub(1) * share / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Song {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|share| self.at(share));
        write!(f, "{} echoes, p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?}", self.0.len())
    }
}
