//! Bytes that are not what was written, or not where they were: an error and another replica's business, never an
//! answer, and never absence.

use quorate::sim::Sim;
use quorate::status::Debt;
use quorate::storage::Space;
use quorate::{GetOptions, Mode};

/// Keys that one node owns, with their values everywhere.
fn filled() -> (Sim, quorate::NodeId, Vec<String>) {
    let mut sim = Sim::builder(3, 1).quorum(3, 1, 3, Mode::Strict).partitions(2).build();
    let node = sim.members()[0];
    let keys: Vec<String> = (0..6).map(|number| format!("key {number}")).collect();
    for key in &keys {
        sim.put(node, key, key).unwrap();
    }
    (sim, node, keys)
}

/// Whatever the damage, a read through the node shows what was written, alone.
fn shows_the_truth(sim: &mut Sim, node: quorate::NodeId, keys: &[String]) {
    for key in keys {
        let found = sim.get_with(node, key, GetOptions::default()).unwrap();
        let values: Vec<_> = found.values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        assert_eq!(values, [key.as_str()], "of {key}");
    }
}

#[test]
fn a_record_in_which_a_bit_has_flipped_is_neither_shown_nor_absent() {
    for nth in (0..2_000).step_by(13) {
        let (mut sim, node, keys) = filled();
        assert!(sim.rot(node, 0, Space::Objects, nth));
        shows_the_truth(&mut sim, node, &keys);
    }
}

#[test]
fn a_record_that_stands_in_the_place_of_another_is_neither_of_the_two() {
    for nth in 0..6 {
        let (mut sim, node, keys) = filled();
        assert!(sim.misdirect(node, 0, Space::Objects, nth));
        shows_the_truth(&mut sim, node, &keys);
    }
}

#[test]
fn a_node_whose_clock_is_damaged_or_another_s_forgets_it_and_is_filled_by_the_others() {
    for nth in 0..4 {
        for damage in [Sim::rot, Sim::misdirect] {
            let (mut sim, node, keys) = filled();
            sim.stop(node);
            assert!(damage(&mut sim, node, 0, Space::Dots, nth));
            sim.restart(node);
            assert!(sim.debts().iter().any(|(owner, debt)| *owner == node && matches!(debt, Debt::Refilling(_))));
            shows_the_truth(&mut sim, node, &keys);
            sim.heal_all();
            for key in &keys {
                assert_eq!(sim.stored(node, key), [key.as_str()]);
            }
        }
    }
}

#[test]
fn a_hint_in_the_place_of_another_goes_nowhere() {
    let mut sim = Sim::new(4, 1);
    let keys: Vec<String> = (0..40).map(|number| format!("key {number}")).collect();
    let away = sim.members()[3];
    sim.crash(away);
    let coordinator = sim.members()[0];
    for key in &keys {
        sim.put(coordinator, key, key).unwrap();
    }
    for holder in &sim.members()[..3] {
        sim.misdirect(*holder, 0, Space::Hints, 0);
    }
    sim.restart(away);
    sim.run_for(std::time::Duration::from_secs(20));
    for key in &keys {
        let stored = sim.stored(away, key);
        assert!(stored.is_empty() || stored == [key.as_str()], "{key}: {stored:?}");
    }
}
