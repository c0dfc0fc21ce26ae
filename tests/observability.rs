//! What a node says of itself must be what has happened.

use std::time::Duration;

use quorate::latencies::{Latencies, Phase};
use quorate::sim::Sim;
use quorate::status::Status;
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

fn status(sim: &Sim, node: NodeId) -> Status {
    sim.node(node).expect("it is up").status(sim.now_of(node))
}

/// What other programs read: names of fields, and what is text and what a number. Raise [`Status::FORMAT`] if this changes
/// otherwise than by what is added.
#[test]
fn a_status_looks_like_this_as_text() {
    let mut sim = Sim::builder(3, 1).partitions(4).build();
    (sim.network.delay, sim.network.jitter) = (ms(1), Duration::ZERO);
    let [owner, _, third] = sim.owners("k")[..] else { panic!("three owners") };
    sim.crash(third);
    sim.put(owner, "k", "value").unwrap();
    sim.run_for(ms(1_000));
    let mut own = status(&sim, owner);
    // The other peers are like this one.
    own.peers.first.retain(|peer| peer.node == third.0);
    own.latencies.retain(|phase, _| phase == "put");
    own.identity.start = "a start".into();
    let text = serde_json::to_string_pretty(&own).unwrap();
    let golden = include_str!("observability/status.json");
    assert!(text.trim() == golden.trim(), "if this was meant, put it there:\n{text}");
    assert_eq!(serde_json::from_str::<Status>(golden).unwrap(), own, "it reads back as it was");
    assert_eq!(status(&sim, owner), status(&sim, owner), "asked twice at one time");
}

#[test]
fn a_status_tells_who_is_silent_what_is_kept_and_that_all_has_healed() {
    let mut sim = even(5);
    let [owner, _, third] = sim.owners("k")[..] else { panic!("three owners") };
    sim.crash(third);
    for key in 0..40 {
        sim.put(owner, &format!("k{key}"), "value").unwrap();
        sim.run_for(ms(100));
    }
    let away = status(&sim, owner);
    let peer = &away.peers.first[0];
    assert!(peer.suspected && peer.node == third.0 && peer.phi >= 3_000, "{peer:?}");
    assert!(peer.silent_us > 3_000_000 && away.peers.first[1].silent_us < 1_000_000, "{away:?}");
    assert!(!away.debt.is_none());
    let all: u64 =
        sim.members().into_iter().filter(|&node| node != third).map(|node| status(&sim, node).hints.count).sum();
    assert!(all > 10, "{all}");
    let kept: Vec<_> =
        sim.members().into_iter().filter(|&node| sim.is_up(node)).map(|node| status(&sim, node).hints).collect();
    for hints in kept.iter().filter(|hints| hints.count > 0) {
        let target = &hints.targets.first[0];
        assert!(target.bytes > 0 && target.node == third.0 && !target.from_before);
        assert!((500_000..=5_000_000).contains(&target.oldest_us), "{target:?}");
    }
    sim.restart(third);
    sim.heal_all();
    for node in sim.members() {
        let healed = status(&sim, node);
        assert!(healed.debt.is_none() && healed.hints == quorate::status::HintStatus::default(), "{healed:?}");
        assert_eq!(healed.repair.agreed, healed.repair.pairs);
        assert!(healed.peers.first.iter().all(|peer| !peer.suspected));
    }
}

#[test]
fn lists_in_a_status_are_cut_and_say_how_long_they_are() {
    let sim = Sim::builder(12, 1).partitions(1_024).build();
    let own = status(&sim, NodeId(1));
    assert_eq!(own.debt.unknown.first.len(), Status::FIRST);
    assert_eq!(own.debt.unknown.total as usize, sim.node(NodeId(1)).unwrap().debt().len());
    assert_eq!(own.cluster.members.first.iter().map(|member| member.owned).sum::<u64>(), 3 * 1_024);
    assert!(serde_json::to_string(&own).unwrap().len() < 16 << 10);
}
