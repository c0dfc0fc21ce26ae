//! Clients that coordinate for themselves (Dynamo §6.4).

use std::time::Duration;

use quorate::config::Mode;
use quorate::ring::{Change, Member};
use quorate::sim::Sim;
use quorate::{Context, NodeId, PutOptions, Reply, Request};

const CLIENT: NodeId = NodeId(1_000);
const WAY: Duration = Duration::from_millis(10);

/// Each way takes as long, and a sync next to nothing beside it.
fn even(mut sim: Sim) -> Sim {
    sim.start_client(CLIENT);
    sim.run_for(Duration::from_secs(1));
    (sim.network.delay, sim.network.jitter) = (WAY, Duration::ZERO);
    sim
}

/// In how many ways it was answered.
fn ways(sim: &mut Sim, ask: impl FnOnce(&mut Sim)) -> u128 {
    let began = sim.now();
    ask(sim);
    sim.now().since(began).as_millis() / WAY.as_millis()
}

#[test]
fn a_client_reads_from_the_owners_and_hands_writes_to_one_of_them() {
    let mut sim = even(Sim::new(7, 1));
    let write = ways(&mut sim, |sim| _ = sim.put(CLIENT, "cart", "book").unwrap());
    let read = ways(&mut sim, |sim| assert_eq!(sim.values(CLIENT, "cart"), ["book"]));
    // There, to the others, back and back; there and back.
    assert_eq!((write, read), (4, 2));
    let seen = sim.get(CLIENT, "cart").unwrap();
    sim.put_with(CLIENT, "cart", Some("pen"), &seen.context, PutOptions::default()).unwrap();
    sim.settle();
    for owner in sim.owners("cart") {
        assert_eq!(sim.stored(owner, "cart"), ["pen"]);
    }
    assert!(!sim.members().contains(&CLIENT) && sim.versions(CLIENT, "cart").is_empty());
}

#[test]
fn it_stands_in_for_nobody_and_keeps_no_hint() {
    let mut sim = even(Sim::new(5, 1));
    let (owners, others) = (sim.owners("cart"), sim.bystanders("cart"));
    owners.iter().for_each(|&owner| sim.stop(owner));
    sim.put(CLIENT, "cart", "book").unwrap();
    assert!(others.iter().all(|&other| sim.hint_lines(other) > 0));
    others.iter().for_each(|&other| sim.stop(other));
    let one = PutOptions { w: Some(1), mode: Some(Mode::Sloppy), ..PutOptions::default() };
    let alone = sim.put_with(CLIENT, "cart", Some("pen"), &Context::empty(), one);
    assert!(alone.is_err(), "a client's memory is no place for the only copy: {alone:?}");
    assert_eq!(sim.hint_lines(CLIENT), 0);
    sim.members().into_iter().for_each(|node| sim.restart(node));
    sim.settle();
    assert_eq!(sim.values(CLIENT, "cart"), ["book"]);
}

#[test]
fn its_end_is_nobody_s_business() {
    let mut sim = even(Sim::new(5, 1));
    sim.put(CLIENT, "cart", "book").unwrap();
    sim.crash(CLIENT);
    sim.run_for(Duration::from_secs(60));
    for node in sim.members() {
        assert!(sim.node(node).is_some_and(|node| node.suspects().is_empty()));
    }
    sim.restart(CLIENT);
    assert_eq!(sim.values(CLIENT, "cart"), ["book"]);
}

#[test]
fn what_it_writes_at_the_moment_of_its_end_is_there_or_is_not_and_nothing_else_is_harmed() {
    for seed in 0..40 {
        let mut sim = Sim::new(5, seed);
        sim.start_client(CLIENT);
        sim.put(CLIENT, "cart", "old").unwrap();
        let seen = sim.get(CLIENT, "cart").unwrap();
        let put = Request::Put {
            keyspace: quorate::Keyspace::new("default").id(),
            key: "cart".into(),
            value: Some("new".into()),
            context: seen.context,
            options: PutOptions::default(),
        };
        let ticket = sim.start(CLIENT, put);
        sim.run_for(Duration::from_micros(seed * 100));
        let acknowledged = matches!(sim.reply(ticket), Some(Reply::Put(Ok(_))));
        sim.crash(CLIENT);
        sim.restart(CLIENT);
        sim.run_for(Duration::from_secs(20));
        sim.settle();
        let values = sim.values(CLIENT, "cart");
        assert!(values == ["new"] || (!acknowledged && values == ["old"]), "seed {seed}: {values:?}");
    }
}

#[test]
fn it_follows_when_layouts_change() {
    let mut sim = Sim::builder(5, 3).elastic().build();
    sim.start_client(CLIENT);
    for key in 0..20 {
        sim.put(CLIENT, &format!("k{key}"), "old").unwrap();
    }
    let joins: Vec<Member> = (6..=8).map(|node| sim.start_node(NodeId(node))).collect();
    let change = joins.into_iter().fold(Change::of(sim.layout()), Change::join).leave(NodeId(1)).leave(NodeId(2));
    sim.change(&change).unwrap();
    for round in 0..40 {
        let key = format!("k{}", round % 20);
        let seen = sim.get(CLIENT, &key).unwrap();
        assert_eq!(seen.values.len(), 1, "{key}");
        sim.put_with(CLIENT, &key, Some("new"), &seen.context, PutOptions::default()).unwrap();
        sim.run_for(Duration::from_millis(500));
    }
    let latest = sim.layout().id();
    assert_eq!(sim.node(CLIENT).map(|node| node.latest().id()), Some(latest));
    sim.crash(NodeId(1));
    sim.crash(NodeId(2));
    for key in 0..20 {
        assert_eq!(sim.values(CLIENT, &format!("k{key}")), ["new"]);
    }
}

#[test]
fn members_know_it_by_gossip_and_plan_nothing_with_it() {
    let mut sim = Sim::builder(5, 4).gossip(true).build();
    sim.start_client(CLIENT);
    sim.run_for(Duration::from_secs(30));
    for node in sim.members() {
        let node = sim.node(node).unwrap();
        let record = node.membership().and_then(|members| members.record(CLIENT).cloned()).unwrap();
        assert!(record.is_client());
        assert_eq!(node.staged(), None);
    }
    sim.put(CLIENT, "cart", "book").unwrap();
    assert_eq!(sim.values(CLIENT, "cart"), ["book"]);
    let seated = sim.act(NodeId(1), |node| node.seat(CLIENT, quorate::ids::ZoneId(0), 1));
    assert!(seated.is_err(), "a client is made no member by an operator's slip");
    sim.act(NodeId(1), |node| node.remove(CLIENT)).unwrap();
    sim.run_for(Duration::from_secs(30));
    assert!(sim.memberships_agree());
}

/// Nobody looks for a client that is silent, so it must be in nobody's way.
#[test]
fn clients_that_have_ended_do_not_slow_down_what_members_tell_each_other() {
    let mut sim = Sim::builder(5, 4).gossip(true).build();
    let clients = || (0..40).map(|client| NodeId(CLIENT.0 + client));
    clients().for_each(|client| sim.start_client(client));
    sim.run_for(Duration::from_secs(60));
    clients().for_each(|client| sim.crash(client));
    sim.run_for(Duration::from_secs(30));
    let mut total = Duration::ZERO;
    for weight in 2..=11 {
        sim.act(NodeId(1), |node| node.seat(NodeId(2), quorate::ids::ZoneId(0), weight)).unwrap();
        let began = sim.now();
        let knows = |sim: &Sim, node: &NodeId| {
            let record = sim.node(*node).and_then(quorate::Node::membership).and_then(|all| all.record(NodeId(2)));
            record.and_then(quorate::members::MemberRecord::seat).is_some_and(|seat| seat.weight == weight)
        };
        while !sim.members().iter().all(|node| knows(&sim, node)) {
            sim.run_for(Duration::from_millis(20));
        }
        total += sim.now().since(began);
        sim.run_for(Duration::from_secs(10));
    }
    assert!(total < Duration::from_secs(20), "ten times {:?}", total / 10);
}
