//! Keyspaces, listings, timestamps, and nodes of several shards.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::config::Timing;
use quorate::error::{Answer, PutError, Refusal};
use quorate::reconcile::LastWriteWins;
use quorate::request::{Cursor, Page};
use quorate::sim::Sim;
use quorate::{Bytes, Context, Keyspace, NodeId, PutOptions, Reply, Request};

fn page(sim: &mut Sim, node: NodeId, keyspace: &Keyspace, cursor: Cursor, limit: usize) -> Page {
    let ticket = sim.start(node, Request::List { keyspace: keyspace.id(), cursor, limit });
    match sim.wait(node, ticket) {
        Some(Reply::List(Ok(page))) => page,
        other => panic!("{other:?}"),
    }
}

fn put(sim: &mut Sim, node: NodeId, keyspace: &Keyspace, key: &str) {
    let (keyspace, key) = (keyspace.id(), Bytes::from(key));
    let (value, context, options) = (Some("v".into()), Context::empty(), PutOptions::default());
    let ticket = sim.start(node, Request::Put { keyspace, key, value, context, options });
    assert!(matches!(sim.wait(node, ticket), Some(Reply::Put(Ok(_)))));
}

#[test]
fn a_listing_shows_every_key_of_its_keyspace_once_with_a_node_down_and_whatever_the_page() {
    for shards in [1, 3] {
        let (users, orders) = (Keyspace::new("users"), Keyspace::new("orders"));
        let mut sim =
            Sim::builder(5, 1).shards(shards).keyspaces(vec![users.clone(), orders.clone()]).encode(false).build();
        let nodes = sim.members();
        for index in 0..500 {
            put(&mut sim, nodes[index % 5], &users, &format!("user-{index}"));
            put(&mut sim, nodes[index % 5], &orders, &format!("order-{index}"));
        }
        sim.settle();
        sim.crash(nodes[4]);
        for limit in [1, 7, 100, 10_000] {
            let (mut keys, mut count, mut cursor) = (BTreeSet::new(), 0, Some(Cursor::default()));
            while let Some(from) = cursor {
                // A cursor survives the way through a client.
                let from = Cursor::from_bytes(&from.to_bytes()).unwrap();
                let page = page(&mut sim, nodes[0], &users, from, limit);
                assert!(page.keys.len() <= limit);
                count += page.keys.len();
                keys.extend(page.keys);
                cursor = page.next;
            }
            assert_eq!((keys.len(), count), (500, 500), "{shards} shards, pages of {limit}");
            assert!(keys.iter().all(|key| key.starts_with(b"user-")));
        }
    }
}

#[test]
fn a_deleted_key_is_not_listed() {
    let keyspace = Keyspace::new("default");
    let mut sim = Sim::new(5, 2);
    let node = sim.members()[0];
    for key in ["a", "b"] {
        sim.put(node, key, "v").unwrap();
    }
    sim.delete(node, "a", &Context::empty()).unwrap();
    sim.settle();
    let (mut keys, mut cursor) = (Vec::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let page = page(&mut sim, node, &keyspace, from, 10);
        keys.extend(page.keys);
        cursor = page.next;
    }
    assert_eq!(keys, ["b"]);
}

#[test]
fn one_key_in_two_keyspaces_is_two_objects() {
    let (one, two) = (Keyspace::new("one"), Keyspace::new("two"));
    let mut sim = Sim::builder(5, 3).keyspaces(vec![one, two.clone()]).build();
    let node = sim.members()[0];
    sim.put(node, "k", "first").unwrap();
    put(&mut sim, node, &two, "k");
    assert_eq!(sim.values(node, "k"), ["first"]);
}

#[test]
fn a_write_that_has_read_another_beats_it_though_its_clock_is_an_hour_behind() {
    let keyspace = Keyspace::new("sessions").reconciler(LastWriteWins);
    let mut sim = Sim::builder(5, 4).keyspaces(vec![keyspace]).build();
    let [a, b, ..] = sim.owners("k")[..] else { unreachable!() };
    sim.skew(b, -3_600_000_000);
    let context = sim.put(a, "k", "early").unwrap().context;
    sim.put_with(b, "k", Some("late, by a slow clock"), &context, PutOptions::default()).unwrap();
    assert_eq!(sim.values(a, "k"), ["late, by a slow clock"]);
}

#[test]
fn of_two_that_knew_nothing_of_each_other_every_node_shows_the_same() {
    for seed in 0..10 {
        let keyspace = Keyspace::new("sessions").reconciler(LastWriteWins);
        let mut sim = Sim::builder(5, seed).keyspaces(vec![keyspace]).build();
        let [a, b, ..] = sim.owners("k")[..] else { unreachable!() };
        // Frozen and equal clocks: only the write events can tell.
        sim.start_put(a, "k", Some("a"), &Context::empty(), PutOptions::default());
        sim.start_put(b, "k", Some("b"), &Context::empty(), PutOptions::default());
        sim.settle();
        let shown: BTreeSet<Vec<String>> = sim.members().into_iter().map(|node| sim.values(node, "k")).collect();
        assert_eq!(shown.len(), 1, "seed {seed}: {shown:?}");
    }
}

#[test]
fn a_timestamp_that_no_replica_believes_does_not_come_in_as_a_hint() {
    let keyspace = Keyspace::new("sessions").reconciler(LastWriteWins);
    // What its coordinator has stored, and told that it may appear, an exchange would bring in time.
    let timing = Timing { exchange: Duration::MAX, ..Timing::default() };
    let mut sim = Sim::builder(3, 6).keyspaces(vec![keyspace]).timing(timing).build();
    let [a, b, _] = sim.owners("k")[..] else { unreachable!() };
    sim.crash(b);
    sim.put(a, "k", "present").unwrap();
    sim.run_for(Duration::from_secs(3));
    assert_eq!((sim.node(a).unwrap().suspects(), sim.debt()), (vec![b], vec![(a, b, 1)]));
    sim.skew(a, 3_600_000_000);
    let put = sim.put(a, "k", "future");
    let ahead = Answer::Refused(Refusal::ClockAhead);
    assert!(
        matches!(&put, Err(PutError::Unavailable(short)) if short.answers.iter().any(|(_, answer)| *answer == ahead))
    );
    sim.run_for(Duration::from_secs(3));
    sim.restart(b);
    sim.settle();
    assert_eq!(sim.stored(b, "k"), ["present"]);
}

#[test]
fn where_timestamps_decide_a_hint_is_kept_once_another_has_believed_it_or_none_is_left_that_could() {
    let keyspace = || Keyspace::new("sessions").reconciler(LastWriteWins);
    let mut sim = Sim::builder(3, 7).keyspaces(vec![keyspace()]).build();
    let [a, b, c] = sim.owners("k")[..] else { unreachable!() };
    sim.crash(b);
    sim.put(a, "k", "1").unwrap();
    sim.run_for(Duration::from_secs(3));
    sim.put(a, "other", "2").unwrap();
    sim.run_for(Duration::from_millis(10));
    assert_eq!(sim.debt(), [(a, b, 2)], "c has believed it, and nobody waits for more");
    sim.crash(c);
    let w = |w| PutOptions { w: Some(w), ..PutOptions::default() };
    sim.put_with(a, "k", Some("3"), &Context::empty(), w(1)).unwrap();
    sim.run_for(Duration::from_secs(3));
    sim.put_with(a, "third", Some("4"), &Context::empty(), w(1)).unwrap();
    sim.run_for(Duration::from_millis(10));
    assert_eq!(sim.debt(), [(a, b, 3), (a, c, 2)]);
    sim.restart(b);
    sim.restart(c);
    sim.settle();
    for key in ["k", "other", "third"] {
        assert!([b, c].into_iter().all(|node| sim.stored(node, key) == sim.stored(a, key)), "{key}");
    }
}

#[test]
fn nodes_of_three_shards_keep_what_nodes_of_one_do() {
    let mut sim = Sim::builder(5, 5).shards(3).build();
    let nodes = sim.members();
    sim.crash(nodes[4]);
    for index in 0..60 {
        sim.put(nodes[index % 4], &format!("k{index}"), "v").unwrap();
    }
    sim.run_for(Duration::from_millis(500));
    assert!(!sim.debt().is_empty());
    sim.restart(nodes[4]);
    sim.settle();
    assert!(sim.debt().is_empty());
    for index in 0..60 {
        let key = format!("k{index}");
        for owner in sim.owners(&key) {
            assert_eq!(sim.stored(owner, &key), ["v"], "{key} at {owner}");
        }
    }
}
