//! What a plan costs: the first one, and changes, up to a thousand members.
//!
//! ```text
//! cargo bench --bench ring              medians of three runs, a minute or two
//! cargo bench --bench ring -- --once    one run of each
//! ```
//! What a request pays to know whom to ask is in `parts`. Nothing is asserted.

#![allow(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use quorate::NodeId;
use quorate::ids::ZoneId;
use quorate::ring::{Change, Layout, Member, plan_change, plan_first};

/// Members and partitions; three copies, three zones.
const SIZES: [(u64, u32); 3] = [(12, 256), (100, 4096), (1000, 65_536)];

fn main() {
    // Cargo says `--bench` when it measures, and nothing when it only wants to see that the program runs.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let once = !measured || std::env::args().any(|argument| argument == "--once");
    for (count, partitions) in if measured { &SIZES[..] } else { &SIZES[..1] }.iter().copied() {
        println!("\n{count} members, {partitions} partitions, three copies, three zones");
        println!("{:<36}{:>10}{:>10}{:>10}{:>12}", "", "seconds", "moves", "least", "efficiency");
        let members: Vec<_> = (0..count).map(member).collect();
        let (time, plan) = median(once, || plan_first(black_box(&members), 3, partitions).expect("enough members"));
        println!("{:<36}{:>10.3}", "the first layout", time.as_secs_f64());
        changes(&plan.layout, once);
    }
}

fn changes(layout: &Layout, once: bool) {
    let count = layout.members().len() as u64;
    let of = || Change::of(layout);
    let ten = (0..10).fold(of().leave(NodeId(1)), |change, i| change.join(member(count + i)));
    let many = (0..count / 4).fold(of(), |change, i| change.join(member(count + i)).leave(NodeId(i * 4)));
    let all = (0..count).fold(of(), |change, i| change.join(member(count + i)));
    for (what, change) in [
        ("one joins", of().join(member(count))),
        ("one leaves", of().leave(NodeId(1))),
        ("one is replaced", of().replace(NodeId(1), member(count).zone(ZoneId(1)))),
        ("a weight doubles", of().adjust(member(2).weight(2))),
        ("ten join and one leaves", ten),
        ("a quarter leaves and another joins", many),
        ("as many join as there are", all),
    ] {
        let (time, plan) = median(once, || plan_change(black_box(layout), &change).expect("it can be planned"));
        let least: u32 = plan.shares.iter().map(|share| share.after.saturating_sub(share.before)).sum();
        let (seconds, moves, efficiency) = (time.as_secs_f64(), plan.moves.len(), plan.after.efficiency());
        println!("{what:<36}{seconds:>10.3}{moves:>10}{least:>10}{efficiency:>12.4}");
    }
}

fn member(node: u64) -> Member {
    Member::new(NodeId(node)).zone(ZoneId(node as u32 % 3))
}

fn median<T>(once: bool, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let start = Instant::now();
        let result = run();
        (start.elapsed(), result)
    };
    let (first, result) = timed();
    let mut times = vec![first];
    times.extend((0..if once { 0 } else { 2 }).map(|_| timed().0));
    times.sort_unstable();
    (times[times.len() / 2], result)
}
