//! Exhaustion of file descriptors. The test program runs itself again with a low limit.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use engineio::{EngineConfig, ListenConfig};
use tokio::net::TcpStream;

use crate::support::{Http, Server, Stream, Wire, eventually, frame, http};

const DESCRIPTORS: u64 = 64;

/// The body of the child process. The parent test kills it.
#[tokio::test]
#[ignore = "only for the other test of this file, which starts it in a process of its own"]
async fn serve_with_few_descriptors() {
    rlimit::setrlimit(rlimit::Resource::NOFILE, DESCRIPTORS, DESCRIPTORS).unwrap();
    let config = ListenConfig::default().max_connections(1000_usize);
    let server = Server::listen(EngineConfig::default(), config).await;
    println!("\naddress {}", server.address());
    tokio::time::sleep(Duration::from_mins(2)).await;
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start() -> (Self, SocketAddr) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "descriptors::serve_with_few_descriptors", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Self(child.unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("address ")?.parse().ok()).unwrap();
        (process, address)
    }

    fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count() as u64
    }

    /// Returns the CPU time of the process in hundredths of a second.
    fn cpu_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

async fn connect(address: SocketAddr) -> Http {
    http(Stream::tcp(TcpStream::connect(address).await.unwrap()))
}

#[tokio::test]
async fn without_descriptors_the_loop_rests_and_goes_on_later() {
    let (process, address) = Process::start();
    let mut inside = Wire::from_parts(connect(address).await.upgrade("EIO=4&transport=websocket").await);
    assert!(inside.text().await.starts_with("0{"));
    // Opens more connections than the process can accept. The rest wait in the kernel's accept queue.
    let mut clients = Vec::new();
    for _ in 0..DESCRIPTORS + 20 {
        clients.push(connect(address).await);
    }
    // The process may have inherited descriptors above its limit.
    eventually(|| process.descriptors() >= DESCRIPTORS).await;

    let before = process.cpu_time();
    let window = tokio::time::Instant::now() + Duration::from_secs(1);
    let mut echoes = 0;
    while tokio::time::Instant::now() < window {
        inside.send(frame(0x81, "4still here")).await;
        assert_eq!(inside.text().await, "4still here");
        echoes += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let used = process.cpu_time() - before;
    assert!(echoes >= 5, "{echoes}");
    assert!(used <= 20, "{used} hundredths of a second in one second");
    assert!(process.descriptors() >= DESCRIPTORS);

    let mut waiting = clients.pop().unwrap();
    drop(clients);
    assert_eq!(waiting.get("EIO=4&transport=polling").await.status, 200);
    assert_eq!(connect(address).await.get("EIO=4&transport=polling").await.status, 200);
}
