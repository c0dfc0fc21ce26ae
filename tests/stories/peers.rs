//! What other stores were caught in.

use quorate::error::PutError;
use quorate::reconcile::{LastWriteWins, MergeBy};
use quorate::sim::Sim;
use quorate::{Context, Keyspace, PutOptions};
use std::time::Duration;

#[test]
fn two_blind_puts_through_one_node_are_both_kept() {
    let mut sim = Sim::new(5, 1);
    let node = sim.owners("k")[0];
    sim.put(node, "k", "a").unwrap();
    sim.put(node, "k", "b").unwrap();
    assert_eq!(sim.values(node, "k"), ["a", "b"]);
}

#[test]
fn a_put_with_a_stale_context_after_a_chain_is_kept_beside_its_end() {
    let mut sim = Sim::new(5, 1);
    let node = sim.owners("k")[0];
    let first = sim.put(node, "k", "v0").unwrap().context;
    let mut context = first.clone();
    for value in ["x1", "x2"] {
        context = sim.put_with(node, "k", Some(value), &context, PutOptions::default()).unwrap().context;
    }
    sim.put_with(node, "k", Some("y"), &first, PutOptions::default()).unwrap();
    assert_eq!(sim.values(node, "k"), ["x2", "y"]);
}

#[test]
fn concurrent_coordinators_with_a_delayed_fan_out_lose_nothing() {
    let mut sim = Sim::new(5, 1);
    let [a, b, c] = sim.owners("k")[..] else { unreachable!() };
    sim.network.slow(a, Duration::from_millis(40));
    let slow = sim.start_put(a, "k", Some("a"), &Context::empty(), PutOptions::default());
    sim.put(b, "k", "b").unwrap();
    assert!(sim.wait(a, slow).is_some());
    sim.heal();
    sim.settle();
    for owner in [a, b, c] {
        assert_eq!(sim.stored(owner, "k"), ["a", "b"], "{owner}");
    }
}

#[test]
fn writes_that_arrive_out_of_order_and_twice_end_alike_everywhere() {
    for seed in 0..20 {
        let mut sim = Sim::new(5, seed);
        sim.network.jitter = Duration::from_millis(50);
        sim.network.duplication = 40;
        let owners = sim.owners("k");
        let mut context = Context::empty();
        for round in 0..10 {
            let node = owners[round % 3];
            let put = sim.put_with(node, "k", Some(&format!("v{round}")), &context, PutOptions::default());
            context = put.unwrap().context;
        }
        sim.heal();
        sim.settle();
        for &owner in &owners {
            assert_eq!(sim.stored(owner, "k"), ["v9"], "seed {seed}, {owner}");
        }
    }
}

#[test]
fn many_starts_of_every_node_keep_their_histories_apart() {
    let mut sim = Sim::new(3, 1);
    let mut context = Context::empty();
    for round in 0..100 {
        for node in sim.members() {
            let value = format!("{round} by {node}");
            context = sim.put_with(node, "k", Some(&value), &context, PutOptions::default()).unwrap().context;
            sim.settle();
            sim.crash(node);
            sim.restart(node);
        }
    }
    assert_eq!(sim.values(sim.members()[0], "k").len(), 1, "300 starts, one version");
    assert!(context.to_bytes().len() < 300 * 24, "{} bytes for 300 starts", context.to_bytes().len());
}

#[test]
fn two_thousand_blind_puts_meet_the_cap_and_nothing_acknowledged_is_lost() {
    let union = MergeBy::new(|a: &[u8], b: &[u8]| a.max(b).to_vec());
    for (keyspace, merges) in [
        (Keyspace::new("keep"), false),
        (Keyspace::new("last").reconciler(LastWriteWins), true),
        (Keyspace::new("max").reconciler(union), true),
    ] {
        let mut sim = Sim::builder(5, 1).keyspaces(vec![keyspace]).encode(false).build();
        for node in [sim.owners("k")[0], sim.bystanders("k")[0]] {
            for round in 0..1_000 {
                match sim.put(node, "k", &format!("{round:04} by {node}")) {
                    Ok(_) => {}
                    Err(PutError::TooManySiblings { limit: 100, .. }) if !merges => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        sim.settle();
        let values = sim.values(sim.members()[0], "k");
        assert_eq!(values.len(), if merges { 1 } else { 100 });
        assert!(merges || values.iter().all(|value| value.as_str() < "0100"), "the first hundred are all there");
    }
}
