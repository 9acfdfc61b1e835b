//! Reading arguments takes a small multiple of the size of their packet, whatever the packet contains and
//! however the arguments are read.

#![allow(clippy::print_stdout, reason = "the figures are for docs/limits.md")]

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use serde_json::Value;
use socketio::{Args, EngineConfig, Namespace, Server, ServerConfig, Socket};
use testkit::{
    Polling, Tree, WebSocket as Client,
    frames::{binary, text},
    payload,
};

use crate::lab::Lab;

/// The default of `max_http_buffer_size`.
const MAX: usize = 1_000_000;

fn namespace() -> Namespace {
    Namespace::new("/")
        .on("bytes", async |_, _: Vec<Bytes>| ())
        .on("buffers", async |_, _: Vec<ByteBuf>| ())
        .on("tree", async |_, _: Tree| ())
        .on("args", async |_, _: Args| ())
        .on("get", async |_, args: Args| drop(args.get::<Tree>(0)))
        .on("value", async |_, _: Value| ())
        .on("echo", async |socket: Socket, args: Args| socket.emit("echo", &args))
}

fn lab(config: ServerConfig) -> Lab {
    Lab::new(Server::with_config(config).namespace(namespace()))
}

fn placeholder(num: usize) -> String {
    format!(r#"{{"_placeholder":true,"num":{num}}}"#)
}

/// Returns an event whose argument is a list of placeholders.
fn event(name: &str, attachments: usize, nums: impl Iterator<Item = usize>) -> String {
    let placeholders: Vec<String> = nums.map(placeholder).collect();
    format!(r#"45{attachments}-["{name}",[{}]]"#, placeholders.join(","))
}

/// Returns what the server allocates to process `frames`, until it has responded or closed the session.
fn read(lab: &Lab, frames: Vec<u8>) -> AllocationInfo {
    let host = lab.host.clone();
    let (mut client, _) = lab.run(async move { Client::join(&host).await });
    let ((), info) = lab.run(async move {
        client.write(frames).await;
        client.write(text("3")).await;
        client.close().await;
    });
    info
}

#[test]
fn an_attachment_is_not_multiplied_by_what_refers_to_it() {
    let bytes = vec![7; 900_000];
    for name in ["bytes", "buffers", "tree", "args", "get", "echo"] {
        let often = event(name, 1, std::iter::repeat_n(0, 2000));
        let lab = lab(ServerConfig::default());
        let info = read(&lab, [text(&often), binary(&bytes)].concat());
        println!("{name}: {} bytes at most", info.bytes_max);
        assert!(info.bytes_max < 4 * MAX as u64, "{name}: {info:?}");

        // Over long-polling, the attachment is sent as base64.
        let host = lab.host.clone();
        let (mut client, _) = lab.run(async move { Polling::join(&host).await });
        let base64 = format!("b{}", "AAAA".repeat(220_000));
        let (_, info) = lab.run(async move {
            client.post(payload(&[&often, &base64])).await;
            client
        });
        println!("{name} over long-polling: {} bytes at most", info.bytes_max);
        assert!(info.bytes_max < 6 * MAX as u64, "{name} over long-polling: {info:?}");
    }
}

#[test]
fn attachments_are_held_once_and_their_text_a_few_times() {
    let hundred = binary(vec![7; 95_000]).repeat(10);
    let thousand = binary([7; 800]).repeat(1000);
    for name in ["bytes", "buffers", "tree", "args", "get", "echo"] {
        let lab = lab(ServerConfig::default().max_attachments(1000));
        // Placeholders may have any order and additional keys, and a number may be written as `3.0`.
        let odd = event(name, 10, (0..10).rev()).replace(r#""num":3}"#, r#""num":3.0,"more":"x"}"#);
        for (what, frames) in [
            ("ten", [text(event(name, 10, 0..10)), hundred.clone()].concat()),
            ("ten odd ones", [text(odd), hundred.clone()].concat()),
            ("a thousand", [text(event(name, 1000, (0..1000).rev())), thousand.clone()].concat()),
        ] {
            let info = read(&lab, frames);
            println!("{what} for {name}: {} bytes at most", info.bytes_max);
            assert!(info.bytes_max < 4 * MAX as u64, "{what} for {name}: {info:?}");
        }
    }
    // Many objects that look like placeholders but are not.
    let odd = r#"{"_placeholder":0},"#.repeat(950_000 / 19);
    let lab = lab(ServerConfig::default());
    let info = read(&lab, [text(format!(r#"451-["args",{odd}0]"#)), binary("x")].concat());
    assert!(info.bytes_max < 8 * MAX as u64, "{info:?}");
}

#[cfg(feature = "msgpack")]
#[test]
fn a_packet_of_message_pack_costs_a_few_times_its_size() {
    let event = |name: &str, data: &[u8]| {
        let name = [&[0xa0 | name.len() as u8], name.as_bytes()].concat();
        binary([b"\x83\xa4type\x02\xa4data\x92", &*name, data, b"\xa3nsp\xa1/"].concat())
    };
    let many = [&b"\xdc\x04\x00"[..], &[&b"\xc5\x03\x84"[..], &[7; 900]].concat().repeat(1024)].concat();
    let one = [&b"\x91\xc6\x00\x0d\xbb\xa0"[..], &vec![7; 900_000]].concat();
    for name in ["bytes", "buffers", "tree", "args", "get", "echo"] {
        let parser = socketio::MsgpackParser::default();
        let lab = lab(ServerConfig::default().parser(parser));
        for data in [&many, &one] {
            let host = lab.host.clone();
            let frames = [binary(b"\x82\xa4type\x00\xa3nsp\xa1/"), event(name, data)].concat();
            let (mut client, _) = lab.run(async move { Client::open(&host).await });
            let ((), info) = lab.run(async move {
                client.write(frames).await;
                client.close().await;
            });
            println!("{name}: {} bytes at most", info.bytes_max);
            assert!(info.bytes_max < 5 * MAX as u64, "{name}: {info:?}");
        }
    }
}

#[test]
fn a_client_of_version_2_is_not_multiplied_either() {
    let engine = EngineConfig::default().allow_eio3(true);
    let lab = lab(ServerConfig::default().engine(engine));
    // In protocol 3, the query string of a namespace becomes the auth payload.
    let query: Vec<String> = (0..150_000).map(|n| n.to_string()).collect();
    let bytes = [&[4][..], &vec![7; 900_000]].concat();
    for (what, frames) in [
        ("attachments", [text(event("tree", 1, std::iter::repeat_n(0, 2000))), binary(&bytes)].concat()),
        ("query", text(format!("40/door?{}", query.join("&")))),
    ] {
        let host = lab.host.clone();
        let (mut client, _) = lab.run(async move {
            let mut client = Client::open_with(&host, "EIO=3&transport=websocket").await;
            assert_eq!(client.text().await, "40");
            client
        });
        let ((), info) = lab.run(async move {
            client.write(frames).await;
            client.close().await;
        });
        assert!(info.bytes_max < 4 * MAX as u64, "{what}: {info:?}");
    }
}

/// Checks that `Args::get` needs at most twice the text length more memory than `serde_json`.
fn excess<T: DeserializeOwned>(what: &str, element: &str) {
    // The worst case: the last element makes a full vector double its capacity.
    let text = format!("[{}{element}]", format!("{element},").repeat(1 << 16));
    let value: Box<serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
    let args = Args::from_values([value]).unwrap();
    let ours = measure(|| drop(args.get::<T>(0).unwrap())).bytes_max;
    let mut kept = None;
    let info = measure(|| kept = Some(serde_json::from_str::<T>(&text).unwrap()));
    let (theirs, len) = (info.bytes_max, text.len() as u64);
    let [peak, stays] = [theirs, info.bytes_current.unsigned_abs()].map(|bytes| (bytes + len / 2) / len);
    println!("{what} of {element}: {peak} bytes of heap for a byte, of which {stays} stay");
    assert!(ours < theirs + 2 * len, "{what} of {element}: {ours} instead of {theirs}");
}

#[test]
fn types_take_what_they_take_and_nothing_more() {
    for element in ["0", "[]", "{}", "\"\"", "null", r#"{"a":0}"#, "[0]"] {
        excess::<Value>("Value", element);
        excess::<Tree>("tree", element);
    }
    excess::<Vec<String>>("Vec<String>", "\"\"");
    excess::<Vec<u64>>("Vec<u64>", "0");
    excess::<Vec<Bytes>>("Vec<Bytes>", "\"\"");
    excess::<Vec<Vec<u8>>>("Vec<Vec<u8>>", "[]");
    excess::<Vec<HashMap<String, u8>>>("Vec<HashMap>", r#"{"a":0}"#);
    excess::<Vec<BTreeMap<String, u8>>>("Vec<BTreeMap>", r#"{"a":0}"#);
}

/// Returns the processor time of this thread, which other processes hardly influence.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods, reason = "only differences are used")]
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// Checks that `run` takes less than `factor` times the time of `other`. The fastest of several runs counts,
/// because other processes slow down some runs.
fn takes_less_than(what: &str, factor: u32, other: impl Fn(), run: impl Fn()) {
    let mut best = [Duration::MAX; 2];
    for round in 0..100 {
        for (best, run) in best.iter_mut().zip([&other as &dyn Fn(), &run]) {
            let start = processor_time();
            run();
            *best = processor_time().saturating_sub(start).min(*best);
        }
        if round >= 5 && best[1] < factor * best[0] {
            println!("{what}: {:?} beside {:?}", best[1], best[0]);
            return;
        }
    }
    panic!("{what}: {:?} instead of {:?}", best[1], best[0]);
}

/// Checks that the cost of `walk` is linear in the number of arguments.
fn linear(what: &str, walk: impl Fn(&Args)) {
    let [few, many] = [4000_u32, 16_000].map(|count| Args::from_values(0..count).unwrap());
    // `Args` caches the positions of arguments. A clone starts with an empty cache.
    let [few, many] = [few, many].map(|args| {
        let walk = &walk;
        move || walk(&args.clone())
    });
    takes_less_than(what, 8, &few, &many);
    let [few, many] = [measure(few), measure(many)].map(|info| info.bytes_total);
    assert!(many < 5 * few + 1000, "{what}: {many} bytes instead of {few}");
}

#[test]
fn what_is_read_once_more_costs_a_few_times_as_much() {
    let read = |element: &str| {
        let text = format!("[{}{element}]", format!("{element},").repeat(200_000 / element.len()));
        let value: Box<serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
        let args = Args::from_values([value]).unwrap();
        move || drop(args.get::<Vec<Option<u32>>>(0))
    };
    let fine = "4294967294,null,";
    for odd in ["4294967295.0", "1e3", "-0", "0.5", "1e400", "\"\\ud800\"", "7.0,7.0,7.0,7.0,7.0,7.0"] {
        takes_less_than(odd, 10, read(&format!("{fine}0")), read(&format!("{fine}{odd}")));
    }
}

#[test]
fn what_is_read_once_more_is_not_much_longer() {
    // `1e19` is rewritten to the longest text of a number. The last element makes a full buffer grow.
    let text = format!("[{}1e19]", "1e19,".repeat((1 << 16) / 20));
    let value: Box<serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
    let args = Args::from_values([value]).unwrap();
    let info = measure(|| assert!(args.get::<Vec<u64>>(0).is_ok()));
    println!("read once more: {} bytes of heap for {} bytes", info.bytes_max, text.len());
    assert!(info.bytes_max < 16 * text.len() as u64, "{info:?}");
}

#[test]
fn every_way_through_arguments_is_linear() {
    linear("forwards", |args| {
        let sum: u32 = (0..args.len()).map(|at| args.get::<u32>(at).unwrap()).sum();
        assert!(sum > 0);
    });
    linear("backwards", |args| {
        assert!((0..args.len()).rev().all(|at| args.get::<usize>(at).unwrap() == at));
    });
    linear("until there is no more", |args| {
        assert_eq!((0..).map_while(|at| args.get::<u32>(at).ok()).count(), args.len());
    });
    linear("a length at a time", |args| {
        let mut at = 0;
        while at < args.len() && !args.is_empty() {
            at += 1;
        }
    });
    linear("all at once", |args| assert_eq!(args.values::<u32>().unwrap().len(), args.len()));
    linear("those behind the first", |args| assert_eq!(args.skip(1).len() + 1, args.len()));
}
