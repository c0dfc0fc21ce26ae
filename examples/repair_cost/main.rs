//! What it costs to make two replicas of a partition equal, by the method: bytes, messages, waiting, reading.
//!
//! ```text
//! cargo run --release --example repair_cost               # a million keys, about a minute
//! cargo run --release --example repair_cost -- --quick    # 20,000 keys
//! ```
//! The library's own two ways are played by two of its nodes: what is counted is what they send. The others' are small
//! programs over the same keys that really find the differences and really make their messages, but their shapes alone,
//! with the sizes of this library: what differs is how they look for differences.
#![allow(clippy::disallowed_methods, reason = "it measures the time that a repair takes")]

mod models;
#[path = "../support/numbers.rs"]
mod numbers;
mod session;
mod wire;
mod world;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;

use models::{Cassandra, Riak, WholeList};
use numbers::grouped;
use session::{Clocks, Pair, Trees};
use wire::{Cost, FRAME, MESSAGE, Method, TIMES};
use world::{KEY, VALUE, World};

const DIFFERING: [usize; 6] = [0, 1, 10, 100, 1_000, 10_000];
/// The bytes in which a hundred differences in a million keys must be found.
const AIM: usize = 60_000;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let keys = if quick { 20_000 } else { 1_000_000 };
    println!("{} keys of {KEY} bytes with values of {VALUE}, two replicas", grouped(keys));
    assumptions();
    let (mut checks, pair) = (Checks::default(), Rc::new(RefCell::new(Pair::fill(keys))));
    for differing in DIFFERING.into_iter().filter(|&differing| differing <= keys / 2) {
        let world = World::draw(keys, differing);
        println!("\n{} differ{}", keys_of(differing), if differing == 1 { "s" } else { "" });
        println!(
            "{:<19} {:>12} {:>8} {:>11} {:>9} {:>6} {:>8} {:>10} {:>9}",
            "", "bytes", "x floor", "to find", "messages", "trips", "beyond", "keys read", "ms"
        );
        let floor = floor(&world);
        row("floor", &floor, floor.bytes, differing);
        let mut methods: [Box<dyn Method>; 5] = [
            Box::new(Clocks(Rc::clone(&pair))),
            Box::new(Trees(Rc::clone(&pair))),
            Box::<Riak>::default(),
            Box::new(Cassandra),
            Box::new(WholeList),
        ];
        let costs = methods.each_mut().map(|method| {
            let cost = method.cost(&world);
            row(method.name(), &cost, floor.bytes, differing);
            cost
        });
        checks.look_at(keys, differing, &costs);
    }
    checks.end()
}

fn assumptions() {
    println!(
        "
floor      for each differing key a hash of 8 bytes and the newer record, and as many bits as number a key
beyond     records that were sent, less the keys that differ: those sent for nothing
keys read  from both storages: a list, a tree that is built, a record to send
trips      times that one side waited for the other's answer, a round trip each; of two nodes that both ask, the more
ms         both sides' processors, without the network; of a model, which stores nothing, the least of {TIMES}; trees kept
           with every write are there already
library    the first two: messages of two nodes, in frames, with the comparisons that begin and end it. They use the trees
           for what is longer ago than they remember: there both have been started anew
models     the others: a digest takes 8 bytes, a key in a list 16, a frame and what names a message {FRAME}; at most
           {} KiB a message
difference both replicas took writes while they couldn't talk: half of the keys are newer at each, one in four is new",
        MESSAGE >> 10
    );
}

/// What no method can do without.
fn floor(world: &World) -> Cost {
    let number = world.rows.len().next_power_of_two().ilog2().div_ceil(8) as usize;
    let newer =
        |&row: &usize| world.record(row, world.ahead(row).expect("it differs")).expect("what is newer is there");
    let records: usize = world.differing.iter().map(newer).sum();
    let finding = world.differing.len() * 8 + number;
    Cost {
        bytes: records + finding,
        finding,
        messages: 2,
        round_trips: 1,
        records: world.differing.len(),
        reads: world.differing.len(),
        healed: true,
        ..Cost::default()
    }
}

fn row(name: &str, cost: &Cost, floor: usize, differing: usize) {
    let ratio = if differing == 0 { "-".to_owned() } else { format!("{:.2}", cost.bytes as f64 / floor as f64) };
    println!(
        "{name:<19} {:>12} {ratio:>8} {:>11} {:>9} {:>6} {:>8} {:>10} {:>9.3}",
        grouped(cost.bytes),
        grouped(cost.finding),
        grouped(cost.messages),
        cost.round_trips,
        grouped(cost.records - differing),
        grouped(cost.reads),
        cost.time.as_secs_f64() * 1e3
    );
}

fn keys_of(number: usize) -> String {
    if number == 1 { "1 key".to_owned() } else { format!("{} keys", grouped(number)) }
}

/// What must hold of the table.
#[derive(Default)]
struct Checks {
    repairs: usize,
    healed: usize,
    wrong: Vec<String>,
}

impl Checks {
    fn look_at(&mut self, keys: usize, differing: usize, costs: &[Cost; 5]) {
        self.repairs += costs.len();
        self.healed += costs.iter().filter(|cost| cost.healed).count();
        let [clocks, tree, riak, cassandra, list] = costs;
        let mut must = |holds: bool, what: &str| {
            if !holds {
                self.wrong.push(format!("{differing} keys differ: {what}"));
            }
        };
        must(clocks.records == differing, "the exchange of clocks sends exactly what is lacking");
        must(tree.records <= 2 * differing, "the tree sends no record of a key that doesn't differ");
        // Where a tenth of all keys differ nothing beats telling all, and where none do both of the library's nodes ask.
        if differing == 0 || differing * 10 > keys {
            return;
        }
        for (other, name) in [(riak, "Riak's shape"), (cassandra, "Cassandra's shape"), (list, "a whole list")] {
            must(
                tree.finding <= other.finding || tree.bytes <= other.bytes,
                &format!("the tree takes no more than {name}"),
            );
        }
        if keys == 1_000_000 && differing == 100 {
            must(tree.finding < AIM, "the tree finds them in 60,000 bytes");
        }
    }

    fn end(self) -> ExitCode {
        self.wrong.iter().for_each(|wrong| println!("\nWRONG: {wrong}"));
        println!("\nrepairs {} · healed {} · wrong {}", self.repairs, self.healed, self.wrong.len());
        if self.wrong.is_empty() && self.healed == self.repairs { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
