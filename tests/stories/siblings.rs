//! Siblings are exactly the writes that knew nothing of one another.

use quorate::config::Limits;
use quorate::error::PutError;
use quorate::reconcile::{LastWriteWins, MergeBy};
use quorate::sim::Sim;
use quorate::{Context, Keyspace, Mode, PutOptions};

#[test]
fn a_hundred_and_one_writes_of_two_interleaved_clients_leave_two_siblings() {
    let mut sim = Sim::new(5, 3);
    let node = sim.owners("k")[0];
    let mut contexts = [Context::empty(), Context::empty()];
    for round in 0..101 {
        let own = &mut contexts[round % 2];
        *own = sim.put_with(node, "k", Some(&format!("{round}")), own, PutOptions::default()).unwrap().context;
    }
    assert_eq!(sim.values(node, "k"), ["100", "99"]);
}

#[test]
fn a_sequential_client_never_meets_siblings_of_its_own_whatever_node_it_asks() {
    for seed in 0..20 {
        let mut sim = Sim::new(5, seed);
        sim.network.loss = 5;
        let mut context = Context::empty();
        for round in 0..30 {
            let node = sim.members()[round % 5];
            if let Ok(written) = sim.put_with(node, "k", Some(&format!("{round}")), &context, PutOptions::default()) {
                context = written.context;
                let found = sim.get(sim.members()[(round + 2) % 5], "k").unwrap();
                assert!(found.values.len() <= 1, "seed {seed}, round {round}: {:?}", found.values);
            } else {
                // Its outcome is unknown: only a read can tell what there is to go on from.
                context = sim.get(node, "k").unwrap().context;
            }
        }
    }
}

#[test]
fn a_deleted_record_leaves_the_disks_and_a_late_copy_does_not_bring_it_back() {
    let mut sim = Sim::new(5, 5);
    let [a, b, c] = sim.owners("k")[..] else { unreachable!() };
    sim.crash(c);
    let context = sim.put(a, "k", "old").unwrap().context;
    sim.delete(b, "k", &context).unwrap();
    sim.restart(c);
    sim.settle();
    sim.run_for(std::time::Duration::from_secs(5));
    for owner in [a, b, c] {
        assert_eq!(sim.stored(owner, "k"), [""; 0], "{owner}");
        let records: usize =
            sim.node(owner).unwrap().storages().map(|disk| disk.len(quorate::storage::Space::Objects)).sum();
        assert_eq!(records, 0, "{owner} keeps no tombstone");
    }
}

#[test]
fn who_was_merged_at_the_cap_can_t_go_on_as_if_it_had_seen_the_merge() {
    let union = quorate::reconcile::MergeBy::new(|a, b| {
        let items = a.split(|&byte| byte == b',').chain(b.split(|&byte| byte == b','));
        items.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(&b',')
    });
    let keyspace = quorate::Keyspace::new("sets").max_siblings(2).reconciler(union);
    let mut sim = Sim::builder(5, 6).keyspaces(vec![keyspace]).build();
    // Through an owner, and through a node that has to forward.
    for (node, key) in [(sim.owners("k")[0], "k"), (sim.bystanders("l")[0], "l")] {
        for value in ["a", "b"] {
            sim.put(node, key, value).unwrap();
        }
        let written = sim.put(node, key, "c").unwrap();
        assert!(written.merged);
        sim.put_with(node, key, Some("d"), &written.context, PutOptions::default()).unwrap();
        assert_eq!(sim.values(node, key), ["a,b,c,d"]);
    }
}

/// A value of so many KiB that differs from the others.
fn large(number: usize, kib: usize) -> String {
    format!("{number:04}").repeat(kib << 8)
}

#[test]
fn an_object_that_siblings_make_too_large_for_a_message_is_refused_while_it_can_still_be_read() {
    let mut sim = Sim::new(4, 6);
    let (owner, bystander) = (sim.owners("k")[0], sim.bystanders("k")[0]);
    for round in 0..20 {
        let node = if round % 2 == 0 { owner } else { bystander };
        let put = sim.put(node, "k", &large(round, 1 << 10));
        let limit = 4 << 20;
        let refused = Err(PutError::ObjectTooLarge { bytes: 5 << 20, limit });
        assert!(put.is_ok() && round < 4 || put == refused && round >= 4, "round {round}");
    }
    let found = sim.get(bystander, "k").unwrap();
    assert_eq!(found.values.len(), 4);
    // Who leaves less than there was is let in, and who has read all makes room.
    sim.put_with(bystander, "k", Some("merged"), &found.context, PutOptions::default()).unwrap();
    assert_eq!(sim.values(owner, "k"), ["merged"]);
}

#[test]
fn three_coordinators_that_fill_an_object_at_once_leave_one_that_can_be_read_and_brought_home() {
    let mut sim = Sim::builder(4, 7).quorum(3, 2, 1, Mode::Sloppy).build();
    let (owners, bystander) = (sim.owners("k"), sim.bystanders("k")[0]);
    owners.iter().for_each(|&owner| sim.isolate(owner));
    for (index, &owner) in owners.iter().enumerate() {
        for round in 0..4 {
            sim.put(owner, "k", &large(10 * index + round, 1 << 10)).unwrap();
        }
    }
    sim.run_for(std::time::Duration::from_secs(3));
    sim.heal();
    sim.settle();
    let found = sim.get(bystander, "k").unwrap();
    assert_eq!(found.values.len(), 12);
    assert!(sim.debt().is_empty() && owners.iter().all(|&owner| sim.stored(owner, "k").len() == 12));
    sim.put_with(bystander, "k", Some("merged"), &found.context, PutOptions::default()).unwrap();
    sim.settle();
    assert!(owners.iter().all(|&owner| sim.stored(owner, "k") == ["merged"]));
}

#[test]
fn a_reconciler_makes_room_in_an_object_that_is_too_large_unless_its_merge_is_longer_than_a_value() {
    let limits = Limits { value: 1_000, object: 2_000, ..Limits::default() };
    let longest = MergeBy::new(|a: &[u8], b: &[u8]| a.max(b).to_vec());
    let all = MergeBy::new(|a: &[u8], b: &[u8]| [a, b].concat());
    for (keyspace, merges) in [
        (Keyspace::new("last").reconciler(LastWriteWins), true),
        (Keyspace::new("max").reconciler(longest), true),
        (Keyspace::new("all").reconciler(all), false),
    ] {
        let mut sim = Sim::builder(5, 8).keyspaces(vec![keyspace]).limits(limits.clone()).build();
        for node in [sim.owners("k")[0], sim.bystanders("k")[0]] {
            for round in 0..5 {
                match sim.put(node, "k", &large(round, 1)[..900]) {
                    Ok(_) => assert!(merges || round < 2),
                    Err(PutError::ObjectTooLarge { bytes: 2_700, limit: 2_000 }) => assert!(!merges),
                    Err(other) => panic!("{other}"),
                }
            }
        }
        sim.settle();
        assert_eq!(sim.stored(sim.owners("k")[0], "k").len(), 2);
    }
}

#[test]
fn the_cap_that_a_refusal_names_is_the_keyspace_s_whoever_the_client_asks() {
    let mut sim = Sim::builder(4, 9).keyspaces(vec![Keyspace::new("few").max_siblings(2)]).build();
    for node in [sim.owners("k")[0], sim.bystanders("k")[0]] {
        sim.put(node, "k", "one of two").ok();
        sim.put(node, "k", "two of two").ok();
        assert_eq!(sim.put(node, "k", "one more"), Err(PutError::TooManySiblings { siblings: 3, limit: 2 }));
    }
}
