//! Values that expire: hidden at their stamp, removed a skew later by each owner alone, and never back.

use std::ops::ControlFlow;
use std::time::Duration;

use quorate::config::Limits;
use quorate::error::PutError;
use quorate::reconcile::{LastWriteWins, MergeBy};
use quorate::request::Cursor;
use quorate::sim::Sim;
use quorate::storage::{Space, Storage};
use quorate::{Context, Counters, GetOptions, Keyspace, NodeId, PutOptions, Reply, Request, WallTime};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// The bound on how far clocks differ is a minute, and what is due goes within a second.
const REMOVED: Duration = Duration::from_secs(62);

fn expiring(after: Duration) -> PutOptions {
    PutOptions { expires_after: Some(after), ..PutOptions::default() }
}

fn put(sim: &mut Sim, node: NodeId, value: &str, context: &Context, after: Duration) -> Context {
    sim.put_with(node, "k", Some(value), context, expiring(after)).unwrap().context
}

/// Lines in all disks: of records, and of the index of what expires.
fn lines(sim: &Sim) -> (usize, usize) {
    let (mut objects, mut expiries) = (0, 0);
    for node in sim.members().into_iter().filter_map(|node| sim.node(node)) {
        for storage in node.storages() {
            let mut count = |space| {
                storage.scan(space, &[], &mut |name, _| {
                    match space {
                        Space::Objects => objects += 1,
                        _ => expiries += usize::from(name[8] == 5),
                    }
                    ControlFlow::Continue(())
                })
            };
            count(Space::Objects).unwrap();
            count(Space::Dots).unwrap();
        }
    }
    (objects, expiries)
}

fn moved(counters: &Counters) -> [u64; 3] {
    [counters.exchanged, counters.full_exchanges, counters.repairs]
}

fn shown_everywhere(sim: &mut Sim) -> Vec<Vec<String>> {
    sim.members().into_iter().map(|node| sim.values(node, "k")).collect()
}

#[test]
fn it_is_hidden_at_its_stamp_at_every_node_and_removed_a_skew_later_by_every_owner() {
    let mut sim = Sim::new(5, 1);
    let bystander = sim.bystanders("k")[0];
    put(&mut sim, bystander, "v", &Context::empty(), 10 * MINUTE);
    sim.settle();
    let expires: Vec<_> = sim.owners("k").iter().map(|&owner| sim.versions(owner, "k")[0].expires).collect();
    assert!(expires.iter().all(|one| one.is_some() && *one == expires[0]), "{expires:?}");
    sim.run_for(9 * MINUTE + 59 * SECOND);
    assert_eq!(shown_everywhere(&mut sim), vec![vec!["v"]; 5]);
    sim.run_for(SECOND);
    assert_eq!(shown_everywhere(&mut sim), vec![Vec::<String>::new(); 5]);
    assert_eq!(sim.get(bystander, "k").unwrap().siblings, 0);
    assert_eq!(lines(&sim), (3, 3), "hidden, not removed");
    let before = moved(&sim.counters());
    sim.run_for(REMOVED);
    assert_eq!(lines(&sim), (0, 0), "removed, and nothing in its place");
    sim.run_for(10 * MINUTE);
    assert_eq!(moved(&sim.counters()), before);
    sim.heal_all();
}

#[test]
fn a_put_on_top_of_an_expired_value_takes_its_place() {
    for (seed, value) in [(1, Some("new")), (2, None)] {
        let mut sim = Sim::new(5, seed);
        let owner = sim.owners("k")[0];
        put(&mut sim, owner, "old", &Context::empty(), MINUTE);
        sim.run_for(MINUTE + SECOND);
        let read = sim.get(owner, "k").unwrap();
        assert!(read.values.is_empty() && !read.context.is_empty());
        sim.put_with(owner, "k", value, &read.context, PutOptions::default()).unwrap();
        sim.settle();
        for owner in sim.owners("k") {
            assert_eq!(sim.stored(owner, "k"), value.into_iter().collect::<Vec<_>>());
        }
        assert_eq!(lines(&sim).1, 0, "nothing is left to expire");
        sim.run_for(HOUR);
        assert_eq!(sim.values(owner, "k"), value.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_put_that_has_not_read_the_expired_value_stands_alone_all_the_same() {
    let mut sim = Sim::new(5, 3);
    let owner = sim.owners("k")[0];
    put(&mut sim, owner, "old", &Context::empty(), MINUTE);
    sim.run_for(MINUTE + SECOND);
    let options = PutOptions { if_unchanged: true, ..PutOptions::default() };
    sim.put_with(owner, "k", Some("new"), &Context::empty(), options).expect("nothing is there to be seen");
    let read = sim.get(owner, "k").unwrap();
    assert_eq!((read.siblings, sim.values(owner, "k")), (1, vec!["new".to_owned()]));
    assert_eq!(sim.stored(owner, "k").len(), 2);
    sim.run_for(REMOVED);
    for owner in sim.owners("k") {
        assert_eq!(sim.stored(owner, "k"), ["new"]);
    }
}

#[test]
fn who_saw_a_value_that_has_expired_since_finds_it_changed() {
    let mut sim = Sim::new(5, 4);
    let owner = sim.owners("k")[0];
    let seen = put(&mut sim, owner, "old", &Context::empty(), MINUTE);
    let options = || PutOptions { if_unchanged: true, ..PutOptions::default() };
    sim.run_for(MINUTE + SECOND);
    assert_eq!(sim.put_with(owner, "k", Some("new"), &seen, options()), Err(PutError::Changed));
    let gone = sim.get(owner, "k").unwrap().context;
    sim.put_with(owner, "k", Some("new"), &gone, options()).unwrap();
}

#[test]
fn a_replica_that_was_away_for_days_does_not_bring_it_back() {
    let mut sim = Sim::new(5, 5);
    let [a, _, c] = sim.owners("k")[..].try_into().unwrap();
    put(&mut sim, a, "v", &Context::empty(), HOUR);
    sim.settle();
    sim.crash(c);
    sim.run_for(48 * HOUR);
    assert_eq!(lines(&sim), (0, 0));
    sim.restart(c);
    assert_eq!(sim.stored(c, "k"), ["v"]);
    let read = sim.get_with(c, "k", GetOptions { all: true, ..GetOptions::default() }).unwrap();
    assert!(read.values.is_empty());
    sim.run_for(SECOND * 2);
    assert_eq!(lines(&sim), (0, 0), "it finds what is due by itself");
    sim.heal_all();
    assert_eq!((lines(&sim), sim.counters().full_exchanges), ((0, 0), 0));
}

#[test]
fn a_late_hint_does_not_bring_it_back() {
    let mut sim = Sim::new(5, 6);
    let [a, _, c] = sim.owners("k")[..].try_into().unwrap();
    sim.crash(c);
    sim.run_for(SECOND);
    put(&mut sim, a, "v", &Context::empty(), HOUR);
    sim.run_for(12 * HOUR);
    assert!(!sim.hint_bytes().is_empty(), "it waits for its target, expired or not");
    sim.restart(c);
    sim.settle();
    assert!(sim.stored(c, "k").is_empty() && sim.counters().hints_delivered > 0);
    sim.heal_all();
    assert_eq!(lines(&sim), (0, 0));
    assert_eq!(shown_everywhere(&mut sim), vec![Vec::<String>::new(); 5]);
}

/// Each hides it by its own clock, and removes it by its own: that one has it and another hasn't is not damage.
#[test]
fn clocks_that_differ_within_the_bound_cost_nothing() {
    let mut sim = Sim::builder(3, 7).partitions(1).build();
    let [early, right, late] = [1, 2, 3].map(NodeId);
    sim.skew(early, -59_000_000);
    sim.skew(late, 59_000_000);
    sim.put(right, "other", "stays").unwrap();
    put(&mut sim, right, "v", &Context::empty(), 10 * MINUTE);
    sim.settle();
    let before = moved(&sim.counters());
    sim.run_for(9 * MINUTE + 30 * SECOND);
    let shown = [late, right, early].map(|node| sim.values(node, "k").len());
    assert_eq!(shown, [0, 1, 1]);
    sim.run_for(30 * SECOND);
    let shown = [late, right, early].map(|node| sim.values(node, "k").len());
    assert_eq!(shown, [0, 0, 1]);
    // It was put a moment after the beginning, so nobody has removed it yet. One after the other they remove it, as much as two minutes apart, while they compare themselves all the time.
    let mut seen = vec![lines(&sim).0];
    for _ in 0..240 {
        sim.run_for(SECOND);
        seen.push(lines(&sim).0);
    }
    seen.dedup();
    assert_eq!(seen, [6, 5, 4, 3]);
    assert_eq!(moved(&sim.counters()), before);
}

#[test]
fn where_nothing_happens_but_that_values_expire_nothing_moves() {
    let mut sim = Sim::builder(3, 8).partitions(4).build();
    for number in 0..60_u32 {
        let (key, after) = (format!("key {number}"), MINUTE + number * 7 * SECOND);
        let options = if number % 6 == 0 { PutOptions::default() } else { expiring(after) };
        sim.put_with(NodeId(1), &key, Some("v"), &Context::empty(), options).unwrap();
    }
    sim.heal_all();
    let before = moved(&sim.counters());
    assert_eq!(lines(&sim), (180, 150));
    sim.run_for(12 * MINUTE);
    assert_eq!(lines(&sim), (30, 0));
    assert_eq!(moved(&sim.counters()), before);
    sim.heal_all();
}

/// What was expired when it went away, and what a node that is ahead would have removed already, comes to it with a
/// whole partition: it drops it on arrival, and nobody brings it a second time.
#[test]
fn a_node_that_is_filled_anew_keeps_nothing_that_is_due() {
    let mut sim = Sim::builder(3, 9).partitions(1).build();
    let [a, ahead] = [1, 3].map(NodeId);
    put(&mut sim, a, "v", &Context::empty(), 10 * MINUTE);
    sim.put(a, "other", "stays").unwrap();
    sim.settle();
    sim.crash(ahead);
    sim.lose_data(ahead);
    sim.run_for(10 * MINUTE + 30 * SECOND);
    sim.skew(ahead, 59_000_000);
    sim.restart(ahead);
    for _ in 0..20 {
        sim.run_for(SECOND);
        assert!(sim.stored(ahead, "k").is_empty());
    }
    assert_eq!(sim.stored(ahead, "other"), ["stays"]);
    assert!(sim.counters().full_exchanges > 0);
    sim.run_for(2 * REMOVED);
    sim.heal_all();
    assert_eq!(lines(&sim), (3, 0));
}

/// A partition that is damaged begins a new life, and takes over what it can read of the old one: not what is due.
#[test]
fn what_is_taken_over_from_a_damaged_partition_is_not_what_is_due() {
    for nth in 0..4 {
        let mut sim = Sim::builder(3, 14).partitions(1).build();
        for number in 0..4 {
            let (key, options) = (format!("key {number}"), expiring(10 * MINUTE));
            sim.put_with(NodeId(1), &key, Some("v"), &Context::empty(), options).unwrap();
        }
        sim.put(NodeId(1), "other", "stays").unwrap();
        sim.heal_all();
        sim.crash(NodeId(3));
        sim.run_for(HOUR);
        assert!(sim.rot(NodeId(3), 0, Space::Objects, nth));
        sim.restart(NodeId(3));
        sim.run_for(5 * SECOND);
        sim.heal_all();
        assert_eq!(lines(&sim), (3, 0), "record {nth} was damaged");
        assert_eq!(sim.stored(NodeId(3), "other"), ["stays"]);
    }
}

#[test]
fn a_time_to_live_of_nothing_is_refused_and_an_endless_one_is_none() {
    let mut sim = Sim::new(3, 10);
    for after in [Duration::ZERO, Duration::from_nanos(999)] {
        let refused = sim.put_with(NodeId(1), "k", Some("v"), &Context::empty(), expiring(after));
        assert_eq!(refused, Err(PutError::ExpiresAtOnce));
        assert!(sim.get(NodeId(2), "k").unwrap().context.is_empty(), "nothing was written");
    }
    let seen = put(&mut sim, NodeId(1), "v", &Context::empty(), Duration::MAX);
    assert_eq!(sim.versions(NodeId(1), "k")[0].expires, Some(WallTime(u64::MAX)));
    sim.run_for(HOUR);
    assert_eq!(sim.values(NodeId(2), "k"), ["v"]);
    sim.put_with(NodeId(1), "k", None, &seen, expiring(Duration::ZERO)).expect("a delete does not look at it");
    assert!(sim.values(NodeId(2), "k").is_empty());
}

/// Two siblings are the most that it may have, and a merge is all their values in a row.
fn of_two(seed: u64) -> Sim {
    let merge = MergeBy::new(|a: &[u8], b: &[u8]| [a, b].concat());
    let limits = Limits { siblings: 2, ..Limits::default() };
    let keyspaces = vec![Keyspace::new("default").reconciler(merge)];
    Sim::builder(3, seed).limits(limits).keyspaces(keyspaces).build()
}

#[test]
fn what_has_expired_makes_room_at_the_cap() {
    let mut sim = of_two(11);
    for value in ["a", "b"] {
        put(&mut sim, NodeId(1), value, &Context::empty(), MINUTE);
    }
    sim.run_for(MINUTE + SECOND);
    sim.put(NodeId(1), "k", "c").unwrap();
    sim.settle();
    for node in sim.members() {
        assert_eq!(sim.stored(node, "k"), ["c"]);
    }
}

#[test]
fn a_merge_at_the_cap_expires_with_the_last_of_its_parts() {
    for last in [Some(30), None] {
        let mut sim = of_two(12);
        let begun = sim.wall(NodeId(1));
        for minutes in [20, 10] {
            put(&mut sim, NodeId(1), "a", &Context::empty(), minutes * MINUTE);
        }
        let options = PutOptions { expires_after: last.map(|minutes: u32| minutes * MINUTE), ..PutOptions::default() };
        let written = sim.put_with(NodeId(1), "k", Some("b"), &Context::empty(), options).unwrap();
        assert!(written.merged);
        let versions = sim.versions(NodeId(1), "k");
        assert_eq!(versions.len(), 1);
        let minutes = versions[0].expires.map(|expires| (expires.0 - begun.0) / 60_000_000);
        assert_eq!(minutes, last.map(u64::from));
    }
}

fn listed(sim: &mut Sim) -> Vec<String> {
    let request = Request::List { keyspace: Keyspace::new("sessions").id(), cursor: Cursor::default(), limit: 100 };
    let ticket = sim.start(NodeId(1), request);
    let Some(Reply::List(Ok(page))) = sim.wait(NodeId(1), ticket) else { panic!("no page") };
    page.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

#[test]
fn sessions_that_are_renewed_stay_and_those_that_are_left_go() {
    let sessions = Keyspace::new("sessions").reconciler(LastWriteWins);
    let mut sim = Sim::builder(3, 13).partitions(1).keyspaces(vec![sessions]).build();
    for minute in 0..30 {
        for user in ["ann", "bob"] {
            // Bob leaves after ten minutes.
            if user == "ann" || minute < 10 {
                let node = NodeId(1 + minute % 3);
                let read = sim.get(node, user).unwrap();
                assert_eq!(read.values.len(), usize::from(minute > 0));
                sim.put_with(node, user, Some("click"), &read.context, expiring(3 * MINUTE)).unwrap();
            }
        }
        sim.run_for(MINUTE);
        // His last click was at the beginning of minute 9.
        let users = if minute < 11 { vec!["ann", "bob"] } else { vec!["ann"] };
        let mut found = listed(&mut sim);
        found.sort_unstable();
        assert_eq!(found, users, "minute {minute}");
    }
    assert_eq!(lines(&sim), (3, 3));
    sim.run_for(3 * MINUTE + REMOVED);
    assert_eq!((lines(&sim), listed(&mut sim).len()), ((0, 0), 0));
}
