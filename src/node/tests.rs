//! What no client and no honest peer brings about: made by hand, from inside.

mod exchange;
mod membership;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::{Input, Keyspace, Node, Output, Setup};
use crate::causality::{Context, DotSet, Entry, Identity, Secret, Stamp, Update};
use crate::codec::Codec;
use crate::config::{Durability, Limits, Timing};
use crate::error::ContextError;
use crate::ids::{Actor, ClusterId, Dot, NodeId, RequestId, Start};
use crate::key::Key;
use crate::message::{Hints, HintsReply, Message, NamesKnown, Write};
use crate::names::{Definition, Name};
use crate::ring::{Member, plan_first};
use crate::storage::{MemoryStorage, Space, Storage};
use crate::time::{Now, Time, WallTime};

pub(super) const IDENTITY: Identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
pub(super) const KEY: &[u8] = b"k";

pub(super) fn now(seconds: u64) -> Now {
    Now { time: Time(seconds * 1_000_000), wall: WallTime(seconds * 1_000_000) }
}

fn open(limits: Limits) -> Node<MemoryStorage> {
    open_with(limits, &[1, 2, 3], vec![MemoryStorage::new()])
}

fn open_with(limits: Limits, nodes: &[u64], storages: Vec<MemoryStorage>) -> Node<MemoryStorage> {
    let members: Vec<_> = nodes.iter().map(|&node| Member::new(NodeId(node))).collect();
    let layout = Arc::new(plan_first(&members, 3, 16).expect("a layout").layout);
    // Whom nobody asks anything is not suspected.
    let timing = Timing { exchange: Duration::MAX, ..Timing::default() };
    let setup = Setup { limits, timing, ..Setup::new(IDENTITY, NodeId(1), layout, vec![Keyspace::new("default")]) };
    Node::open(setup, storages, Start(7), 1, now(0)).expect("it opens")
}

pub(super) fn key() -> Key {
    Key::new(&IDENTITY.secret, Keyspace::new("default").id(), KEY)
}

/// One event each of 10,000 starts of node 2.
fn dots() -> impl Iterator<Item = Dot> {
    (1..=10_000).map(|start| Dot { actor: Actor { node: NodeId(2), start: Start(start) }, counter: 1 })
}

fn stored(node: &Node<MemoryStorage>, space: Space) -> usize {
    let mut bytes = 0;
    let all = node.storages().next().expect("a shard").scan(space, &[], &mut |_, value| {
        bytes += value.len();
        ControlFlow::Continue(())
    });
    all.expect("memory doesn't fail");
    bytes
}

#[test]
fn a_context_of_ten_thousand_actors_is_too_long_though_its_seal_is_good() {
    let node = open(Limits::default());
    let covered: DotSet = dots().collect();
    let context = Context::new(IDENTITY, key().position(), DotSet::new(), covered, None);
    let (bytes, limit) = (context.to_bytes(), Limits::default().context);
    let opened = node.context(Keyspace::new("default").id(), KEY, &bytes);
    assert_eq!(opened, Err(ContextError::TooLong { got: bytes.len(), limit }));
    let patient = open(Limits { context: 1 << 20, ..Limits::default() });
    assert_eq!(patient.context(Keyspace::new("default").id(), KEY, &bytes), Ok(context));
}

/// A member may have read what ten thousand starts wrote, where this node has heard of none of them.
#[test]
fn a_write_that_covers_ten_thousand_unknown_actors_is_taken_and_its_record_shrinks_again() {
    let mut node = open(Limits::default());
    let codec = Codec::new(IDENTITY, Limits::default().frame);
    let step = |node: &mut Node<MemoryStorage>, seconds, update| {
        let (request, layout) = (RequestId { start: Start(9), number: seconds }, node.layout().id());
        let (update, durability) = (Arc::new(update), Durability::Quorum);
        let write = Write {
            request,
            sets: crate::ballot::Sets::of(layout),
            round: 0,
            key: key(),
            update,
            hint_for: None,
            durability,
        };
        // Through its bytes, as it would come.
        let frame = codec.encode(NodeId(2), &[Message::Write(write)]).remove(0);
        let (from, mut messages) = codec.decode(&frame).expect("a member may say so");
        node.step(now(seconds), Input::Message(from, messages.remove(0)));
        node.step(now(seconds + 2), Input::Wake);
        node.commit().expect("memory doesn't fail");
    };
    let last = Dot { actor: Actor { node: NodeId(2), start: Start(10_001) }, counter: 1 };
    let entry = Entry { dot: last, write_id: None, expires: None, stamp: Stamp(1), value: "v".into() };
    step(&mut node, 1, Update::put(entry, &dots().collect()));
    assert_eq!(node.counters().unsettled, 1);
    assert!(stored(&node, Space::Objects) > 10_000 * 10, "each of them is kept as long as it may still arrive");
    // They arrive, all in one hint: the clock covers them, and nothing of them is left with the key.
    let events: DotSet = dots().collect();
    step(&mut node, 10, Update { live: Vec::new(), covered: events.clone(), events });
    assert_eq!(node.counters().unsettled, 0);
    assert!(stored(&node, Space::Objects) < 100, "{} bytes", stored(&node, Space::Objects));
    let live = node.inspect(Keyspace::new("default").id(), KEY).expect("memory doesn't fail").expect("an owner");
    assert_eq!(live.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [b"v"]);
}

/// Gives the node a hint for each of so many keys that `target` owns, from node 2.
fn leave_hints(node: &mut Node<MemoryStorage>, target: NodeId, count: usize) -> Vec<Key> {
    let names =
        (0..).map(|number: u32| Key::new(&IDENTITY.secret, Keyspace::new("default").id(), &number.to_le_bytes()));
    let layout = Arc::clone(node.layout());
    let owned = names.filter(|key| layout.owns(target, layout.partition_of(key.position())));
    let keys: Vec<Key> = owned.take(count).collect();
    for (number, key) in (1..).zip(&keys) {
        let dot = Dot { actor: Actor { node: NodeId(2), start: Start(3) }, counter: number };
        let entry = Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: "v".into() };
        let update = Arc::new(Update::put(entry, &DotSet::new()));
        let (request, layout) = (RequestId { start: Start(3), number }, layout.id());
        let (key, durability) = (key.clone(), Durability::Quorum);
        let write = Write {
            request,
            sets: crate::ballot::Sets::of(layout),
            round: 0,
            key,
            update,
            hint_for: Some(target),
            durability,
        };
        node.step(now(0), Input::Message(NodeId(2), Message::Write(write)));
    }
    node.commit().expect("memory doesn't fail");
    keys
}

/// The batches of hints among what leaves now.
fn batches(node: &mut Node<MemoryStorage>) -> Vec<(NodeId, Hints)> {
    node.commit().expect("memory doesn't fail");
    let batch = |output| match output {
        Output::Send(to, Message::Hints(hints)) => Some((to, hints)),
        _ => None,
    };
    std::iter::from_fn(|| node.poll()).filter_map(batch).collect()
}

fn acknowledge(node: &mut Node<MemoryStorage>, at: Now, from: NodeId, hints: &Hints) {
    let stored = hints.items.iter().map(|item| item.index).collect();
    let reply = HintsReply { request: hints.request, stored, wait: 0 };
    node.step(at, Input::Message(from, Message::HintsReply(reply)));
}

#[test]
fn a_batch_of_hints_is_one_larger_than_the_last_or_half_of_what_was_not_acknowledged() {
    let (mut node, target) = (open(Limits { hint_batch: 11, ..Limits::default() }), NodeId(3));
    let keys = leave_hints(&mut node, target, 200);
    node.step(now(0), Input::Wake);
    let (mut sizes, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (to, hints) = batches(&mut node).remove(0);
        assert!(to == target && !hints.last);
        sizes.push(hints.items.len());
        sent.extend(hints.items.iter().map(|item| item.key.clone()));
        acknowledge(&mut node, now(0), target, &hints);
    }
    assert_eq!((sizes, &sent[..]), (vec![8, 9, 10, 11, 11], &keys[..49]), "the oldest first");
    // Some are acknowledged late or never: half of a batch goes again. The rest waits its turn.
    let (_, first) = batches(&mut node).remove(0);
    let mut at = 0;
    let half = |node: &mut Node<MemoryStorage>, at: &mut u64| {
        // It answers, and stores nothing.
        let reply = HintsReply { request: first.request, stored: Vec::new(), wait: 0 };
        node.step(now(*at), Input::Message(target, Message::HintsReply(reply)));
        *at += 20;
        node.step(now(*at), Input::Wake);
        batches(node).remove(0).1
    };
    let second = half(&mut node, &mut at);
    assert_eq!((second.request, second.items.len()), (first.request, 5));
    assert_eq!(half(&mut node, &mut at).items.len(), 2);
    let last = half(&mut node, &mut at);
    assert_eq!((last.items.len(), &last.items[0].key), (1, &keys[49]));
    acknowledge(&mut node, now(at), target, &first);
    assert_eq!(node.hints(), [(target, 150)], "what is not sent any more is not taken for stored");
    let (_, next) = batches(&mut node).remove(0);
    assert_eq!((next.items.len(), &next.items[0].key), (2, &keys[50]));
}

#[test]
fn a_holder_that_is_told_to_wait_waits_and_comes_when_it_is_called() {
    let (mut node, target) = (open(Limits::default()), NodeId(3));
    leave_hints(&mut node, target, 10);
    node.step(now(0), Input::Wake);
    let (_, first) = batches(&mut node).remove(0);
    let answer = |node: &mut Node<MemoryStorage>, wait| {
        let reply = HintsReply { request: first.request, stored: Vec::new(), wait };
        node.step(now(0), Input::Message(target, Message::HintsReply(reply)));
        batches(node)
    };
    assert_eq!(answer(&mut node, 3_000_000), []);
    node.step(now(2), Input::Wake);
    assert_eq!(batches(&mut node), []);
    node.step(now(3), Input::Wake);
    let (_, asks) = batches(&mut node).remove(0);
    assert!(asks.items[..] == first.items[..1] && !asks.last, "it asks with one");
    assert_eq!(answer(&mut node, u64::MAX), []);
    assert_eq!(answer(&mut node, 0), [(target, first.clone())], "called, with all of it: nothing was late");
    assert_eq!(answer(&mut node, 0), [], "nothing could be stored: that is no call");
    assert!(node.suspects().is_empty());
    acknowledge(&mut node, now(4), target, &first);
    let (_, last) = batches(&mut node).remove(0);
    assert!(last.last && last.items.len() == 2);
}

#[test]
fn hints_for_a_node_that_is_no_member_any_more_go_to_the_owners_of_their_keys() {
    let gone = NodeId(9);
    // Whom node 1 delivers to itself, and whom another gets.
    let mut old = open_with(Limits::default(), &[1, 2, 3, 9], vec![MemoryStorage::new()]);
    let keys = leave_hints(&mut old, gone, 40);
    assert_eq!(old.hints(), [(gone, 40)]);
    let mut node = open_with(Limits::default(), &[1, 2, 3], old.into_storages());
    assert_eq!(node.hints(), [(gone, 40)]);
    let layout = Arc::clone(node.layout());
    let first = |key: &Key| layout.owners(layout.partition_of(key.position()))[0];
    let mut received = Vec::new();
    for second in 1..60 {
        node.step(now(second), Input::Wake);
        while let Some((to, hints)) = batches(&mut node).pop() {
            assert!(to != gone && hints.items.iter().all(|item| first(&item.key) == to));
            received.extend(hints.items.iter().map(|item| item.key.clone()));
            acknowledge(&mut node, now(second), to, &hints);
        }
    }
    assert_eq!(node.hints(), []);
    let others: Vec<_> = keys.iter().filter(|key| first(key) != NodeId(1)).collect();
    received.sort_unstable_by_key(Key::position);
    received.dedup();
    assert_eq!(received.len(), others.len());
    assert!(!others.is_empty() && others.len() < keys.len(), "{} of {}", others.len(), keys.len());
    for key in keys.iter().filter(|key| first(key) == NodeId(1)) {
        let live = node.inspect(key.keyspace(), key.user()).expect("memory doesn't fail").expect("an owner");
        assert_eq!(live.len(), 1);
    }
    let counters = node.counters();
    assert!(counters.hints_balance() && (counters.hints_delivered, counters.hints_dropped) == (40, 0));
}

/// A name that nobody tells: what says it waits within bounds, and the questions for it don't breed.
#[test]
fn what_says_an_unknown_name_waits_within_bounds_and_asks_once_for_an_answer() {
    let mut node = open(Limits::default());
    let layout = node.layout().id();
    let (peer, partition) = (NodeId(2), node.layout().partition_of(key().position()));
    let request = |number| RequestId { start: Start(9), number };
    let wanted = |node: &mut Node<MemoryStorage>| {
        node.commit().expect("memory doesn't fail");
        let all = std::iter::from_fn(|| node.poll());
        all.filter(|output| matches!(output, Output::Send(_, Message::NamesWanted(_)))).count()
    };
    let dot = dots().next().expect("a dot");
    let entry = Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: "v".into() };
    for number in 0..100 {
        let update = Arc::new(Update::put(entry.clone(), &dots().collect()));
        let (durability, hint_for) = (Durability::Quorum, None);
        let write = Write {
            request: request(number),
            sets: crate::ballot::Sets::of(layout),
            round: 0,
            key: key(),
            update,
            hint_for,
            durability,
        };
        let headed = Message::Write(write).headed(|_, _| Some((Name(7), DotSet::of(dot))));
        node.step(now(1), Input::Message(peer, headed));
    }
    assert_eq!((wanted(&mut node), node.held.len()), (100, 16));
    let tell = |node: &mut Node<MemoryStorage>, seconds, dots: DotSet| {
        let definitions = vec![Definition::new(None, dots).expect("rows")];
        let known = NamesKnown { request: None, layout, partition, definitions, held: Vec::new() };
        node.step(now(seconds), Input::Message(peer, Message::NamesKnown(known)));
        wanted(node)
    };
    let one = || dots().take(1).collect::<DotSet>();
    assert_eq!(tell(&mut node, 2, one()), 1, "new, and of no use: there may be more");
    assert_eq!(tell(&mut node, 2, one()), 0, "nothing new");
    assert_eq!((node.held.len(), stored(&node, Space::Objects)), (16, 0));
    assert_eq!(tell(&mut node, 60, dots().take(2).collect()), 0, "they have waited for too long");
    assert_eq!(node.held.len(), 0);
}
