//! Jepsen's test of Riak (2013), on the simulator: five nodes, N = 3, one set under one key, five clients that each read
//! it, add a number and write it back, and a network that is cut in two from a quarter to half of the run.
//!
//! In its first run siblings are reconciled by union, with R = W = 1: the store must take nearly every write while it is
//! cut in two, and lose none that it took. In the others the last write wins, which loses by design: the same workload
//! shows how much. Under the lock one client works at a time; one that has no quorum on its side of the cut holds it
//! until its deadline, so that strict quorums refuse few additions, each of them late.
//!
//! Beside ours stand the numbers that were published then, of a store on five machines: the schedule is the same, the
//! delays are not. What is lost without a lock depends on how far apart the clients begin (here at most 5 ms).
//!
//! `cargo run --release --example jepsen_set` (`-- --quick` for a short run, `-- --seeds 100` for more seeds)

mod workload;

use std::process::ExitCode;

use quorate::Mode;
use workload::{Outcome, Workload, run};

/// A row of the table.
struct Row {
    name: &'static str,
    workload: Workload,
    /// What was published of attempted, acknowledged, survived and lost.
    theirs: [Option<usize>; 4],
}

fn rows() -> [Row; 5] {
    let last =
        Workload { additions: 1_000, quorum: 2, mode: Mode::Sloppy, union: false, locked: true, partitioned: true };
    let union = Workload { additions: 6_000, quorum: 1, union: true, locked: false, ..last };
    let row = |name, workload, theirs| Row { name, workload, theirs };
    [
        row("siblings, union, R = W = 1, cut", union, [Some(6_000), Some(5_944), Some(6_000), Some(0)]),
        row("last write wins, sloppy, lock, cut", last, [Some(1_000), Some(985), None, Some(124)]),
        row(
            "last write wins, strict, lock, cut",
            Workload { mode: Mode::Strict, ..last },
            [Some(1_000), Some(977), None, Some(1)],
        ),
        row(
            "last write wins, sloppy, neither",
            Workload { locked: false, partitioned: false, ..last },
            [Some(1_000), None, None, Some(704)],
        ),
        row(
            "last write wins, sloppy, lock",
            Workload { partitioned: false, ..last },
            [Some(1_000), Some(1_000), Some(1_000), Some(0)],
        ),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let seeds = arguments.iter().skip_while(|argument| *argument != "--seeds").nth(1);
    let seeds =
        seeds.map_or(if quick { 10 } else { 20 }, |count| count.parse().expect("--seeds takes a number")).max(1);
    let shorter = if quick { 5 } else { 1 };
    println!("{seeds} seeds, additions {}", if quick { "a fifth of theirs" } else { "as many as theirs" });
    println!("{:35} {:22} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "", "attempted", "acked", "survived", "lost", "unacked");
    println!("{:78} {:>9} {:>9} {:>9}", "", "", "", "found");
    let mut good = true;
    for row in rows() {
        let workload = Workload { additions: row.workload.additions / shorter, ..row.workload };
        let outcomes: Vec<_> = (0..seeds).map(|seed| run(&workload, seed)).collect();
        print_row(&row, &outcomes);
        for (seed, outcome) in outcomes.iter().enumerate().filter(|_| workload.union) {
            good &= is_good(seed, outcome);
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What siblings promise: nothing is lost, nothing comes from nowhere, and nearly everything is taken.
fn is_good(seed: usize, outcome: &Outcome) -> bool {
    let refused = outcome.attempted - outcome.acknowledged;
    let good = outcome.lost == 0 && outcome.phantoms == 0 && refused * 100 <= outcome.attempted;
    if !good {
        eprintln!("broken with siblings, seed {seed}: {outcome:?}");
    }
    good
}

fn print_row(row: &Row, outcomes: &[Outcome]) {
    let line = |name, whose, numbers: [Option<usize>; 5]| {
        let [attempted, acked, survived, lost, unacked] =
            numbers.map(|number| number.map_or("-".into(), |number| number.to_string()));
        println!("{name:35} {whose:22} {attempted:>9} {acked:>9} {survived:>9} {lost:>9} {unacked:>9}");
    };
    let [attempted, acked, survived, lost] = row.theirs;
    let found = acked.zip(survived).zip(lost).map(|((acked, survived), lost)| survived + lost - acked);
    line(row.name, "Riak, published", [attempted, acked, survived, lost, found]);
    let mut outcomes = outcomes.to_vec();
    outcomes.sort_by_key(|outcome| (outcome.lost, outcome.attempted - outcome.acknowledged));
    for (whose, at) in [("quorate, median seed", outcomes.len() / 2), ("quorate, worst seed", outcomes.len() - 1)] {
        let Outcome { attempted, acknowledged, survived, lost, unacknowledged, .. } = outcomes[at];
        line("", whose, [attempted, acknowledged, survived, lost, unacknowledged].map(Some));
    }
}
