//! Nodes that start again and again: contexts stay small by names, and a name that is not known is asked for or refused.

use std::time::Duration;

use quorate::config::Limits;
use quorate::error::PutError;
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, NodeId, PutOptions, Request};

const ROUNDS: usize = 60;

/// One partition whose owners start again in turn; each start puts once, with the context of the put before.
fn after_restarts(nodes: u64) -> Sim {
    let mut sim = Sim::builder(nodes, 7).partitions(1).build();
    let owners = sim.owners("k");
    let mut context = Context::empty();
    for round in 0..ROUNDS {
        let node = owners[round % owners.len()];
        sim.stop(node);
        sim.restart(node);
        let written = sim.put_with(node, "k", Some(&format!("v{round}")), &context, PutOptions::default()).unwrap();
        context = written.context;
        sim.run_for(Duration::from_secs(3));
    }
    sim
}

fn token(sim: &mut Sim, node: NodeId) -> Bytes {
    sim.get(node, "k").unwrap().context.to_bytes()
}

fn open(sim: &Sim, node: NodeId, bytes: &[u8]) -> Context {
    sim.node(node).unwrap().context(Keyspace::new("default").id(), b"k", bytes).unwrap()
}

fn put(sim: &mut Sim, node: NodeId, value: &str, context: &Context) -> Result<(), PutError> {
    sim.put_with(node, "k", Some(value), context, PutOptions::default()).map(|_| ())
}

#[test]
fn a_context_stays_small_through_sixty_starts_and_supersedes_what_it_read_through_every_owner() {
    let mut sim = after_restarts(3);
    for node in sim.owners("k") {
        let bytes = token(&mut sim, node);
        assert_eq!(bytes[0], 2, "a name is in it");
        assert!(bytes.len() < 200, "{} bytes", bytes.len());
        let opened = open(&sim, node, &bytes);
        assert!(opened.covered().unwrap().count() >= ROUNDS as u64);
        assert_eq!(opened.to_bytes(), bytes);
        put(&mut sim, node, "next", &opened).unwrap();
        assert_eq!(sim.values(node, "k"), ["next"]);
    }
}

/// N3. A node that owns nothing has never been told a name. It asks before it names the write.
#[test]
fn a_node_that_does_not_know_the_name_asks_an_owner_and_then_writes() {
    let mut sim = after_restarts(4);
    let (owner, outside) = (sim.owners("k")[0], sim.bystanders("k")[0]);
    let bytes = token(&mut sim, owner);
    let context = open(&sim, outside, &bytes);
    assert!(context.covered().is_none() && !context.is_empty(), "unknown is neither");
    put(&mut sim, outside, "from outside", &context).unwrap();
    assert_eq!(sim.values(owner, "k"), ["from outside"]);
    let context = open(&sim, outside, &bytes);
    assert!(context.covered().is_some(), "it knows now");
}

/// N3. With nobody to ask it refuses, writes nothing, and the context stays good.
#[test]
fn a_put_whose_context_nobody_in_reach_can_open_is_refused_and_its_context_stays_good() {
    let mut sim = after_restarts(4);
    let (owner, outside) = (sim.owners("k")[0], sim.bystanders("k")[0]);
    let bytes = token(&mut sim, owner);
    let context = open(&sim, outside, &bytes);
    sim.isolate(outside);
    assert_eq!(put(&mut sim, outside, "lost", &context), Err(PutError::UnknownName));
    let last = format!("v{}", ROUNDS - 1);
    assert_eq!(sim.values(owner, "k"), [last.as_str()]);
    sim.heal();
    sim.settle();
    assert_eq!(sim.values(owner, "k"), [last.as_str()], "nothing was written");
    put(&mut sim, outside, "later", &context).unwrap();
    assert_eq!(sim.values(owner, "k"), ["later"]);
}

/// N5. An owner whose disk was lost is told the names again, once the others have heard that it started anew.
#[test]
fn an_owner_that_lost_its_disk_opens_old_contexts_again() {
    let mut sim = after_restarts(3);
    let owner = sim.owners("k")[0];
    let bytes = token(&mut sim, owner);
    sim.stop(owner);
    sim.lose_data(owner);
    sim.restart(owner);
    assert!(open(&sim, owner, &bytes).covered().is_none());
    sim.get(owner, "k").unwrap();
    sim.run_for(Duration::from_secs(5));
    assert!(open(&sim, owner, &bytes).covered().is_some());
}

/// All of five nodes start again `rounds` times, and each start puts once. With `named_rows` out of reach nothing has a
/// name: so large would messages be without.
fn worn(rounds: usize, named_rows: usize) -> Sim {
    let limits = Limits { named_rows, context: 1 << 20, hint_bytes: 1, ..Limits::default() };
    let mut sim = Sim::builder(5, 7).partitions(1).limits(limits).build();
    let mut context = Context::empty();
    for round in 0..rounds {
        for node in sim.members() {
            sim.stop(node);
            sim.restart(node);
            let value = format!("v{round}");
            context = sim.put_with(node, "k", Some(&value), &context, PutOptions::default()).unwrap().context;
        }
        sim.run_for(Duration::from_secs(2));
    }
    sim.heal_all();
    sim.run_for(Duration::from_secs(10));
    sim
}

/// The bytes of all messages that something takes.
fn bytes_of(sim: &mut Sim, what: impl FnOnce(&mut Sim)) -> u64 {
    let before = sim.traffic().bytes;
    what(sim);
    sim.traffic().bytes - before
}

/// Bytes of a get, of a put with its context, of a second in which owners find that they are equal, and of an
/// exchange that brings one record to an owner.
fn sizes(sim: &mut Sim, node: NodeId) -> [u64; 4] {
    let moment = Duration::from_millis(50);
    let mut context = Context::empty();
    let get = bytes_of(sim, |sim| {
        context = sim.get(node, "k").unwrap().context;
        sim.run_for(moment);
    });
    let written = bytes_of(sim, |sim| {
        put(sim, node, "next", &context).unwrap();
        sim.run_for(moment);
    });
    sim.heal_all();
    sim.run_for(Duration::from_secs(20));
    let idle = bytes_of(sim, |sim| sim.run_for(Duration::from_secs(10))) / 10;
    let (owners, key) = (sim.owners("k"), format!("missed, then {node}"));
    // The third owner misses a write that nobody keeps for it, and whose coordinator is gone.
    sim.isolate(owners[2]);
    let one = PutOptions { w: Some(1), ..PutOptions::default() };
    sim.put_with(owners[0], &key, Some("v"), &Context::empty(), one).unwrap();
    sim.run_for(moment);
    sim.crash(owners[0]);
    sim.heal();
    let moved = sim.counters().exchanged_needed;
    let difference = bytes_of(sim, |sim| sim.run_for(Duration::from_secs(10)));
    assert!(sim.counters().exchanged_needed > moved && sim.stored(owners[2], &key) == ["v"]);
    sim.restart(owners[0]);
    sim.heal_all();
    [get, written, idle, difference]
}

/// Without names a tenth of the starts make messages that are too long: the limits tell the two apart.
#[test]
fn what_nodes_say_stays_small_through_a_thousand_starts_of_each() {
    for (rounds, named_rows, small) in [(1_000, 8, true), (100, 1_000_000, false)] {
        let mut sim = worn(rounds, named_rows);
        let (owner, outside) = (sim.owners("k")[1], sim.bystanders("k")[0]);
        // Who owns nothing is told what the names stand for when it reads for the first time in its present start.
        let first = bytes_of(&mut sim, |sim| {
            sim.get(outside, "k").unwrap();
            sim.run_for(Duration::from_secs(2));
        });
        let sizes = [sizes(&mut sim, owner), sizes(&mut sim, outside)];
        println!("{rounds} starts, {named_rows} rows: get, put, a second at rest, exchange: {sizes:?}, first {first}");
        for [get, put, idle, exchange] in sizes {
            assert!(idle < 1_000, "{idle} bytes a second at rest");
            assert_eq!(get < 1_000 && put < 1_500 && exchange < 6_000, small, "{get}, {put}, {exchange} bytes");
        }
        assert_eq!(sim.counters().unnamed, 0);
    }
}

/// An owner that has lost its disk, and a coordinator that has not heard of it: it says what the owner knew.
fn believed_to_know() -> (Sim, [NodeId; 3], Context) {
    let mut sim = after_restarts(3);
    let [a, b, c] = sim.owners("k")[..] else { panic!("three owners") };
    let context = sim.get(a, "k").unwrap().context;
    sim.stop(c);
    sim.stop(b);
    sim.lose_data(b);
    // Nobody hears what it says when it starts.
    sim.network.cut_one_way(b, a);
    sim.restart(b);
    sim.run_for(Duration::from_millis(2));
    (sim, [a, b, c], context)
}

/// N3. What a write says by a name that its receiver does not know is no write: nothing of it is stored, and nobody
/// counts it.
#[test]
fn nothing_is_stored_of_a_write_whose_name_is_not_known() {
    let (mut sim, [a, b, c], context) = believed_to_know();
    // It asks for the name, and is not heard.
    let failed = put(&mut sim, a, "half told", &context).unwrap_err();
    assert!(matches!(failed, PutError::Unavailable(_)), "{failed}");
    assert!(sim.counters().unnamed > 0 && sim.stored(b, "k").is_empty());
    sim.heal();
    put(&mut sim, a, "told", &context).unwrap();
    sim.restart(c);
    sim.heal_all();
    for owner in [a, b, c] {
        assert_eq!(sim.stored(owner, "k"), ["half told", "told"], "beside each other, and nothing older");
    }
}

/// Nothing but the network may lose a message: with W owners in reach the write succeeds.
#[test]
fn a_write_whose_name_is_not_known_waits_until_it_is_told() {
    let (mut sim, [a, b, _], context) = believed_to_know();
    sim.heal();
    put(&mut sim, a, "told", &context).unwrap();
    assert_eq!((sim.stored(b, "k"), sim.counters().unnamed), (vec!["told".to_owned()], 1));
}

/// A reader that has lost its disk says so with its question. What it had said before comes later, and is believed.
#[test]
fn an_answer_whose_name_is_not_known_waits_until_it_is_told() {
    let mut sim = after_restarts(3);
    let [a, b, c] = sim.owners("k")[..] else { panic!("three owners") };
    sim.stop(c);
    sim.network.slow(b, Duration::from_millis(200));
    let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from("k"));
    sim.start(a, Request::Get { keyspace, key, options: GetOptions { all: true, ..GetOptions::default() } });
    sim.run_for(Duration::from_millis(210));
    // It has answered, with a name; that is on its way for as long again.
    sim.stop(b);
    sim.lose_data(b);
    sim.heal();
    sim.network.cut_one_way(a, b);
    sim.restart(b);
    sim.run_for(Duration::from_millis(200));
    sim.heal();
    assert_eq!(sim.values(b, "k"), [format!("v{}", ROUNDS - 1)]);
    assert_eq!(sim.counters().unnamed, 1);
}
