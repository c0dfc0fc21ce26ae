//! The laws of the tree, of its comparison and of its rebuild, on drawn keys; hostile peers; golden bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::span::Span;
use super::tree::STEP;
use super::*;
use crate::hash::Secret;
use crate::ids::{Actor, Dot, NodeId, Start};

const SECRET: Secret = Secret::new(*b"0123456789abcdef");

/// What a tree is of: digests by position, and by a number that tells keys at one position apart.
type Model = BTreeMap<(u64, u8), u128>;

fn dot(node: u64, counter: u64) -> Dot {
    Dot { actor: Actor { node: NodeId(node), start: Start(node * 17) }, counter }
}

/// The positions of partition `partition` of `count`.
fn partition(partition: u32, count: u32) -> RangeInclusive<u64> {
    let start = |partition: u32| (u128::from(partition) << 64).div_ceil(u128::from(count));
    start(partition) as u64..=(start(partition + 1) - 1) as u64
}

/// Numbers that look random, the same at every run.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// So many keys, spread as a hash spreads them.
fn spread(keys: u64, positions: &RangeInclusive<u64>) -> Model {
    let width = u128::from(positions.end() - positions.start()) + 1;
    let position = |key| positions.start() + ((u128::from(mix(key)) * width) >> 64) as u64;
    (0..keys).map(|key| ((position(key), 0), u128::from(mix(!key)) << 64 | u128::from(mix(key << 32)))).collect()
}

fn tree_of(positions: &RangeInclusive<u64>, keys: &Model) -> Tree {
    let mut rebuild = Rebuild::new(positions.clone(), keys.len() as u64);
    let keys: Vec<(u64, u128)> = keys.iter().map(|(&(position, _), &digest)| (position, digest)).collect();
    rebuild.take(*positions.end(), &keys).expect("the keys are in the range");
    rebuild.finish().expect("all was given")
}

/// What a session does, in turns; the messages go through their bytes. The leaves that differ, and all bytes.
fn walk(a: &Tree, b: &Tree) -> (Nodes, usize) {
    if a.summary().short() == b.summary().short() {
        return (Nodes::new(0, Vec::new()).unwrap(), 9);
    }
    let (common, mut differing, mut bytes) = (a.depth().min(b.depth()), Nodes::root(), 2 * 9);
    let (mut says, mut hears) = (a, b);
    while differing.depth() < common && !differing.is_empty() {
        let mut next = Vec::new();
        let mut depth = 0;
        for page in differing.pages() {
            let level = says.level(&page, common).unwrap();
            let sent = bincode::serde::encode_to_vec(&level, bincode::config::standard()).unwrap();
            let (heard, used): (Level, _) =
                bincode::serde::decode_from_slice(&sent, bincode::config::standard()).unwrap();
            assert_eq!((&heard, used), (&level, sent.len()));
            bytes += sent.len();
            let page = hears.compare(&heard).unwrap();
            depth = page.depth();
            next.extend_from_slice(page.indices());
        }
        differing = Nodes::new(depth, next).unwrap();
        (says, hears) = (hears, says);
    }
    (differing, bytes)
}

/// The keys of a model in some ranges, as a scan lists them.
fn listed(keys: &Model, ranges: &[RangeInclusive<u64>]) -> Vec<KeyDigest> {
    let of = |range: &RangeInclusive<u64>| keys.range((*range.start(), 0)..=(*range.end(), u8::MAX));
    ranges.iter().flat_map(of).map(|(&(position, _), &digest)| KeyDigest::new(position, digest)).collect()
}

/// The positions at which two models are not the same.
fn difference(a: &Model, b: &Model) -> BTreeSet<u64> {
    let of = |left: &Model, right: &Model| -> Vec<u64> {
        left.iter().filter(|(key, digest)| right.get(key) != Some(digest)).map(|(key, _)| key.0).collect()
    };
    of(a, b).into_iter().chain(of(b, a)).collect()
}

fn any_positions() -> impl Strategy<Value = RangeInclusive<u64>> {
    prop_oneof![
        (1_u32..70_000, any::<prop::sample::Index>())
            .prop_map(|(count, at)| partition(at.index(count as usize) as u32, count)),
        (any::<u64>(), 0_u64..100).prop_map(|(first, more)| first..=first.saturating_add(more)),
        Just(0..=u64::MAX),
    ]
}

/// Keys in a range: spread, at its ends, or several at one position.
fn any_keys(positions: RangeInclusive<u64>, most: usize) -> impl Strategy<Value = Model> {
    let (first, last) = positions.clone().into_inner();
    let position = prop_oneof![
        8 => positions,
        1 => Just(first),
        1 => Just(last),
    ];
    prop::collection::btree_map((position, 0_u8..2), any::<u128>(), 0..most)
}

fn two_states() -> impl Strategy<Value = (RangeInclusive<u64>, Model, Model)> {
    any_positions().prop_flat_map(|positions| {
        (Just(positions.clone()), any_keys(positions.clone(), 600), any_keys(positions, 30), any::<bool>()).prop_map(
            |(positions, base, changed, removes)| {
                let mut other = base.clone();
                other.extend(changed);
                if removes {
                    other.pop_first();
                }
                (positions, base, other)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_position_lies_in_its_part_and_parts_follow_one_another(
        positions in any_positions(), at in any::<prop::sample::Index>(), depth in 0_u8..=24,
    ) {
        let span = Span::new(positions.clone());
        let width = positions.end() - positions.start();
        let position = positions.start() + (at.index(usize::MAX) as u64).min(width);
        let part = (u64::from(span.slot(position)) >> (32 - depth)) as u32;
        let range = span.parts(depth, part, part).unwrap();
        prop_assert!(range.contains(&position));
        prop_assert!(positions.contains(range.start()) && positions.contains(range.end()));
        // The next part that has positions begins where this one ends.
        if range.end() < positions.end() {
            let next = (u64::from(span.slot(range.end() + 1)) >> (32 - depth)) as u32;
            prop_assert!(next > part);
            prop_assert_eq!(*span.parts(depth, next, next).unwrap().start(), range.end() + 1);
        }
        prop_assert_eq!(span.parts(depth, 0, ((1_u64 << depth) - 1) as u32), Some(positions));
    }

    #[test]
    fn order_and_history_leave_no_trace(
        (positions, keys, others) in two_states(), order in any::<u64>(),
    ) {
        let expected = tree_of(&positions, &keys);
        let mut shuffled: Vec<_> = keys.iter().collect();
        shuffled.sort_by_key(|((position, which), _)| mix(position ^ order ^ u64::from(*which)));
        let mut tree = Tree::new(positions.clone());
        for (&(position, _), &digest) in &others {
            tree.replace(position, None, Some(digest));
        }
        for (key, &digest) in shuffled {
            tree.replace(key.0, others.get(key).copied(), Some(digest));
        }
        for ((position, _), &digest) in others.iter().filter(|(key, _)| !keys.contains_key(key)) {
            tree.replace(*position, Some(digest), None);
        }
        prop_assert_eq!(tree.summary(), expected.summary());
        prop_assert_eq!(tree.summary().count, keys.len() as u64);
        // And every node that both have is the same.
        for depth in 0..=tree.depth().min(expected.depth()) {
            for index in 0..1 << depth {
                prop_assert_eq!(tree.node(depth, index), expected.node(depth, index));
            }
        }
        // All gone, nothing is left: no bucket either.
        for (&(position, _), &digest) in &keys {
            tree.replace(position, Some(digest), None);
        }
        prop_assert_eq!(tree, Tree::new(positions));
    }

    /// Exactly the buckets that differ, at both depths, and in them exactly the keys.
    #[test]
    fn a_comparison_finds_what_differs_and_nothing_else((positions, ours, theirs) in two_states(), fine in any::<bool>()) {
        let a = tree_of(&positions, &ours);
        // The same at another depth.
        let mut b = Rebuild::new(positions.clone(), if fine { 1 << 12 } else { 0 });
        b.take(*positions.end(), &theirs.iter().map(|(key, digest)| (key.0, *digest)).collect::<Vec<_>>()).unwrap();
        let b = b.tree;
        let expected = difference(&ours, &theirs);
        let (leaves, _) = walk(&a, &b);
        prop_assert_eq!(&leaves, &walk(&b, &a).0, "whoever begins");
        prop_assert_eq!(leaves.is_empty(), expected.is_empty());
        let depth = leaves.depth();
        let at = |position: &u64| (u64::from(a.span().slot(*position)) >> (32 - depth)) as u32;
        let buckets: BTreeSet<u32> = expected.iter().map(at).collect();
        prop_assert_eq!(leaves.indices(), buckets.into_iter().collect::<Vec<_>>());
        let ranges = a.ranges(&leaves);
        let found = differing_keys(&listed(&ours, &ranges), &listed(&theirs, &ranges));
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    /// Slices of any size, and between them writes anywhere.
    #[test]
    fn a_rebuild_beside_writes_is_a_rebuild_at_rest(
        (positions, mut keys, later) in two_states(),
        slices in prop::collection::vec((1_usize..80, 0_usize..8), 1..40),
        removes in any::<u64>(),
    ) {
        let stored_before = tree_of(&positions, &keys);
        let mut live = stored_before.clone();
        let mut rebuild = Rebuild::beside(&live);
        let mut writes: Vec<_> = later.into_iter().collect();
        writes.sort_by_key(|((position, _), _)| mix(position ^ removes));
        let mut writes = writes.into_iter().cycle();
        for (limit, count) in slices.into_iter().cycle() {
            let Some(next) = rebuild.next() else { break };
            let mut slice: Vec<(u64, u128)> = Vec::new();
            let mut through = *positions.end();
            for (&(position, _), &digest) in keys.range((next, 0)..) {
                if slice.len() >= limit && slice.last().is_some_and(|last| last.0 != position) {
                    through = slice[slice.len() - 1].0;
                    break;
                }
                slice.push((position, digest));
            }
            rebuild.take(through, &slice).unwrap();
            for (at, (key, digest)) in writes.by_ref().take(count).enumerate() {
                let new = (!mix(removes ^ at as u64 ^ key.0).is_multiple_of(3)).then_some(digest.wrapping_add(at as u128));
                let old = match new {
                    Some(new) => keys.insert(key, new),
                    None => keys.remove(&key),
                };
                live.replace(key.0, old, new);
                rebuild.replace(key.0, old, new);
            }
        }
        let rebuilt = rebuild.finish().expect("all was scanned");
        prop_assert_eq!(rebuilt.summary(), live.summary());
        let at_rest = tree_of(&positions, &keys);
        let common = rebuilt.depth().min(at_rest.depth());
        for index in 0..1 << common {
            prop_assert_eq!(rebuilt.node(common, index), at_rest.node(common, index));
        }
    }

    /// Whatever the bytes: an error, or a level whose bytes these are.
    #[test]
    fn foreign_bytes_are_an_error_or_canonical(bytes in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..80)) {
        let framed = bincode::serde::encode_to_vec(serde_bytes(&bytes), bincode::config::standard()).unwrap();
        if let Ok((level, _)) = bincode::serde::decode_from_slice::<Level, _>(&framed, bincode::config::standard()) {
            prop_assert_eq!(bincode::serde::encode_to_vec(&level, bincode::config::standard()).unwrap(), framed);
            // And no tree minds it.
            for keys in [0, 100, 10_000] {
                let tree = tree_of(&(0..=u64::MAX), &spread(keys, &(0..=u64::MAX)));
                let _ = tree.compare(&level);
                let _ = tree.level(level.parents(), u8::MAX);
                prop_assert!(tree.ranges(level.parents()).len() <= level.parents().len());
            }
        }
    }
}

fn serde_bytes(bytes: &[u8]) -> impl serde::Serialize {
    crate::bytes::Bytes::from(bytes.to_vec())
}

#[test]
fn one_key_changed_changes_the_root() {
    let positions = partition(5, 12);
    let keys = spread(2_000, &positions);
    let tree = tree_of(&positions, &keys);
    for (&(position, _), &digest) in keys.iter().step_by(37) {
        for other in [digest ^ 1, digest ^ 1 << 127, 0] {
            let mut changed = tree.clone();
            changed.replace(position, Some(digest), Some(other));
            assert_ne!(changed.summary(), tree.summary());
            changed.replace(position, Some(other), Some(digest));
            assert_eq!(changed, tree);
        }
    }
}

/// What an XOR takes for nothing: pairs of equal digests, and a key whose digest is zero.
#[test]
fn equal_digests_do_not_cancel_and_a_digest_of_zero_counts() {
    let mut tree = Tree::new(0..=u64::MAX);
    let mut seen = vec![tree.summary().short()];
    for _ in 0..4 {
        tree.replace(7, None, Some(1 << 127));
        assert!(!seen.contains(&tree.summary().short()), "{:?}", tree.summary());
        seen.push(tree.summary().short());
    }
    let mut zero = Tree::new(0..=u64::MAX);
    zero.replace(7, None, Some(0));
    assert_ne!(zero.summary().short(), Tree::new(0..=u64::MAX).summary().short());
    assert_eq!(walk(&zero, &Tree::new(0..=u64::MAX)).0.len(), 1);
}

#[test]
fn two_keys_that_exchange_their_dots_differ() {
    let (a, b) = (b"a".as_slice(), b"b".as_slice());
    let of = |left, right| digest(&SECRET, a, [left]).unwrap().wrapping_add(digest(&SECRET, b, [right]).unwrap());
    assert_ne!(of(dot(1, 1), dot(2, 1)), of(dot(2, 1), dot(1, 1)));
    assert_eq!(digest(&SECRET, a, []), None, "a key without live versions is as one that never was");
    assert_eq!(digest(&SECRET, a, [dot(2, 1), dot(1, 9)]), digest(&SECRET, a, [dot(1, 9), dot(2, 1)]));
    assert_ne!(digest(&SECRET, a, [dot(1, 1)]), digest(&Secret::new([0; 16]), a, [dot(1, 1)]));
}

/// Replicas tell them to each other: these figures may never change. They come from another implementation of the hash.
#[test]
fn golden_digests() {
    let key = b"\0\0\0\x070545010225";
    let one = 0x929e_d85d_a302_54f4_48b5_aaa4_0457_3f53;
    assert_eq!(digest(&SECRET, key, [dot(1, 5)]), Some(one));
    assert_eq!(digest(&SECRET, key, [dot(1, 5), dot(300, 9)]), Some(0x0814_bc31_f056_40df_8f7d_6ed5_daf2_7dc0));
    assert_eq!(format!("{:?}", Summary { digest: one, count: 1 }.short()), "e6ed245d83a1bb68");
    assert_eq!(KeyDigest::new(3, one).digest, Summary { digest: one, count: 1 }.short());
}

#[test]
fn golden_bytes() {
    let encode = |level: &Level| bincode::serde::encode_to_vec(level, bincode::config::standard()).unwrap();
    let mut tree = Tree::new(0..=u64::MAX);
    tree.replace(u64::MAX, None, Some(0x0102));
    let level = tree.level(&Nodes::root(), 1).unwrap();
    let expected: &[u8] = &[
        20, // bytes that follow
        1, 0, 1, 0, // one level deeper than depth 0, of which there is one node: the first
        0, 0, 0, 0, 0, 0, 0, 0, // its left half: no keys
        0x17, 0x7d, 0x4a, 0x7f, 0xb9, 0x79, 0x37, 0x9e, // its right half
    ];
    assert_eq!(encode(&level), expected);
    let nodes = Nodes::new(12, vec![0, 1, 300]).unwrap();
    let bytes = bincode::serde::encode_to_vec(&nodes, bincode::config::standard()).unwrap();
    assert_eq!(bytes, [6, 12, 3, 0, 0, 0xaa, 2]);
    let key = KeyDigest::new(0x0807_0605_0403_0201, 0);
    let bytes = bincode::serde::encode_to_vec(key, bincode::config::standard()).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0x15, 0x7c, 0x4a, 0x7f, 0xb9, 0x79, 0x37, 0x9e]);
}

/// Any number of partitions: the fullest bucket is as full as chance makes it.
#[test]
fn buckets_fill_evenly_whatever_the_number_of_partitions() {
    for count in [1, 2, 3, 5, 12, 1_000, 65_535, 65_536] {
        let positions = partition(count / 2, count);
        let tree = tree_of(&positions, &spread(100_000, &positions));
        let fills: Vec<u64> = (0..1 << 8).map(|index| tree.node(8, index).count).collect();
        // 390 on average; five standard deviations are 99.
        let (least, most) = (fills.iter().min().unwrap(), fills.iter().max().unwrap());
        assert!(*least > 291 && *most < 490, "{count}: {least} to {most}");
    }
}

#[test]
fn depth_follows_the_keys_both_ways_and_memory_with_it() {
    let positions = 0..=u64::MAX;
    assert!(Tree::new(positions.clone()).memory() < 200);
    let keys = spread(200_000, &positions);
    let mut tree = Tree::new(positions.clone());
    let (mut depths, mut most) = (vec![tree.depth()], 0.0_f64);
    for (at, (&(position, _), &digest)) in keys.iter().enumerate() {
        tree.replace(position, None, Some(digest));
        if tree.outgrown() {
            let all: Vec<(u64, u128)> = keys.iter().take(at + 1).map(|(key, digest)| (key.0, *digest)).collect();
            let mut rebuild = Rebuild::beside(&tree);
            rebuild.take(u64::MAX, &all).unwrap();
            let deeper = rebuild.finish().unwrap();
            assert_eq!(deeper.summary(), tree.summary());
            tree = deeper;
            depths.push(tree.depth());
        }
        if at == 1_000 {
            assert!(tree.memory() < 8 << 10, "{} bytes for a thousand keys", tree.memory());
        }
        if at > 100 {
            most = most.max(tree.memory() as f64 / at as f64);
        }
    }
    assert_eq!(depths, [4, 6, 8, 10, 12, 14, 16]);
    assert!(most < 13.0, "{most} bytes per key");
    let mut left = keys.len() as u64;
    for (&(position, _), &digest) in &keys {
        tree.replace(position, Some(digest), None);
        left -= 1;
        assert!(left < 200 || tree.memory() as u64 <= 30 * left, "{left} keys in {} bytes", tree.memory());
        if left.is_multiple_of(10_000) {
            let rest: Model =
                keys.iter().skip(keys.len() - left as usize).map(|(key, digest)| (*key, *digest)).collect();
            assert!(walk(&tree, &tree_of(&positions, &rest)).0.is_empty());
        }
    }
    assert_eq!(tree, Tree::new(positions));
}

#[test]
fn a_hundred_keys_in_a_hundred_thousand_cost_what_they_should() {
    let positions = partition(2, 3);
    let keys = spread(100_000, &positions);
    let mut other = keys.clone();
    for (_, digest) in other.iter_mut().step_by(1_000) {
        *digest = digest.wrapping_add(1);
    }
    let (a, b) = (tree_of(&positions, &keys), tree_of(&positions, &other));
    let (leaves, bytes) = walk(&a, &b);
    let lists = listed(&keys, &a.ranges(&leaves)).len() + listed(&other, &a.ranges(&leaves)).len();
    assert_eq!(leaves.len(), 100);
    assert!(bytes + 16 * lists < 60_000, "{bytes} bytes and {lists} keys");
    assert!(a.memory() < 2 << 20, "{}", a.memory());
}

#[test]
fn nodes_that_there_are_not_are_refused() {
    assert_eq!(Nodes::new(25, vec![0]), Err(Refused::TooDeep { depth: 25, own: 24 }));
    assert_eq!(Nodes::new(255, vec![]), Err(Refused::TooDeep { depth: 255, own: 24 }));
    assert_eq!(Nodes::new(4, vec![16]), Err(Refused::NoSuchNode { depth: 4, index: 16 }));
    assert_eq!(Nodes::new(4, vec![3, 3]), Err(Refused::NoSuchNode { depth: 4, index: 3 }));
    assert_eq!(Nodes::new(4, vec![4, 3]), Err(Refused::NoSuchNode { depth: 4, index: 3 }));
    assert_eq!(Nodes::new(24, vec![u32::MAX]), Err(Refused::NoSuchNode { depth: 24, index: u32::MAX }));
    let tree = tree_of(&(0..=u64::MAX), &spread(1_000, &(0..=u64::MAX)));
    assert_eq!(tree.depth(), 2 * STEP);
    let deep = Nodes::new(8, vec![5]).unwrap();
    assert_eq!(tree.level(&deep, 24), Err(Refused::TooDeep { depth: 9, own: 8 }));
    assert_eq!(tree.level(&Nodes::root(), 0), Err(Refused::TooDeep { depth: 1, own: 0 }));
    let many = Nodes::new(12, (0..2_000).collect()).unwrap();
    assert_eq!(tree.level(&many, 24), Err(Refused::TooMany { nodes: 2_000 }));
    assert_eq!(many.pages().map(|page| page.len()).collect::<Vec<_>>(), [1_024, 976]);
    // A peer whose tree is deeper shows what this one can't have.
    let big = tree_of(&(0..=u64::MAX), &spread(50_000, &(0..=u64::MAX)));
    let level = big.level(&deep, 24).unwrap();
    assert_eq!(tree.compare(&level), Err(Refused::TooDeep { depth: 12, own: 8 }));
}

#[test]
fn hostile_bytes_reserve_nothing_and_are_refused() {
    let refused = |bytes: &[u8]| {
        let framed = bincode::serde::encode_to_vec(serde_bytes(bytes), bincode::config::standard()).unwrap();
        bincode::serde::decode_from_slice::<Level, _>(&framed, bincode::config::standard()).unwrap_err().to_string()
    };
    assert!(refused(&[4, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).contains("too early"), "four billion nodes");
    let mut many = vec![4, 20, 0x81, 8];
    many.resize(many.len() + 1_025 + 16 * 8 * 1_025, 0);
    assert!(refused(&many).contains("more nodes than in a message"));
    assert!(refused(&[4, 4, 1, 16]).contains("a node that there is not"));
    assert!(
        refused(&[4, 24, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).contains("that there is not")
    );
    assert!(refused(&[0, 0, 1, 0]).contains("not those of its nodes"), "no step");
    assert!(refused(&[5, 0, 1, 0]).contains("not those of its nodes"), "a step of 32 children");
    assert!(refused(&[4, 24, 1, 0]).contains("not those of its nodes"), "below the deepest");
    assert!(refused(&[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).contains("not those of its nodes"), "one child of two");
    assert!(refused(&[1, 0, 1, 0, 7]).contains("too early"), "a part of a digest");
}

#[test]
fn a_slice_out_of_place_is_refused_and_changes_nothing() {
    let mut rebuild = Rebuild::new(100..=200, 0);
    assert_eq!(rebuild.take(150, &[(120, 1), (151, 2)]), Err(Refused::Position(151)));
    assert_eq!(rebuild.take(201, &[]), Err(Refused::Position(201)));
    assert_eq!(rebuild.take(99, &[]), Err(Refused::Position(99)));
    rebuild.take(150, &[(120, 1)]).unwrap();
    assert_eq!(rebuild.take(160, &[(150, 2)]), Err(Refused::Position(150)));
    assert_eq!(rebuild.next(), Some(151));
    assert_eq!(rebuild.clone().finish(), None, "half of it was not scanned");
    rebuild.take(200, &[(200, 2)]).unwrap();
    assert_eq!(rebuild.take(200, &[]), Err(Refused::Position(200)), "nothing is left");
    assert_eq!(rebuild.finish().unwrap().summary(), Summary { digest: 3, count: 2 });
}

/// Where the number of keys isn't known beforehand.
#[test]
fn a_rebuild_that_expected_too_many_keys_gives_up_the_depth() {
    let positions = partition(1, 3);
    let keys = spread(5_000, &positions);
    let mut rebuild = Rebuild::new(positions.clone(), 1 << 20);
    rebuild.take(*positions.end(), &keys.iter().map(|(key, digest)| (key.0, *digest)).collect::<Vec<_>>()).unwrap();
    let tree = rebuild.finish().unwrap();
    assert_eq!(tree, tree_of(&positions, &keys));
    assert!(tree.memory() < 32 << 10, "{}", tree.memory());
    let mut none = Rebuild::new(positions.clone(), 1 << 20);
    none.take(*positions.end(), &[]).unwrap();
    assert_eq!(none.finish().unwrap(), Tree::new(positions));
}

/// A difference that a list shows: other versions, a key of one side alone, two keys at one position.
#[test]
fn lists_are_compared_by_position_and_as_sets() {
    let key = KeyDigest::new;
    let own = [key(1, 1), key(2, 2), key(4, 4), key(4, 5), key(9, 9)];
    let theirs = [key(9, 9), key(1, 1), key(2, 3), key(4, 5), key(4, 4), key(7, 7)];
    assert_eq!(differing_keys(&own, &theirs), [2, 7]);
    assert_eq!(differing_keys(&own, &[]), [1, 2, 4, 9]);
    assert_eq!(differing_keys(&[key(4, 4), key(4, 4)], &[key(4, 4)]), [4]);
    assert_eq!(differing_keys(&[], &[]), [0_u64; 0]);
}
