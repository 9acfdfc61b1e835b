//! Clients that never read what their room gets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    Failure, Verdict,
    child::{Server, kernel_buffers, mib, resident},
    client::Client,
    serve::Policy,
};

/// How much more memory the server may use.
const MAX_GROWTH: usize = 64 << 20;
const MESSAGE: usize = 1024;
/// How long the canary sings alone.
const BEFORE: Duration = Duration::from_secs(2);
/// The pause of the canary between two echoes.
const BREATH: Duration = Duration::from_millis(5);

pub(crate) async fn run(clients: usize, megabytes: usize, policy: Policy) -> Result<Verdict, Failure> {
    let mut server = Server::start(policy).await?;
    let mut stalled = Vec::new();
    for number in 0..clients {
        let mut client = Client::websocket(server.address, number).await?;
        client.send(r#"420["join"]"#).await?;
        client.frame().await?;
        stalled.push(client);
    }
    let mut canary = Client::websocket(server.address, clients).await?;
    let before = sing(&mut canary, Arc::new(AtomicBool::new(false)), BEFORE).await?;
    let start = resident(server.pid)?;
    let alone = server.gauges().await?;
    let kernel = kernel_buffers()?;

    let ended = Arc::new(AtomicBool::new(false));
    let singing = tokio::spawn({
        let ended = ended.clone();
        async move {
            let song = sing(&mut canary, ended, Duration::MAX).await;
            (song, canary)
        }
    });
    let peaks = Arc::new((AtomicUsize::new(start), AtomicUsize::new(kernel)));
    let watching = tokio::spawn(watch(server.pid, peaks.clone()));
    let begin = Instant::now();
    let messages = megabytes * 1_000_000 / 1000;
    server.ask(&format!("broadcast {messages} {MESSAGE}")).await?;
    let took = begin.elapsed();
    ended.store(true, Ordering::Relaxed);
    // The canary stays: its end would be noted with the others.
    let (during, _canary) = singing.await?;
    let during = during?;
    watching.abort();

    let reasons: BTreeMap<String, usize> = serde_json::from_str(&server.ask("reasons").await?)?;
    let growth = peaks.0.load(Ordering::Relaxed) - start;
    println!(
        "{clients} stalled clients, {messages} broadcasts of {MESSAGE} bytes in {took:.1?}, policy {policy}"
    );
    let (live, peak) = (alone.live_bytes, server.gauges().await?.peak_bytes);
    println!("memory of the server: {} before, {} more at the peak", mib(start), mib(growth));
    println!("live in it: {} before, {} more at the peak", mib(live), mib(peak - live));
    println!(
        "buffers of the kernel, both sides: {} before, {} at the peak",
        mib(kernel),
        mib(peaks.1.load(Ordering::Relaxed))
    );
    println!("ended, as the server was told: {reasons:?}");
    println!("canary before: {before}");
    println!("canary during: {during}");
    let mut verdict = Verdict::default();
    verdict.demand(growth < MAX_GROWTH, format!("{} more memory", mib(growth)));
    let slow = reasons.get("Closed(SlowConsumer)").copied().unwrap_or_default();
    if policy == Policy::Disconnect {
        verdict.demand(slow == clients, format!("{slow} of {clients} clients were ended for not reading"));
    }
    let others = reasons.values().sum::<usize>() - slow;
    verdict.demand(others == 0, format!("{others} others were ended too"));
    Ok(verdict)
}

/// Notes how much memory there is at most.
async fn watch(pid: u32, peaks: Arc<(AtomicUsize, AtomicUsize)>) -> Result<(), Failure> {
    loop {
        peaks.0.fetch_max(resident(pid)?, Ordering::Relaxed);
        peaks.1.fetch_max(kernel_buffers()?, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for echoes one after the other, until it is told to end or for so long.
async fn sing(canary: &mut Client, ended: Arc<AtomicBool>, limit: Duration) -> Result<String, Failure> {
    let start = Instant::now();
    let mut times = Vec::new();
    while !ended.load(Ordering::Relaxed) && start.elapsed() < limit {
        let asked = Instant::now();
        canary.send(r#"42["echo",1]"#).await?;
        while !canary.frame().await?.starts_with("42") {
            // A ping; the answer may wait for the echo.
            canary.send("3").await?;
        }
        times.push(asked.elapsed());
        sleep(BREATH).await;
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    Ok(format!("{} echoes, p50 {:.2?}, p99 {:.2?}, max {:.2?}", times.len(), at(50), at(99), at(100)))
}
