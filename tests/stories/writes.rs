//! One request, one write: whatever becomes of its coordinator and its messages.

use std::time::Duration;

use quorate::config::Durability;
use quorate::error::{Answer, PutError};
use quorate::ids::WriteId;
use quorate::sim::Sim;
use quorate::{Context, GetOptions, Mode, NodeId, PutOptions, Reply};

fn all() -> GetOptions {
    GetOptions { all: true, ..GetOptions::default() }
}

fn unchanged() -> PutOptions {
    PutOptions { if_unchanged: true, ..PutOptions::default() }
}

fn owners(sim: &Sim) -> [NodeId; 3] {
    sim.owners("k")[..].try_into().unwrap()
}

/// Reads everywhere until the replicas agree, and returns what they hold.
fn agreed(sim: &mut Sim, reader: NodeId) -> Vec<String> {
    sim.settle();
    sim.get_with(reader, "k", all()).unwrap();
    sim.settle();
    let [a, b, c] = owners(sim);
    assert_eq!(sim.stored(a, "k"), sim.stored(b, "k"));
    assert_eq!(sim.stored(a, "k"), sim.stored(c, "k"));
    sim.stored(a, "k")
}

#[test]
fn a_coordinator_that_crashes_at_any_moment_leaves_the_write_whole_or_not_at_all() {
    let mut outcomes = [0, 0];
    for step in 0..80 {
        let mut sim = Sim::new(5, 1);
        let [a, b, _] = owners(&sim);
        let old = sim.put(a, "k", "old").unwrap().context;
        sim.settle();
        let ticket = sim.start_put(a, "k", Some("new"), &old, PutOptions::default());
        sim.run_for(Duration::from_micros(50 * step));
        let acknowledged = matches!(sim.reply(ticket), Some(Reply::Put(Ok(_))));
        sim.crash(a);
        sim.restart(a);
        let held = agreed(&mut sim, b);
        assert!(held == ["new"] || (held == ["old"] && !acknowledged), "crash after {} µs: {held:?}", 50 * step);
        outcomes[usize::from(held == ["new"])] += 1;
    }
    assert!(outcomes[1] > 0, "the steps reach beyond the acknowledgement: {outcomes:?}");
}

#[test]
fn a_forwarded_write_is_one_write_however_many_coordinators_die_of_it() {
    for step in 0..60 {
        let mut sim = Sim::new(5, 2);
        let bystander = sim.bystanders("k")[0];
        let [a, b, _] = owners(&sim);
        let ticket = sim.start_put(bystander, "k", Some("v"), &Context::empty(), PutOptions::default());
        sim.run_for(Duration::from_micros(50 * step));
        sim.crash(a);
        let reply = sim.wait(bystander, ticket);
        assert!(matches!(reply, Some(Reply::Put(Ok(_)))), "crash after {} µs: {reply:?}", 50 * step);
        sim.restart(a);
        let found = sim.get_with(b, "k", all()).unwrap();
        assert_eq!(found.siblings, 1, "crash after {} µs", 50 * step);
    }
}

#[test]
fn a_put_that_is_repeated_under_its_write_id_through_another_node_shows_one_value() {
    let mut sim = Sim::new(5, 3);
    let [a, b, _] = owners(&sim);
    let options = || PutOptions { write_id: Some(WriteId(77)), ..PutOptions::default() };
    // All copies are made, and the answer is lost with the coordinator.
    sim.start_put(a, "k", Some("v"), &Context::empty(), options());
    sim.run_for(Duration::from_millis(5));
    sim.crash(a);
    sim.put_with(b, "k", Some("v"), &Context::empty(), options()).unwrap();
    let found = sim.get(b, "k").unwrap();
    assert_eq!((found.values.len(), found.siblings), (1, 2), "two events, one value");
    // The context covers both.
    sim.put_with(b, "k", Some("w"), &found.context, PutOptions::default()).unwrap();
    sim.restart(a);
    assert_eq!(agreed(&mut sim, b), ["w"]);
}

#[test]
fn lost_repeated_and_overtaking_messages_make_no_second_version() {
    for seed in 0..30 {
        let mut sim = Sim::new(5, seed);
        (sim.network.loss, sim.network.duplication) = (20, 30);
        sim.network.jitter = Duration::from_millis(20);
        let [a, b, _] = owners(&sim);
        let ticket = sim.start_put(sim.bystanders("k")[1], "k", Some("v"), &Context::empty(), PutOptions::default());
        sim.run_for(Duration::from_secs(4));
        let acknowledged = matches!(sim.reply(ticket), Some(Reply::Put(Ok(_))));
        sim.heal();
        sim.settle();
        let found = sim.get_with(b, "k", all()).unwrap();
        assert!(found.siblings == 1 || (found.siblings == 0 && !acknowledged), "seed {seed}: {:?}", found.values);
        assert!(!acknowledged || sim.get(a, "k").unwrap().value().is_some(), "seed {seed}");
    }
}

#[test]
fn a_failed_put_tells_who_answered_what() {
    let mut sim = Sim::builder(5, 4).quorum(3, 2, 3, Mode::Strict).build();
    let [a, b, c] = owners(&sim);
    sim.crash(c);
    let Err(PutError::Unavailable(shortfall)) = sim.put(a, "k", "v") else { panic!("one owner is down") };
    assert_eq!((shortfall.needed, shortfall.got), (3, 2));
    assert!(shortfall.answers.contains(&(a, Answer::Done)) && shortfall.answers.contains(&(b, Answer::Done)));
    assert!(shortfall.answers.contains(&(c, Answer::Silent)), "{shortfall}");
    // It may have been written, and it was: whoever missed it gets it all the same.
    sim.restart(c);
    assert_eq!(agreed(&mut sim, a), ["v"]);
}

#[test]
fn a_conditional_put_goes_through_exactly_if_nothing_has_changed() {
    let mut sim = Sim::new(5, 5);
    let node = sim.bystanders("k")[0];
    let mut put = |value: Option<&str>, context: &Context, options| {
        let result = sim.put_with(node, "k", value, context, options);
        sim.settle();
        result
    };
    let first = put(Some("1"), &Context::empty(), unchanged()).unwrap().context;
    assert_eq!(put(Some("2"), &Context::empty(), unchanged()), Err(PutError::Changed), "it is there now");
    let second = put(Some("2"), &first, unchanged()).unwrap().context;
    assert_eq!(put(Some("3"), &first, unchanged()), Err(PutError::Changed), "it was replaced");
    put(None, &second, PutOptions::default()).unwrap();
    assert_eq!(put(Some("3"), &second, unchanged()), Err(PutError::Changed), "it was deleted");
    put(Some("3"), &Context::empty(), unchanged()).unwrap();
    assert_eq!(sim.values(node, "k"), ["3"]);
}

#[test]
fn two_conditional_puts_at_once_lose_nothing_that_was_acknowledged() {
    for seed in 0..20 {
        let mut sim = Sim::new(5, seed);
        let [a, b, _] = owners(&sim);
        let context = sim.put(a, "k", "old").unwrap().context;
        sim.settle();
        let tickets = [a, b].map(|node| {
            let value = node.to_string();
            (node, sim.start_put(node, "k", Some(&value), &context, unchanged()))
        });
        let mut acknowledged = Vec::new();
        for (node, ticket) in tickets {
            if matches!(sim.wait(node, ticket), Some(Reply::Put(Ok(_)))) {
                acknowledged.push(node.to_string());
            }
        }
        acknowledged.sort();
        assert!(!acknowledged.is_empty(), "seed {seed}");
        assert_eq!(agreed(&mut sim, a), acknowledged, "seed {seed}");
    }
}

#[test]
fn a_write_that_must_be_durable_at_its_coordinator_alone_survives_the_others_crash() {
    let mut sim = Sim::new(5, 6);
    let [a, b, c] = owners(&sim);
    let options = PutOptions { durability: Durability::Coordinator, ..PutOptions::default() };
    sim.put_with(a, "k", Some("v"), &Context::empty(), options).unwrap();
    sim.crash(b);
    sim.crash(c);
    assert_eq!(sim.stored(a, "k"), ["v"]);
    sim.restart(b);
    sim.restart(c);
    assert_eq!(agreed(&mut sim, b), ["v"]);
}
