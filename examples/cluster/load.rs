//! How much and how fast: closed loops of clients, an open loop, and what a replica's end costs.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::process::{Cluster, Shape};

/// Whom the commands are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Quorate,
    /// Redis, whose write waits until one replica has it, too.
    RedisWaiting,
    /// etcd by its JSON gateway, which costs it more than its own protocol would.
    Etcd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Put,
    Get,
}

/// So many keys are written and read.
const KEYS: u64 = 10_000;

struct Loop {
    addresses: Vec<SocketAddr>,
    peer: Peer,
    verb: Verb,
    value: Vec<u8>,
    over: AtomicBool,
    errors: AtomicU64,
    /// When each request began, after how long it was answered.
    took: Mutex<Vec<(Instant, Duration)>>,
}

impl Loop {
    fn new(addresses: &[SocketAddr], peer: Peer, verb: Verb, value: usize) -> Arc<Self> {
        Arc::new(Self {
            addresses: addresses.to_vec(),
            peer,
            verb,
            value: vec![b'x'; value],
            over: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            took: Mutex::default(),
        })
    }

    fn request(&self, client: &mut Client, number: u64) -> io::Result<bool> {
        let key = format!("key-{}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS);
        if self.peer == Peer::Etcd {
            let key = base64(key.as_bytes());
            let (path, body) = match self.verb {
                Verb::Put => ("/v3/kv/put", format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}", base64(&self.value))),
                Verb::Get => ("/v3/kv/range", format!("{{\"key\":\"{key}\"}}")),
            };
            return client.post(path, &body);
        }
        let is_good = match self.verb {
            Verb::Put => client.ask(&[b"SET", key.as_bytes(), &self.value])? == Answer::Text("OK".into()),
            Verb::Get => !matches!(client.ask(&[b"GET", key.as_bytes()])?, Answer::Error(_)),
        };
        if self.peer == Peer::RedisWaiting && self.verb == Verb::Put {
            return Ok(is_good && matches!(client.ask(&[b"WAIT", b"1", b"1000"])?, Answer::Number(1..)));
        }
        Ok(is_good)
    }

    /// One after the other, as fast as they are answered; or one each `period`, whether or not the one before was
    /// answered in time: then it counts from when it should have begun.
    fn run(self: &Arc<Self>, client: u64, period: Option<Duration>) {
        let (mut connection, mut took, begun) = (None, Vec::new(), Instant::now());
        for number in 0.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let due = period.map(|period| begun + period * number as u32);
            if let Some(due) = due {
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let from = due.unwrap_or_else(Instant::now);
            if connection.is_none() {
                let at = (client + number) as usize % self.addresses.len();
                connection = Client::connect(self.addresses[at]).ok();
            }
            let answered = connection.as_mut().map(|connection| self.request(connection, client << 32 | number));
            match answered {
                Some(Ok(true)) => took.push((from, from.elapsed())),
                _ => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    connection = None;
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        self.took.lock().unwrap_or_else(PoisonError::into_inner).append(&mut took);
    }

    fn start(self: &Arc<Self>, clients: u64, period: Option<Duration>) -> Vec<thread::JoinHandle<()>> {
        let one = |client| {
            let own = Arc::clone(self);
            thread::spawn(move || own.run(client, period))
        };
        (0..clients).map(one).collect()
    }

    fn stop(&self, threads: Vec<thread::JoinHandle<()>>) -> Vec<(Instant, Duration)> {
        self.over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("a client doesn't panic"));
        let mut took = std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner));
        took.sort_unstable();
        took
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit =
            |at: usize| if at <= three.len() { char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]) } else { '=' };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(digits).collect()
}

/// The value below which `share` of them lie.
fn quantile(took: &mut [Duration], share: f64) -> Duration {
    took.sort_unstable();
    let at = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
    took.get(at).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// Closed loops against whatever listens at `addresses`; `processor` tells what the servers have used.
pub(crate) fn closed(addresses: &[SocketAddr], peer: Peer, seconds: u64, processor: impl Fn() -> Option<Duration>) {
    println!(
        "{:>7} {:>7} {:>7} {:>10} {:>10} {:>10} {:>12} {:>7}",
        "", "value", "clients", "a second", "p50", "p99", "CPU each", "errors"
    );
    for value in [100, 1_024] {
        for verb in [Verb::Put, Verb::Get] {
            for clients in [1, 16, 64] {
                let work = Loop::new(addresses, peer, verb, value);
                let before = processor();
                let begun = Instant::now();
                let threads = work.start(clients, None);
                thread::sleep(Duration::from_secs(seconds));
                let took = work.stop(threads);
                let (elapsed, used) =
                    (begun.elapsed(), processor().zip(before).map(|(after, before)| after.saturating_sub(before)));
                let mut times: Vec<_> = took.iter().map(|(_, took)| *took).collect();
                let rate = times.len() as f64 / elapsed.as_secs_f64();
                let each =
                    used.map_or("-".into(), |used| format!("{} µs", (used / times.len().max(1) as u32).as_micros()));
                println!(
                    "{:>7} {value:>7} {clients:>7} {rate:>10.0} {:>10} {:>10} {each:>12} {:>7}",
                    format!("{verb:?}"),
                    millis(quantile(&mut times, 0.5)),
                    millis(quantile(&mut times, 0.99)),
                    work.errors.load(Ordering::Relaxed)
                );
            }
        }
    }
}

/// Three processes, N = 3, R = W = 2: closed loops, and an open one at half of what 16 clients got.
pub(crate) fn bench(shape: &Shape, seconds: u64, directory: &Path, keep: bool) -> io::Result<()> {
    let cluster = Cluster::start(shape, directory, keep)?;
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.clients).collect();
    let processor = || cluster.nodes.iter().map(super::process::Process::processor_time).sum();
    println!("4 KiB written and synced by itself: {:.0?} (median of 200)", raw_sync(directory)?);
    println!("three nodes, N = 3, R = W = 2, durability {}", shape.durability);
    closed(&addresses, Peer::Quorate, seconds, processor);
    for verb in [Verb::Put, Verb::Get] {
        let full = Loop::new(&addresses, Peer::Quorate, verb, 100);
        let threads = full.start(16, None);
        thread::sleep(Duration::from_secs(seconds));
        let rate = full.stop(threads).len() as f64 / seconds as f64;
        let half = Loop::new(&addresses, Peer::Quorate, verb, 100);
        let threads = half.start(64, Some(Duration::from_secs_f64(64.0 / (rate / 2.0))));
        thread::sleep(Duration::from_secs(seconds));
        let mut times: Vec<_> = half.stop(threads).into_iter().map(|(_, took)| took).collect();
        println!(
            "{verb:?} at half load, {:.0} a second, counted from when each was due: p50 {}, p99 {}, p99.9 {}",
            rate / 2.0,
            millis(quantile(&mut times, 0.5)),
            millis(quantile(&mut times, 0.99)),
            millis(quantile(&mut times, 0.999))
        );
    }
    Ok(())
}

/// What the disk takes for one write and sync.
fn raw_sync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join("raw");
    let mut file = std::fs::File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[1; 4_096])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(quantile(&mut took, 0.5))
}

/// How long until the slowest hundredth is as fast as before, when a replica is killed, and when it stands still.
pub(crate) fn timings(shape: &Shape, directory: &Path, keep: bool) -> io::Result<()> {
    const CLIENTS: u64 = 16;
    const PERIOD: Duration = Duration::from_millis(16);
    const WINDOW: Duration = Duration::from_millis(250);
    let mut cluster = Cluster::start(shape, directory, keep)?;
    let last = cluster.nodes.len() - 1;
    let addresses: Vec<_> = cluster.nodes[..last].iter().map(|node| node.clients).collect();
    println!(
        "{} nodes, {} requests a second through all but the last",
        shape.nodes,
        CLIENTS * 1_000 / PERIOD.as_millis() as u64
    );
    for (what, is_kill) in [("killed", true), ("stopped", false)] {
        for verb in [Verb::Put, Verb::Get] {
            let work = Loop::new(&addresses, Peer::Quorate, verb, 100);
            let began = Instant::now();
            let threads = work.start(CLIENTS, Some(PERIOD));
            thread::sleep(Duration::from_secs(6));
            let node = &mut cluster.nodes[last];
            if is_kill {
                node.kill();
            } else {
                node.pause()?;
            }
            let at = Instant::now();
            thread::sleep(Duration::from_secs(8));
            let took = work.stop(threads);
            if is_kill {
                node.start()?;
            } else {
                node.go_on()?;
            }
            node.wait_until_there()?;
            let within = |from: Instant, to: Instant| {
                let all = took.iter().filter(move |(begun, _)| (from..to).contains(begun));
                all.map(|(_, took)| *took).collect::<Vec<_>>()
            };
            let normal = quantile(&mut within(began + Duration::from_secs(2), at), 0.99);
            let is_slow = |from: Instant| quantile(&mut within(from, from + WINDOW), 0.99) > normal * 2;
            let windows = |from: Instant, count: u32| (0..count).map(move |number| from + WINDOW * number);
            // The first second that is as fast as before; what is slow later, and was before, is not the replica's doing.
            let calm = windows(at, 28).find(|from| windows(*from, 4).all(|window| !is_slow(window)));
            let share = |from: Instant, count: u32| {
                let slow = windows(from, count).filter(|window| is_slow(*window)).count();
                format!("{slow} of {count}")
            };
            let worst = within(at, at + Duration::from_secs(8)).into_iter().max().unwrap_or_default();
            println!(
                "{what}, {verb:?}: p99 before {normal:.1?}; a second below twice that begins after {}; slow quarters of a \
                 second before {}, later {}; slowest {worst:.0?}; errors {}",
                calm.map_or("more than 7 s".into(), |from| format!("{:.2?}", from - at)),
                share(began + Duration::from_secs(2), 16),
                calm.map_or("-".into(), |from| share(
                    from,
                    (at + Duration::from_secs(8) - from).as_millis() as u32 / 250
                )),
                work.errors.load(Ordering::Relaxed)
            );
            thread::sleep(Duration::from_secs(3));
        }
    }
    Ok(())
}

/// So many puts and gets, and what memory was taken meanwhile.
pub(crate) fn soak(shape: &Shape, operations: u64, directory: &Path, keep: bool) -> io::Result<bool> {
    let cluster = Cluster::start(shape, directory, keep)?;
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.clients).collect();
    let memory = || {
        cluster
            .nodes
            .iter()
            .map(|node| node.memory().map_or("-".into(), |bytes| (bytes >> 20).to_string()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (mut done, mut errors, begun) = (0_u64, 0, Instant::now());
    println!("{:>12} {:>10} MiB of each", "operations", "errors");
    while done < operations {
        for verb in [Verb::Put, Verb::Get] {
            let work = Loop::new(&addresses, Peer::Quorate, verb, 100);
            let threads = work.start(64, None);
            thread::sleep(Duration::from_secs(10));
            done += work.stop(threads).len() as u64;
            errors += work.errors.load(Ordering::Relaxed);
        }
        println!("{done:>12} {errors:>10} {}   {:.0?}", memory(), begun.elapsed());
    }
    Ok(errors == 0)
}
