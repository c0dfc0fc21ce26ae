//! Background work gives way to those who wait for answers, and goes on all the same.

use std::time::Duration;

use quorate::NodeId;
use quorate::config::{Limits, Timing};
use quorate::sim::Sim;

fn hints(sim: &Sim) -> u64 {
    sim.members().into_iter().filter_map(|node| Some(sim.node(node)?.backlog().hints)).sum()
}

/// Clients of all nodes but the first ask for something.
fn ask(sim: &mut Sim) {
    for node in 2..=5 {
        sim.get(NodeId(node), "cart").unwrap();
    }
}

/// How many hints a node has missed, and how long they take to come to it while others are busy.
fn catch_up(foreground: Duration) -> (u64, Duration) {
    let timing = Timing { foreground, exchange: Duration::MAX, ..Timing::default() };
    let limits = Limits { hint_batch: 1, ..Limits::default() };
    let mut sim = Sim::builder(5, 1).timing(timing).limits(limits).build();
    sim.crash(NodeId(1));
    for number in 0..40 {
        sim.put(NodeId(2), &format!("cart {number}"), "book").unwrap();
    }
    let until = sim.now() + Duration::from_secs(12);
    while sim.now() < until {
        ask(&mut sim);
    }
    let missed = hints(&sim);
    sim.restart(NodeId(1));
    let began = sim.now();
    while hints(&sim) > 0 {
        ask(&mut sim);
        assert!(sim.now().since(began) < Duration::from_secs(120), "{} hints left", hints(&sim));
    }
    (missed, sim.now().since(began))
}

#[test]
fn hints_go_home_at_once_or_slowly_as_the_requests_allow_but_they_do() {
    let (missed, free) = catch_up(Duration::from_millis(50));
    assert!(missed >= 12 && free < Duration::from_secs(2), "{missed} hints in {free:?}");
    // No request is as fast as this.
    let (same, slow) = catch_up(Duration::from_micros(1));
    assert_eq!(missed, same);
    assert!(slow > 2 * free && slow > Duration::from_secs(2), "{missed} hints in {free:?} and {slow:?}");
    assert!(slow < Duration::from_secs(2) * missed as u32, "one of each holder in two seconds, at the least: {slow:?}");
}
