//! What the article about Dynamo promises of such a store, promise by promise, in the simulator.
//!
//! Each test names its promise by the number that it has in the project's checklist. Not covered yet, for membership
//! is fixed so far: S4 (virtual nodes, so that hardware can be swapped), S6 and S12 (the ring rebalances itself as
//! nodes come and go). S13 (a store driven by an SLA) has no interface yet. S21 is about the original's language; the
//! benchmarks answer it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::config::Mode;
use quorate::error::{ContextError, PutError};
use quorate::reconcile::{LastWriteWins, MergeBy, Reconciler};
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, Layout, NodeId, PutOptions, Quorum, Reply, Request};

/// The article's object: a book, by its number.
const BOOK: &str = "0545010225";

fn sorted(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_unstable();
    nodes
}

/// Five nodes and one keyspace with this reconciler.
fn reconciled_by(reconciler: impl Reconciler + 'static, seed: u64) -> Sim {
    Sim::builder(5, seed).keyspaces(vec![Keyspace::new("default").reconciler(reconciler)]).build()
}

/// Writes `left` through the first owner and `right` through the second, while neither can hear of the other.
fn write_apart(sim: &mut Sim, key: &str, left: &str, right: &str, context: &Context) {
    let owners = sim.owners(key);
    let one = PutOptions { w: Some(1), ..PutOptions::default() };
    sim.split(&owners[..1], &owners[1..]);
    sim.put_with(owners[0], key, Some(left), context, one.clone()).unwrap();
    sim.put_with(owners[1], key, Some(right), context, one).unwrap();
    sim.heal();
    sim.settle();
}

fn update(sim: &mut Sim, node: NodeId, key: &str, change: impl Fn(&str) -> String) {
    let found = sim.get(node, key).unwrap();
    let old = found.value().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    sim.put_with(node, key, Some(&change(&old)), &found.context, PutOptions::default()).unwrap();
}

/// S1: two calls are the interface. A put takes the key, what was read before, and the object.
#[test]
fn a_put_takes_key_context_and_object_and_a_get_gives_object_and_context() {
    let mut sim = Sim::new(5, 1);
    sim.put(NodeId(1), BOOK, "first print").unwrap();
    let found = sim.get(NodeId(2), BOOK).unwrap();
    assert_eq!(found.value(), Some(&Bytes::from("first print")));
    assert!(!found.context.is_empty());
    sim.put_with(NodeId(3), BOOK, Some("second print"), &found.context, PutOptions::default()).unwrap();
    assert_eq!(sim.values(NodeId(4), BOOK), ["second print"]);
    // Without the context the store can't know that the writer meant to replace anything.
    sim.put(NodeId(5), BOOK, "another book").unwrap();
    assert_eq!(sim.values(NodeId(1), BOOK), ["another book", "second print"]);
}

/// S2: the context comes from the object, and an update is checked against it.
#[test]
fn the_context_of_another_object_and_a_forged_one_are_refused_and_write_nothing() {
    let mut sim = Sim::new(5, 2);
    sim.put(NodeId(1), BOOK, "book").unwrap();
    sim.put(NodeId(1), "pen", "pen").unwrap();
    let of_pen = sim.get(NodeId(1), "pen").unwrap().context;
    let refused = sim.put_with(NodeId(1), BOOK, Some("stolen"), &of_pen, PutOptions::default());
    assert_eq!(refused, Err(PutError::Context(ContextError::Foreign)));

    let of_book = sim.get(NodeId(1), BOOK).unwrap().context;
    let keyspace = Keyspace::new("default").id();
    let node = sim.node(NodeId(4)).unwrap();
    assert_eq!(node.context(keyspace, BOOK.as_bytes(), &of_book.to_bytes()), Ok(of_book.clone()));
    let elsewhere = node.context(keyspace, b"pen", &of_book.to_bytes());
    assert_eq!(elsewhere, Err(ContextError::Foreign));
    let mut forged = of_book.to_bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(node.context(keyspace, BOOK.as_bytes(), &forged).is_err());

    // And a client may have its update refused if the object has changed since.
    sim.put_with(NodeId(2), BOOK, Some("newer"), &of_book, PutOptions::default()).unwrap();
    let if_unchanged = PutOptions { if_unchanged: true, ..PutOptions::default() };
    assert_eq!(sim.put_with(NodeId(3), BOOK, Some("late"), &of_book, if_unchanged), Err(PutError::Changed));
    sim.settle();
    for node in sim.members() {
        assert_eq!(sim.values(node, BOOK), ["newer"]);
    }
}

/// S3: all nodes are alike, and form a ring.
#[test]
fn the_nodes_form_a_ring_of_equals() {
    let sim = Sim::builder(6, 3).partitions(60).build();
    let layout = sim.layout();
    let first = layout.partition_of(0);
    let last = layout.partition_of(u128::MAX);
    assert_eq!((first.0, last.0), (0, 59), "the ring has no gap between its end and its beginning");
    for node in sim.members() {
        let owned = (0..60).map(quorate::ids::PartitionId).filter(|&partition| layout.owns(node, partition)).count();
        let led = (0..60).map(quorate::ids::PartitionId).filter(|&partition| layout.owners(partition)[0] == node);
        assert_eq!((owned, led.count()), (30, 10), "{node} is not like the others");
        assert_eq!(sim.node(node).unwrap().layout().id(), layout.id());
    }
}

/// S5: the partitioning says which nodes keep an object.
#[test]
fn an_object_lies_at_its_owners_and_nowhere_else() {
    let mut sim = Sim::new(7, 5);
    for key in ["a", "b", "c", BOOK] {
        let through = sim.bystanders(key)[0];
        sim.put(through, key, "object").unwrap();
        sim.settle();
        assert_eq!(sim.holders(key), sorted(sim.owners(key)), "{key}");
    }
    // A pure function of the layout: whoever computes it again gets the same.
    let again: Layout = (**sim.layout()).clone();
    for partition in (0..again.partitions()).map(quorate::ids::PartitionId) {
        let list: Vec<NodeId> = again.preference_list(partition).collect();
        assert_eq!(list[..3], *sim.layout().owners(partition));
        assert_eq!(list.len(), 7);
    }
}

/// S7: every object gets to N nodes, and the client doesn't wait for all of them.
#[test]
fn every_object_is_replicated_to_n_nodes_behind_the_clients_back() {
    for n in 1..=5 {
        let mut sim = Sim::builder(5, 7).quorum(n, 1, 1, Mode::Sloppy).build();
        let owner = sim.owners(BOOK)[0];
        sim.owners(BOOK)[1..].iter().for_each(|&other| sim.network.slow(other, Duration::from_millis(5)));
        let written = sim.put(owner, BOOK, "book").unwrap();
        assert_eq!((written.owners, written.fallbacks), (1, 0), "it waited for more than W = 1 of {n}");
        let at_once = sim.owners(BOOK).into_iter().filter(|&node| !sim.stored(node, BOOK).is_empty()).count();
        sim.settle();
        let later = sim.owners(BOOK).into_iter().filter(|&node| sim.stored(node, BOOK) == ["book"]).count();
        assert_eq!((at_once, later), (1, usize::from(n)));
    }
}

/// S8: copies may differ for a while, and are reconciled after a time: consistency comes eventually.
#[test]
fn copies_that_have_diverged_become_equal() {
    let mut sim = Sim::new(5, 8);
    let owners = sim.owners(BOOK);
    sim.put(owners[0], BOOK, "old").unwrap();
    sim.settle();
    let context = sim.get(owners[0], BOOK).unwrap().context;
    let one = PutOptions { w: Some(1), ..PutOptions::default() };
    sim.split(&owners[..1], &owners[1..]);
    sim.put_with(owners[0], BOOK, Some("left"), &context, one.clone()).unwrap();
    sim.put_with(owners[1], BOOK, Some("right"), &context, one).unwrap();
    assert_eq!(sim.stored(owners[0], BOOK), ["left"]);
    assert_eq!(sim.stored(owners[1], BOOK), ["right"]);
    let parted = sim.now();
    sim.heal();
    sim.settle();
    for &owner in &owners {
        assert_eq!(sim.stored(owner, BOOK), ["left", "right"], "at {owner}");
    }
    assert!(sim.now().since(parted) < Duration::from_secs(10), "it took too long");
    // One write with the context of the read ends the matter, everywhere.
    let found = sim.get(owners[2], BOOK).unwrap();
    assert_eq!(found.siblings, 2);
    sim.put_with(owners[2], BOOK, Some("both"), &found.context, PutOptions::default()).unwrap();
    sim.settle();
    for &owner in &owners {
        assert_eq!(sim.stored(owner, BOOK), ["both"], "at {owner}");
    }
}

/// S9: any node takes any put and any get, for any key.
#[test]
fn any_node_takes_a_put_and_a_get_of_any_key() {
    let mut sim = Sim::new(6, 9);
    for writer in sim.members() {
        for number in 0..4 {
            let key = format!("{writer}/{number}");
            sim.put(writer, &key, "object").unwrap();
            for reader in sim.members() {
                assert_eq!(sim.values(reader, &key), ["object"], "{key} through {reader}");
            }
        }
    }
}

/// S10: objects are stored several times, so that the loss of a computer loses nothing.
#[test]
fn what_one_computer_loses_the_others_still_have() {
    for n in 2..=3 {
        for victim in 0..usize::from(n) {
            let mut sim = Sim::builder(4, 10).quorum(n, 2, 2, Mode::Sloppy).build();
            let owners = sim.owners(BOOK);
            sim.put(owners[0], BOOK, "book").unwrap();
            sim.settle();
            sim.crash(owners[victim]);
            sim.lose_data(owners[victim]);
            for node in sim.members().into_iter().filter(|&node| node != owners[victim]) {
                assert_eq!(sim.values(node, BOOK), ["book"], "N = {n} without {}", owners[victim]);
            }
            // The computer is replaced by an empty one: still nothing is missing.
            sim.restart(owners[victim]);
            for node in sim.members() {
                assert_eq!(sim.values(node, BOOK), ["book"], "N = {n}, {} is empty", owners[victim]);
            }
        }
    }
}

/// S11: an update at one computer makes its way to the others without the client.
#[test]
fn an_update_spreads_from_the_computer_where_it_was_made() {
    let mut sim = Sim::builder(3, 11).quorum(3, 1, 1, Mode::Sloppy).build();
    let [a, b, c] = sim.owners(BOOK)[..] else { unreachable!() };
    sim.put(a, BOOK, "old").unwrap();
    sim.settle();
    let context = sim.get(a, BOOK).unwrap().context;
    sim.network.slow(b, Duration::from_millis(5));
    sim.network.slow(c, Duration::from_millis(5));
    sim.put_with(a, BOOK, Some("new"), &context, PutOptions::default()).unwrap();
    let has = |sim: &Sim, node| sim.stored(node, BOOK) == ["new"];
    assert!(has(&sim, a), "acknowledged and not there");
    // Each of the others changes from old to new, once, while nobody asks for anything.
    let mut seen = (has(&sim, b), has(&sim, c));
    assert_eq!(seen, (false, false), "the client had to wait for all");
    while seen != (true, true) {
        assert!(sim.advance(), "the update got stuck: {seen:?}");
        let now = (has(&sim, b), has(&sim, c));
        assert!(now.0 >= seen.0 && now.1 >= seen.1, "an update was taken back");
        seen = now;
    }
}

/// S14: the application's own logic merges, as in a shopping cart: nothing that was added is lost.
#[test]
fn a_cart_is_merged_by_the_business_logic_and_no_item_is_lost() {
    let union = |a: &[u8], b: &[u8]| {
        let items = |cart: &[u8]| String::from_utf8_lossy(cart).split(' ').map(String::from).collect::<BTreeSet<_>>();
        let both: Vec<String> = items(a).union(&items(b)).cloned().collect();
        both.join(" ").into_bytes()
    };
    let mut sim = reconciled_by(MergeBy::new(union), 14);
    sim.put(NodeId(1), "cart", "book").unwrap();
    sim.settle();
    let context = sim.get(NodeId(1), "cart").unwrap().context;
    write_apart(&mut sim, "cart", "book pen", "book ink", &context);
    let found = sim.get(NodeId(2), "cart").unwrap();
    assert_eq!((found.value(), found.siblings), (Some(&Bytes::from("book ink pen")), 2));
    // The next change goes on from the merge and replaces both versions.
    update(&mut sim, NodeId(3), "cart", |cart| format!("{cart} paper"));
    let found = sim.get(NodeId(4), "cart").unwrap();
    assert_eq!((found.value(), found.siblings), (Some(&Bytes::from("book ink pen paper")), 1));
}

/// S15: the timestamp decides, as for sessions. Nothing but the reconciler differs from the cart.
#[test]
fn of_two_sessions_the_later_one_wins() {
    let mut sim = reconciled_by(LastWriteWins, 15);
    write_apart(&mut sim, "session", "page 1", "page 2", &Context::empty());
    for node in sim.members() {
        let found = sim.get(node, "session").unwrap();
        assert_eq!((found.value(), found.siblings), (Some(&Bytes::from("page 2")), 2));
    }
    // Clocks decide between strangers alone: who had read the other's write replaces it, however wrong the clock.
    let owner = sim.owners("session")[0];
    sim.skew(owner, -30_000_000);
    update(&mut sim, owner, "session", |_| "page 3".into());
    assert_eq!(sim.values(NodeId(1), "session"), ["page 3"]);
}

/// S16: tuned as a read engine, for a catalogue: one copy answers a read, and writes pay for it.
#[test]
fn a_read_engine_reads_one_copy_and_it_is_the_latest() {
    let mut sim = Sim::builder(5, 16).quorum(3, 1, 3, Mode::Strict).build();
    let owners = sim.owners(BOOK);
    let written = sim.put(NodeId(1), BOOK, "12 dollars").unwrap();
    assert_eq!(written.owners, 3);
    update(&mut sim, NodeId(2), BOOK, |_| "11 dollars".into());
    // Any single copy will do, with both others gone.
    for &last in &owners {
        let others: Vec<NodeId> = owners.iter().copied().filter(|&owner| owner != last).collect();
        others.iter().for_each(|&node| sim.crash(node));
        let found = sim.get(last, BOOK).unwrap();
        assert_eq!((found.value(), found.owners), (Some(&Bytes::from("11 dollars")), 1));
        let refused = sim.put_with(last, BOOK, Some("free"), &found.context, PutOptions::default());
        assert!(matches!(refused, Err(PutError::Unavailable(_))), "a write that can't reach all copies: {refused:?}");
        others.iter().for_each(|&node| sim.restart(node));
        // The refused write may have been made; what follows replaces it.
        sim.settle();
        update(&mut sim, last, BOOK, |_| "11 dollars".into());
        sim.settle();
    }
}

/// S17: the store is always writeable: a single live node takes the write.
#[test]
fn a_single_live_node_takes_a_write_and_says_when_it_alone_has_it() {
    for survivor in (1..=5).map(NodeId) {
        let mut sim = Sim::builder(5, 17).quorum(3, 1, 1, Mode::Sloppy).build();
        let owners = sim.owners(BOOK);
        let others: Vec<NodeId> = sim.members().into_iter().filter(|&node| node != survivor).collect();
        others.iter().for_each(|&node| sim.crash(node));
        let written = sim.put(survivor, BOOK, "book").unwrap_or_else(|error| panic!("{survivor} alone: {error}"));
        let is_owner = owners.contains(&survivor);
        assert_eq!(written.only_here, !is_owner, "{survivor} of {owners:?}");
        assert_eq!(written.owners, u8::from(is_owner));
        // What was taken can be read where it was taken, survives a loss of power, and gets where it belongs.
        assert_eq!(sim.values(survivor, BOOK), ["book"]);
        sim.crash(survivor);
        sim.members().into_iter().for_each(|node| sim.restart(node));
        sim.settle();
        for &owner in &owners {
            assert_eq!(sim.stored(owner, BOOK), ["book"], "{survivor} didn't pass it on to {owner}");
        }
        assert!(sim.debt().is_empty());
    }
}

/// S18: no node is the one that all depends on. Each is killed in turn while clients work.
#[test]
fn whichever_node_is_killed_no_request_fails() {
    let mut sim = Sim::new(5, 18);
    let mut written = 0;
    for victim in sim.members() {
        let others: Vec<NodeId> = sim.members().into_iter().filter(|&node| node != victim).collect();
        for round in 0..30 {
            if round == 10 {
                sim.crash(victim);
            }
            let (key, node) = (format!("key {written}"), others[round % others.len()]);
            sim.put(node, &key, "object").unwrap_or_else(|error| panic!("put through {node}: {error}"));
            written += 1;
            let old = format!("key {}", written / 2);
            assert_eq!(sim.values(others[(round + 1) % others.len()], &old), ["object"], "{old} without {victim}");
        }
        sim.restart(victim);
        sim.settle();
    }
    for number in 0..written {
        let key = format!("key {number}");
        assert_eq!(sim.values(NodeId(1), &key), ["object"]);
        assert_eq!(sim.holders(&key), sorted(sim.owners(&key)), "{key} is not where it belongs");
    }
    assert_eq!(sim.counters().failed, 0);
}

/// S19: enormous complexity behind a simple interface: a first cluster of five nodes in 20 lines.
#[test]
fn a_first_cluster_takes_twenty_lines() {
    // first cluster: begin
    let mut sim = Sim::new(5, 42);
    let (here, there) = (NodeId(1), NodeId(5));

    sim.put(here, "greeting", "hello").unwrap();
    let found = sim.get(there, "greeting").unwrap();
    assert_eq!(found.value(), Some(&Bytes::from("hello")));

    sim.put_with(there, "greeting", Some("hello world"), &found.context, PutOptions::default()).unwrap();
    assert_eq!(sim.values(here, "greeting"), ["hello world"]);

    sim.crash(sim.owners("greeting")[0]);
    let alive = sim.owners("greeting")[1];
    assert_eq!(sim.values(alive, "greeting"), ["hello world"]);
    // first cluster: end
    let lines: Vec<&str> = include_str!("article.rs").lines().map(str::trim).collect();
    let line = |mark| lines.iter().position(|line| *line == mark).unwrap();
    let length = line("// first cluster: end") - line("// first cluster: begin") - 1;
    assert!((5..=20).contains(&length), "{length} lines");
}

/// S20: an object is found by its number, from any node, as fast as two messages go.
#[test]
fn a_book_is_found_by_its_number() {
    let mut sim = Sim::new(5, 20);
    let cover: Vec<u8> = (0..=255).collect();
    let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from(BOOK));
    let (value, context) = (Some(Bytes::from(&cover[..])), Context::empty());
    let put = Request::Put { keyspace, key: key.clone(), value, context, options: PutOptions::default() };
    let ticket = sim.start(NodeId(1), put);
    assert!(matches!(sim.wait(NodeId(1), ticket), Some(Reply::Put(Ok(_)))));
    sim.settle();
    for node in sim.members() {
        let before = sim.now();
        let get = Request::Get { keyspace, key: key.clone(), options: GetOptions::default() };
        let ticket = sim.start(node, get);
        let Some(Reply::Get(Ok(found))) = sim.wait(node, ticket) else { panic!("not found through {node}") };
        assert_eq!(found.value().map(|value| value.to_vec()), Some(cover.clone()));
        assert!(sim.now().since(before) <= Duration::from_millis(2), "more than there and back");
    }
    assert!(sim.values(NodeId(1), "0545010226").is_empty(), "a book that nobody put there");
    assert_eq!(Quorum::default().n(), 3);
}
