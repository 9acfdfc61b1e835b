//! Runs a server with its clients and their networks for one seed, and checks that nothing remains
//! afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socketio::Server;
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};

use super::{
    client::Client,
    history::HEARTBEAT,
    network::{self, Network, Sky},
    scenario,
    server::{Seat, server},
};

/// The maximum time until everything that was sent has arrived.
const PATIENCE: Duration = Duration::from_mins(5);
/// The maximum time that a session may outlive its client: the heartbeat plus the time for handlers and for
/// closing.
const AFTERLIFE: Duration = Duration::from_secs(HEARTBEAT.as_secs() + 1 + 5 + 1);

/// Runs a seed and returns the violations.
pub(crate) fn run(seed: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play(seed))
}

async fn play(seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let broadcasts = Arc::new(AtomicU32::new(0));
    let plans = scenario::plans(&mut rng);
    let seats: Vec<Seat> = plans
        .into_iter()
        .map(|plan| Seat { plan, record: Arc::default(), broadcasts: broadcasts.clone() })
        .collect();
    let io = server(seats.clone(), [1, 3, 64][rng.random_range(0..3)]);
    let (end, over) = watch::channel(false);
    let (bye, leave) = watch::channel(false);
    let door = network::serve(io.clone(), over.clone());
    let clients: Vec<JoinHandle<()>> = seats
        .iter()
        .enumerate()
        .map(|(number, seat)| {
            let sky = sky(seat);
            let network = Network {
                door: door.clone(),
                sky,
                over: over.clone(),
                record: seat.record.clone(),
                must_live: seat.plan.must_live,
            };
            let rng = StdRng::seed_from_u64(rng.random());
            tokio::spawn(Client::new(seat.plan.clone(), network, rng).run(number, leave.clone()))
        })
        .collect();

    let mut wrong = settle(&seats, &clients, &broadcasts).await;
    bye.send_replace(true);
    for (number, client) in clients.into_iter().enumerate() {
        match timeout(2 * HEARTBEAT, client).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => wrong.push(format!("client {number}: {panic}")),
            Err(_) => wrong.push(format!("client {number} finds no end")),
        }
    }
    wrong.extend(deserted(&io).await);
    // Lets the remaining pauses of the scripts elapse.
    sleep(Duration::from_secs(5)).await;
    drop((end.send_replace(true), over, leave));
    for _ in 0..1000 {
        yield_now().await;
    }
    let tasks = Handle::current().metrics().num_alive_tasks();
    if tasks > 0 {
        wrong.push(format!("{tasks} tasks are left"));
    }
    for (number, seat) in seats.iter().enumerate() {
        let of_client = seat.record.lock().violations(&seat.plan);
        wrong.extend(of_client.iter().map(|what| format!("client {number}: {what}")));
    }
    wrong
}

/// Returns the network condition of a client. It changes at most once, according to the plan.
fn sky(seat: &Seat) -> watch::Receiver<Sky> {
    let (changes, sky) = watch::channel(Sky::Clear);
    if let Some((after, storm)) = seat.plan.storm {
        tokio::spawn(async move {
            sleep(after).await;
            changes.send_replace(storm);
        });
    }
    sky
}

/// Waits until everything that must arrive has arrived, and then for the idle time of the plans.
async fn settle(seats: &[Seat], clients: &[JoinHandle<()>], broadcasts: &AtomicU32) -> Vec<String> {
    let start = Instant::now();
    loop {
        let sent = broadcasts.load(Ordering::Relaxed);
        let waiting = |seat: &Seat| seat.plan.must_live && !seat.record.lock().is_complete(&seat.plan, sent);
        let incomplete: Vec<usize> = (0..seats.len()).filter(|&n| waiting(&seats[n])).collect();
        // A client whose session may end still emits broadcasts, which other clients wait for.
        let emitting = |(n, seat): (usize, &Seat)| {
            !clients[n].is_finished() && seat.record.lock().connected > 0 && !seat.record.lock().all_emitted
        };
        if incomplete.is_empty() && !seats.iter().enumerate().any(emitting) {
            break;
        }
        if let Some(&ended) = incomplete.iter().find(|&&n| clients[n].is_finished()) {
            return vec![format!(
                "the session of client {ended} has ended: {}",
                seats[ended].record.lock().ended
            )];
        }
        if start.elapsed() > PATIENCE {
            return vec![format!("not all has arrived at or from {incomplete:?}")];
        }
        sleep(Duration::from_millis(50)).await;
    }
    let idle = seats.iter().map(|seat| seat.plan.idle).max().unwrap_or_default();
    sleep(idle).await;
    Vec::new()
}

/// Waits until there are no sessions and sockets, for at most `AFTERLIFE`.
async fn deserted(io: &Server) -> Option<String> {
    let start = Instant::now();
    while io.session_count() > 0 || io.socket_count("/") > 0 {
        if start.elapsed() > AFTERLIFE {
            return Some(format!(
                "{} sessions and {} sockets outlive their clients",
                io.session_count(),
                io.socket_count("/")
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
    None
}
