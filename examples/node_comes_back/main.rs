//! A node goes away for a while and comes back, under load: what do clients feel, and how long is anything owed?
//!
//! Five nodes (N = 3, R = W = 2) in the simulator. Each does one thing at a time, and each message takes it a while, so
//! that queues form. Clients read a key and write it anew, at a steady rate, whether or not the node is there.
//!
//! ```text
//! cargo run --release --example node_comes_back                 # a minute of virtual time
//! cargo run --release --example node_comes_back -- --quick      # 22 seconds of it, at half the rate
//!     --seed N       another run (default 1); each is the same every time
//!     --svg PATH     where the drawing goes (default target/node_comes_back.svg)
//! ```
//! It fails unless in the end all owners hold the same, and nobody owes anything.
#![allow(clippy::disallowed_methods, reason = "an example reads its arguments")]

mod chart;
mod load;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/svg.rs"]
mod svg;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use load::{AWAY, Plan, Run, VALUE, play};
use numbers::grouped;
use quorate::sim::ServiceTime;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value_of = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let seed = value_of("--seed").map_or(1, |seed| seed.parse().expect("--seed takes a number"));
    let svg = value_of("--svg").map_or_else(|| PathBuf::from("target/node_comes_back.svg"), PathBuf::from);
    let plan = plan(seed, arguments.iter().any(|argument| argument == "--quick"));
    println!(
        "{} keys of {VALUE} bytes, {} reads and as many writes a second, {:?} a message and {:?} a KiB; seed {seed}",
        grouped(plan.keys),
        grouped(plan.rate),
        plan.service.each,
        plan.service.kib
    );
    println!("{AWAY} goes after {:?} and comes back after {:?}", plan.goes, plan.returns);
    let run = play(plan);
    print_run(&plan, &run);
    let directory = svg.parent().map_or(Ok(()), std::fs::create_dir_all);
    let drawn = directory.and_then(|()| std::fs::write(&svg, chart::draw(&plan, &run)));
    match &drawn {
        Ok(()) => println!("\ndrawn: {}", svg.display()),
        Err(error) => println!("\nnot drawn: {}: {error}", svg.display()),
    }
    let sound = run.differing == 0 && run.failed == 0 && run.confirmed.is_some() && run.healed.is_some();
    if sound && drawn.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(seed: u64, quick: bool) -> Plan {
    let seconds = Duration::from_secs;
    let service =
        ServiceTime { each: Duration::from_micros(250), tail: Duration::ZERO, kib: Duration::from_micros(50) };
    if quick {
        // Half as many clients at nodes half as fast.
        let service = ServiceTime { each: service.each * 2, kib: service.kib * 2, ..service };
        return Plan {
            seed,
            keys: 4_000,
            rate: 600,
            service,
            goes: seconds(2),
            returns: seconds(7),
            ends: seconds(22),
        };
    }
    Plan { seed, keys: 20_000, rate: 1_200, service, goes: seconds(10), returns: seconds(40), ends: seconds(60) }
}

/// Nothing if there were none.
fn percentile(run: &Run, from: Duration, to: Duration, percent: usize) -> Option<Duration> {
    let within = run.samples.iter().filter(|sample| (from..to).contains(&sample.began));
    let mut latencies: Vec<Duration> = within.map(|sample| sample.latency).collect();
    latencies.sort_unstable();
    latencies.get(latencies.len() * percent / 100).copied()
}

fn print_run(plan: &Plan, run: &Run) {
    let home = run.hints_home.unwrap_or(plan.ends);
    let phases = [
        ("before", Duration::ZERO, plan.goes),
        ("its first second away", plan.goes, plan.goes + Duration::from_secs(1)),
        ("while away", plan.goes + Duration::from_secs(1), plan.returns),
        ("while it catches up", plan.returns, home),
        ("after", home, plan.ends),
    ];
    println!("\n{:30} {:>9} {:>10} {:>10}", "", "requests", "p50", "p99");
    for (name, from, to) in phases {
        let requests = run.samples.iter().filter(|sample| (from..to).contains(&sample.began)).count();
        let shown = |percent| {
            let found = percentile(run, from, to, percent);
            found.map_or("-".to_owned(), |latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3))
        };
        println!("  {name:28} {:>9} {:>10} {:>10}", grouped(requests as u64), shown(50), shown(99));
    }
    println!("  failed {}, cut off with the node {}", run.failed, run.cut_off);
    let since = |at: Option<Duration>, from: Duration| {
        at.map_or("never".to_owned(), |at| format!("{:.1} s", at.saturating_sub(from).as_secs_f64()))
    };
    let (missed, moved) = (run.missed_keys as u64 * VALUE as u64, run.moved);
    println!(
        "  missed: {} writes to {} keys, whose values are {} KiB",
        grouped(run.missed_writes),
        grouped(run.missed_keys as u64),
        grouped(missed >> 10)
    );
    println!(
        "  owed: no hint after {}, all its partitions found equal after {}, no debt {} after the clients end",
        since(run.hints_home, plan.returns),
        since(run.confirmed, plan.returns),
        since(run.healed, Duration::ZERO)
    );
    println!(
        "  moved for repair until then: {} KiB, {:.2} x what was missed, {:.0} % of all bytes; before, {} KiB a second",
        grouped(moved.repair_bytes >> 10),
        moved.repair_bytes as f64 / missed.max(1) as f64,
        moved.repair_bytes as f64 * 100.0 / moved.all_bytes.max(1) as f64,
        grouped((run.usual >> 10) / plan.goes.as_secs())
    );
    println!(
        "  in it: {} hints, {} repairs after reads, {} records of exchanges of which {} were needed",
        grouped(moved.hints),
        grouped(moved.repairs),
        grouped(moved.exchanged),
        grouped(moved.needed)
    );
    println!("  keys that owners hold otherwise in the end: {}", run.differing);
}
