//! Hints: kept while an owner is away, and home when it is back.

use std::time::Duration;

use quorate::config::{Limits, Timing};
use quorate::sim::{DiskFault, Sim};
use quorate::status::Debt;
use quorate::storage::Space;
use quorate::{Context, Event, NodeId, PutOptions};

fn owners(sim: &Sim) -> [NodeId; 3] {
    sim.owners("cart")[..].try_into().unwrap()
}

#[test]
fn two_owners_away_get_what_they_missed() {
    let mut sim = Sim::new(6, 1);
    let [a, b, c] = owners(&sim);
    sim.crash(a);
    sim.crash(b);
    let written = sim.put(c, "cart", "book").unwrap();
    assert!(written.owners >= 1 && written.owners + written.fallbacks >= 2, "{written:?}");
    sim.run_for(Duration::from_millis(500));
    assert_eq!(sim.debt().iter().map(|(_, target, _)| *target).collect::<Vec<_>>().len(), 2);
    sim.restart(a);
    sim.restart(b);
    sim.settle();
    assert_eq!((sim.stored(a, "cart"), sim.stored(b, "cart")), (vec!["book".into()], vec!["book".into()]));
    assert!(sim.debt().is_empty());
}

#[test]
fn a_write_that_joins_a_hint_on_its_way_is_not_forgotten_with_it() {
    let mut sim = Sim::new(5, 2);
    let [a, b, c] = owners(&sim);
    // The other owners can't reach a; the fallback can, but it takes its time.
    sim.split(&[a], &[b, c]);
    sim.network.slow(a, Duration::from_millis(200));
    let first = sim.put(b, "cart", "book").unwrap().context;
    sim.run_for(Duration::from_millis(150));
    let fallback = sim.debt()[0].0;
    assert!(fallback != b && fallback != c && sim.stored(a, "cart").is_empty(), "the hint is on its way");
    sim.put_with(b, "cart", Some("book lamp"), &first, PutOptions::default()).unwrap();
    sim.settle();
    assert_eq!(sim.stored(a, "cart"), ["book lamp"]);
    assert!(sim.debt().is_empty());
}

#[test]
fn a_target_that_is_far_away_gets_its_hints_and_the_holder_learns_of_it() {
    let mut sim = Sim::new(5, 3);
    let [a, b, _] = owners(&sim);
    sim.crash(a);
    sim.put(b, "cart", "book").unwrap();
    sim.run_for(Duration::from_millis(500));
    sim.restart(a);
    // A round trip takes longer than a batch of hints is first waited for.
    sim.network.slow(a, Duration::from_millis(300));
    sim.settle();
    assert_eq!(sim.stored(a, "cart"), ["book"]);
    assert!(sim.debt().is_empty());
}

#[test]
fn a_target_that_crashes_at_any_moment_of_the_handover_loses_nothing() {
    for step in 0..60 {
        let mut sim = Sim::new(5, 4);
        let [a, b, _] = owners(&sim);
        sim.crash(a);
        sim.put(b, "cart", "book").unwrap();
        sim.run_for(Duration::from_millis(500));
        sim.restart(a);
        // From before the batch arrives, past its arrival, its sync and its acknowledgement.
        sim.run_for(Duration::from_micros(100 * step));
        sim.crash(a);
        sim.restart(a);
        sim.settle();
        assert_eq!(sim.stored(a, "cart"), ["book"], "crash after {} µs", 100 * step);
        assert!(sim.debt().is_empty(), "crash after {} µs", 100 * step);
    }
}

#[test]
fn a_holder_that_crashes_at_any_moment_of_the_handover_loses_nothing() {
    for step in 0..60 {
        let mut sim = Sim::new(5, 5);
        let [a, b, _] = owners(&sim);
        sim.crash(a);
        sim.put(b, "cart", "book").unwrap();
        sim.run_for(Duration::from_millis(500));
        let holder = sim.debt()[0].0;
        sim.restart(a);
        sim.run_for(Duration::from_micros(100 * step));
        sim.crash(holder);
        sim.restart(holder);
        sim.settle();
        assert_eq!(sim.stored(a, "cart"), ["book"], "crash after {} µs", 100 * step);
        assert!(sim.debt().is_empty(), "crash after {} µs", 100 * step);
    }
}

#[test]
fn where_there_is_no_other_node_the_coordinator_keeps_the_hint_and_says_when_it_is_home() {
    let mut sim = Sim::new(3, 6);
    let [a, b, _] = owners(&sim);
    sim.crash(a);
    let mut context = Context::empty();
    for round in 0..10 {
        let value = format!("{round}");
        context = sim.put_with(b, "cart", Some(&value), &context, PutOptions::default()).unwrap().context;
    }
    sim.run_for(Duration::from_millis(500));
    assert_eq!(sim.debt(), [(b, a, 1)], "ten writes of one key are one hint");
    sim.stop(b);
    sim.restart(b);
    sim.restart(a);
    sim.settle();
    assert_eq!(sim.stored(a, "cart"), ["9"]);
    assert!(sim.events().iter().any(|(_, node, event)| (*node, event) == (b, &Event::HintsDelivered(a))));
}

#[test]
fn a_holder_whose_disk_is_full_tries_again_in_its_time_and_not_at_once() {
    let mut sim = Sim::new(3, 7);
    let [a, b, _] = owners(&sim);
    sim.crash(a);
    sim.put(b, "cart", "book").unwrap();
    sim.run_for(Duration::from_millis(500));
    assert_eq!(sim.debt(), [(b, a, 1)]);
    sim.disk(b)[0].set(DiskFault::Writes, true);
    sim.restart(a);
    // Steps and not time alone: a holder that spins would never let it pass.
    let (until, mut steps) = (sim.now() + Duration::from_secs(20), 0);
    while sim.now() < until && steps < 20_000 && sim.advance() {
        steps += 1;
    }
    let failed = sim.events().iter().filter(|(_, node, event)| *node == b && matches!(event, Event::StorageFailed(_)));
    assert!((2..=50).contains(&failed.count()) && sim.now() >= until, "{steps} steps");
    assert_eq!((sim.stored(a, "cart"), sim.debt()), (vec!["book".into()], vec![(b, a, 1)]));
    sim.disk(b)[0].set(DiskFault::Writes, false);
    sim.settle();
    assert!(sim.debt().is_empty());
}

#[test]
fn a_target_whose_disk_is_full_keeps_its_hints_waiting_and_nobody_else() {
    let mut sim = Sim::new(3, 8);
    let [a, b, _] = owners(&sim);
    sim.crash(a);
    sim.put(b, "cart", "book").unwrap();
    sim.run_for(Duration::from_millis(500));
    sim.disk(a)[0].set(DiskFault::Writes, true);
    sim.restart(a);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(sim.debt(), [(b, a, 1)]);
    // A program that stops in good order waits for requests: one without a deadline would keep it for ever.
    assert_eq!(sim.node(b).unwrap().in_flight(), 0, "a delivery is no request");
    sim.disk(a)[0].set(DiskFault::Writes, false);
    sim.settle();
    assert_eq!(sim.stored(a, "cart"), ["book"]);
    assert!(sim.debt().is_empty());
}

/// A node is away while so many keys are written that each other node has several batches of hints for it.
fn missed_by_many(mut sim: Sim) -> (Sim, NodeId, Vec<String>, Vec<NodeId>) {
    let away = sim.members()[0];
    let keys: Vec<String> = (0..400).map(|number| format!("key {number}")).collect();
    let keys: Vec<String> = keys.into_iter().filter(|key| sim.owners(key).contains(&away)).collect();
    sim.crash(away);
    for key in &keys {
        sim.put(sim.members()[1], key, key).unwrap();
    }
    sim.run_for(Duration::from_secs(1));
    let holders: Vec<NodeId> = sim.debt().iter().filter(|(_, _, count)| *count > 20).map(|(node, ..)| *node).collect();
    assert!(holders.len() >= 3 && sim.debt().iter().all(|(_, target, _)| *target == away), "{:?}", sim.debt());
    (sim, away, keys, holders)
}

fn has_all(sim: &Sim, node: NodeId, keys: &[String]) {
    for key in keys {
        assert_eq!(sim.stored(node, key), [key.as_str()]);
    }
}

/// The other owners have it all too, and would send it a second time. But a holder that never ends must not keep the node
/// from what nobody has kept: after a while owners are compared beside it.
#[test]
fn what_hints_bring_home_no_exchange_brings_again_unless_they_take_too_long() {
    for (exchange, twice) in [(Duration::from_secs(5), false), (Duration::from_millis(100), true)] {
        let (timing, limits) =
            (Timing { exchange, ..Timing::default() }, Limits { hint_batch: 2, ..Limits::default() });
        let (mut sim, away, keys, _) = missed_by_many(Sim::builder(6, 9).timing(timing).limits(limits).build());
        sim.network.slow(away, Duration::from_millis(30));
        sim.restart(away);
        sim.run_for(Duration::from_secs(20));
        has_all(&sim, away, &keys);
        assert_eq!((sim.debt().is_empty(), sim.counters().exchanged > 0), (true, twice), "{exchange:?}");
    }
}

#[test]
fn a_node_that_comes_back_is_filled_by_one_after_the_other() {
    let (mut sim, away, keys, holders) = missed_by_many(Sim::new(6, 9));
    // Each takes a while, or none would meet another.
    sim.network.slow(away, Duration::from_millis(30));
    sim.restart(away);
    let mut turns: Vec<NodeId> = Vec::new();
    let delivered = |sim: &Sim, node: NodeId| sim.node(node).unwrap().counters().hints_delivered;
    let mut before: Vec<u64> = holders.iter().map(|node| delivered(&sim, *node)).collect();
    let began = sim.now();
    while !sim.debt().is_empty() && sim.advance() {
        for (node, count) in holders.iter().zip(&mut before) {
            let now = delivered(&sim, *node);
            if std::mem::replace(count, now) < now && turns.last() != Some(node) {
                turns.push(*node);
            }
        }
    }
    // The last acknowledgement to one may arrive after the first to the next.
    assert!(turns.len() <= 2 * holders.len(), "{} holders, in turns {turns:?}", holders.len());
    assert!(sim.counters().hints_waited > 0);
    // Those that wait are called: none of them sleeps through the end of a lease.
    assert!(sim.now().since(began) < Duration::from_secs(4), "{:?}", sim.now().since(began));
    has_all(&sim, away, &keys);
    assert!(!sim.events().iter().any(|(at, _, event)| *at > began && matches!(event, Event::Suspected(_))));
}

#[test]
fn a_holder_that_dies_in_its_turn_keeps_the_others_waiting_for_no_longer_than_its_lease() {
    for step in [0, 1, 2, 5, 10, 20, 40] {
        let (mut sim, away, keys, _) = missed_by_many(Sim::new(6, 10));
        sim.restart(away);
        sim.run_for(Duration::from_micros(500 * step));
        let counts = |sim: &Sim, node: NodeId| sim.node(node).map_or(0, |node| node.counters().hints_sent);
        let sender = sim.members().into_iter().max_by_key(|node| counts(&sim, *node)).unwrap();
        sim.crash(sender);
        let began = sim.now();
        while sim.debt().iter().any(|(_, target, _)| *target == away) && sim.advance() {}
        assert!(sim.now().since(began) < Duration::from_secs(6), "{step}: {:?}", sim.now().since(began));
        sim.restart(sender);
        sim.heal_all();
        has_all(&sim, away, &keys);
    }
}

#[test]
fn a_target_that_can_store_nothing_is_sent_less_and_less() {
    let mut sim = Sim::new(3, 11);
    let [a, b, _] = owners(&sim);
    sim.crash(a);
    let keys: Vec<String> = (0..40).map(|number| format!("key {number}")).collect();
    for key in &keys {
        sim.put(b, key, key).unwrap();
    }
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.debt(), [(b, a, 40)]);
    sim.disk(a)[0].set(DiskFault::Writes, true);
    sim.restart(a);
    sim.run_for(Duration::from_secs(30));
    let sent = sim.counters().hints_sent;
    assert!((16..=24).contains(&sent), "8 + 4 + 2 + 1 + …: {sent}");
    sim.disk(a)[0].set(DiskFault::Writes, false);
    assert!(sim.hints_settled());
    has_all(&sim, a, &keys);
}

#[test]
fn what_finds_no_room_as_a_hint_is_marked_until_the_owners_are_equal() {
    let mut sim = Sim::builder(3, 12).limits(Limits { hint_bytes: 200, ..Limits::default() }).build();
    let [a, b, c] = owners(&sim);
    sim.crash(a);
    let keys: Vec<String> = (0..10).map(|number| format!("key {number}")).collect();
    for key in &keys {
        sim.put(b, key, key).unwrap();
    }
    sim.run_for(Duration::from_secs(1));
    let dirty = |sim: &Sim, node: NodeId| {
        let debt = sim.node(node).unwrap().debt();
        debt.into_iter().filter(|debt| matches!(debt, Debt::Dirty(_, other) if *other == a)).count()
    };
    let refused = sim.node(b).unwrap().counters().hints_refused;
    assert!((1..=refused).contains(&(dirty(&sim, b) as u64)), "some keys share a partition");
    assert_eq!(dirty(&sim, c), 0);
    sim.restart(a);
    assert!(sim.hints_settled());
    assert!(dirty(&sim, b) > 0, "the hints are home, the rest is not");
    sim.heal_all();
    assert_eq!(dirty(&sim, b), 0);
    has_all(&sim, a, &keys);
}

#[test]
fn a_damaged_hint_is_dropped_and_marked_and_its_target_gets_the_write_from_the_owners() {
    let (mut dropped, mut home) = (0, 0);
    for nth in (0..1_500).step_by(37) {
        let mut sim = Sim::new(3, 13);
        let [a, b, _] = owners(&sim);
        sim.crash(a);
        sim.put(b, "cart", "book").unwrap();
        sim.run_for(Duration::from_millis(500));
        assert_eq!(sim.debt(), [(b, a, 1)]);
        assert!(sim.rot(b, 0, Space::Hints, nth));
        sim.restart(a);
        assert!(sim.hints_settled());
        let counters = sim.node(b).unwrap().counters();
        assert!(counters.hints_balance() && counters.hints_dropped + counters.hints_delivered == 1, "{counters:?}");
        let marked = sim.node(b).unwrap().debt().iter().any(|debt| matches!(debt, Debt::Dirty(_, node) if *node == a));
        assert_eq!(marked, counters.hints_dropped == 1);
        (dropped, home) = (dropped + counters.hints_dropped, home + counters.hints_delivered);
        sim.heal_all();
        assert_eq!(sim.stored(a, "cart"), ["book"]);
    }
    assert!(dropped > 0 && home > 0, "a bit of its version does a hint no harm");
}

#[test]
fn hints_are_settled_when_what_was_kept_is_home_and_not_before() {
    let (mut sim, away, keys, _) = missed_by_many(Sim::new(6, 14));
    assert!(!sim.hints_settled(), "their target is down");
    sim.restart(away);
    assert!(sim.hints_settled());
    has_all(&sim, away, &keys);
}

#[test]
fn shards_are_filled_one_by_one_and_none_is_forgotten() {
    for shards in [2, 3] {
        let (mut sim, away, keys, _) = missed_by_many(Sim::builder(6, 15).shards(shards).build());
        sim.network.slow(away, Duration::from_millis(30));
        sim.restart(away);
        let began = sim.now();
        assert!(sim.hints_settled() && sim.counters().hints_waited > 0);
        assert!(sim.now().since(began) < Duration::from_secs(20), "{:?}", sim.now().since(began));
        has_all(&sim, away, &keys);
    }
}
