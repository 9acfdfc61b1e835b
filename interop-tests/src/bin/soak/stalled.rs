//! Clients that never read what their room gets, and what others notice of them.

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

/// How much more memory the server may use.
const MAX_GROWTH: usize = 64 << 20;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    None,
    Reading,
    Stalled,
}

/// What a phase has shown.
struct Shown {
    /// All echoes.
    song: Song,
    /// Those until the last client was ended; all of them if none was.
    together: Song,
    growth: usize,
    kernel: usize,
    reasons: BTreeMap<String, usize>,
}

/// First the same broadcasts to nobody, to clients that read, and to clients that do not; then as many as there can
/// be.
pub(crate) async fn run(
    room: Room,
    megabytes: usize,
    rate: usize,
    seconds: usize,
) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::default();
    let messages = rate * seconds;
    println!("{messages} broadcasts of {MESSAGE} bytes, {rate} in a second, policy {}", room.policy);
    let nobody = phase(room, Clients::None, messages, rate).await?;
    let reading = phase(room, Clients::Reading, messages, rate).await?;
    let lost = reading.reasons.values().sum::<usize>();
    verdict.demand(lost == 0, format!("{lost} clients were ended that read"));
    let stalled = phase(room, Clients::Stalled, messages, rate).await?;
    stalled.judge(&mut verdict, room);
    let bound = MAX_P99.max(2 * nobody.song.at(99)).max(reading.song.at(99));
    verdict.demand(stalled.together.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));

    let messages = megabytes * 1000;
    println!("{messages} broadcasts of {MESSAGE} bytes, as fast as the server can, policy {}", room.policy);
    let nobody = phase(room, Clients::None, messages, FLOOD).await?;
    let stalled = phase(room, Clients::Stalled, messages, FLOOD).await?;
    stalled.judge(&mut verdict, room);
    let bound = MAX_FLOOD_P99.max(2 * nobody.song.at(99));
    verdict.demand(stalled.song.at(99) <= bound, format!("the canary's p99 may be {bound:.2?}"));
    Ok(verdict)
}

impl Shown {
    /// Whether clients that did not read cost little, and were ended for it.
    fn judge(&self, verdict: &mut Verdict, room: Room) {
        verdict.demand(self.growth < MAX_GROWTH, format!("{} more memory", mib(self.growth)));
        let kernel = self.kernel;
        verdict.demand(kernel < room.clients * MAX_KERNEL, format!("{} in the kernel", mib(kernel)));
        let slow = self.reasons.get("Closed(SlowConsumer)").copied().unwrap_or_default();
        if room.policy == Policy::Disconnect {
            let all = room.clients;
            verdict.demand(slow == all, format!("{slow} of {all} clients were ended for not reading"));
        }
        let others = self.reasons.values().sum::<usize>() - slow;
        verdict.demand(others == 0, format!("{others} others were ended too"));
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
async fn phase(room: Room, clients: Clients, messages: usize, rate: usize) -> Result<Shown, Failure> {
    let mut server = Server::start(room.policy).await?;
    let (mut stalled, mut reading) = (Vec::new(), JoinSet::new());
    let count = if clients == Clients::None { 0 } else { room.clients };
    for number in 0..count {
        let mut client = Client::websocket(server.address, number).await?;
        client.send(r#"420["join"]"#).await?;
        client.frame().await?;
        if clients == Clients::Reading {
            reading.spawn(client.idle());
        } else {
            stalled.push(client);
        }
    }
    let (start, kernel, alone) = (resident(server.pid)?, kernel_buffers()?, server.gauges().await?);
    let peaks = Arc::new((AtomicUsize::new(start), AtomicUsize::new(kernel)));
    let watching = tokio::spawn(watch(server.pid, peaks.clone()));
    let canary = Canary::start(server.address);
    let (began, used) = (Instant::now(), server.cpu_time()?);
    server.ask(&format!("broadcast {messages} {MESSAGE} {rate}")).await?;
    let (took, used) = (began.elapsed(), server.cpu_time()?.saturating_sub(used));
    let reasons = server.ask("reasons").await?;
    let times = canary.stop()?;
    watching.abort();

    let (last_end, reasons) = reasons.split_once(' ').ok_or("reasons")?;
    let last_end = Some(Duration::from_millis(last_end.parse()?)).filter(|end| !end.is_zero());
    let together = times.iter().filter(|(at, _)| last_end.is_none_or(|end| *at < began + end));
    let shown = Shown {
        together: Song::new(together),
        song: Song::new(&times),
        growth: peaks.0.load(Ordering::Relaxed).saturating_sub(start),
        kernel: peaks.1.load(Ordering::Relaxed).saturating_sub(kernel),
        reasons: serde_json::from_str(reasons)?,
    };
    let (rate, cores) = (messages as f64 / took.as_secs_f64(), used.as_secs_f64() / took.as_secs_f64());
    println!(
        "{count} clients, {clients:?}: {rate:.0} broadcasts in a second, {cores:.2} cores for the server"
    );
    let live = server.gauges().await?.peak_bytes.saturating_sub(alone.live_bytes);
    let (growth, kernel) = (mib(shown.growth), mib(shown.kernel));
    println!("  memory: {growth} more, of it live {}; buffers of the kernel: {kernel} more", mib(live));
    println!("  canary: {}", shown.song);
    if let Some(end) = last_end {
        println!("  ended until {end:.1?}: {:?}", shown.reasons);
        println!("  canary until then: {}", shown.together);
    }
    Ok(shown)
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
