//! Hints: kept while an owner is away, and home when it is back.

use std::time::Duration;

use quorate::sim::{DiskFault, Sim};
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
