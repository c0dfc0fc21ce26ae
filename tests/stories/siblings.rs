//! Siblings are exactly the writes that knew nothing of one another.

use quorate::sim::Sim;
use quorate::{Context, PutOptions};

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
