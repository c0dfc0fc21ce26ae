//! What no client and no honest peer brings about: made by hand, from inside.

mod exchange;

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Input, Keyspace, Node, Setup};
use crate::causality::{Context, DotSet, Entry, Identity, Secret, Stamp, Update};
use crate::codec::Codec;
use crate::config::{Durability, Limits};
use crate::error::ContextError;
use crate::ids::{Actor, ClusterId, Dot, NodeId, RequestId, Start};
use crate::key::Key;
use crate::message::{Message, Write};
use crate::ring::{Member, plan_first};
use crate::storage::{MemoryStorage, Space, Storage};
use crate::time::{Now, Time, WallTime};

const IDENTITY: Identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
const KEY: &[u8] = b"k";

fn now(seconds: u64) -> Now {
    Now { time: Time(seconds * 1_000_000), wall: WallTime(seconds * 1_000_000) }
}

fn open(limits: Limits) -> Node<MemoryStorage> {
    let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
    let layout = Arc::new(plan_first(&members, 3, 4).expect("a layout").layout);
    let setup = Setup { limits, ..Setup::new(IDENTITY, NodeId(1), layout, vec![Keyspace::new("default")]) };
    Node::open(setup, vec![MemoryStorage::new()], Start(7), 1, now(0)).expect("it opens")
}

fn key() -> Key {
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
        let write = Write { request, layout, key: key(), update, hint_for: None, durability };
        // Through its bytes, as it would come.
        let frame = codec.encode(NodeId(2), &[Message::Write(write)]).remove(0);
        let (from, mut messages) = codec.decode(&frame).expect("a member may say so");
        node.step(now(seconds), Input::Message(from, messages.remove(0)));
        node.step(now(seconds + 2), Input::Wake);
        node.commit().expect("memory doesn't fail");
    };
    let last = Dot { actor: Actor { node: NodeId(2), start: Start(10_001) }, counter: 1 };
    let entry = Entry { dot: last, write_id: None, stamp: Stamp(1), value: "v".into() };
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
