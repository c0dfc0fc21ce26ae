//! Round trips between two nodes over loopback: the shipped transport, plain and under TLS, beside two minimal ones that
//! do nothing but carry messages by the same codec.
//!
//! ```text
//! cargo run --release --manifest-path benches/network/Cargo.toml
//! cargo run --release --manifest-path benches/network/Cargo.toml -- --quick
//! ```
//!
//! # What is measured
//!
//! A write of a 100-byte value, as a coordinator sends it, goes to the other end, which sends it back. So many are in
//! flight; each that comes back is sent again from where it arrived, as a node does. p50 and p99 are of single round
//! trips; CPU is that of the whole process, user and system, over the messages carried (two for each round trip).
//!
//! - `tcp`: [`quorate::transports::TcpTransport`]; a sender writes by itself.
//! - `tls`: the same under TLS 1.3.
//! - `handed`: a thread that writes and one that reads, each way. What is sent is handed to the writing thread, which
//!   takes all that waits at once.
//! - `tokio`: a task that writes and one that reads, each way, on a runtime of two workers; handed over as above.
//! - `tokio-1`: the same, each end on a runtime of one thread.
//!
//! The sides take turns. A loaded machine disturbs all; compare the figures of one run.

mod minimal;
mod ours;

use std::collections::VecDeque;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use quorate::Message;

/// What an end does with what comes.
pub(crate) type Deliver = Box<dyn Fn(Vec<Message>) + Send + Sync>;
/// How an end sends.
pub(crate) type Send_ = Arc<dyn Fn(Vec<Message>) + Send + Sync>;

/// Two connected ends. It carries messages until it is dropped.
pub(crate) struct Pair {
    pub(crate) send: [Send_; 2],
    pub(crate) _keep: Box<dyn std::any::Any>,
}

type Side = (&'static str, fn([Deliver; 2]) -> Pair);

const SIDES: [Side; 5] = [
    ("tcp", ours::plain),
    ("tls", ours::secure),
    ("handed", minimal::threads),
    ("tokio", minimal::tokio_two),
    ("tokio-1", minimal::tokio_one),
];

struct Sample {
    p50: Duration,
    p99: Duration,
    cpu: Duration,
    rate: f64,
}

struct Flight {
    sent: VecDeque<Instant>,
    took: Vec<Duration>,
    left: usize,
}

/// `trips` round trips, so many in flight.
fn sample(side: &Side, message: &Message, window: usize, trips: usize) -> Sample {
    let sends: [Arc<OnceLock<Send_>>; 2] = Default::default();
    let (done, finished) = channel();
    let flight = Flight {
        sent: VecDeque::new(),
        took: Vec::with_capacity(trips),
        left: trips,
    };
    let flight = Arc::new(Mutex::new(flight));
    let (own, state) = (Arc::clone(&sends[0]), Arc::clone(&flight));
    let first: Deliver = Box::new(move |mut messages| {
        let mut flight = state.lock().expect("no panic");
        for _ in 0..messages.len() {
            let sent = flight.sent.pop_front().expect("what comes was sent");
            flight.took.push(sent.elapsed());
        }
        // As many again, as long as trips are left.
        let more = messages.len().min(flight.left);
        flight.left -= more;
        messages.truncate(more);
        let now = Instant::now();
        flight.sent.extend(std::iter::repeat_n(now, more));
        if flight.sent.is_empty() && flight.left == 0 {
            let _ = done.send(());
        }
        drop(flight);
        if let (Some(send), false) = (own.get(), messages.is_empty()) {
            send(messages);
        }
    });
    let back = Arc::clone(&sends[1]);
    let second: Deliver = Box::new(move |messages| {
        if let Some(send) = back.get() {
            send(messages);
        }
    });
    let pair = side.1([first, second]);
    for (own, send) in sends.iter().zip(&pair.send) {
        let _ = own.set(Arc::clone(send));
    }
    // Connections come about; this is not counted.
    begin(&flight, &pair, message, 1, 200);
    finished.recv().expect("the warm-up ends");
    let (cpu, start) = (ProcessTime::now(), Instant::now());
    flight.lock().expect("no panic").took.clear();
    begin(&flight, &pair, message, window, trips);
    finished.recv().expect("the trips end");
    let (cpu, elapsed) = (cpu.elapsed(), start.elapsed());
    let mut took = std::mem::take(&mut flight.lock().expect("no panic").took);
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    let count = took.len() as u32;
    Sample {
        p50: at(50),
        p99: at(99),
        cpu: cpu / (2 * count),
        rate: f64::from(count) / elapsed.as_secs_f64(),
    }
}

/// Sends the first of `trips`; each that comes back is followed by another.
fn begin(flight: &Mutex<Flight>, pair: &Pair, message: &Message, window: usize, trips: usize) {
    let mut state = flight.lock().expect("no panic");
    state.left = trips - window;
    state.sent.extend(std::iter::repeat_n(Instant::now(), window));
    drop(state);
    (pair.send[0])(vec![message.clone(); window]);
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, trips) = if quick { (1, 2_000) } else { (5, 40_000) };
    let message = ours::write_of(100);
    println!(
        "{} bytes on the wire with one message in a frame; {rounds} round(s) of {trips} trips",
        ours::length(&message)
    );
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} core(s), load {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        load().trim()
    );
    println!(
        "{:>9}  {:<8} {:>9} {:>9} {:>16} {:>14}",
        "in flight", "side", "p50 us", "p99 us", "CPU us/message", "trips/s"
    );
    for window in [1, 16, 64] {
        let samples: Vec<Vec<Sample>> = (0..rounds)
            .map(|_| SIDES.iter().map(|side| sample(side, &message, window, trips)).collect())
            .collect();
        for (at, (name, _)) in SIDES.iter().enumerate() {
            let median = |of: fn(&Sample) -> f64| {
                let mut all: Vec<f64> = samples.iter().map(|round| of(&round[at])).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let (p50, p99) = (
                median(|sample| sample.p50.as_secs_f64()) * 1e6,
                median(|sample| sample.p99.as_secs_f64()) * 1e6,
            );
            let cpu = median(|sample| sample.cpu.as_secs_f64()) * 1e6;
            println!(
                "{window:>9}  {name:<8} {p50:>9.1} {p99:>9.1} {cpu:>16.2} {:>14.0}",
                median(|sample| sample.rate)
            );
        }
    }
    println!("load {}", load().trim());
}
