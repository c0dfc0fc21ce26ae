//! The schedules by which Riak lost acknowledged writes, and its tests of siblings and limits.
//!
//! Riak's issue kv679 ("a clock that goes back") took it three and a half years: a vnode that forgets what it has
//! counted counts anew, and the second write that bears a number dies of the first. Its regression tests are told here
//! on the simulator, as closely as our calls allow. Here a write event is named by node, *start* and counter; a start
//! is random and never read back from a disk, so that whoever forgets begins a history of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::error::PutError;
use quorate::sim::{DiskFault, Sim};
use quorate::storage::Space;
use quorate::{Bytes, Context, GetOptions, Mode, NodeId, PutOptions};

fn three(sim: &Sim) -> [NodeId; 3] {
    sim.owners("k")[..].try_into().unwrap()
}

/// Reads what is there and replaces it.
fn update(sim: &mut Sim, node: NodeId, values: &[&str]) {
    for value in values {
        let seen = sim.get(node, "k").unwrap().context;
        sim.put_with(node, "k", Some(value), &seen, PutOptions::default()).unwrap();
    }
}

fn crash(sim: &mut Sim, nodes: &[NodeId]) {
    nodes.iter().for_each(|&node| sim.crash(node));
}

/// They start again, and are noticed.
fn restart(sim: &mut Sim, nodes: &[NodeId]) {
    nodes.iter().for_each(|&node| sim.restart(node));
    sim.run_for(Duration::from_secs(5));
}

fn forget(sim: &mut Sim, node: NodeId) {
    sim.crash(node);
    sim.lose_data(node);
    sim.restart(node);
}

/// What a read of all owners shows, and what it leaves on the disk of each.
fn agreed(sim: &mut Sim) -> Vec<String> {
    sim.settle();
    let owners = sim.owners("k");
    sim.get_with(owners[0], "k", GetOptions { r: Some(owners.len() as u8), all: true, ..GetOptions::default() })
        .unwrap();
    sim.settle();
    for &owner in &owners {
        assert_eq!(sim.stored(owner, "k"), sim.stored(owners[0], "k"), "{owner}");
    }
    assert_eq!(sim.ambiguous_dots(), []);
    sim.values(owners[0], "k")
}

/// The records on a node's disk, those without a value among them.
fn records(sim: &Sim, node: NodeId) -> usize {
    sim.node(node).unwrap().storages().map(|disk| disk.len(Space::Objects)).sum()
}

/// `kv679_dataloss`. A key is written twice; its coordinator's copy can't be read, then is gone; it coordinates a third
/// write. Riak began a new clock at {a, 1}, which the others took for one they had seen: they dropped the write, and
/// read repair deleted the last copy. Here a copy that can't be read refuses the put before anything leaves the node,
/// and one that is gone leaves a node that names its writes by a new start, which nobody has seen.
#[test]
fn kv679_dataloss() {
    let mut sim = Sim::new(3, 1);
    let [a, b, c] = three(&sim);
    sim.put(a, "k", "phil").unwrap();
    sim.put(a, "k", "bob").unwrap();
    sim.settle();
    sim.disk(a)[0].set(DiskFault::Reads, true);
    assert!(matches!(sim.put(a, "k", "refused"), Err(PutError::Storage(_))));
    forget(&mut sim, a);
    sim.put(a, "k", "jon").unwrap();
    sim.settle();
    assert_eq!((sim.stored(b, "k").len(), sim.stored(c, "k").len()), (3, 3), "nobody takes it for an old one");
    assert_eq!(agreed(&mut sim), ["bob", "jon", "phil"]);
}

/// `kv679_dataloss_fb`. {a, 1..2} are at the coordinator and two fallbacks, {a, 3..4} at it and the two other
/// primaries; it forgets, reads the old value from the fallbacks, and writes again. Riak went on from the fallbacks'
/// clock, issued {a, 3} a second time, and the new write was lost when the primaries came back with the first {a, 3}.
/// Here what a node reads never becomes what it counts from.
#[test]
fn kv679_dataloss_fb() {
    let mut sim = Sim::new(6, 1);
    let [a, b, c] = three(&sim);
    crash(&mut sim, &[b, c]);
    update(&mut sim, a, &["bob", "jim"]);
    sim.run_for(Duration::from_secs(1));
    let fallbacks: Vec<_> = sim.debt().iter().map(|(holder, ..)| *holder).collect();
    assert!(fallbacks.len() == 2 && !fallbacks.contains(&a), "{:?}", sim.debt());
    crash(&mut sim, &fallbacks);
    restart(&mut sim, &[b, c]);
    update(&mut sim, a, &["jon", "joe"]);
    sim.settle();
    crash(&mut sim, &[b, c]);
    forget(&mut sim, a);
    restart(&mut sim, &fallbacks);
    assert_eq!(sim.values(a, "k"), ["jim"], "the fallbacks' hints are all there is");
    update(&mut sim, a, &["anne"]);
    restart(&mut sim, &[b, c]);
    assert_eq!(agreed(&mut sim), ["anne", "joe"]);
}

/// `kv679_dataloss_fb2`, which lost a write even with an epoch per key and actor. N = 2, two primaries p and q cut off
/// from one another. p writes once to one fallback, twice more to another; q writes with a third, whose hint comes to p
/// when p's disk fails: Riak took the failed read for "not found", stored the hint alone, and p's epoch with its clock
/// was gone, though p had coordinated nothing. The first fallback brought {p, 1} back, p issued {p, 2} again, and lost
/// it to the second fallback's {p, 3}. Here a disk that fails takes no hint, a node that forgot has a new start, and a
/// clock is of the node, not of a key.
#[test]
fn kv679_dataloss_fb2() {
    let mut sim = Sim::builder(5, 1).quorum(2, 2, 2, Mode::Sloppy).build();
    let [p, q] = sim.owners("k")[..] else { unreachable!() };
    let [first, second, third] = sim.bystanders("k")[..] else { unreachable!() };
    sim.split(&[p, first, second], &[q, third]);
    update(&mut sim, p, &["alice"]);
    crash(&mut sim, &[first]);
    update(&mut sim, p, &["bob", "charlie"]);
    sim.run_for(Duration::from_secs(1));
    crash(&mut sim, &[second]);
    update(&mut sim, q, &["dave"]);
    sim.disk(p)[0].set(DiskFault::Reads, true);
    sim.heal();
    sim.run_for(Duration::from_secs(5));
    assert!(sim.debt().contains(&(third, p, 1)), "a failing disk takes no hint: {:?}", sim.debt());
    forget(&mut sim, p);
    sim.settle();
    restart(&mut sim, &[first]);
    assert_eq!(agreed(&mut sim), ["alice", "dave"], "charlie is in the second fallback's hint alone");
    update(&mut sim, p, &["emma"]);
    restart(&mut sim, &[second]);
    assert_eq!(agreed(&mut sim), ["charlie", "emma"]);
}

/// `kv679_tombstone`. A delete reaches two primaries and, for the third, a fallback, which goes down; the primaries
/// reap their tombstones; the key is written anew. Riak's new clock began below the tombstone that the fallback still
/// held, and the hint deleted the new value when it came home. Here a delete covers what it had read and nothing else,
/// and the owners keep its event in their clocks when its record is gone.
#[test]
fn kv679_tombstone() {
    let mut sim = Sim::new(4, 1);
    let [a, b, c] = three(&sim);
    update(&mut sim, a, &["bob", "phil", "pete"]);
    sim.settle();
    sim.crash(c);
    sim.delete(b, "k", &Context::empty()).unwrap();
    sim.run_for(Duration::from_secs(1));
    let [(fallback, target, 1)] = sim.debt()[..] else { panic!("{:?}", sim.debt()) };
    assert_eq!(target, c);
    sim.crash(fallback);
    restart(&mut sim, &[c]);
    assert_eq!(agreed(&mut sim), [""; 0]);
    sim.run_for(Duration::from_secs(5));
    assert_eq!([a, b].map(|owner| records(&sim, owner)), [0; 2], "reaped");
    update(&mut sim, a, &["jon"]);
    restart(&mut sim, &[fallback]);
    assert_eq!(agreed(&mut sim), ["jon"]);
    assert_eq!(sim.debt(), [], "the old delete is home");
}

/// `kv679_tombstone2`. All primaries hold the tombstone; one crashes before it is reaped, the key is written anew, the
/// crashed one returns. Riak's read repair let its tombstone, {a, 4}, delete the new value, {a, 1}. What comes closest
/// to a tombstone here is a delete at an owner that had missed the last value: it must remember what to refuse. Neither
/// that memory nor the late value itself hurts what was written since.
#[test]
fn kv679_tombstone2() {
    let timing = Timing { exchange: Duration::MAX, ..Timing::default() };
    let mut sim = Sim::builder(4, 1).timing(timing).build();
    let [a, b, c] = three(&sim);
    let fallback = sim.bystanders("k")[0];
    update(&mut sim, a, &["bob", "phil"]);
    sim.settle();
    sim.split(&[c], &[a, b, fallback]);
    update(&mut sim, a, &["pete"]);
    sim.run_for(Duration::from_secs(1));
    sim.heal();
    sim.split(&[c], &[fallback]);
    sim.run_for(Duration::from_secs(5));
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.run_for(Duration::from_millis(10));
    assert_eq!(records(&sim, c), 1, "it knows of pete's end, not of pete");
    sim.crash(c);
    sim.run_for(Duration::from_secs(15));
    assert_eq!([a, b].map(|owner| records(&sim, owner)), [0; 2], "reaped");
    update(&mut sim, a, &["jon"]);
    sim.heal();
    restart(&mut sim, &[c]);
    sim.settle();
    assert_eq!(sim.stored(c, "k"), ["jon"], "by hints alone, and pete's came too late");
    for reader in sim.members().repeat(5) {
        assert_eq!(sim.values(reader, "k"), ["jon"], "through {reader}");
    }
    assert_eq!(agreed(&mut sim), ["jon"]);
}

/// `kv679_uid`. Vnodes that started on one node in one instant got one id, so that two of them named their writes
/// alike. Here the worst of it: a machine is copied with its disk, both run under one name, and both start again in one
/// instant, with the same clocks on their disks. Their writes stand side by side.
#[test]
fn kv679_uid() {
    for seed in 0..20 {
        let mut sim = Sim::builder(5, seed).quorum(3, 1, 1, Mode::Sloppy).build();
        let [a, b, _] = three(&sim);
        sim.put(a, "k", "before").unwrap();
        sim.settle();
        let twin = sim.clone_node(a);
        crash(&mut sim, &[a, twin]);
        sim.restart(a);
        sim.restart(twin);
        sim.put(a, "k", "of one").unwrap();
        sim.put(twin, "k", "of the other").unwrap();
        sim.run_for(Duration::from_secs(5));
        sim.crash(twin);
        assert_eq!(sim.values(b, "k"), ["before", "of one", "of the other"], "seed {seed}");
        assert_eq!(agreed(&mut sim).len(), 3, "seed {seed}");
    }
}

/// What kv679 is where a backup is restored: the coordinator goes back to a copy of its disk, and counts on from there.
/// Riak issued {a, 2} again, and an acknowledged write died of the one before the disaster.
#[test]
fn a_restored_backup_names_no_write_a_second_time() {
    let mut sim = Sim::new(5, 1);
    let [a, b, c] = three(&sim);
    update(&mut sim, a, &["one"]);
    sim.settle();
    sim.backup(a);
    update(&mut sim, a, &["two"]);
    sim.settle();
    crash(&mut sim, &[a, b, c]);
    assert!(sim.restore(a));
    restart(&mut sim, &[a]);
    assert_eq!(sim.values(a, "k"), ["one"], "the backup is all there is");
    update(&mut sim, a, &["three"]);
    restart(&mut sim, &[b, c]);
    assert_eq!(agreed(&mut sim), ["three", "two"]);
}

/// The words of all values.
fn words(values: &[Bytes]) -> impl Iterator<Item = String> {
    values.iter().flat_map(|value| str::from_utf8(value).unwrap().split(' ').map(String::from))
}

/// `sibling_explosion`. Two clients that read, unite and write in turn, each a write behind the other: a perpetual
/// race. With a version vector and no dots all 99 writes became siblings, each a subset of the next.
#[test]
fn sibling_explosion() {
    for nodes in [1, 5] {
        let mut sim = Sim::new(nodes, 1);
        let node = sim.owners("k")[0];
        let mut read = [sim.get(node, "k").unwrap(), sim.get(node, "k").unwrap()];
        for number in 0..99 {
            let seen = &read[number % 2];
            let set = words(&seen.values).chain([format!("{number}")]).collect::<BTreeSet<_>>();
            let set = Vec::from_iter(set).join(" ");
            sim.put_with(node, "k", Some(&set), &seen.context, PutOptions::default()).unwrap();
            let found = sim.get(node, "k").unwrap();
            assert!(found.siblings <= 2, "{} siblings after {number}", found.siblings);
            read[number % 2] = found;
        }
        let found = sim.get(node, "k").unwrap().values;
        let all: BTreeSet<_> = words(&found).collect();
        assert_eq!((found.len(), all.len()), (2, 99), "two siblings, and nothing is missing in their union");
    }
}

fn limited(nodes: u64) -> Sim {
    let limits = Limits { value: 10_000, siblings: 5, ..Limits::default() };
    Sim::builder(nodes, 1).limits(limits).build()
}

/// `verify_object_limits`, sizes: a value that is too long is refused, and nothing of it is there.
#[test]
fn verify_object_limits_of_size() {
    let mut sim = limited(5);
    for node in sim.members() {
        for (size, fits) in [(1, true), (1_000, true), (10_000, true), (10_001, false), (20_000, false)] {
            let key = format!("{node} {size}");
            match sim.put(node, &key, &"x".repeat(size)) {
                Ok(_) => assert!(fits, "{key}"),
                Err(PutError::ValueTooLong { got, limit: 10_000 }) => assert!(got == size && !fits, "{key}"),
                Err(other) => panic!("{key}: {other}"),
            }
            assert_eq!(sim.get(node, &key).unwrap().values.len(), usize::from(fits), "{key}");
        }
    }
}

/// `verify_object_limits`, siblings: a read says how many there are, long before the cap; at the cap a blind put is
/// refused through every node, and one that has read them all is not.
#[test]
fn verify_object_limits_of_siblings() {
    let mut sim = limited(5);
    for (index, node) in sim.members().into_iter().enumerate() {
        sim.put(node, "k", &format!("{index}")).unwrap();
        assert_eq!(sim.get(node, "k").unwrap().siblings, index + 1);
    }
    sim.settle();
    for node in sim.members() {
        let refused = sim.put(node, "k", "too many");
        assert!(matches!(refused, Err(PutError::TooManySiblings { siblings: 6, limit: 5 })), "{refused:?}");
    }
    assert_eq!(agreed(&mut sim), ["0", "1", "2", "3", "4"]);
    let node = sim.bystanders("k")[0];
    update(&mut sim, node, &["all of them"]);
    assert_eq!(agreed(&mut sim), ["all of them"]);
}

/// `verify_object_limits`, what ignores the cap: hints, joins and read repair carry what was acknowledged, however much
/// it is. Both sides of a split fill the key; a cap on what comes home would lose acknowledged writes.
#[test]
fn verify_object_limits_ignored_by_hints_and_repair() {
    let mut sim = limited(6);
    let [a, b, c] = three(&sim);
    let others = sim.bystanders("k");
    sim.split(&[a, others[0], others[1]], &[b, c, others[2]]);
    for index in 0..5 {
        sim.put(a, "k", &format!("left {index}")).unwrap();
        sim.put(b, "k", &format!("right {index}")).unwrap();
    }
    sim.run_for(Duration::from_secs(1));
    sim.heal();
    sim.settle();
    assert_eq!([a, b, c].map(|owner| sim.stored(owner, "k").len()), [10; 3], "hints ignore the cap");
    forget(&mut sim, c);
    assert_eq!(agreed(&mut sim).len(), 10, "joins of replies do");
    assert_eq!(sim.stored(c, "k").len(), 10, "so does read repair");
    assert!(matches!(sim.put(c, "k", "no more"), Err(PutError::TooManySiblings { .. })));
    update(&mut sim, c, &["all of them"]);
    assert_eq!(agreed(&mut sim), ["all of them"]);
}
