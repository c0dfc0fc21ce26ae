//! The membership: what a node computes when it takes in what others say, and when it says what it knows.
//!
//! ```text
//! cargo bench --bench gossip             everything, about half a minute
//! cargo bench --bench gossip -- '^take'  what a filter selects
//! ```
//! `at rest` is a whole round between two that know the same: one message, composed and heard. `one differs` is one in
//! which a record that isn't news any more is found range by range and told. `by hand` is the least that a membership
//! in a map takes to look at a record that is known already.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::gossip::{Gossiper, Introduction};
use quorate::ids::{LayoutId, StoreId, ZoneId};
use quorate::members::{Gossip, Layouts, MemberRecord, Membership, Presence, Protocols};
use quorate::{Bytes, ClusterId, NodeId, Start};

const SIZES: [u64; 3] = [10, 100, 1_000];

fn presence(node: u64) -> Presence {
    Presence {
        ordinal: 1,
        start: Start(node),
        store: StoreId(u128::from(node)),
        protocols: Protocols { lowest: 1, highest: 1 },
        address: Bytes::from("10.0.0.1:7000"),
    }
}

fn record(node: u64) -> MemberRecord {
    MemberRecord::joining(NodeId(node), ZoneId(0), 1, presence(node)).expect("a record")
}

fn membership(count: u64) -> Membership {
    let first = LayoutId { version: 1, hash: 1 };
    let mut membership = Membership::founding(ClusterId(1), Layouts::founded(first));
    (0..count).for_each(|node| {
        membership.take(&record(node)).expect("room");
    });
    membership
}

/// A node whose news have all been told.
fn member(membership: &Membership, node: u64) -> Gossiper {
    let introduction = Introduction {
        node: NodeId(node),
        zone: ZoneId(0),
        weight: 1,
        presence: presence(node),
        seeds: vec![NodeId(0)],
    };
    let mut member = Gossiper::open(membership.clone(), introduction, node).expect("it opens");
    (0..10).for_each(|_| {
        member.round(|_| false);
    });
    member
}

fn joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    for count in SIZES {
        let (old, mut new) = (membership(count), membership(count));
        let changed = record(count / 2).seated(ZoneId(1), 2).expect("a record");
        new.take(&changed).expect("room");
        group.bench_function(format!("equal/{count}"), |b| {
            b.iter_batched_ref(|| old.clone(), |own| own.join(black_box(&old)), BatchSize::SmallInput);
        });
        group.bench_function(format!("one differs/{count}"), |b| {
            b.iter_batched_ref(|| old.clone(), |own| own.join(black_box(&new)), BatchSize::SmallInput);
        });
    }
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take");
    for count in SIZES {
        let mut own = membership(count);
        let (known, changed) = (record(count / 2), record(count / 2).seated(ZoneId(1), 2).expect("a record"));
        group.bench_function(format!("known/{count}"), |b| b.iter(|| own.take(black_box(&known))));
        group.bench_function(format!("news/{count}"), |b| {
            b.iter_batched_ref(|| own.clone(), |own| own.take(black_box(&changed)), BatchSize::SmallInput);
        });
        let by_hand: BTreeMap<NodeId, MemberRecord> = own.records().map(|own| (own.node(), own.clone())).collect();
        group.bench_function(format!("known, by hand/{count}"), |b| {
            b.iter(|| by_hand.get(&black_box(&known).node()) == Some(&known));
        });
    }
}

/// All that two say to each other when `from` opens a round with `to`.
fn talk(from: &mut Gossiper, to: &mut Gossiper) -> usize {
    let mut messages = 0;
    let mut said: Option<Gossip> = from.round(|_| false).map(|(_, gossip)| gossip);
    while let Some(gossip) = said {
        messages += 1;
        let hearer = if messages % 2 == 1 { &mut *to } else { &mut *from };
        said = hearer.hear(&gossip).reply;
    }
    messages
}

fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round");
    for count in SIZES {
        let start = membership(count);
        let (mut one, mut other) = (member(&start, 1), member(&start, 1));
        assert_eq!(talk(&mut one, &mut other), 1);
        group.bench_function(format!("at rest/{count}"), |b| b.iter(|| talk(&mut one, &mut other)));
        let mut changed = one.membership().clone();
        let record = changed.record(NodeId(count / 2)).expect("it is known").seated(ZoneId(1), 2).expect("a record");
        changed.take(&record).expect("room");
        // Both started alike, and one of them knows more.
        let other = member(&changed, 1);
        group.bench_function(format!("one differs/{count}"), |b| {
            b.iter_batched_ref(
                || (one.clone(), other.clone()),
                |(one, other)| talk(black_box(one), black_box(other)),
                BatchSize::SmallInput,
            );
        });
    }
}

fn bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bytes");
    for count in SIZES {
        let membership = membership(count);
        let bytes = membership.encode();
        group.bench_function(format!("encode/{count}"), |b| b.iter(|| black_box(&membership).encode()));
        group.bench_function(format!("decode/{count}"), |b| b.iter(|| Membership::decode(black_box(&bytes))));
    }
}

criterion_group!(benches, joins, records, rounds, bytes);
criterion_main!(benches);
