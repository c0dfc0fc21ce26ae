//! A cluster grows from three nodes to nine and shrinks to four, under load: what do clients feel, and what is moved?
//!
//! In the simulator, N = 3, R = W = 2, strict. Each node does one thing at a time, and each message takes it a while, so
//! that queues form. Clients read a key and write it anew, at a steady rate, whatever befalls: nodes join and leave in
//! groups, each group as one change; one node crashes in the middle of a change and comes back; one gets an empty disk;
//! one is replaced by another. In the end none of the first six nodes is left.
//!
//! ```text
//! cargo run --release --example elastic                 # a minute and a half of virtual time
//! cargo run --release --example elastic -- --quick      # less of it, at half the rate
//!     --seed N       another run (default 1); each is the same every time
//!     --svg PATH     where the drawing goes (default target/elastic.svg)
//!     --help         this
//! ```
//! It fails if a client saw an error, if a read did not show a write that was acknowledged before it began (or one that
//! supersedes it), if a change did not end, or if in the end the owners of a key hold it otherwise.
#![allow(clippy::disallowed_methods, reason = "an example reads its arguments")]

mod chart;
mod clients;
mod history;
#[path = "../support/numbers.rs"]
mod numbers;
mod script;
#[path = "../support/svg.rs"]
mod svg;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clients::{Load, VALUE};
use numbers::grouped;
use quorate::sim::ServiceTime;
use script::{Changed, Phase, Run, play};

const HELP: &str = "\
A cluster grows from three nodes to nine and shrinks to four, under load.
    --quick        a shorter run, at half the rate
    --seed N       another run (default 1); each is the same every time
    --svg PATH     where the drawing goes (default target/elastic.svg)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_given = |name: &str| arguments.iter().any(|argument| argument == name);
    let value_of = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    if is_given("--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let seed = value_of("--seed").map_or(1, |seed| seed.parse().expect("--seed takes a number"));
    let svg = value_of("--svg").map_or_else(|| PathBuf::from("target/elastic.svg"), PathBuf::from);
    let (load, rest) = load(seed, is_given("--quick"));
    println!(
        "{} keys of {VALUE} bytes, {} reads and as many writes a second, {:?} a message and {:?} a KiB; seed {seed}\n",
        grouped(load.keys),
        grouped(load.rate),
        load.service.each,
        load.service.kib
    );
    let run = play(load, rest, &mut |phase| println!("{:6.1} s  {}", phase.to.as_secs_f64(), phase.name));
    print_phases(&run);
    print_changes(&run);
    let is_sound = print_end(&run);
    let directory = svg.parent().map_or(Ok(()), std::fs::create_dir_all);
    let drawn = directory.and_then(|()| std::fs::write(&svg, chart::draw(&load, &run)));
    match &drawn {
        Ok(()) => println!("\ndrawn: {}", svg.display()),
        Err(error) => println!("\nnot drawn: {}: {error}", svg.display()),
    }
    if is_sound && drawn.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// And how long nothing changes between changes.
fn load(seed: u64, quick: bool) -> (Load, Duration) {
    let service =
        ServiceTime { each: Duration::from_micros(250), tail: Duration::ZERO, kib: Duration::from_micros(50) };
    if quick {
        // Half as many clients at nodes half as fast.
        let service = ServiceTime { each: service.each * 2, kib: service.kib * 2, ..service };
        return (Load { seed, keys: 2_000, rate: 250, service }, Duration::from_secs(4));
    }
    (Load { seed, keys: 6_000, rate: 500, service }, Duration::from_secs(8))
}

/// Nothing if there were none.
fn percentile(run: &Run, from: Duration, to: Duration, percent: usize) -> Option<Duration> {
    let within = run.seen.samples.iter().filter(|sample| (from..to).contains(&sample.began));
    let mut latencies: Vec<Duration> = within.map(|sample| sample.latency).collect();
    latencies.sort_unstable();
    latencies.get(latencies.len() * percent / 100).copied()
}

/// How many messages and requests the busiest node handled a second, and a node in the mean.
fn load_of(phase: &Phase) -> (f64, f64) {
    let seconds = phase.seconds();
    let (busiest, all) = (phase.handled.values().max(), phase.handled.values().sum::<u64>());
    let mean = all as f64 / phase.handled.len().max(1) as f64;
    (busiest.copied().unwrap_or(0) as f64 / seconds, mean / seconds)
}

fn print_phases(run: &Run) {
    println!(
        "\n{:22} {:>7} {:>8} {:>8} {:>9} {:>6} {:>6} {:>7} {:>13} {:>6}",
        "", "", "", "", "", "", "", "cut off", "handled/s", "fewest"
    );
    println!(
        "{:22} {:>7} {:>8} {:>8} {:>9} {:>6} {:>6} {:>7} {:>13} {:>6}",
        "phase", "seconds", "requests", "p50", "p99", "errors", "missed", "by node", "mean, busiest", "copies"
    );
    for phase in &run.phases {
        let within = |at: &Duration| (phase.from..phase.to).contains(at);
        let shown = |percent| {
            let found = percentile(run, phase.from, phase.to, percent);
            found.map_or("-".to_owned(), |latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3))
        };
        let requests = run.seen.samples.iter().filter(|sample| within(&sample.began)).count();
        let errors = run.seen.errors.iter().filter(|(at, _)| within(at)).count();
        let missed = run.seen.misses.iter().filter(|(at, _)| within(at)).count();
        let cut_off = run.seen.cut_off.iter().filter(|at| within(at)).count();
        let (busiest, mean) = load_of(phase);
        let handled = format!("{}, {}", grouped(mean as u64), grouped(busiest as u64));
        println!(
            "{:22} {:>7.1} {:>8} {:>8} {:>9} {errors:>6} {missed:>6} {cut_off:>7} {handled:>13} {:>6}",
            phase.name,
            phase.seconds(),
            grouped(requests),
            shown(50),
            shown(99),
            phase.fewest_copies
        );
    }
}

fn print_changes(run: &Run) {
    println!(
        "\n{:22} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6} {:>16} {:>8} {:>8}",
        "change",
        "copies",
        "least KiB",
        "moved KiB",
        "exchanges",
        "agreement",
        "ratio",
        "records, needed",
        "changed",
        "filled"
    );
    for (phase, change) in changes(run) {
        let moved = phase.moved;
        let seconds =
            |took: Option<Duration>| took.map_or("never".to_owned(), |it| format!("{:.1} s", it.as_secs_f64()));
        println!(
            "{:22} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6.2} {:>16} {:>8} {:>8}",
            phase.name,
            change.moves,
            grouped(change.least >> 10),
            grouped(moved.bytes >> 10),
            grouped(moved.exchange_bytes >> 10),
            grouped(moved.change_bytes >> 10),
            moved.bytes as f64 / change.least.max(1) as f64,
            format!("{}, {}", grouped(moved.exchanged), grouped(moved.needed)),
            seconds(change.took),
            seconds(change.filled)
        );
        let shares = change.shares.iter().map(|share| format!("{} {} to {}", share.node, share.before, share.after));
        println!("    partitions: {}", shares.collect::<Vec<_>>().join(", "));
    }
    let rests = run.phases.iter().filter(|phase| phase.change.is_none());
    let (bytes, seconds) =
        rests.fold((0, 0.0), |(bytes, seconds), phase| (bytes + phase.moved.bytes, seconds + phase.seconds()));
    println!("  moved where nothing changes: {:.0} KiB a second", bytes as f64 / 1024.0 / f64::max(seconds, 1.0));
}

fn changes(run: &Run) -> impl Iterator<Item = (&Phase, &Changed)> {
    run.phases.iter().filter_map(|phase| Some((phase, phase.change.as_ref()?)))
}

/// Whether everything was as it must be.
fn print_end(run: &Run) -> bool {
    /// From the whole run.
    const SHOWN: usize = 6;
    let seen = &run.seen;
    println!(
        "\nin the end: errors {}, reads that missed an acknowledged write {}, keys that owners hold otherwise {}, {}",
        seen.errors.len(),
        seen.misses.len(),
        run.differing,
        if run.healed { "nothing owed" } else { "something is owed" }
    );
    for (what, list) in [("error", &seen.errors), ("missed", &seen.misses)] {
        for (at, text) in list.iter().step_by((list.len() / SHOWN).max(1)).take(SHOWN) {
            println!("  {what} at {:.3} s: {text}", at.as_secs_f64());
        }
        if list.len() > SHOWN {
            println!("  and {} more", list.len() - SHOWN);
        }
    }
    let all_filled = changes(run).all(|(_, change)| change.filled.is_some());
    seen.errors.is_empty() && seen.misses.is_empty() && run.differing == 0 && run.healed && all_filled
}
