//! The same seed and the same calls give the same run, byte for byte: twice in one process, in another process, in
//! another build.

use std::process::Command;
use std::time::Duration;

use quorate::config::Mode;
use quorate::request::Cursor;
use quorate::sim::Sim;
use quorate::sim::campaign::{Story, play};
use quorate::{Bytes, Context, GetOptions, Keyspace, NodeId, PutOptions, Reply, Request};

/// The trace of [`mixed_run`] with seed 2007.
///
/// It changes with every change of the protocol, of a message's bytes, or of an answer's fields, and with the random
/// numbers of another version of `rand`. Such a change is no error: check that it was meant, and put the new value
/// here. What is an error is a value that differs between two machines or two builds of one tree.
const GOLDEN: u128 = 0xdfbf86f227d64a595807a837db08dbf7;

const OPERATIONS: u64 = 2_000;

/// What the story does next: `SplitMix64`, so that the story depends on nothing but its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

/// How often each kind of thing happened: a golden trace of a run in which nothing happens proves nothing.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    failed: u64,
    crashes: u64,
}

fn list(cursor: Cursor) -> Request {
    Request::List { keyspace: Keyspace::new("default").id(), cursor, limit: 5 }
}

/// Some thousand operations of several clients on a cluster to which everything happens that may.
fn mixed_run(seed: u64) -> (u128, Tally) {
    let mut sim = Sim::builder(5, seed).partitions(16).build();
    let mut dice = Dice(seed);
    let mut tally = Tally::default();
    let nodes = sim.members();
    let keys: Vec<String> = (0..12).map(|key| format!("key {key}")).collect();
    let mut contexts = vec![Context::empty(); keys.len()];
    for (&node, skew) in nodes.iter().zip([-1_400_000, -700_000, 0, 700_000, 1_400_000]) {
        sim.skew(node, skew);
    }
    (sim.network.loss, sim.network.duplication) = (3, 3);
    for operation in 0..OPERATIONS {
        befall(&mut sim, &mut dice, &nodes, &mut tally);
        let up: Vec<NodeId> = nodes.iter().copied().filter(|&node| sim.is_up(node)).collect();
        let (node, at) = (dice.pick(&up), dice.roll(keys.len() as u64) as usize);
        let (key, value) = (keys[at].as_str(), format!("value {operation}"));
        let if_unchanged = PutOptions { if_unchanged: true, ..PutOptions::default() };
        let (context, default) = (contexts[at].clone(), PutOptions::default());
        let ticket = match dice.roll(10) {
            0..3 => sim.start_put(node, key, Some(&value), &context, default),
            3 => sim.start_put(node, key, Some(&value), &context, if_unchanged),
            4 => sim.start_put(node, key, None, &context, default),
            5 => sim.start(node, list(Cursor::default())),
            _ => {
                let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from(key));
                sim.start(node, Request::Get { keyspace, key, options: GetOptions::default() })
            }
        };
        // Most clients wait; the others' requests overlap with what comes next.
        if dice.roll(4) == 0 {
            continue;
        }
        match sim.wait(node, ticket) {
            Some(Reply::Get(Ok(found))) => contexts[at] = found.context,
            Some(Reply::Put(Ok(written))) => contexts[at] = written.context,
            Some(Reply::List(Ok(_))) => {}
            _ => {
                tally.failed += 1;
                continue;
            }
        }
        tally.answered += 1;
    }
    sim.heal();
    nodes.iter().for_each(|&node| sim.restart(node));
    sim.settle();
    (sim.trace(), tally)
}

/// Perhaps something goes wrong, or is mended.
fn befall(sim: &mut Sim, dice: &mut Dice, nodes: &[NodeId], tally: &mut Tally) {
    let node = dice.pick(nodes);
    let down = nodes.iter().filter(|&&node| !sim.is_up(node)).count();
    match dice.roll(60) {
        0 if down < 2 => {
            sim.crash(node);
            tally.crashes += 1;
        }
        1 if down < 2 => sim.stop(node),
        2..5 => nodes.iter().for_each(|&node| sim.restart(node)),
        5 => {
            let (left, right) = nodes.split_at(1 + dice.roll(3) as usize);
            sim.split(left, right);
        }
        6 => sim.network.cut_one_way(node, dice.pick(nodes)),
        7 => sim.network.slow(node, Duration::from_millis(dice.roll(40))),
        8..11 => {
            sim.heal();
            (sim.network.loss, sim.network.duplication) = (3, 3);
        }
        11 => sim.run_for(Duration::from_millis(dice.roll(3_000))),
        12 => sim.skew(node, dice.roll(4_000_000).cast_signed() - 2_000_000),
        _ => {}
    }
}

#[test]
fn a_run_leaves_the_same_trace_each_time_and_on_each_machine() {
    let (first, tally) = mixed_run(2007);
    let (second, _) = mixed_run(2007);
    assert_eq!(first, second, "two runs of one seed differ within one process");
    assert!(tally.answered > 1_000 && tally.failed > 10 && tally.crashes > 10, "the run is too tame: {tally:?}");
    assert_eq!(first, GOLDEN, "if the protocol was changed, the new value is {first:#034x}");
}

/// What only a second process may do: with this in its environment it writes its traces down.
const SECOND: &str = "QUORATE_SECOND_PROCESS";

/// The traces of whole campaign stories, a line each.
fn campaign_traces() -> Vec<String> {
    let trace = |seed: u64| {
        let run = play(&Story::draw(seed));
        format!("trace of seed {seed}: {:032x} after {} events", run.trace, run.events)
    };
    (0..24).map(trace).collect()
}

#[test]
fn a_second_process_leaves_the_same_traces() {
    let own = campaign_traces();
    if std::env::var_os(SECOND).is_some() {
        return println!("\n{}", own.join("\n"));
    }
    let tests = std::env::current_exe().expect("this program");
    let arguments = ["--exact", "a_second_process_leaves_the_same_traces", "--nocapture", "--test-threads", "1"];
    let second = Command::new(tests).args(arguments).env(SECOND, "1").output().expect("it runs a second time");
    assert!(second.status.success(), "{second:?}");
    let out = String::from_utf8_lossy(&second.stdout);
    let other: Vec<&str> = out.lines().filter(|line| line.starts_with("trace of seed ")).collect();
    assert_eq!(own, other);
    assert_eq!(own.len(), 24);
}

#[test]
fn other_seeds_leave_other_traces() {
    let mut traces: Vec<u128> = (0..4).map(|seed| mixed_run(seed).0).collect();
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 4);
}

#[test]
fn one_call_more_leaves_another_trace() {
    let trace = |reads: usize| {
        let mut sim = Sim::new(3, 1);
        for _ in 0..reads {
            assert!(sim.values(NodeId(1), "key").is_empty());
        }
        sim.trace()
    };
    assert_eq!(trace(2), trace(2));
    assert_ne!(trace(2), trace(3));
}

/// All keys, page by page, in order.
fn all_keys(sim: &mut Sim, node: NodeId) -> Vec<Bytes> {
    let (mut keys, mut next) = (Vec::new(), Some(Cursor::default()));
    while let Some(cursor) = next {
        let ticket = sim.start(node, list(cursor));
        let Some(Reply::List(Ok(page))) = sim.wait(node, ticket) else { panic!("no page of keys") };
        keys.extend(page.keys);
        next = page.next;
    }
    keys.sort();
    keys
}

/// What clients see of a story in which nothing goes wrong.
fn seen_by_clients(shards: usize) -> Vec<String> {
    let mut sim = Sim::builder(5, 11).partitions(16).quorum(3, 2, 2, Mode::Strict).shards(shards).build();
    let mut dice = Dice(11);
    let (nodes, mut seen) = (sim.members(), Vec::new());
    let mut contexts = vec![Context::empty(); 20];
    for operation in 0..600 {
        let (node, at) = (dice.pick(&nodes), dice.roll(20) as usize);
        let (key, value) = (format!("key {at}"), format!("value {operation}"));
        // A client that doesn't take note of what it saw writes siblings, and its conditions fail.
        let (if_unchanged, takes_note) = (dice.roll(8) == 0, dice.roll(4) > 0);
        let options = PutOptions { if_unchanged, ..PutOptions::default() };
        seen.push(match dice.roll(10) {
            choice @ 0..5 => {
                let written = sim.put_with(node, &key, (choice > 0).then_some(&value), &contexts[at], options);
                if let Ok(written) = &written
                    && takes_note
                {
                    contexts[at] = written.context.clone();
                }
                format!("put {key}: {:?}", written.map(|written| written.context))
            }
            5 => {
                // One owner answers for a partition, and the third may hear of a write after its acknowledgement.
                sim.run_for(Duration::from_millis(10));
                format!("list: {:?}", all_keys(&mut sim, node))
            }
            _ => {
                let found = sim.get(node, &key).expect("nothing is in its way");
                if takes_note {
                    contexts[at] = found.context.clone();
                }
                format!("get {key}: {:?} of {}, {:?}", found.values, found.siblings, found.context)
            }
        });
    }
    seen
}

#[test]
fn clients_cannot_tell_how_many_shards_a_node_has() {
    let one = seen_by_clients(1);
    assert!(one.iter().any(|line| line.ends_with("Err(Changed)")), "no condition failed: the story is too tame");
    assert!(one.iter().any(|line| line.contains(" of 3, ")), "no siblings: the story is too tame");
    for (shards, other) in [(2, seen_by_clients(2)), (3, seen_by_clients(3))] {
        for (at, (one, other)) in one.iter().zip(&other).enumerate() {
            assert_eq!(one, other, "operation {at} with {shards} shards");
        }
    }
}
