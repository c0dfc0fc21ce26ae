//! The dictionary against a naive model, the bytes, and what they cost after a thousand restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::dictionary::{Names, Refused};
use super::{Definition, Name, Named, Unknown, decode_line, encode_line, line_key};
use crate::dots::DotSet;
use crate::hash::Secret;
use crate::ids::{Actor, Dot, NodeId, PartitionId, Start};
use crate::wire::{FormatError, Reader};

const SECRET: Secret = Secret::new([5; 16]);

const fn dot(node: u64, start: u64, counter: u64) -> Dot {
    Dot { actor: Actor { node: NodeId(node), start: Start(start) }, counter }
}

fn dots<const N: usize>(list: [Dot; N]) -> DotSet {
    list.into_iter().collect()
}

fn define(parent: Option<Name>, rows: DotSet) -> Definition {
    Definition::new(parent, rows).expect("the tests name something")
}

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// What each name stands for, as plain sets.
type Model = BTreeMap<Name, BTreeSet<Dot>>;

fn any_dots() -> impl Strategy<Value = BTreeSet<Dot>> {
    let one = (0..3_u64, 0..2_u64, 1..7_u64).prop_map(|(node, start, counter)| dot(node, start, counter));
    prop::collection::btree_set(one, 0..16)
}

/// A few chains that fork, with what each name of them stands for.
fn any_names() -> impl Strategy<Value = (Names, Vec<Definition>, Model)> {
    prop::collection::vec((any::<Index>(), any_dots()), 0..8).prop_map(|links| {
        let (mut names, mut definitions, mut model) = (Names::new(SECRET), Vec::new(), Model::new());
        for (parent, add) in links {
            let known: Vec<Name> = model.keys().copied().collect();
            let parent = [None].into_iter().chain(known.into_iter().map(Some)).collect::<Vec<_>>()
                [parent.index(model.len() + 1)];
            let below = parent.map(|parent| model[&parent].clone()).unwrap_or_default();
            let Some(definition) = Definition::new(parent, add.difference(&below).copied().collect()) else { continue };
            let name = names.learn(&definition).expect("its parent is known, and it repeats nothing");
            assert_eq!(names.insert(name, &definition), Ok(()), "to learn it again changes nothing");
            if model.insert(name, below.union(&add).copied().collect()).is_none() {
                definitions.push(definition);
            }
        }
        (names, definitions, model)
    })
}

fn longest(model: &Model, set: &BTreeSet<Dot>) -> Option<Name> {
    let actors = |dots: &BTreeSet<Dot>| dots.iter().map(|dot| dot.actor).collect::<BTreeSet<_>>().len();
    let inside = model.iter().filter(|(_, dots)| dots.is_subset(set));
    inside.max_by_key(|(name, dots)| (actors(dots), dots.len(), **name)).map(|(name, _)| *name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// N2, and that nothing is lost: whatever is known and whatever the set, the bytes give it back.
    #[test]
    fn a_set_is_the_same_after_it_was_named((mut names, _, model) in any_names(), set in any_dots(), clock in any_dots()) {
        let whole: DotSet = set.iter().copied().collect();
        for adopted in [false, true] {
            if adopted {
                names.adopt(&clock.iter().copied().collect());
                prop_assert_eq!(names.head(), longest(&model, &clock));
            }
            let named = names.compress(&whole, |_| true);
            if let Some(head) = named.head {
                prop_assert!(model[&head].is_subset(&set), "a name that says more than the set");
                prop_assert!(!names.expand(head).unwrap().intersects(&named.rest));
            }
            prop_assert_eq!(named.head.is_some(), longest(&model, &set).is_some());
            if !adopted {
                prop_assert_eq!(named.head, longest(&model, &set));
            }
            let bytes = bytes(|out| named.encode(out));
            let mut reader = Reader::new(&bytes);
            let read = Named::decode(&mut reader).unwrap();
            prop_assert_eq!(reader.end(), Ok(()));
            prop_assert_eq!(names.whole(&read), Ok(whole.clone()));
            prop_assert_eq!(names.compress(&whole, |_| false), Named::from(whole.clone()));
        }
    }

    /// Two that have learned the same in another order agree on everything; so does who reads it from its lines.
    #[test]
    fn the_order_of_learning_does_not_matter(
        (mut names, definitions, model) in any_names(),
        order in any::<u64>(),
        clock in any_dots(),
    ) {
        let mut lines: Vec<_> = definitions.iter().map(|definition| (definition.name(&SECRET), definition.clone())).collect();
        lines.sort_by_key(|(name, _)| name.0.rotate_left((order % 128) as u32));
        let mut opened = Names::open(SECRET, lines).unwrap();
        let clock = clock.into_iter().collect();
        names.adopt(&clock);
        opened.adopt(&clock);
        prop_assert_eq!(opened.head(), names.head());
        prop_assert_eq!(opened.len(), model.len());
        prop_assert_eq!(opened.tips().into_iter().collect::<BTreeSet<_>>(), names.tips().into_iter().collect());
        for (name, dots) in &model {
            prop_assert_eq!(&*opened.expand(*name).unwrap(), &dots.iter().copied().collect());
        }
    }

    /// N3: who lacks links is sent those and no others, and can expand the name then.
    #[test]
    fn who_cannot_expand_a_name_is_sent_what_it_lacks(
        (names, definitions, _) in any_names(),
        known in any::<Index>(),
        wanted in any::<Index>(),
    ) {
        prop_assume!(!definitions.is_empty());
        let mut other = Names::new(SECRET);
        // Definitions come parents first, so any number of the first ones is a dictionary.
        for definition in &definitions[..known.index(definitions.len() + 1)] {
            other.learn(definition).unwrap();
        }
        let name = wanted.get(&definitions).name(&SECRET);
        let told = names.ancestry(&other.tips());
        prop_assert_eq!(told.len(), other.len());
        let rows = names.rows_for(name, |name| told.contains(&name)).unwrap();
        prop_assert_eq!(rows.is_empty(), other.knows(name));
        for definition in &rows {
            prop_assert!(!other.knows(definition.name(&SECRET)));
            other.learn(definition).unwrap();
        }
        prop_assert_eq!(other.expand(name), names.expand(name));
    }

    /// Whatever the bytes, decoding ends in a set whose bytes are these, or in an error.
    #[test]
    fn decoding_is_total_and_canonical(head in select(vec![0_u8, 1, 2]), rest in prop::collection::vec(any::<u8>(), 0..48)) {
        let given = [&[head][..], &rest].concat();
        let mut reader = Reader::new(&given);
        if let Ok(named) = Named::decode(&mut reader) && reader.left() == 0 {
            prop_assert_eq!(bytes(|out| named.encode(out)), given.clone());
        }
        if let Ok(definition) = Definition::from_bytes(&given) {
            prop_assert_eq!(definition.bytes(), given);
        }
    }
}

/// Every chain of two names over five dots, and every set: 211 chains, 32 sets.
#[test]
fn no_set_of_a_small_domain_is_changed_by_any_chain() {
    let all = [dot(1, 1, 1), dot(1, 1, 2), dot(1, 1, 3), dot(1, 2, 1), dot(2, 1, 2)];
    let pick = |mask: u32| all.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, dot)| *dot);
    let mut chains = 0;
    for (first, second) in (1..32).flat_map(|first| (0..32).map(move |second| (first, second))) {
        let mut names = Names::new(SECRET);
        let parent = names.learn(&define(None, pick(first).collect())).unwrap();
        let child = Definition::new(Some(parent), pick(second).collect()).map(|child| names.learn(&child));
        if first & second != 0 {
            assert_eq!(child, Some(Err(Refused::Overlap)));
            continue;
        }
        chains += 1;
        for mask in 0..32 {
            let set: DotSet = pick(mask).collect();
            let named = names.compress(&set, |_| true);
            let longest = match child {
                Some(Ok(child)) if mask & (first | second) == first | second => Some(child),
                _ => (mask & first == first).then_some(parent),
            };
            assert_eq!(named.head, longest);
            assert_eq!(names.whole(&named), Ok(set));
        }
    }
    assert_eq!(chains, 211);
}

/// N1: a name is what it stands for. Whatever differs in a definition makes another name.
#[test]
fn a_name_is_a_hash_of_all_that_it_stands_for() {
    let base = define(None, dots([dot(1, 1, 1)]));
    let name = base.name(&SECRET);
    let others = [
        define(None, dots([dot(1, 1, 2)])),
        define(None, dots([dot(1, 2, 1)])),
        define(None, dots([dot(2, 1, 1)])),
        define(None, dots([dot(1, 1, 1), dot(1, 1, 2)])),
        define(Some(name), dots([dot(1, 1, 1)])),
        define(Some(Name(0)), dots([dot(1, 1, 1)])),
    ];
    let all: BTreeSet<Name> = others.iter().chain([&base]).map(|definition| definition.name(&SECRET)).collect();
    assert_eq!(all.len(), 7);
    assert_ne!(base.name(&Secret::new([6; 16])), name, "another cluster's");
    assert_eq!(Definition::new(Some(name), DotSet::new()), None, "a second name for one set");
}

#[test]
fn what_does_not_fit_is_not_learned() {
    let mut names = Names::new(SECRET);
    let first = define(None, dots([dot(1, 1, 1)]));
    let name = first.name(&SECRET);
    let second = define(Some(name), dots([dot(1, 1, 2)]));
    assert_eq!(names.learn(&second), Err(Refused::Parent(Unknown(name))), "before its parent");
    assert_eq!(names.insert(second.name(&SECRET), &first), Err(Refused::Misnamed));
    assert_eq!((names.len(), names.expand(name)), (0, Err(Unknown(name))));
    assert_eq!(names.rows_for(name, |_| false), Err(Unknown(name)));

    names.learn(&first).unwrap();
    let repeats = define(Some(name), dots([dot(1, 1, 1), dot(2, 1, 1)]));
    assert_eq!(names.learn(&repeats), Err(Refused::Overlap));
    assert_eq!(names.whole(&Named { head: Some(Name(7)), rest: dots([dot(1, 1, 1)]) }), Err(Unknown(Name(7))));
    assert_eq!((names.len(), names.tips()), (1, vec![name]));

    let other = names.learn(&define(Some(name), dots([dot(2, 1, 1)]))).unwrap();
    names.adopt(&dots([dot(1, 1, 1), dot(2, 1, 1)]));
    names.truncate(1);
    assert_eq!((names.len(), names.tips(), names.head()), (1, vec![name], None), "what could not be stored");
    assert_eq!(names.expand(other), Err(Unknown(other)));
}

/// A clock with nine rows: three nodes, each in three starts.
fn nine_rows() -> DotSet {
    (1..=3).flat_map(|node| (1..=3).map(move |start| dot(node, start, 1))).collect()
}

#[test]
fn rows_of_dead_actors_get_a_name_when_there_are_enough_of_them() {
    let mut names = Names::new(SECRET);
    assert_eq!(names.propose(&nine_rows(), 8, |actor| actor.start < Start(3)), None, "six");
    let seven = |actor: Actor| actor != dot(1, 1, 1).actor && actor != dot(2, 1, 1).actor;
    assert_eq!(names.propose(&nine_rows(), 8, seven), None);
    let eight = |actor: Actor| actor != dot(2, 3, 1).actor;
    let definition = names.propose(&nine_rows(), 8, eight).expect("eight");
    assert_eq!(definition.rows(), &nine_rows().minus(&dots([dot(2, 3, 1)])));
    assert_eq!(names.head(), None, "to propose is not to learn");

    let first = names.learn(&definition).unwrap();
    assert!(names.adopt(&nine_rows()) && !names.adopt(&nine_rows()));
    assert_eq!(names.head(), Some(first));
    // What comes late of a named actor is a row like others, and so is what the next starts write.
    let mut clock = nine_rows();
    clock.insert(dot(1, 1, 3));
    (4..10).for_each(|start| _ = clock.insert(dot(1, start, 1)));
    assert_eq!(names.propose(&clock, 8, eight), None, "seven");
    clock.insert(dot(3, 9, 1));
    let definition = names.propose(&clock, 8, eight).expect("eight more");
    assert_eq!(definition.parent(), Some(first));
    let second = names.learn(&definition).unwrap();
    assert!(names.adopt(&clock));
    assert_eq!(names.compress(&clock, |_| true), Named { head: Some(second), rest: dots([dot(2, 3, 1)]) });
    assert_eq!(names.propose(&nine_rows(), 8, |_| true), None, "a clock that came back from a backup");
    assert!(names.adopt(&nine_rows()));
    assert_eq!(names.head(), Some(first));
}

/// N4: who says a name holds all of its chain.
#[test]
fn holders_are_counted_once_with_the_ancestors_and_only_while_they_are_owners() {
    let mut names = Names::new(SECRET);
    let parent = names.learn(&define(None, dots([dot(1, 1, 1)]))).unwrap();
    let child = names.learn(&define(Some(parent), dots([dot(1, 2, 1)]))).unwrap();
    names.held(parent, NodeId(1));
    names.held(child, NodeId(2));
    names.held(child, NodeId(2));
    names.held(Name(9), NodeId(3));
    let count = |names: &Names, name| names.holders(name, |_| true);
    assert_eq!((count(&names, parent), count(&names, child), count(&names, Name(9))), (2, 1, 0));
    assert_eq!(names.holders(parent, |node| node != NodeId(2)), 1);
    names.held(child, NodeId(1));
    assert_eq!(count(&names, child), 2);
    names.lost(NodeId(2));
    assert_eq!((count(&names, parent), count(&names, child)), (1, 1));
}

/// They are on disks and in clients' hands: these bytes may never change.
#[test]
fn golden_bytes() {
    let first = define(None, dots([dot(1, 17, 1), dot(1, 17, 2)]));
    let rows = [1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    assert_eq!(bytes(|out| first.encode(out)), [&[0][..], &rows].concat());
    let name = first.name(&SECRET);
    assert_eq!(name, GOLDEN);
    let named = Named { head: Some(name), rest: dots([dot(1, 17, 1), dot(1, 17, 2)]) };
    assert_eq!(bytes(|out| named.encode(out)), [&[1][..], &GOLDEN.0.to_le_bytes(), &rows].concat());
    assert_eq!(format!("{name:?}"), format!("dots-{:032x}", GOLDEN.0));

    let key = line_key(PartitionId(258), name);
    assert_eq!(key[..9], [0, 0, 1, 2, 0, 0, 0, 0, 3]);
    assert_eq!(key[9..], GOLDEN.0.to_be_bytes());
    let value = bytes(|out| encode_line(&key, &first, out));
    assert_eq!(value, [&[0][..], &rows, &GOLDEN_SUM].concat());
    assert_eq!(decode_line(&key, &value), Ok((name, first)));
}
const GOLDEN: Name = Name(0xe5bf16556ac2293d3b5dcf885213d4fd);
const GOLDEN_SUM: [u8; 4] = [31, 78, 52, 45];

#[test]
fn damaged_lines_and_chains_with_a_link_missing_are_errors() {
    let first = define(None, dots([dot(1, 1, 1)]));
    let second = define(Some(first.name(&SECRET)), dots([dot(1, 2, 1)]));
    let keys = [&first, &second].map(|definition| line_key(PartitionId(3), definition.name(&SECRET)));
    let value = bytes(|out| encode_line(&keys[0], &first, out));
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut garbled = value.clone();
            garbled[at] ^= 1 << bit;
            assert!(decode_line(&keys[0], &garbled).is_err());
        }
        assert!(decode_line(&keys[0], &value[..at]).is_err());
    }
    assert_eq!(decode_line(&keys[1], &value), Err(FormatError::Checksum), "in the place of another");
    for cut in 0..keys[0].len() {
        assert!(decode_line(&keys[0][..cut], &value).is_err());
    }

    let name = |definition: &Definition| definition.name(&SECRET);
    assert!(Names::open(SECRET, vec![(name(&second), second.clone()), (name(&first), first.clone())]).is_ok());
    assert!(Names::open(SECRET, vec![(name(&second), second.clone())]).is_err(), "its parent is missing");
    assert!(Names::open(SECRET, vec![(name(&second), first)]).is_err(), "another's definition");
}

/// What one partition costs in bytes after many restarts of five nodes, one after the other.
#[derive(PartialEq, Debug)]
struct Sizes {
    unnamed: usize,
    /// Of the clock as a name and the rest, over the last 500 restarts.
    mean: usize,
    most: usize,
    names: usize,
    /// The lines of the names, with their keys.
    stored: usize,
}

/// Each start writes `written` dots; one dead row in twenty lacks one of them.
fn restarts(count: u64, written: u64) -> Sizes {
    let (mut clock, mut names, mut stored, mut lengths) = (DotSet::new(), Names::new(SECRET), 0, Vec::new());
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        random >> 33
    };
    let mut current = [Start(0); 5];
    for restart in 0..count {
        let node = next() % 5;
        let actor = Actor { node: NodeId(node), start: Start(next() << 33 ^ next() << 8 | 1) };
        current[node as usize] = actor.start;
        let lost = if next() % 20 == 0 { next() % written + 1 } else { 0 };
        let row: DotSet = (1..=written).filter(|&at| at != lost).map(|counter| Dot { actor, counter }).collect();
        clock.union_with(&row);
        let dead = |actor: Actor| current[actor.node.0 as usize] != actor.start;
        if let Some(definition) = names.propose(&clock, 8, dead) {
            let name = names.learn(&definition).unwrap();
            let key = line_key(PartitionId(0), name);
            stored += key.len() + bytes(|out| encode_line(&key, &definition, out)).len();
            names.adopt(&clock);
        }
        if restart + 500 >= count {
            let named = names.compress(&clock, |_| true);
            lengths.push(bytes(|out| named.encode(out)).len());
            assert_eq!(names.whole(&named).as_ref(), Ok(&clock));
        }
    }
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    let most = *lengths.iter().max().expect("there were restarts");
    Sizes { unnamed: bytes(|out| clock.encode(out)).len(), mean, most, names: names.len(), stored }
}

/// What a sealed context takes beside its covered set: version, route, seal, and one dot shown.
const AROUND: usize = 1 + 1 + 16 + 15;

#[test]
fn clocks_and_contexts_stay_small_through_a_thousand_restarts() {
    let sizes = |unnamed, mean, most, names, stored| Sizes { unnamed, mean, most, names, stored };
    for (count, written, expected) in [
        (1_000, 5, sizes(11_087, 112, 158, 124, 16_808)),
        (1_000, 500, sizes(12_126, 121, 171, 124, 17_839)),
        (1_000, 50_000, sizes(13_161, 129, 187, 124, 18_866)),
        (5_000, 500, sizes(60_677, 121, 173, 624, 89_890)),
    ] {
        let sizes = restarts(count, written);
        assert_eq!(sizes, expected, "{count} restarts of {written} writes");
        assert!(sizes.mean + AROUND < 200);
    }
}
