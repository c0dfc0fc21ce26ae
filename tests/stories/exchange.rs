//! Owners that become equal without anybody reading or writing.

use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::sim::Sim;
use quorate::storage::Space;
use quorate::{GetOptions, NodeId, PutOptions};

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
