//! Opens and closes the maximum number of connections, twice.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Failure, Verdict,
    child::{Gauges, Server, mib, resident},
    client::Client,
    serve::Policy,
};

/// The number of connections that are opened concurrently.
const AT_ONCE: usize = 200;
/// The time in which the server must notice that all clients have disconnected.
const PATIENCE: Duration = Duration::from_mins(1);

/// The permitted growth of live memory when all clients have disconnected: the smallest tables, and buffers
/// that threads keep.
const MAX_LEFT: usize = 256 << 10;

/// The time in which the allocator must return memory.
const SETTLING: Duration = Duration::from_secs(20);

/// The permitted difference of resident memory between the ends of two ramps, if the allocator returns no
/// memory.
const NOISE: usize = 4 << 20;

/// The resources of the server at one moment.
struct Inventory {
    gauges: Gauges,
    resident: usize,
    descriptors: usize,
}

impl Inventory {
    async fn take(server: &mut Server) -> Result<Self, Failure> {
        let gauges = server.gauges().await?;
        Ok(Self { gauges, resident: resident(server.pid)?, descriptors: server.descriptors()? })
    }

    fn print(&self, when: &str) {
        let Gauges { sessions, sockets, tasks, live_bytes, .. } = self.gauges;
        println!(
            "{when:<12} {sessions} sessions, {sockets} sockets, {tasks} tasks, {} descriptors, {} live, {} resident",
            self.descriptors,
            mib(live_bytes),
            mib(self.resident)
        );
    }
}

pub(crate) async fn run(connections: usize, polling: bool) -> Result<Verdict, Failure> {
    let mut server = Server::start(Policy::Disconnect).await?;
    let mut verdict = Verdict::default();
    // Warms up, which excludes one-time allocations of the server.
    ramp(&mut server, 100.min(connections), polling).await?;
    let start = Inventory::take(&mut server).await?;
    start.print("start");
    let mut ends = Vec::new();
    for turn in ["first", "second"] {
        let begin = Instant::now();
        let peak = ramp(&mut server, connections, polling).await?;
        println!("{turn}: {connections} connections up and down in {:.1?}", begin.elapsed());
        peak.print("  peak");
        let each = |peak: usize, start: usize| peak.saturating_sub(start) / connections;
        println!(
            "  each         {} bytes live, {} bytes resident",
            each(peak.gauges.live_bytes, start.gauges.live_bytes),
            each(peak.resident, start.resident)
        );
        verdict.demand(peak.gauges.sockets == connections, "not all were connected at once");
        let mut end = Inventory::take(&mut server).await?;
        end.print("  closed");
        if cfg!(feature = "jemalloc") {
            let most = start.resident + start.resident / 10;
            let begin = Instant::now();
            while end.resident > most && begin.elapsed() < SETTLING {
                sleep(Duration::from_millis(100)).await;
                end = Inventory::take(&mut server).await?;
            }
            end.print(&format!("  {:.1?}", begin.elapsed()));
            verdict.demand(end.resident <= most, "memory is not back to within a tenth of the start");
        }
        verdict.demand(end.gauges.sessions + end.gauges.sockets == 0, "sessions or sockets are left");
        verdict.demand(end.gauges.tasks == start.gauges.tasks, "tasks are left");
        verdict.demand(end.descriptors == start.descriptors, "descriptors are left");
        let left = end.gauges.live_bytes.saturating_sub(start.gauges.live_bytes);
        verdict.demand(left <= MAX_LEFT, format!("{left} bytes are left"));
        ends.push(end);
    }
    if let [first, second] = ends.as_slice() {
        let more = |second: usize, first: usize| second > first + first / 10;
        verdict.demand(
            !more(second.gauges.live_bytes, first.gauges.live_bytes),
            "the second ramp has left more than the first",
        );
        verdict.demand(!more(second.resident, first.resident + NOISE), "memory grows with each ramp");
    }
    Ok(verdict)
}

/// Opens and closes this number of connections. Returns the inventory while all of them were open.
async fn ramp(server: &mut Server, connections: usize, polling: bool) -> Result<Inventory, Failure> {
    let idle_tasks = server.gauges().await?.tasks;
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let (opened, mut clients) = (Arc::new(Semaphore::new(0)), JoinSet::new());
    for number in 0..connections {
        let (gate, opened, address) = (gate.clone(), opened.clone(), server.address);
        clients.spawn(async move {
            let turn = gate.acquire_owned().await?;
            let client = if polling {
                Client::polling(address, number).await?
            } else {
                Client::websocket(address, number).await?
            };
            drop(turn);
            opened.add_permits(1);
            client.idle().await
        });
    }
    let all = opened.acquire_many(u32::try_from(connections)?);
    tokio::select! {
        opened = all => drop(opened?),
        Some(ended) = clients.join_next() => return Err(format!("a client ended early: {ended:?}").into()),
    }
    let inventory = Inventory::take(server).await?;
    clients.shutdown().await;
    // The task of a session ends shortly after the session.
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let gauges = server.gauges().await?;
        if gauges.sessions + gauges.sockets == 0 && gauges.tasks <= idle_tasks {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(inventory)
}
