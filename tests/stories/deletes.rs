//! How others brought back what was deleted. Here a delete is a dot like any other: it stays in the clocks of the owners
//! when its record is gone, without a tombstone, a grace period, or anybody being asked.

use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::sim::Sim;
use quorate::storage::Space;
use quorate::{Context, GetOptions, NodeId, PutOptions};

/// One more than Cassandra's default.
const ELEVEN_DAYS: Duration = Duration::from_secs(11 * 24 * 3_600);

/// Owners compare themselves so often.
fn exchanging_every(exchange: Duration) -> Timing {
    Timing { exchange, ..Timing::default() }
}

/// So seldom that what a story does at once comes before.
const SELDOM: Duration = Duration::from_secs(100);

/// Hints find no room.
fn without_hints() -> Limits {
    Limits { hint_bytes: 1, ..Limits::default() }
}

fn three(sim: &Sim) -> [NodeId; 3] {
    sim.owners("k")[..].try_into().unwrap()
}

/// Three owners, of whom the last, which is down, still has what the first two know to be deleted.
fn stale(seed: u64, limits: Limits, timing: Timing) -> Sim {
    let mut sim = Sim::builder(5, seed).partitions(4).limits(limits).timing(timing).build();
    let [a, _, c] = three(&sim);
    sim.put(a, "k", "old").unwrap();
    sim.settle();
    sim.crash(c);
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.run_for(Duration::from_secs(5));
    sim
}

/// All stop, and start as nodes that compare themselves.
fn begin_exchanges(sim: &mut Sim) {
    sim.set_timing(&Timing::default());
    for node in sim.members() {
        sim.stop(node);
        sim.restart(node);
    }
}

/// How many records an owner keeps, those of deletes among them.
fn records(sim: &Sim, node: NodeId) -> usize {
    sim.node(node).unwrap().storages().map(|disk| disk.len(Space::Objects)).sum()
}

fn is_stored_nowhere(sim: &Sim) {
    for owner in sim.owners("k") {
        assert_eq!(sim.stored(owner, "k"), [""; 0], "at {owner}");
    }
}

/// All become equal, all read everything: nothing is back, and nothing is kept of it.
fn stays_gone(sim: &mut Sim) {
    sim.heal();
    sim.heal_all();
    is_stored_nowhere(sim);
    for reader in sim.members() {
        let all = GetOptions { r: Some(3), all: true, ..GetOptions::default() };
        assert_eq!(sim.get_with(reader, "k", all).unwrap().values, [""; 0], "through {reader}");
    }
    sim.heal_all();
    sim.run_for(Duration::from_secs(10));
    is_stored_nowhere(sim);
    for owner in sim.owners("k") {
        assert_eq!(records(sim, owner), 0, "at {owner}");
    }
    assert_eq!(sim.ambiguous_dots(), []);
}

/// Cassandra: a tombstone is purged after `gc_grace_seconds`; a replica that was away for longer repairs the others with
/// what they had deleted.
#[test]
fn cassandra_gc_grace_a_replica_that_is_back_after_weeks() {
    for seed in 0..2 {
        let mut sim = stale(seed, without_hints(), exchanging_every(SELDOM));
        let [a, b, c] = three(&sim);
        assert_eq!([a, b].map(|owner| records(&sim, owner)), [0; 2], "nothing is kept of the delete, and so soon");
        sim.run_for(ELEVEN_DAYS);
        sim.restart(c);
        assert_eq!(sim.stored(c, "k"), ["old"]);
        stays_gone(&mut sim);
        assert!(sim.counters().exchanged_needed > 0 && sim.counters().full_exchanges == 0, "by the logs alone");
    }
}

/// The same when the others know no more which key their latest writes were of: the trees tell it, and the one that is
/// behind doesn't win for having something where the others have nothing.
#[test]
fn cassandra_gc_grace_when_only_the_trees_can_tell() {
    for seed in 0..2 {
        let mut sim = stale(seed, Limits { dot_log: 1, ..without_hints() }, exchanging_every(SELDOM));
        let [a, _, c] = three(&sim);
        for number in 0..40 {
            sim.put(a, &format!("other {number}"), "v").unwrap();
        }
        sim.run_for(ELEVEN_DAYS);
        sim.restart(c);
        sim.heal_all();
        is_stored_nowhere(&sim);
        assert!(sim.counters().full_exchanges > 0);
    }
}

/// Voldemort: read repair takes "nothing there" for older than anything, and writes the deleted value back.
#[test]
fn voldemort_read_repair_from_a_stale_replica() {
    for seed in 0..6 {
        let mut sim = stale(seed, without_hints(), exchanging_every(SELDOM));
        let [a, b, c] = three(&sim);
        sim.restart(c);
        for reader in [c, a, b, c] {
            let all = GetOptions { r: Some(3), all: true, ..GetOptions::default() };
            assert_eq!(sim.get_with(reader, "k", all).unwrap().values, [""; 0], "through {reader}");
            sim.settle();
            is_stored_nowhere(&sim);
        }
        stays_gone(&mut sim);
    }
}

/// The same where the stale replica and one more answer alone, in both pairs: "nothing" must not lose to "something",
/// nor the other way round when the key was written anew.
#[test]
fn a_read_of_two_of_whom_one_is_stale() {
    for other in 0..2 {
        let mut sim = stale(3, without_hints(), exchanging_every(SELDOM));
        let owners = three(&sim);
        sim.restart(owners[2]);
        sim.isolate(owners[other]);
        let reader = owners[1 - other];
        assert_eq!(sim.values(reader, "k"), [""; 0]);
        assert_eq!(sim.values(owners[2], "k"), [""; 0]);
        stays_gone(&mut sim);
    }
}

/// Riak: a tombstone is reaped; a fallback that still has the value hands it off to a primary.
#[test]
fn riak_reaped_tombstone_then_handoff_of_the_value() {
    let mut sim = Sim::builder(5, 1).timing(exchanging_every(SELDOM)).build();
    let [a, _, c] = three(&sim);
    sim.crash(c);
    sim.put(a, "k", "old").unwrap();
    sim.run_for(Duration::from_secs(1));
    let [(fallback, target, 1)] = sim.debt()[..] else { panic!("{:?}", sim.debt()) };
    assert_eq!(target, c);
    sim.crash(fallback);
    sim.restart(c);
    sim.run_for(Duration::from_secs(1));
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.run_for(ELEVEN_DAYS);
    for owner in three(&sim).into_iter().take(2) {
        assert_eq!(records(&sim, owner), 0, "reaped at {owner}");
    }
    sim.restart(fallback);
    sim.settle();
    assert_eq!((sim.debt(), sim.counters().hints_delivered), (vec![], 1), "it has come home");
    is_stored_nowhere(&sim);
    stays_gone(&mut sim);
}

/// `script latehint`: a fallback alone knows a value; a client reads it there and deletes it through an owner, and no
/// owner has ever seen what is deleted. Stores that drop the tombstone when all have *it*, or when it is old, take the
/// hint that comes afterwards for new.
#[test]
fn a_hint_that_is_late_of_a_value_that_no_owner_had_when_it_was_deleted() {
    for exchanges in [false, true] {
        let timing = if exchanges { exchanging_every(SELDOM) } else { exchanging_every(Duration::MAX) };
        let mut sim = Sim::builder(5, 1).partitions(4).timing(timing).build();
        let owners = three(&sim);
        let fallback = sim.bystanders("k")[0];
        owners.iter().for_each(|&owner| sim.isolate(owner));
        let one = PutOptions { w: Some(1), ..PutOptions::default() };
        let put = sim.put_with(fallback, "k", Some("old"), &Context::empty(), one).expect("sloppy");
        assert!(put.owners == 0 && put.fallbacks > 0, "{put:?}");
        let seen = sim.get(fallback, "k").unwrap();
        assert_eq!(seen.values, ["old"]);
        let holders: Vec<_> = sim.bystanders("k");
        holders.iter().for_each(|&holder| sim.crash(holder));
        sim.heal();
        sim.run_for(Duration::from_secs(5));
        sim.delete(owners[1], "k", &seen.context).unwrap();
        sim.run_for(ELEVEN_DAYS);
        is_stored_nowhere(&sim);
        assert_eq!(owners.map(|owner| records(&sim, owner)), [1; 3], "they know what to refuse");
        holders.iter().for_each(|&holder| sim.restart(holder));
        sim.settle();
        is_stored_nowhere(&sim);
        begin_exchanges(&mut sim);
        stays_gone(&mut sim);
    }
}

/// Cassandra, Riak: a machine is restored from a backup of before the delete.
#[test]
fn a_restored_backup_of_before_the_delete() {
    for seed in 0..2 {
        let limits = Limits { dot_log: if seed % 2 == 0 { 1 } else { 1_024 }, ..without_hints() };
        let timing = exchanging_every(SELDOM);
        let mut sim = Sim::builder(4, seed).partitions(4).limits(limits).timing(timing).build();
        let [a, b, c] = three(&sim);
        sim.put(b, "k", "old").unwrap();
        sim.heal_all();
        sim.backup(c);
        sim.delete(a, "k", &Context::empty()).unwrap();
        sim.heal_all();
        is_stored_nowhere(&sim);
        sim.run_for(ELEVEN_DAYS);
        sim.crash(c);
        assert!(sim.restore(c));
        sim.restart(c);
        assert_eq!(sim.stored(c, "k"), ["old"]);
        stays_gone(&mut sim);
    }
}

/// A backup of *two* of three: the delete is known to one owner alone, and has not lost for being in the minority.
#[test]
fn a_delete_that_one_of_three_knows() {
    let mut sim = Sim::builder(4, 1).partitions(4).limits(without_hints()).build();
    let [a, b, c] = three(&sim);
    sim.put(b, "k", "old").unwrap();
    sim.heal_all();
    sim.backup(b);
    sim.backup(c);
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.heal_all();
    for node in [b, c] {
        sim.crash(node);
        assert!(sim.restore(node));
        sim.restart(node);
    }
    assert_eq!((sim.stored(b, "k"), sim.stored(c, "k")), (vec!["old".into()], vec!["old".into()]));
    stays_gone(&mut sim);
}

/// A write that a switch has kept for a minute arrives when its delete is everywhere, and done with.
#[test]
fn a_write_that_arrives_after_its_delete() {
    for exchanges in [false, true] {
        let timing = if exchanges { exchanging_every(SELDOM) } else { exchanging_every(Duration::MAX) };
        let mut sim = Sim::builder(3, 1).partitions(4).limits(without_hints()).timing(timing).build();
        let [a, b, c] = three(&sim);
        let late = sim.now() + Duration::from_secs(60);
        sim.network.clog(c, sim.now(), late);
        let seen = sim.put(a, "k", "old").unwrap().context;
        sim.heal();
        sim.run_for(Duration::from_secs(1));
        let all = PutOptions { w: Some(3), ..PutOptions::default() };
        assert_eq!(sim.put_with(b, "k", None, &seen, all).unwrap().owners, 3);
        sim.run_for(Duration::from_secs(30));
        is_stored_nowhere(&sim);
        assert!(sim.now() < late);
        sim.run_until(late + Duration::from_secs(1));
        is_stored_nowhere(&sim);
        begin_exchanges(&mut sim);
        stays_gone(&mut sim);
    }
}

/// Everything arrives twice, and out of order: no copy of a write is new because its first is deleted.
#[test]
fn messages_that_come_twice_and_overtake_one_another() {
    for seed in 0..10 {
        let mut sim = Sim::builder(5, seed).partitions(4).build();
        sim.network.duplication = 100;
        sim.network.jitter = Duration::from_millis(40);
        sim.network.tail = Duration::from_millis(20);
        let owners = three(&sim);
        for round in 0..10 {
            let written = sim.put(owners[round % 3], "k", &format!("{round}")).unwrap();
            sim.put_with(owners[(round + 1) % 3], "k", None, &written.context, PutOptions::default()).unwrap();
        }
        // The last delete may have been of the last value alone: this one is of all that is left.
        sim.delete(owners[0], "k", &Context::empty()).unwrap();
        sim.run_for(Duration::from_secs(10));
        is_stored_nowhere(&sim);
        stays_gone(&mut sim);
    }
}

/// One of those that know of the delete loses its disk, and the first to fill it is the one that doesn't.
#[test]
fn a_lost_disk_that_is_filled_again_by_a_stale_replica_first() {
    for seed in 0..6 {
        let mut sim = stale(seed, without_hints(), exchanging_every(SELDOM));
        let [a, b, c] = three(&sim);
        sim.crash(b);
        sim.lose_data(b);
        sim.isolate(a);
        sim.restart(b);
        sim.restart(c);
        sim.run_for(SELDOM * 3);
        assert_eq!(sim.stored(b, "k"), ["old"], "all it could learn");
        stays_gone(&mut sim);
    }
}

/// A record that rots at an owner that is stale by a delete, or that knows of it, takes the value back to nobody.
#[test]
fn a_damaged_record_beside_a_stale_replica() {
    for at in 0..3 {
        let timing = Timing { scrub: Duration::from_secs(10), ..exchanging_every(SELDOM) };
        let mut sim = stale(5, without_hints(), timing);
        let owners = three(&sim);
        sim.put(owners[0], "k", "new").unwrap();
        sim.settle();
        sim.restart(owners[2]);
        assert!(sim.rot(owners[at], 0, Space::Objects, 0));
        sim.run_for(Duration::from_secs(30));
        sim.heal_all();
        for owner in owners {
            assert_eq!(sim.stored(owner, "k"), ["new"], "at {owner}");
        }
    }
}

/// A key that is written anew after its delete is not joined by what was deleted.
#[test]
fn a_key_that_is_written_anew_stands_alone() {
    for seed in 0..2 {
        let mut sim = stale(seed, without_hints(), exchanging_every(SELDOM));
        let [a, b, c] = three(&sim);
        sim.put(b, "k", "new").unwrap();
        sim.run_for(ELEVEN_DAYS);
        sim.restart(c);
        sim.heal_all();
        for owner in [a, b, c] {
            assert_eq!(sim.stored(owner, "k"), ["new"], "at {owner}");
        }
    }
}

/// The stale replica learns of the delete if it asks; if it is only asked, it shows nothing that anybody takes for new.
#[test]
fn anti_entropy_from_the_stale_replica_in_both_directions() {
    const NEVER: Duration = Duration::MAX;
    const OFTEN: Duration = Duration::from_secs(5);
    for (stale_every, learns) in [(OFTEN, true), (NEVER, false)] {
        for dot_log in [1, 1_024] {
            let limits = Limits { dot_log, ..without_hints() };
            let mut sim = stale(2, limits, exchanging_every(OFTEN));
            let [a, b, c] = three(&sim);
            sim.put(a, "k", "new").unwrap();
            sim.delete(b, "k", &Context::empty()).unwrap();
            sim.set_timing(&exchanging_every(stale_every));
            sim.restart(c);
            sim.run_for(OFTEN * 10);
            assert_eq!((sim.stored(a, "k"), sim.stored(b, "k")), (vec![], vec![]), "{dot_log}");
            assert_eq!(sim.stored(c, "k").is_empty(), learns, "{dot_log}");
            begin_exchanges(&mut sim);
            stays_gone(&mut sim);
        }
    }
}
