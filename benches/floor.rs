//! quorate beside the floor: the irreducible work of a put and a get, in the same run.
//!
//! ```text
//! cargo bench --bench floor                                times, as ratios; then --wakes
//! cargo bench --bench floor -- --wakes                     which threads slept during 100,000 puts
//! cargo bench --bench floor -- --memory                    memory per key and per partition
//! cargo bench --bench floor -- --count SIDE put N [VALUE]  N puts (or gets), for an instruction counter
//! ```
//! Sides: `quorate` is the in-process cluster with its client, `quorate-64` and `quorate-1024` (for `--count` alone)
//! the same with so many requests in flight; `nodes` are three nodes without the runtime;
//! `nodes-messages` are the same with every message encoded and decoded; `floor` and `floor-messages` are described
//! in `support/`. The sides take turns, and the figures are medians over the rounds. Nothing is asserted: timings are
//! of their machine and their hour, and only the ratios of one run are worth comparing.

#![allow(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[allow(dead_code, reason = "each benchmark uses its part of it")]
mod support {
    pub(crate) mod cluster;
    pub(crate) mod floor;
    pub(crate) mod floor_messages;
    pub(crate) mod keys;
    pub(crate) mod memory;
    pub(crate) mod nodes;
    pub(crate) mod process;
    pub(crate) mod sides;
}

use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::cluster::Load;
use support::sides::{Side, side};
use support::{memory, process};

/// Sides that are compared with the first of them.
const GROUPS: [&[&str]; 2] = [&["floor", "quorate", "nodes"], &["floor-messages", "nodes-messages"]];
const VALUES: [usize; 2] = [100, 1_024];
const HOT: usize = 2_000;

/// An operation, and its name.
type Operation = (&'static str, fn(&mut dyn Side, usize));
const OPERATIONS: [Operation; 2] = [("put", |side, times| side.put(times)), ("get", |side, times| side.get(times))];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // Cargo says `--bench` when it measures, and nothing when it only wants to see that the program runs.
        [] => {
            let quick = !std::env::args().any(|arg| arg == "--bench");
            times(if quick { (1, 1) } else { (7, 50) }, if quick { &[HOT] } else { &[HOT, 100_000] });
            wakes(if quick { 1_000 } else { 100_000 });
        }
        ["--wakes"] => wakes(100_000),
        ["--memory"] => memory::report(),
        ["--memory-of", partitions, keys] => return done(memory::measure(partitions, keys)),
        ["--count", name, operation, count] => return done(counted(name, operation, count, "100")),
        ["--count", name, operation, count, value] => return done(counted(name, operation, count, value)),
        _ => return done(None),
    }
    ExitCode::SUCCESS
}

fn done(result: Option<()>) -> ExitCode {
    if result.is_none() {
        println!("usage: [--wakes | --memory | --count SIDE put|get N [VALUE]]");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Exactly so many operations after a fixed warm-up: two counts, subtracted, leave the operations alone.
fn counted(name: &str, operation: &str, count: &str, value: &str) -> Option<()> {
    let (_, run) = OPERATIONS.iter().find(|(name, _)| *name == operation)?;
    let mut side = side(name, HOT, value.parse().ok()?)?;
    run(&mut *side, HOT);
    run(&mut *side, count.parse().ok()?);
    Some(())
}

/// Nanoseconds per operation, and ratios to the floor.
fn times((rounds, millis): (usize, u64), sets: &[usize]) {
    println!("{rounds} rounds of {millis} ms a side; load average {}", process::load_average());
    println!("{:>7} {:>5} {:>3}  {:<15} {:>9} {:>21} {:>15}", "keys", "value", "", "side", "ns", "min..max", "x floor");
    for &keys in sets {
        for value in VALUES {
            for group in GROUPS {
                compare(group, keys, value, rounds, Duration::from_millis(millis));
            }
        }
    }
    println!("load average {}", process::load_average());
}

fn compare(group: &[&str], keys: usize, value: usize, rounds: usize, target: Duration) {
    let mut sides: Vec<_> = group.iter().map(|name| side(name, keys, value).expect("it is a side")).collect();
    for (operation, run) in OPERATIONS {
        let counts: Vec<usize> = sides.iter_mut().map(|side| calibrate(&mut **side, run, target)).collect();
        let mut nanos = vec![Vec::new(); sides.len()];
        for _ in 0..rounds {
            for ((side, &count), nanos) in sides.iter_mut().zip(&counts).zip(&mut nanos) {
                nanos.push(time(&mut **side, run, count).as_nanos() as f64 / count as f64);
            }
        }
        for (name, own) in group.iter().zip(&nanos) {
            let ratios = own.iter().zip(&nanos[0]).map(|(own, floor)| own / floor);
            let ((low, middle, high), (_, ratio, _)) = (spread(own.iter().copied()), spread(ratios));
            let range = format!("{low:.0}..{high:.0}");
            println!("{keys:>7} {value:>5} {operation:>3}  {name:<15} {middle:>9.0} {range:>21} {ratio:>15.2}");
        }
    }
}

/// How many operations take about `target`. Also the warm-up.
fn calibrate(side: &mut dyn Side, run: fn(&mut dyn Side, usize), target: Duration) -> usize {
    let mut count = 100;
    loop {
        let took = time(side, run, count);
        if took >= target / 4 {
            return (count as f64 * target.as_secs_f64() / took.as_secs_f64()) as usize + 1;
        }
        count *= 2;
    }
}

fn time(side: &mut dyn Side, run: fn(&mut dyn Side, usize), count: usize) -> Duration {
    let start = Instant::now();
    run(side, count);
    start.elapsed()
}

/// Least, median and greatest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// Which threads slept while one thread put, one request at a time. A thread that is woken must have slept, so a put
/// that woke one would show: as many sleeps as puts.
fn wakes(puts: usize) {
    let mut load = Load::start(HOT, 100);
    let Some((own, others)) = process::sleeps() else {
        println!("this system doesn't tell how often a thread slept");
        return;
    };
    let start = Instant::now();
    load.put(puts, 1);
    let took = start.elapsed();
    let Some((own_after, others_after)) = process::sleeps() else { return };
    println!(
        "{puts} puts in {took:.1?}: their thread slept {} times, all other threads {} times (the timers of three \
         nodes look in every 50 ms: {:.0} times)",
        own_after - own,
        others_after.saturating_sub(others),
        3.0 * took.as_secs_f64() / 0.05
    );
}
