//! Puts per second, beside a consensus engine: openraft and quorate, each as three nodes in this one process, at 1,
//! 64, 256 and 1024 clients.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick
//! ```
//!
//! `--quick` makes one short round, `--rounds N` another number than five, `--clients 1,64` other numbers of clients.
//!
//! # What is measured
//!
//! The cost of the engine: no disk, no sockets, nothing between the nodes but a function call or a queue. openraft is
//! set up as its own benchmark does it, with empty requests and a state machine that stores nothing; in three layouts
//! of threads, since none is its best at every number of clients. quorate puts 100-byte values under 16-byte keys and
//! stores each at all three replicas (N = 3, W = 2), over a hot set of 2,000 keys.
//!
//! **The guarantees differ, and so does the work**: openraft gives consensus, one total order and linearizable writes;
//! quorate gives a quorum of an always-writeable store, which is weaker. openraft is spared the values. The ratio says
//! what each engine costs, not which to choose.
//!
//! # How
//!
//! The sides take turns; each is started afresh, warmed up, measured and stopped, so that none runs while another is
//! measured. The number of puts is chosen per side to take about a second. Reported are the medians over the rounds,
//! and of the ratios the least and the greatest of a round. `best raft` is, in each round, the layout that does best:
//! of put/s and of CPU time each for itself. CPU time is that of the whole process, user and system; it survives a
//! loaded machine better than wall time does. `cores busy` is CPU time over wall time: if it is far below the threads
//! that a side keeps busy, others had the cores, and the run should be repeated. Compare the ratios of one run; an
//! absolute figure is good only for its machine and its hour.
//!
//! # What bounds it
//!
//! With one client, waking threads: in the layouts with more than one, openraft hands a put over from the client to
//! the leader's task, to the followers' and back, and each hand-off may wake an idle core. The round trip of two
//! threads that wake each other is printed beside the figures, from the same run; on virtual cores that go to sleep
//! when idle it is tens of microseconds, and *less* under load. With many clients, the CPU: batches share the
//! hand-offs, and what remains is allocation, queues and cache misses. 2,000 keys stay in the cache; more would
//! measure memory.

mod measure;
mod ours;
mod raft;
mod side;

use std::{process::ExitCode, thread, time::Duration};

use self::{
    measure::{Sample, Spread},
    side::Entrant,
};

/// What is compared with the peers.
const OURS: &[Entrant] = &ours::ENTRANTS;
/// What the sides promise.
const ABOUT: &[&str] = &[raft::ABOUT, ours::ABOUT];

struct Plan {
    rounds: usize,
    clients: Vec<usize>,
    /// How long one side runs in one round.
    target: Duration,
    /// Round trips of the wake-up measurement.
    trips: u32,
}

impl Plan {
    fn from(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut plan = Self {
            rounds: 5,
            clients: vec![1, 64, 256, 1_024],
            target: Duration::from_secs(1),
            trips: 20_000,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => {
                    (plan.rounds, plan.target, plan.trips) = (1, Duration::from_millis(200), 2_000);
                }
                "--rounds" => plan.rounds = args.next()?.parse().ok().filter(|&n| n > 0)?,
                "--clients" => {
                    plan.clients = args
                        .next()?
                        .split(',')
                        .map(|n| n.parse().ok().filter(|&n| n > 0))
                        .collect::<Option<_>>()?;
                }
                _ => return None,
            }
        }
        Some(plan)
    }
}

fn main() -> ExitCode {
    let Some(plan) = Plan::from(std::env::args().skip(1)) else {
        eprintln!("usage: quorate-peers [--quick] [--rounds N] [--clients N,N,...]");
        return ExitCode::from(2);
    };
    for about in ABOUT {
        println!("{about}\n");
    }
    println!(
        "{} round(s) of about {:?} a side, the sides taking turns; {} core(s)",
        plan.rounds,
        plan.target,
        thread::available_parallelism().map_or(0, usize::from),
    );
    machine(&plan, "before");
    println!(
        "\n{:>7}  {:<11} {:>11} {:>23} {:>11} {:>11}",
        "clients", "side", "put/s", "min..max", "CPU us/put", "cores busy"
    );
    for &clients in &plan.clients {
        compare(&plan, clients);
    }
    machine(&plan, "after");
    ExitCode::SUCCESS
}

/// What this machine is good for at this moment.
fn machine(plan: &Plan, when: &str) {
    let trip = Spread::of((0..5).map(|_| measure::wake_up_round_trip(plan.trips / 5)));
    println!(
        "{when}: load average {}; park/unpark round trip of two threads {:.1} us ({:.1}..{:.1})",
        measure::load_average(),
        trip.median,
        trip.min,
        trip.max
    );
}

fn compare(plan: &Plan, clients: usize) {
    let sides: Vec<_> = raft::PEERS.iter().chain(OURS).collect();
    let puts: Vec<_> = sides
        .iter()
        .map(|side| measure::calibrate(side, clients, plan.target))
        .collect();
    let rounds: Vec<Vec<Sample>> = (0..plan.rounds)
        .map(|_| {
            sides
                .iter()
                .zip(&puts)
                .map(|(side, &puts)| measure::sample(side, clients, puts))
                .collect()
        })
        .collect();
    let spread = |of: &dyn Fn(&[Sample]) -> f64| Spread::of(rounds.iter().map(|round| of(round)));

    for (i, side) in sides.iter().enumerate() {
        let rate = spread(&|round| round[i].puts_per_second());
        println!(
            "{clients:>7}  {:<11} {:>11.0} {:>23} {:>11.3} {:>11.2}",
            side.name,
            rate.median,
            format!("{:.0}..{:.0}", rate.min, rate.max),
            spread(&|round| round[i].cpu_micros_per_put()).median,
            spread(&|round| round[i].cores_busy()).median,
        );
    }
    let peers = raft::PEERS.len();
    for (i, side) in sides.iter().enumerate().skip(peers) {
        for (name, over) in [(raft::PEERS[0].name, 0..1), ("best raft", 0..peers)] {
            let rate = spread(&|round| {
                let best = round[over.clone()]
                    .iter()
                    .map(Sample::puts_per_second)
                    .fold(0.0, f64::max);
                round[i].puts_per_second() / best
            });
            let cpu = spread(&|round| {
                let best = round[over.clone()]
                    .iter()
                    .map(Sample::cpu_micros_per_put)
                    .fold(f64::MAX, f64::min);
                best / round[i].cpu_micros_per_put()
            });
            println!(
                "         {} over {name}: put/s x {:.2} ({:.2}..{:.2}), puts per CPU second x {:.2} ({:.2}..{:.2})",
                side.name, rate.median, rate.min, rate.max, cpu.median, cpu.min, cpu.max
            );
        }
    }
}
