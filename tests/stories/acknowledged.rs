//! What an acknowledgement, or a refusal, is worth.

use std::time::Duration;

use quorate::config::{Durability, Limits};
use quorate::error::PutError;
use quorate::sim::{DiskFault, Sim};
use quorate::{Context, Event, Mode, PutOptions, Reply};

#[test]
fn a_bystander_alone_with_a_full_disk_acknowledges_nothing() {
    let mut sim = Sim::builder(4, 1).quorum(3, 1, 1, Mode::Sloppy).build();
    let bystander = sim.bystanders("cart")[0];
    sim.isolate(bystander);
    sim.disk(bystander)[0].set(DiskFault::Writes, true);
    let result = sim.put(bystander, "cart", "book");
    assert!(matches!(result, Err(PutError::Unavailable(_))), "{result:?}, but there is no copy: {:?}", sim.debt());
}

#[test]
fn a_bystander_alone_without_room_for_hints_acknowledges_nothing() {
    let limits = Limits { hint_bytes: 1, ..Limits::default() };
    let mut sim = Sim::builder(4, 1).quorum(3, 1, 1, Mode::Sloppy).limits(limits).build();
    let bystander = sim.bystanders("cart")[0];
    sim.isolate(bystander);
    let result = sim.put(bystander, "cart", "book");
    assert!(matches!(result, Err(PutError::Unavailable(_))), "{result:?}, but there is no copy: {:?}", sim.debt());
}

#[test]
fn a_bystander_alone_keeps_the_only_copy_and_says_so() {
    let mut sim = Sim::builder(4, 1).quorum(3, 1, 1, Mode::Sloppy).build();
    let bystander = sim.bystanders("cart")[0];
    sim.isolate(bystander);
    let written = sim.put(bystander, "cart", "book").unwrap();
    assert!(written.only_here && written.owners == 0 && written.fallbacks == 0, "{written:?}");
    assert_eq!(sim.debt().len(), 3);
    sim.crash(bystander);
    sim.restart(bystander);
    sim.heal();
    sim.settle();
    for owner in sim.owners("cart") {
        assert_eq!(sim.stored(owner, "cart"), ["book"]);
    }
}

#[test]
fn a_put_refused_at_the_sibling_cap_does_not_appear_later_by_a_duplicated_message() {
    for seed in 0..20 {
        let mut sim = Sim::builder(4, seed).limits(Limits { siblings: 2, ..Limits::default() }).build();
        let (owner, bystander) = (sim.owners("cart")[0], sim.bystanders("cart")[0]);
        sim.put(owner, "cart", "a").unwrap();
        sim.put(owner, "cart", "b").unwrap();
        sim.settle();
        sim.network.duplication = 100;
        sim.network.jitter = Duration::from_millis(5);
        let refused = sim.start_put(bystander, "cart", Some("c"), &Context::empty(), PutOptions::default());
        let refused = sim.wait(bystander, refused);
        assert!(matches!(refused, Some(Reply::Put(Err(PutError::TooManySiblings { .. })))), "{refused:?}");
        // There is room again before the duplicate comes.
        sim.network.jitter = Duration::ZERO;
        let seen = sim.get(owner, "cart").unwrap();
        sim.put_with(owner, "cart", Some("a and b"), &seen.context, PutOptions::default()).unwrap();
        sim.settle();
        assert_eq!(sim.values(owner, "cart"), ["a and b"], "seed {seed}");
    }
}

#[test]
fn what_a_bystander_coordinates_is_on_disk_somewhere_even_where_the_coordinator_s_disk_would_do() {
    let mut sim = Sim::builder(7, 1).build();
    let bystander = sim.bystanders("cart")[0];
    let owners = sim.owners("cart");
    owners.iter().for_each(|&owner| sim.stop(owner));
    for _ in 0..5 {
        sim.put(bystander, "cart", "early").unwrap();
    }
    sim.settle();
    // Answers are faster than disks from now on.
    (sim.network.delay, sim.network.jitter) = (Duration::from_micros(10), Duration::ZERO);
    let options = PutOptions { durability: Durability::Coordinator, ..PutOptions::default() };
    sim.put_with(bystander, "cart", Some("late"), &Context::empty(), options).unwrap();
    sim.members().into_iter().for_each(|node| sim.crash(node));
    sim.members().into_iter().for_each(|node| sim.restart(node));
    sim.settle();
    let values = sim.values(bystander, "cart");
    assert!(values.contains(&"late".to_string()), "acknowledged, and on nobody's disk: {values:?}");
}

#[test]
fn a_fenced_node_stays_suspected_and_costs_nothing_more() {
    let mut sim = Sim::new(5, 1);
    let [fenced, other, _] = sim.owners("cart")[..] else { unreachable!() };
    sim.disk(fenced)[0].set(DiskFault::Sync, true);
    assert_eq!(sim.put(fenced, "cart", "lost or not"), Err(PutError::Stopped));
    let all = PutOptions { w: Some(3), ..PutOptions::default() };
    for round in 0..40 {
        let before = sim.now();
        sim.put_with(other, "cart", Some("x"), &Context::empty(), all.clone()).unwrap();
        let took = sim.now().since(before);
        assert!(round < 10 || took < Duration::from_millis(10), "round {round} took {took:?}");
        sim.run_for(Duration::from_millis(100));
    }
    let recovered = |event: &&(_, _, Event)| matches!(event.2, Event::Recovered(node) if node == fenced);
    assert_eq!(sim.events().iter().filter(recovered).count(), 0);
}

#[test]
fn a_sloppy_read_asks_wrongly_suspected_owners_where_nobody_else_knows_anything() {
    let mut sim = Sim::new(5, 1);
    let bystander = sim.bystanders("cart")[0];
    let owners = sim.owners("cart");
    sim.put(owners[0], "cart", "book").unwrap();
    sim.settle();
    sim.split(&[bystander], &owners);
    for _ in 0..8 {
        assert!(sim.get(bystander, "cart").is_err());
    }
    sim.heal();
    assert_eq!(sim.node(bystander).map(|node| node.suspects().len()), Some(3));
    let before = sim.now();
    assert_eq!(sim.values(bystander, "cart"), ["book"]);
    assert!(sim.now().since(before) < Duration::from_millis(20));
}
