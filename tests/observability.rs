//! What a node says of itself must be what has happened.

use std::time::Duration;

use quorate::latencies::{Latencies, Phase};
use quorate::sim::Sim;
use quorate::{Context, NodeId};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A cluster whose messages take a millisecond, no more and no less.
fn even(count: u64) -> Sim {
    let mut sim = Sim::new(count, 1);
    (sim.network.delay, sim.network.jitter) = (ms(1), Duration::ZERO);
    sim
}

fn latencies(sim: &Sim, node: NodeId) -> Latencies {
    sim.node(node).expect("it is up").latencies()
}

fn counts(latencies: &Latencies) -> Vec<(&'static str, u64)> {
    let all = Phase::ALL.iter().map(|phase| (phase.name(), latencies.of(*phase).count()));
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_part_of_a_request_is_timed_where_it_is_coordinated() {
    let mut sim = even(5);
    let [owner, ..] = sim.owners("k")[..] else { panic!("three owners") };
    let context = sim.put(owner, "k", "v").unwrap().context;
    sim.get(owner, "k").unwrap();
    sim.delete(owner, "k", &context).unwrap();
    sim.run_for(ms(100));
    let seen = latencies(&sim, owner);
    let expected = [
        ("get", 1),
        ("put", 1),
        ("delete", 1),
        ("read_first", 1),
        ("read_quorum", 1),
        ("write_first", 2),
        ("write_quorum", 2),
    ];
    assert_eq!(counts(&seen), expected);
    // There and back; a replica syncs before it acknowledges, which takes 0.3 ms here, and an owner before it shows.
    assert_eq!(seen.of(Phase::ReadQuorum).max(), ms(2));
    assert_eq!(seen.of(Phase::WriteFirst).max(), Duration::from_micros(2_300));
    assert_eq!(seen.of(Phase::Put).max(), seen.of(Phase::WriteQuorum).max());
    let writes: u64 = seen.peers().map(|(_, peer)| peer.write.count()).sum();
    let reads: u64 = seen.peers().map(|(_, peer)| peer.read.count()).sum();
    assert_eq!((writes, reads), (4, 1), "the third owner's acknowledgement is timed though nobody waits for it");
    assert!(seen.peers().all(|(node, _)| sim.owners("k").contains(&node) && node != owner));
}

#[test]
fn a_write_that_is_handed_on_is_timed_at_both_nodes() {
    let mut sim = even(5);
    let bystander = sim.bystanders("k")[0];
    sim.put(bystander, "k", "v").unwrap();
    let first = latencies(&sim, bystander);
    assert_eq!(counts(&first), [("put", 1), ("forward", 1)]);
    assert_eq!(first.of(Phase::Put).max(), Duration::from_micros(4_300), "two messages each way, and a sync");
    let coordinators = sim.owners("k").into_iter().map(|owner| latencies(&sim, owner));
    let mut sum = Latencies::default();
    coordinators.for_each(|latencies| sum.merge(&latencies));
    assert_eq!(counts(&sum), [("write_first", 1), ("write_quorum", 1)]);
}

#[test]
fn a_request_that_fails_took_as_long_as_its_client_waited_and_what_comes_first_counts() {
    let mut sim = even(3);
    let [owner, others @ ..] = &sim.owners("k")[..] else { panic!("three owners") };
    let (owner, others) = (*owner, others.to_vec());
    others.iter().for_each(|&other| sim.crash(other));
    sim.put(owner, "k", "v").unwrap_err();
    // A blind delete reads first.
    sim.delete(owner, "k", &Context::empty()).unwrap_err();
    let seen = latencies(&sim, owner);
    assert_eq!((seen.of(Phase::Put).count(), seen.of(Phase::Delete).count()), (1, 1));
    assert_eq!(seen.of(Phase::WriteQuorum).count(), 0, "there was none");
    assert!(seen.of(Phase::Put).max() >= ms(100), "{seen:?}");
}
