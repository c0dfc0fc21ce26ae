//! What other stores were caught in.

use std::time::Duration;

use quorate::config::Timing;
use quorate::error::PutError;
use quorate::reconcile::{LastWriteWins, MergeBy};
use quorate::sim::{Clock, Sim};
use quorate::{Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Reply, WallTime};

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

fn three(sim: &Sim) -> [NodeId; 3] {
    sim.owners("k")[..].try_into().unwrap()
}

fn by_timestamp(seed: u64) -> Sim {
    Sim::builder(5, seed).keyspaces(vec![Keyspace::new("sessions").reconciler(LastWriteWins)]).build()
}

/// What a read of all owners shows, which leaves the same on the disk of each.
fn agreed(sim: &mut Sim, node: NodeId) -> Vec<String> {
    sim.settle();
    sim.get_with(node, "k", GetOptions { r: Some(3), all: true, ..GetOptions::default() }).unwrap();
    sim.settle();
    let [a, b, c] = three(sim);
    assert_eq!(sim.stored(a, "k"), sim.stored(b, "k"));
    assert_eq!(sim.stored(a, "k"), sim.stored(c, "k"));
    sim.stored(a, "k")
}

/// Cassandra: of two writes in one microsecond the one with the larger bytes wins, even if the other's writer had read
/// it.
#[test]
fn clocks_that_stand_still_lose_no_update() {
    let mut sim = by_timestamp(1);
    for node in sim.members() {
        sim.set_clock(node, Clock::Frozen(WallTime(1_700_000_000_000_000)));
    }
    let [a, b, _] = three(&sim);
    for value in ["9", "8", "7", "6", "5", "4", "3", "2", "1"] {
        for node in [b, a] {
            let seen = sim.get(node, "k").unwrap().context;
            sim.put_with(node, "k", Some(value), &seen, PutOptions::default()).unwrap();
            assert_eq!(sim.values(node, "k"), [value]);
        }
    }
    assert_eq!(agreed(&mut sim, a), ["1"]);
}

/// Cassandra: a delete by a node whose clock is ahead deletes, for as long as it is, what is written after it.
#[test]
fn a_delete_by_a_fast_clock_deletes_nothing_that_is_written_later() {
    let mut sim = by_timestamp(2);
    let [a, b, c] = three(&sim);
    sim.skew(a, 50_000_000);
    sim.put(a, "k", "old").unwrap();
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.settle();
    sim.put(b, "k", "new").unwrap();
    for node in [a, b, c] {
        assert_eq!(sim.values(node, "k"), ["new"], "{node}");
    }
    assert_eq!(agreed(&mut sim, c), ["new"]);
}

/// Cassandra, whose tombstones are gone after ten days, and Voldemort, whose read repair takes "nothing" for older than
/// anything: a replica that was away brings the deleted value back to all others. Not even a hint tells it here.
#[test]
fn who_was_away_for_eleven_days_does_not_bring_back_what_was_deleted() {
    let timing = Timing { exchange: Duration::from_secs(3_600), ..Timing::default() };
    let mut sim = Sim::builder(4, 3).timing(timing).build();
    let [a, b, c] = three(&sim);
    sim.put(a, "k", "old").unwrap();
    sim.settle();
    sim.crash(c);
    sim.delete(a, "k", &Context::empty()).unwrap();
    sim.run_for(Duration::from_secs(1));
    let [(holder, ..)] = sim.debt()[..] else { panic!("{:?}", sim.debt()) };
    sim.crash(holder);
    sim.lose_data(holder);
    sim.restart(holder);
    sim.run_for(Duration::from_secs(11 * 24 * 3_600));
    sim.restart(c);
    assert_eq!(sim.stored(c, "k"), ["old"]);
    for node in [c, b, a, holder] {
        assert_eq!(sim.values(node, "k"), [""; 0], "through {node}");
    }
    assert_eq!(agreed(&mut sim, c), [""; 0]);
}

/// Cassandra and Scylla keep hints for three hours; what a node misses after that is missing, and nothing says so.
#[test]
fn who_was_away_for_four_hours_gets_all_that_it_missed_unread() {
    let mut sim = Sim::new(5, 4);
    let [a, b, c] = three(&sim);
    sim.crash(c);
    let mut context = sim.put(a, "k", "first").unwrap().context;
    for hour in 1..=4 {
        sim.run_for(Duration::from_secs(3_600));
        let node = if hour % 2 == 0 { a } else { b };
        context = sim.put_with(node, "k", Some(&format!("{hour}")), &context, PutOptions::default()).unwrap().context;
    }
    sim.restart(c);
    sim.settle();
    assert_eq!(sim.stored(c, "k"), ["4"]);
}

/// Voldemort: a replica that has a newer version throws `ObsoleteVersionException` at a late or repeated older one, and
/// its put is taken for a failure.
#[test]
fn a_put_that_its_successor_has_overtaken_is_acknowledged_all_the_same() {
    let mut sim = Sim::new(5, 5);
    sim.network.duplication = 100;
    let [a, b, c] = three(&sim);
    sim.network.slow(a, Duration::from_millis(40));
    let all = PutOptions { w: Some(3), ..PutOptions::default() };
    let ticket = sim.start_put(a, "k", Some("1"), &Context::empty(), all);
    sim.network.slow(a, Duration::ZERO);
    sim.run_for(Duration::from_millis(1));
    let seen = sim.get_with(a, "k", GetOptions { r: Some(1), ..GetOptions::default() }).unwrap();
    sim.put_with(b, "k", Some("2"), &seen.context, PutOptions::default()).unwrap();
    assert_eq!(
        (seen.values, sim.stored(b, "k"), sim.stored(c, "k")),
        (vec!["1".into()], vec!["2".into()], vec!["2".into()])
    );
    let Some(Reply::Put(Ok(written))) = sim.wait(a, ticket) else { panic!("overtaken, and refused") };
    assert_eq!(written.owners, 3);
    assert_eq!(agreed(&mut sim, a), ["2"]);
}

/// Aerospike lost committed updates when a process stood still for more than 27 seconds and then went on with what it
/// had been doing.
#[test]
fn a_coordinator_that_stands_still_for_half_a_minute_overwrites_nothing_when_it_goes_on() {
    let mut finished = 0;
    for step in 0..40 {
        let mut sim = Sim::builder(5, step).quorum(3, 2, 2, Mode::Strict).build();
        let [a, b, _] = three(&sim);
        let old = sim.put(b, "k", "old").unwrap().context;
        sim.settle();
        let ticket = sim.start_put(a, "k", Some("late"), &old, PutOptions::default());
        sim.run_for(Duration::from_micros(50) * step as u32);
        sim.pause(a, Duration::from_secs(30));
        sim.put_with(b, "k", Some("new"), &old, PutOptions::default()).unwrap();
        sim.run_for(Duration::from_secs(40));
        let acknowledged = matches!(sim.reply(ticket), Some(Reply::Put(Ok(_))));
        finished += u32::from(acknowledged);
        let found = agreed(&mut sim, b);
        assert!(found == ["late", "new"] || (found == ["new"] && !acknowledged), "step {step}: {found:?}");
    }
    assert!(finished > 0, "an answer that comes late is an answer");
}

/// Riak: two coordinators of one put. The answer of the first is lost, another client goes on from what it wrote, and
/// the second writes the old value on top.
#[test]
fn a_forwarded_put_that_is_tried_again_does_not_come_back_over_its_successor() {
    let mut sim = Sim::new(5, 7);
    let [a, b, c] = three(&sim);
    let forwarder = sim.bystanders("k")[0];
    for owner in [a, b, c] {
        sim.network.cut_one_way(owner, forwarder);
    }
    sim.start_put(forwarder, "k", Some("first"), &Context::empty(), PutOptions::default());
    sim.run_for(Duration::from_millis(20));
    let seen = sim.get(b, "k").unwrap();
    assert_eq!(seen.values, ["first"]);
    sim.put_with(b, "k", Some("second"), &seen.context, PutOptions::default()).unwrap();
    let before = sim.traffic().sent;
    sim.run_for(Duration::from_secs(3));
    assert!(sim.traffic().sent > before + 3, "it is tried again");
    sim.heal();
    assert_eq!(agreed(&mut sim, c), ["second"]);
}

/// Datacake: a replica that has seen a node's later write of one key takes its earlier write of another for old.
#[test]
fn writes_of_many_keys_that_overtake_one_another_are_all_kept() {
    let mut sim = Sim::builder(3, 8).partitions(1).build();
    sim.network.jitter = Duration::from_millis(45);
    let node = sim.members()[0];
    let keys: Vec<_> = (0..50).map(|index| format!("k{index}")).collect();
    for key in &keys {
        sim.start_put(node, key, Some("v"), &Context::empty(), PutOptions::default());
    }
    sim.settle();
    assert_eq!(sim.counters().hints_kept, 0, "nobody was late enough for a hint");
    for key in &keys {
        for owner in sim.members() {
            assert_eq!(sim.stored(owner, key), ["v"], "{key} at {owner}");
        }
    }
}
