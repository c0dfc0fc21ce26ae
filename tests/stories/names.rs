//! Nodes that start again and again: contexts stay small by names, and a name that is not known is asked for or refused.

use std::time::Duration;

use quorate::error::PutError;
use quorate::sim::Sim;
use quorate::{Bytes, Context, Keyspace, NodeId, PutOptions};

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
