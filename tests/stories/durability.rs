//! Writes that are acknowledged from memory (Dynamo §6.1), and what a crash takes back of them.

use std::time::Duration;

use quorate::config::{Durability, Limits, Timing};
use quorate::sim::Sim;
use quorate::{Context, GetOptions, NodeId, PutOptions, Reply};

fn options(durability: Durability) -> PutOptions {
    PutOptions { durability, ..PutOptions::default() }
}

fn put(sim: &mut Sim, node: NodeId, value: &str, durability: Durability) {
    sim.put_with(node, "k", Some(value), &Context::empty(), options(durability)).unwrap();
}

/// Messages are much faster than syncs, so that what is acknowledged is not synced by chance; and what nodes compare when
/// they have just started, which takes syncs, is over.
fn fast(mut sim: Sim) -> Sim {
    sim.run_for(Duration::from_secs(1));
    (sim.network.delay, sim.network.jitter) = (Duration::from_micros(5), Duration::ZERO);
    sim
}

fn crash_all(sim: &mut Sim) {
    sim.members().into_iter().for_each(|node| sim.crash(node));
    sim.members().into_iter().for_each(|node| sim.restart(node));
    sim.settle();
}

#[test]
fn what_nobody_syncs_is_read_at_once_and_lost_when_all_crash() {
    let mut sim = fast(Sim::new(5, 1));
    let owners = sim.owners("k");
    put(&mut sim, owners[0], "old", Durability::Quorum);
    sim.settle();
    let old = sim.get(owners[0], "k").unwrap();
    let commits = sim.counters().commits;
    sim.put_with(owners[0], "k", Some("new"), &old.context, options(Durability::Memory)).unwrap();
    sim.run_for(Duration::from_millis(20));
    for &owner in &owners {
        assert_eq!(sim.values(owner, "k"), ["new"]);
        assert_eq!(sim.unsynced(owner), 1);
    }
    assert_eq!(sim.counters().commits, commits, "neither the put nor a get has waited for a disk");
    crash_all(&mut sim);
    for owner in owners {
        assert_eq!(sim.values(owner, "k"), ["old"], "what it had superseded is there again");
    }
}

#[test]
fn one_process_that_goes_on_brings_back_what_the_others_forgot() {
    let mut sim = fast(Sim::new(5, 1));
    let owners = sim.owners("k");
    put(&mut sim, owners[0], "v", Durability::Memory);
    sim.run_for(Duration::from_millis(20));
    owners[..2].iter().for_each(|&owner| sim.crash(owner));
    owners[..2].iter().for_each(|&owner| sim.restart(owner));
    assert_eq!((sim.stored(owners[0], "k").len(), sim.stored(owners[1], "k").len()), (0, 0));
    sim.run_for(Duration::from_secs(20));
    for owner in owners {
        assert_eq!(sim.stored(owner, "k"), ["v"]);
    }
}

#[test]
fn with_one_durable_copy_that_nobody_waits_for_the_crash_of_all_loses_nothing() {
    let mut sim = fast(Sim::new(5, 1));
    let owners = sim.owners("k");
    let began = sim.now();
    put(&mut sim, owners[0], "v", Durability::One);
    assert!(sim.now().since(began) < Duration::from_micros(200), "no sync was waited for");
    sim.run_for(Duration::from_millis(1));
    let unsynced: Vec<usize> = owners.iter().map(|&owner| sim.unsynced(owner)).collect();
    assert_eq!(unsynced, [1, 1, 0], "the last in order has synced it");
    crash_all(&mut sim);
    sim.run_for(Duration::from_secs(20));
    for owner in owners {
        assert_eq!(sim.values(owner, "k"), ["v"]);
    }
}

#[test]
fn with_one_durable_copy_and_nobody_else_in_reach_the_coordinator_syncs() {
    let mut sim = fast(Sim::builder(1, 1).build());
    put(&mut sim, NodeId(1), "v", Durability::One);
    assert_eq!(sim.unsynced(NodeId(1)), 0);
}

#[test]
fn who_stands_in_for_the_owner_that_was_to_sync_does_so() {
    let mut sim = fast(Sim::new(7, 1));
    let owners = sim.owners("k");
    sim.stop(owners[2]);
    for _ in 0..4 {
        put(&mut sim, owners[0], "early", Durability::Quorum);
        sim.run_for(Duration::from_millis(250));
    }
    assert_eq!(sim.node(owners[0]).map(quorate::Node::suspects), Some(vec![owners[2]]));
    put(&mut sim, owners[0], "late", Durability::One);
    sim.run_for(Duration::from_millis(1));
    crash_all(&mut sim);
    assert!(sim.values(owners[0], "k").contains(&"late".to_owned()));
}

#[test]
fn what_is_buffered_is_synced_after_a_second_or_when_enough_has_gathered() {
    let limits = Limits { buffered: 10, ..Limits::default() };
    let mut sim = fast(Sim::builder(3, 1).limits(limits).build());
    let owner = sim.owners("k")[0];
    for _ in 0..9 {
        put(&mut sim, owner, "v", Durability::Memory);
    }
    assert_eq!(sim.unsynced(owner), 9);
    put(&mut sim, owner, "v", Durability::Memory);
    sim.run_for(Duration::from_millis(1));
    assert_eq!(sim.unsynced(owner), 0, "ten are too many");
    put(&mut sim, owner, "v", Durability::Memory);
    sim.run_for(Timing::default().flush.saturating_sub(Duration::from_millis(1)));
    assert_eq!(sim.unsynced(owner), 1);
    sim.run_for(Duration::from_millis(2));
    assert_eq!(sim.unsynced(owner), 0, "a second is too long");
}

#[test]
fn a_delete_is_synced_whatever_is_asked_for_and_no_crash_brings_back_what_it_deleted() {
    for durability in [Durability::Coordinator, Durability::One, Durability::Memory] {
        let mut sim = fast(Sim::new(5, 1));
        let owner = sim.owners("k")[0];
        put(&mut sim, owner, "v", Durability::Quorum);
        sim.settle();
        let seen = sim.get(owner, "k").unwrap();
        sim.put_with(owner, "k", None, &seen.context, options(durability)).unwrap();
        crash_all(&mut sim);
        sim.run_for(Duration::from_secs(20));
        for owner in sim.owners("k") {
            assert!(sim.values(owner, "k").is_empty(), "{durability:?}");
        }
    }
}

#[test]
fn nobody_hears_of_a_delete_that_is_not_synced() {
    let mut sim = fast(Sim::new(5, 1));
    let owners = sim.owners("k");
    put(&mut sim, owners[0], "v", Durability::Quorum);
    sim.settle();
    let seen = sim.get(owners[0], "k").unwrap();
    let asked = sim.start_put(owners[0], "k", None, &seen.context, options(Durability::Memory));
    sim.run_for(Duration::from_micros(20));
    // All have it in memory, and sync it: who asks them meanwhile waits for that.
    let unsynced = |sim: &Sim| owners.iter().filter(|owner| sim.unsynced(**owner) > 0).count();
    assert_eq!(unsynced(&sim), 3);
    let (outside, all) = (sim.bystanders("k")[0], GetOptions { r: Some(3), ..GetOptions::default() });
    assert!(sim.get_with(outside, "k", all).unwrap().values.is_empty());
    assert_eq!(unsynced(&sim), 0);
    assert!(matches!(sim.wait(owners[0], asked), Some(Reply::Put(Ok(_)))));
}

/// It names no node that may forget it, be it that another coordinated it before, and had it in memory there.
#[test]
fn who_coordinates_what_it_has_in_memory_syncs_it_before_it_answers() {
    let timing = Timing { exchange: Duration::MAX, ..Timing::default() };
    let mut sim = fast(Sim::builder(5, 1).timing(timing).build());
    let (owners, outside) = (sim.owners("k"), sim.bystanders("k")[0]);
    let asked = PutOptions { w: Some(1), ..options(Durability::Coordinator) };
    let ticket = sim.start_put(outside, "k", Some("v"), &Context::empty(), asked);
    let unsynced = |sim: &Sim| owners.iter().filter(|owner| sim.unsynced(**owner) > 0).count();
    while unsynced(&sim) == 0 {
        sim.run_for(Duration::from_micros(1));
    }
    let first = owners.iter().copied().find(|owner| sim.unsynced(*owner) > 0).unwrap();
    while unsynced(&sim) < 3 {
        sim.run_for(Duration::from_micros(1));
    }
    // It has told the others, and answers nobody.
    sim.crash(first);
    sim.run_for(Timing::default().fallback * 2);
    assert_eq!(unsynced(&sim), 2);
    let reply = loop {
        match sim.reply(ticket) {
            Some(reply) => break reply,
            None => sim.run_for(Duration::from_micros(1)),
        }
    };
    assert!(matches!(reply, Reply::Put(Ok(_))), "{reply:?}");
    assert!(unsynced(&sim) < 2, "nobody had it on disk who was to");
    crash_all(&mut sim);
    sim.run_for(Duration::from_secs(20));
    assert_eq!(sim.values(owners[0], "k"), ["v"]);
}

#[test]
fn who_stands_in_for_a_silent_owner_that_was_to_sync_does_so() {
    let timing = Timing { exchange: Duration::MAX, flush: Duration::from_secs(3_600), ..Timing::default() };
    let mut sim = fast(Sim::builder(5, 1).timing(timing).build());
    let owners = sim.owners("k");
    sim.stop(owners[2]);
    put(&mut sim, owners[0], "v", Durability::One);
    assert_eq!([0, 1].map(|at| sim.unsynced(owners[at])), [1, 1], "nobody that has it has synced it");
    sim.run_for(Timing::default().fallback * 2);
    let holders: Vec<NodeId> = sim.bystanders("k").into_iter().filter(|node| sim.hint_lines(*node) > 0).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(sim.unsynced(holders[0]), 0);
    crash_all(&mut sim);
    assert_eq!(sim.stored(owners[2], "k"), ["v"], "it has come home");
}

/// What waits for a sync doesn't wait until what is in memory would be synced anyway.
#[test]
fn an_exchange_does_not_wait_for_what_is_buffered() {
    let timing = Timing { flush: Duration::from_secs(3_600), ..Timing::default() };
    let mut sim = fast(Sim::builder(3, 1).timing(timing).build());
    let owners = sim.owners("k");
    sim.isolate(owners[2]);
    put(&mut sim, owners[0], "v", Durability::Memory);
    sim.heal();
    sim.run_for(Duration::from_secs(20));
    for &owner in &owners {
        assert_eq!((sim.stored(owner, "k").len(), sim.unsynced(owner)), (1, 0));
    }
}

/// The target may have it by the write itself, in memory alone: that is no reason to let the hint go.
#[test]
fn a_hint_stays_until_its_target_has_synced_what_it_had_in_memory() {
    let timing = Timing { exchange: Duration::MAX, flush: Duration::from_secs(3_600), ..Timing::default() };
    let mut sim = fast(Sim::builder(5, 1).timing(timing).build());
    let owners = sim.owners("k");
    sim.network.cut_one_way(owners[1], owners[0]);
    put(&mut sim, owners[0], "v", Durability::One);
    let kept = |sim: &Sim| sim.bystanders("k").into_iter().any(|node| sim.hint_lines(node) > 0);
    while !kept(&sim) {
        sim.run_for(Duration::from_micros(1));
    }
    assert_eq!(sim.unsynced(owners[1]), 1, "it has the write, and has not been heard to say so");
    while kept(&sim) {
        sim.run_for(Duration::from_micros(1));
    }
    assert_eq!(sim.unsynced(owners[1]), 0);
}

/// A context speaks for its owners' clocks, whole: a put of one key that was shown and then lost stays in the residual of
/// others.
#[test]
fn what_is_lost_of_one_key_stays_in_what_was_read_of_others_meanwhile_and_harms_nothing() {
    let mut sim = fast(Sim::builder(3, 1).partitions(1).build());
    let [first, second, third] = sim.members()[..] else { unreachable!("there are three") };
    put(&mut sim, second, "old", Durability::Quorum);
    sim.run_for(Duration::from_secs(10));
    [second, third].into_iter().for_each(|other| sim.network.cut_one_way(first, other));
    let alone = PutOptions { w: Some(1), ..options(Durability::Memory) };
    sim.put_with(first, "lost", Some("v"), &Context::empty(), alone).unwrap();
    let one = GetOptions { r: Some(1), ..GetOptions::default() };
    let seen = sim.get_with(first, "k", one).unwrap();
    sim.crash(first);
    sim.network.heal();
    sim.put_with(second, "k", Some("new"), &seen.context, PutOptions::default()).unwrap();
    sim.restart(first);
    sim.heal_all();
    for node in [first, second, third] {
        assert_eq!((sim.values(node, "k"), sim.values(node, "lost")), (vec![String::from("new")], vec![]));
    }
    assert_eq!(sim.counters().unsettled, 3, "of one key at each of the three");
}
