//! Nodes that are dead, slow, deaf or cut off cost others no more than their detection.

use std::time::Duration;

use quorate::sim::{DiskFault, Sim};
use quorate::{Event, GetOptions, Mode, NodeId};

/// What a call takes in virtual time.
fn taken<T>(sim: &mut Sim, call: impl FnOnce(&mut Sim) -> T) -> (Duration, T) {
    let before = sim.now();
    let result = call(sim);
    (sim.now().since(before), result)
}

fn owners(sim: &Sim) -> [NodeId; 3] {
    sim.owners("k")[..].try_into().unwrap()
}

/// W = 3: every put needs three answers, so a node that gives none is felt at once.
fn demanding(seed: u64) -> (Sim, [NodeId; 3]) {
    let sim = Sim::builder(6, seed).quorum(3, 2, 3, Mode::Sloppy).build();
    let owners = owners(&sim);
    (sim, owners)
}

#[test]
fn a_dead_node_slows_writes_until_it_is_suspected_and_no_longer() {
    let (mut sim, [a, _, c]) = demanding(1);
    sim.crash(c);
    let (first, result) = taken(&mut sim, |sim| sim.put(a, "k", "1"));
    assert!(result.is_ok() && (100..150).contains(&first.as_millis()), "{first:?}");
    sim.run_for(Duration::from_millis(300));
    assert!(sim.events().iter().any(|(_, node, event)| (*node, event) == (a, &Event::Suspected(c))));
    for round in 0..20 {
        let (taken, result) = taken(&mut sim, |sim| sim.put(a, &format!("k{round}"), "v"));
        assert!(result.is_ok() && taken < Duration::from_millis(5) || sim.owners(&format!("k{round}"))[0] != a);
    }
    let (later, _) = taken(&mut sim, |sim| sim.put(a, "k", "2"));
    assert!(later < Duration::from_millis(5), "{later:?}");
}

#[test]
fn a_node_that_comes_back_is_noticed_by_a_probe_and_written_to_again() {
    let (mut sim, [a, _, c]) = demanding(2);
    sim.crash(c);
    sim.put(a, "k", "1").unwrap();
    sim.run_for(Duration::from_secs(5));
    sim.restart(c);
    sim.run_for(Duration::from_secs(3));
    assert!(sim.events().iter().any(|(_, node, event)| (*node, event) == (a, &Event::Recovered(c))));
    assert_eq!(sim.put(a, "k", "2").unwrap().owners, 3);
}

#[test]
fn a_node_that_can_be_heard_but_not_reached_is_suspected_too() {
    let (mut sim, [a, _, c]) = demanding(3);
    sim.network.cut_one_way(a, c);
    for round in 0..5 {
        sim.put(a, "k", &format!("{round}")).unwrap();
        // c has much to say to a meanwhile.
        sim.put(c, "other", &format!("{round}")).unwrap();
        sim.run_for(Duration::from_millis(100));
    }
    let (later, result) = taken(&mut sim, |sim| sim.put(a, "k", "last"));
    assert!(result.is_ok() && later < Duration::from_millis(5), "{later:?}");
}

#[test]
fn a_slow_replica_slows_no_read_once_it_is_known() {
    let mut sim = Sim::new(5, 4);
    let [_, b, _] = owners(&sim);
    let reader = sim.bystanders("k")[0];
    sim.put(reader, "k", "v").unwrap();
    sim.settle();
    for _ in 0..100 {
        sim.get(reader, "k").unwrap();
    }
    sim.network.slow(b, Duration::from_millis(40));
    let mut slow = 0;
    for _ in 0..200 {
        let (taken, result) = taken(&mut sim, |sim| sim.get(reader, "k"));
        assert_eq!(result.unwrap().values, ["v"]);
        slow += u32::from(taken > Duration::from_millis(10));
    }
    assert!(slow <= 5, "{slow} of 200 reads were slow");
    assert!(sim.counters().hedges <= 300 * 5 / 100 + 10, "{} hedges", sim.counters().hedges);
}

#[test]
fn both_sides_of_a_split_go_on_writing_and_nothing_is_lost() {
    for seed in 0..10 {
        let mut sim = Sim::new(6, seed);
        let nodes = sim.members();
        sim.split(&nodes[..3], &nodes[3..]);
        let left = sim.put(nodes[0], "k", "left").is_ok();
        let right = sim.put(nodes[5], "k", "right").is_ok();
        assert!(left && right, "seed {seed}: three live nodes are enough for W = 2");
        sim.run_for(Duration::from_secs(3));
        sim.heal();
        sim.settle();
        let found = sim.get_with(nodes[2], "k", GetOptions { all: true, ..GetOptions::default() }).unwrap();
        let mut values = found.values;
        values.sort();
        assert_eq!(values, ["left", "right"], "seed {seed}");
    }
}

#[test]
fn a_failed_sync_fences_the_node_and_its_clients_are_told() {
    let mut sim = Sim::new(5, 5);
    let [a, b, c] = owners(&sim);
    sim.put(b, "k", "before").unwrap();
    sim.settle();
    sim.disk(a)[0].set(DiskFault::Sync, true);
    assert!(sim.put(a, "k", "through the failing one").is_err());
    assert!(sim.events().iter().any(|(_, node, event)| *node == a && matches!(event, Event::Fenced(_))));
    assert!(sim.get(a, "k").is_err(), "a fenced node shows nothing");
    sim.put(b, "k", "after").unwrap();
    assert!(sim.values(c, "k").contains(&"after".to_string()));
    // Its process is restarted, on a disk that is well again.
    sim.crash(a);
    sim.restart(a);
    sim.settle();
    let found = sim.get_with(a, "k", GetOptions { all: true, ..GetOptions::default() }).unwrap();
    assert!(found.values.iter().any(|value| *value == "after") && found.values.iter().any(|value| *value == "before"));
}

#[test]
fn a_full_disk_and_a_failing_one_are_other_replicas_business() {
    for fault in [DiskFault::Writes, DiskFault::Reads] {
        let mut sim = Sim::new(5, 6);
        let [a, b, c] = owners(&sim);
        sim.disk(c)[0].set(fault, true);
        for round in 0..10 {
            sim.put(a, "k", &format!("{round}")).unwrap();
        }
        assert_eq!(sim.values(b, "k").len(), 10, "{fault:?}");
        sim.disk(c)[0].set(fault, false);
        sim.settle();
        sim.get_with(a, "k", GetOptions { all: true, ..GetOptions::default() }).unwrap();
        sim.settle();
        assert_eq!(sim.stored(c, "k").len(), 10, "{fault:?}");
    }
}
