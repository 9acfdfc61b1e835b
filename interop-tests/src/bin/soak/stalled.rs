//! Clients that never read what they are sent, or hardly, and what others notice of them.

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
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Failure, Verdict,
    child::{Server, kernel_buffers, mib, resident},
    client::Client,
    serve::Policy,
};

/// What the messages for all clients may take together, the default of `max_buffered_total`.
const BUDGET: usize = 512 << 20;
/// The resident memory of the server.
const MAX_RESIDENT: usize = BUDGET + BUDGET / 10;
/// How long a client may be slow, the longer one of `slow_consumer_grace` and `write_timeout` by default, and how much
/// later the server may act.
const MAX_STALL: Duration = Duration::from_secs(30 + 1);
/// How much the kernel may hold for a client that does not read, in the buffers of both sides.
const MAX_KERNEL: usize = 320 << 10;
/// How long 99 of 100 echoes may take while others do not read. They may take as long as with nobody there, twice, and
/// as long as while the others read.
const MAX_P99: Duration = Duration::from_millis(1);
/// The same from the first to the last of as many broadcasts as there can be: both cores are busy for the first tenth of
/// a second, with what the kernel takes for each client, and the echoes of that time wait some 10 ms.
const MAX_FLOOD_P99: Duration = Duration::from_millis(5);
const MESSAGE: usize = 1024;
/// As many broadcasts in a second as the server can make.
const FLOOD: usize = 10_000;
/// The messages for a single client: they may wait in a frame of their own, and not among others.
const OWN_MESSAGE: usize = 10_000;
/// What readers are sent each as fast as the server can: no more than the budget for all.
const MAX_READ: usize = 400_000;
/// What clients that trickle are sent each: more than may wait for a client in the long run.
const TRICKLED: usize = 2_000_000;
/// How many clients trickle at most.
const MAX_TRICKLING: usize = 100;
/// How long a client that trickles does not read.
const TRICKLE: Duration = Duration::from_secs(1);
/// From so many bytes on, the system tells the server that there is room.
const HALF_BUFFER: usize = 32 * 1024;
/// The pause of the canary between two echoes.
const BREATH: Duration = Duration::from_millis(2);
/// The canary has an address of its own.
const CANARY: usize = 100_000;

/// Who is in the room besides nobody, and how the server treats them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) clients: usize,
    pub(crate) policy: Policy,
}

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loads {
    /// Broadcasts in a second, and for how long.
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
    /// Broadcasts as fast as there can be.
    pub(crate) megabytes: usize,
    /// The megabytes that are meant for each client alone.
    pub(crate) each: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    None,
    Reading,
    Stalled,
    /// Half of them take a byte in a second, the others half a buffer in five.
    Trickling,
}

/// What the server sends.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Broadcasts, so many in a second.
    Room { messages: usize, rate: usize },
    /// So many messages to each client, no two of them alike.
    Each { messages: usize },
}

impl Load {
    /// So many bytes for each client, as fast as the server can.
    fn each(bytes: usize) -> Self {
        Self::Each { messages: bytes / OWN_MESSAGE }
    }

    fn command(self) -> String {
        match self {
            Self::Room { messages, rate } => format!("broadcast {messages} {MESSAGE} {rate}"),
            Self::Each { messages } => format!("each {messages} {OWN_MESSAGE}"),
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
        }
    }
}

/// What a phase has shown.
struct Shown {
    /// All echoes.
    song: Song,
    /// Those until the last client was ended; all of them if none was.
    together: Song,
    resident: usize,
    kernel: usize,
    reasons: BTreeMap<String, usize>,
    /// How long after the load the last client was ended.
    stall: Duration,
}

/// First the same broadcasts to nobody, to clients that read, and to clients that do not; then as many as there can
/// be; then messages for each client alone.
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

    let reading = phase(room, Clients::Reading, Load::each(MAX_READ.min(each * 1_000_000))).await?;
    reading.judge(&mut verdict, room, Clients::Reading);
    let stalled = phase(room, Clients::Stalled, Load::each(each * 1_000_000)).await?;
    stalled.judge(&mut verdict, room, Clients::Stalled);
    let bound = MAX_FLOOD_P99.max(reading.song.at(99));
    verdict.demand(stalled.song.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));

    let few = Room { clients: room.clients.min(MAX_TRICKLING), ..room };
    let trickling = phase(few, Clients::Trickling, Load::each(TRICKLED)).await?;
    trickling.judge(&mut verdict, few, Clients::Trickling);
    Ok(verdict)
}

impl Shown {
    /// Whether the clients cost little, and were ended for not reading, or none was.
    fn judge(&self, verdict: &mut Verdict, room: Room, clients: Clients) {
        let resident = self.resident;
        verdict.demand(resident <= MAX_RESIDENT, format!("{} of memory", mib(resident)));
        let slow = self.reasons.iter().filter(|(reason, _)| reason.starts_with("Closed(SlowConsumer"));
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
    let (mut stalled, mut active) = (Vec::new(), JoinSet::new());
    let count = if clients == Clients::None { 0 } else { room.clients };
    for number in 0..count {
        let client = join(&server, number).await?;
        match clients {
            Clients::None | Clients::Stalled => stalled.push(client),
            Clients::Reading => drop(active.spawn(client.idle())),
            Clients::Trickling if number % 2 == 0 => drop(active.spawn(client.trickle(1, TRICKLE))),
            Clients::Trickling => drop(active.spawn(client.trickle(HALF_BUFFER, 5 * TRICKLE))),
        }
    }
    let (kernel, alone) = (kernel_buffers()?, server.gauges().await?);
    let peaks = Arc::new((AtomicUsize::new(0), AtomicUsize::new(kernel)));
    let watching = tokio::spawn(watch(server.pid, peaks.clone()));
    let canary = Canary::start(server.address);
    let (began, used) = (Instant::now(), server.cpu_time()?);
    server.ask(&load.command()).await?;
    let (took, used) = (began.elapsed(), server.cpu_time()?.saturating_sub(used));
    let expected = if clients == Clients::Reading || room.policy != Policy::Disconnect { 0 } else { count };
    let (last_end, reasons) = ends(&mut server, expected).await?;
    let times = canary.stop()?;
    watching.abort();

    let last_end = Some(last_end).filter(|end| !end.is_zero());
    let together = times.iter().filter(|(at, _)| last_end.is_none_or(|end| *at < began + end));
    let shown = Shown {
        together: Song::new(together),
        song: Song::new(&times),
        resident: peaks.0.load(Ordering::Relaxed),
        kernel: peaks.1.load(Ordering::Relaxed).saturating_sub(kernel),
        reasons,
        stall: last_end.unwrap_or_default().saturating_sub(took),
    };
    let cores = used.as_secs_f64() / took.as_secs_f64();
    println!("{count} clients, {clients:?}, policy {}: {load}", room.policy);
    println!("  sent in {took:.1?}, with {cores:.2} cores for the server");
    let live = server.gauges().await?.peak_bytes.saturating_sub(alone.live_bytes);
    let (resident, kernel) = (mib(shown.resident), mib(shown.kernel));
    println!("  memory: {resident}, of it live for this {}; buffers of the kernel: {kernel} more", mib(live));
    println!("  canary: {}", shown.song);
    if let Some(end) = last_end {
        println!("  ended until {end:.1?}: {:?}", shown.reasons);
        println!("  canary until then: {}", shown.together);
    }
    Ok(shown)
}

/// Waits until so many clients were ended, but no longer than that may take; says how long after the beginning of the
/// load the last one was, and why they were.
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

/// Notes how much memory there is at most.
async fn watch(pid: u32, peaks: Arc<(AtomicUsize, AtomicUsize)>) -> Result<(), Failure> {
    loop {
        peaks.0.fetch_max(resident(pid)?, Ordering::Relaxed);
        peaks.1.fetch_max(kernel_buffers()?, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
}

/// When an echo was asked for, and how long it took.
type Echo = (Instant, Duration);

/// A client that asks for echoes, one after the other: in a thread of its own, where it waits for the server and not
/// for the other clients of this process.
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
            // A ping; the answer may wait for the echo.
            client.send("3").await?;
        }
        times.push((asked, asked.elapsed()));
        sleep(BREATH).await;
    }
    Ok(times)
}

/// How long echoes took, in order.
struct Song(Vec<Duration>);

impl Song {
    fn new<'a>(echoes: impl IntoIterator<Item = &'a Echo>) -> Self {
        let mut times: Vec<_> = echoes.into_iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        Self(times)
    }

    /// So many percent took no longer.
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
