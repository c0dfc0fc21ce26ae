//! Owners that become equal without anybody reading or writing.

use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::sim::Sim;
use quorate::storage::Space;
use quorate::{Context, Event, GetOptions, NodeId, PutOptions};

const KEYS: usize = 40;

fn key(number: usize) -> String {
    format!("key {number}")
}

/// A cluster of three that all own everything, whose hints find no room: nothing but exchanges brings home what a node
/// has missed.
fn without_hints(limits: Limits) -> Sim {
    Sim::builder(3, 7).partitions(4).limits(Limits { hint_bytes: 1, ..limits }).build()
}

fn equal(sim: &Sim) -> bool {
    (0..KEYS).all(|number| {
        let first = sim.versions(NodeId(1), &key(number));
        (2..=3).all(|node| sim.versions(NodeId(node), &key(number)) == first)
    })
}

fn write_all(sim: &mut Sim, through: NodeId, value: &str) {
    for number in 0..KEYS {
        let seen = sim.get(through, &key(number)).expect("two are up");
        let value = format!("{value} {number}");
        sim.put_with(through, &key(number), Some(&value), &seen.context, PutOptions::default()).expect("two are up");
    }
}

#[test]
fn what_a_node_has_missed_comes_to_it_without_reads_or_hints() {
    let mut sim = without_hints(Limits::default());
    write_all(&mut sim, NodeId(1), "first");
    sim.crash(NodeId(3));
    write_all(&mut sim, NodeId(1), "second");
    assert!(sim.stored(NodeId(3), &key(0)).is_empty() && !equal(&sim));
    sim.restart(NodeId(3));
    sim.heal_all();
    assert!(equal(&sim));
    assert_eq!(sim.stored(NodeId(3), &key(5)), ["second 5"]);
    let counters = sim.counters();
    assert_eq!((counters.full_exchanges, counters.exchanged_needed), (0, KEYS as u64), "{counters:?}");
}

#[test]
fn where_all_agree_nothing_moves() {
    let mut sim = without_hints(Limits::default());
    write_all(&mut sim, NodeId(1), "first");
    sim.heal_all();
    let before = sim.counters();
    sim.run_for(Duration::from_secs(600));
    let after = sim.counters();
    assert_eq!((after.exchanged, after.full_exchanges, after.repairs), (before.exchanged, 0, before.repairs));
    assert_eq!(sim.debts(), []);
}

#[test]
fn a_node_that_was_away_for_longer_than_the_log_is_served_by_the_trees() {
    let mut sim = without_hints(Limits { dot_log: 4, ..Limits::default() });
    write_all(&mut sim, NodeId(1), "first");
    sim.crash(NodeId(3));
    for round in 0..3 {
        write_all(&mut sim, NodeId(1), &format!("again {round}"));
    }
    sim.restart(NodeId(3));
    sim.heal_all();
    assert!(equal(&sim));
    assert!(sim.counters().full_exchanges > 0);
}

#[test]
fn a_replica_that_lost_its_disk_is_filled_again_and_counts_in_no_read_before() {
    let mut sim = without_hints(Limits::default());
    write_all(&mut sim, NodeId(1), "first");
    sim.crash(NodeId(3));
    sim.lose_data(NodeId(3));
    // Alone with the one that has lost everything, there is no quorum of two.
    sim.restart(NodeId(3));
    sim.isolate(NodeId(1));
    let found = sim.get_with(NodeId(2), &key(1), GetOptions { all: true, ..GetOptions::default() }).expect("one is up");
    assert_eq!((found.owners, &found.values[..]), (1, &["first 1".into()][..]));
    sim.heal();
    sim.heal_all();
    assert!(equal(&sim));
    assert_eq!(sim.stored(NodeId(3), &key(5)), ["first 5"]);
}

#[test]
fn a_record_that_rots_is_found_by_nobody_reading_it_and_comes_back() {
    let timing = Timing { scrub: Duration::from_secs(60), ..Timing::default() };
    let mut sim = Sim::builder(3, 7).partitions(4).timing(timing).build();
    write_all(&mut sim, NodeId(1), "first");
    sim.heal_all();
    assert!(sim.rot(NodeId(2), 0, Space::Objects, 3));
    sim.run_for(Duration::from_secs(120));
    sim.heal_all();
    assert!(equal(&sim));
}

/// Nothing moves any more, and nobody owes anything.
fn is_idle(sim: &mut Sim) {
    assert!(equal(sim));
    let before = sim.counters();
    sim.run_for(Duration::from_secs(600));
    let after = sim.counters();
    assert_eq!((after.exchanged, after.full_exchanges), (before.exchanged, before.full_exchanges));
    assert_eq!((after.repairs, sim.debts()), (before.repairs, vec![]));
}

/// One of three takes a write alone: the others are out of its reach, and hints find no room.
fn write_alone(sim: &mut Sim, numbers: std::ops::Range<usize>, value: &str) {
    sim.isolate(NodeId(2));
    let alone = PutOptions { w: Some(1), ..PutOptions::default() };
    for number in numbers {
        let r = GetOptions { r: Some(1), ..GetOptions::default() };
        let seen = sim.get_with(NodeId(2), &key(number), r).expect("it asks itself");
        let value = format!("{value} {number}");
        sim.put_with(NodeId(2), &key(number), Some(&value), &seen.context, alone.clone()).expect("it is enough");
    }
    sim.heal();
}

/// Riak's `verify_aae`, which writes without a single read, and waits: a partition that is lost, keys that fewer than N
/// owners have, keys that fewer than N have the latest of. All come home, and then it is quiet.
#[test]
fn verify_aae_a_lost_partition() {
    for node in 1..=3 {
        let mut sim = without_hints(Limits::default());
        write_all(&mut sim, NodeId(1), "first");
        sim.heal_all();
        sim.crash(NodeId(node));
        sim.lose_data(NodeId(node));
        sim.restart(NodeId(node));
        sim.heal_all();
        assert_eq!(sim.stored(NodeId(node), &key(7)), ["first 7"]);
        is_idle(&mut sim);
    }
}

#[test]
fn verify_aae_fewer_than_n_written() {
    for dot_log in [4, 1_024] {
        let mut sim = without_hints(Limits { dot_log, ..Limits::default() });
        write_alone(&mut sim, 0..KEYS, "first");
        assert!(sim.stored(NodeId(1), &key(7)).is_empty() && sim.stored(NodeId(3), &key(7)).is_empty());
        sim.heal_all();
        assert_eq!(sim.stored(NodeId(3), &key(7)), ["first 7"]);
        is_idle(&mut sim);
    }
}

#[test]
fn verify_aae_fewer_than_n_updated() {
    for dot_log in [4, 1_024] {
        let mut sim = without_hints(Limits { dot_log, ..Limits::default() });
        write_all(&mut sim, NodeId(1), "first");
        sim.heal_all();
        write_alone(&mut sim, 0..KEYS / 2, "second");
        assert_eq!(sim.stored(NodeId(1), &key(7)), ["first 7"]);
        sim.heal_all();
        assert_eq!(
            (sim.stored(NodeId(1), &key(7)), sim.stored(NodeId(1), &key(KEYS - 1))),
            (vec!["second 7".into()], vec![format!("first {}", KEYS - 1)])
        );
        is_idle(&mut sim);
    }
}

/// Riak's `partition_repair`: what one node has of one partition is destroyed, and only that is filled again.
#[test]
fn partition_repair() {
    let timing = Timing { scrub: Duration::from_secs(60), ..Timing::default() };
    for nth in [0, 11, 29] {
        let mut sim = Sim::builder(3, 7).partitions(4).timing(timing.clone()).build();
        write_all(&mut sim, NodeId(1), "first");
        for number in 0..KEYS / 4 {
            sim.delete(NodeId(3), &key(number), &Context::empty()).expect("all are up");
        }
        sim.heal_all();
        let before = sim.counters();
        assert!(sim.rot(NodeId(2), 0, Space::Objects, nth));
        sim.run_for(Duration::from_secs(120));
        sim.heal_all();
        let events = |wanted: fn(&Event) -> bool| {
            sim.events().iter().filter(|(_, node, event)| *node == NodeId(2) && wanted(event)).count()
        };
        assert_eq!(events(|event| matches!(event, Event::PartitionLost(_))), 1);
        assert_eq!(events(|event| matches!(event, Event::PartitionRefilled(_))), 1);
        assert!(sim.counters().exchanged_needed - before.exchanged_needed < KEYS as u64, "not the other partitions");
        assert!(sim.stored(NodeId(2), &key(1)).is_empty(), "what was deleted is not among it");
        is_idle(&mut sim);
    }
}
