//! What must hold of any bytes that reach a node.
//!
//! One function for each target. The fuzzer calls it with what it makes up; `tests/corpus.rs` calls it with the
//! committed corpus and mutations of it. Each looks at the bytes as they are, and again behind a checksum or a seal
//! that fits: they keep out accidents, not who can compute them.

mod cluster;
pub mod forge;
mod mutate;
mod node;
mod stored;

pub use cluster::{conversation, crowds, said_of, usual_crowds};
pub use mutate::Mutator;
pub use node::{node, script};
pub use stored::{STORED, record, stored};

use quorate::causality::{Identity, Secret};
use quorate::config::Limits;
use quorate::ids::{PartitionId, StoreId, ZoneId};
use quorate::ring::{Change, Member, plan_change, plan_first};
use quorate::storage::MemoryStorage;
use quorate::{Bytes, ClusterId, Codec, Context, Keyspace, Layout, Message, Node, NodeId, PutOptions, Reply, Request};

use cluster::Lone;

/// Looks at some bytes; panics if what must hold of them does not.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Check); 6] = [
    ("frame", frame),
    ("message", message),
    ("context_token", context_token),
    ("record", record),
    ("layout", layout),
    ("node", node),
];

pub const IDENTITY: Identity = Identity { cluster: ClusterId(forge::CLUSTER), secret: Secret::new(forge::SECRET) };
/// The key whose contexts are looked at.
pub const KEY: &[u8] = b"key";

pub fn codec() -> Codec {
    Codec::new(IDENTITY, Limits::default().frame)
}

/// A node that has nothing yet.
pub fn lone() -> Node<MemoryStorage> {
    Lone::open(Vec::new()).expect("an empty storage opens").node
}

/// A frame is refused, or says the same when what it said is sent on.
pub fn frame(data: &[u8]) {
    for bytes in [data, &forge::checked(data)] {
        if let Ok((from, messages)) = codec().decode(bytes) {
            same_again(from, &messages);
        }
    }
}

/// So is a message, of whichever kind.
pub fn message(data: &[u8]) {
    if let Ok((from, messages)) = codec().decode(&forge::frame(3, data)) {
        assert_eq!((from, messages.len()), (NodeId(3), 1));
        same_again(from, &messages);
    }
}

fn same_again(from: NodeId, messages: &[Message]) {
    let frames = codec().encode(from, messages);
    let mut decoded = Vec::new();
    for frame in &frames {
        let (sender, part) = codec().decode(frame).expect("what was decoded and encoded can be decoded");
        assert_eq!(sender, from);
        decoded.extend(part);
    }
    assert_eq!(decoded, messages);
    assert_eq!(codec().encode(from, &decoded), frames, "equal messages have equal bytes");
}

/// A context that a client brings is refused, or is the one that was handed out; and a put with it is readable.
pub fn context_token(data: &[u8]) {
    let keyspace = Keyspace::new("default").id();
    let (route, body) = data.split_first().map_or((0, data), |(route, body)| (u64::from(*route), body));
    for token in [data.to_vec(), forge::context(route, keyspace, KEY, body)] {
        let mut lone = Lone::open(Vec::new()).expect("an empty storage opens");
        let Ok(context) = lone.node.context(keyspace, KEY, &token) else { continue };
        assert_eq!(context.to_bytes(), token[..], "a context has one spelling");
        let (key, value, options) = (Bytes::from(KEY), Some(Bytes::from("v")), PutOptions::default());
        let put = lone.ask(Request::Put { keyspace, key, value, context, options });
        let Some(Reply::Put(Ok(written))) = put else { panic!("{put:?}") };
        assert_eq!(lone.values(), [Bytes::from("v")]);
        let (key, value, options) = (Bytes::from(KEY), Some(Bytes::from("w")), PutOptions::default());
        lone.ask(Request::Put { keyspace, key, value, context: written.context, options });
        lone.ask(Request::Put {
            keyspace,
            key: Bytes::from(KEY),
            value: None,
            context: Context::empty(),
            options: PutOptions::default(),
        });
    }
}

/// Bytes of a layout are refused, or they are the layout's only spelling, and it places every partition properly.
pub fn layout(data: &[u8]) {
    for bytes in [data, &forge::layout(data)] {
        let Ok(layout) = Layout::decode(bytes) else { continue };
        assert_eq!(layout.encode(), bytes);
        for partition in [0, layout.partitions() / 2, layout.partitions() - 1].map(PartitionId) {
            let mut list: Vec<NodeId> = layout.preference_list(partition).collect();
            assert_eq!(layout.owners(partition), &list[..usize::from(layout.n())]);
            assert!(layout.ballot(partition) <= layout.id());
            list.sort_unstable();
            assert!(list.iter().eq(layout.members().iter().map(|member| &member.node)), "each member once");
        }
        assert!(layout.members().iter().all(|member| !layout.is_gone(member.node, member.store)));
    }
}

/// Layouts as operators make them: of few members and many, with zones and weights, and one that has come from others.
pub fn layouts() -> Vec<(String, Layout)> {
    let members = |count: u64, zones: u32| -> Vec<Member> {
        (1..=count)
            .map(|node| Member::new(NodeId(node * 37)).zone(ZoneId(node as u32 % zones)).weight(1 + node as u32 % 3))
            .collect()
    };
    let plan =
        |count, zones, n, partitions| plan_first(&members(count, zones), n, partitions).expect("a layout").layout;
    let changed = (0..3).fold(plan(6, 3, 3, 16), |layout, step| {
        let node = |at: usize| layout.members()[at].node;
        let change =
            Change::of(&layout).renew(node(2), StoreId(step)).gone(node(4)).join(Member::new(NodeId(step as u64)));
        plan_change(&layout, &change).expect("a layout").layout
    });
    vec![
        ("changed".into(), changed),
        ("one".into(), plan(1, 1, 1, 1)),
        ("few".into(), plan(4, 2, 3, 8)),
        ("odd".into(), plan(7, 7, 2, 13)),
        ("many".into(), plan(40, 5, 5, 64)),
    ]
}
