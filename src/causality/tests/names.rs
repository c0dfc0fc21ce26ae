//! Names for old starts, each rule with the harm that breaking it does, and the cut of a covered set to one key.

use proptest::prelude::*;

use super::super::{Update, View};
use super::world::{Key, Owner, RULES, exchange, read};
use super::{dot, dots, entry};
use crate::dots::DotSet;
use crate::hash::Secret;
use crate::ids::NodeId;
use crate::names::{Definition, Name, Named, Names, Unknown, cut};

const A: Key = 0;
const B: Key = 1;

/// A dictionary that knows one name: of this set.
fn naming(set: &DotSet) -> (Names, Name) {
    let mut names = Names::new(Secret::new([1; 16]));
    let name = names.learn(&Definition::new(None, set.clone()).expect("there is something to name")).unwrap();
    (names, name)
}

/// N1. Owner 2 names {a3.1}, owner 1 names {a0.1}, neither having heard of the other. A client reads w0@a3.1 through 2
/// and deletes it through 1. If both call theirs "the first", owner 1 takes the context for {a0.1}: w1, acknowledged
/// and read by nobody, is gone, and w0 stays.
#[test]
fn a_name_by_a_counter_deletes_an_acknowledged_write_that_nobody_read() {
    for wrong in [false, true] {
        let mut owners = [0, 1, 2].map(Owner::new);
        owners[2].take(A, &Update::put(entry(dot(3, 1), "w0"), &DotSet::new()));
        let w1 = owners[0].put(A, "w1", &DotSet::new());
        owners[1].take(A, &w1);
        let shown = read([&owners[2]], A).covered;
        let seen = if wrong {
            let tables = [vec![], vec![owners[1].clock.clone()], vec![shown]];
            let token = 0;
            tables[1][token].clone()
        } else {
            let ((mut one, _), (two, name)) = (naming(&owners[1].clock), naming(&shown));
            let token = two.compress(&shown, |_| true);
            assert_eq!(
                (&token, one.whole(&token)),
                (&Named { head: Some(name), ..Named::default() }, Err(Unknown(name)))
            );
            for definition in two.rows_for(name, |name| one.knows(name)).unwrap() {
                one.learn(&definition).unwrap();
            }
            one.whole(&token).unwrap()
        };
        owners[1].delete(A, &seen);
        exchange(&mut owners, true, RULES);
        assert_eq!(owners[2].values(A), if wrong { ["w0"] } else { ["w1"] });
    }
}

/// N2. Owner 1 has w0 and w1, and a name for both. A client reads owner 0, which has w0 alone. A context that says the
/// name all the same speaks for w1: the client's put supersedes what it never saw.
#[test]
fn a_name_that_is_not_inside_the_set_kills_a_write_that_nobody_read() {
    for wrong in [false, true] {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        let w0 = zero.put(A, "w0", &DotSet::new());
        one.take(A, &w0);
        one.put(A, "w1", &DotSet::new());
        let (names, name) = naming(&one.clock);
        let shown = read([&zero], A).covered;
        let token = if wrong { Named { head: Some(name), rest: shown } } else { names.compress(&shown, |_| true) };
        one.put(A, "w2", &names.whole(&token).unwrap());
        assert_eq!(one.values(A), if wrong { vec!["w2"] } else { vec!["w1", "w2"] });
    }
}

/// N3. A client reads w0 at owner 0, and puts w2 through owner 1, which doesn't know the name in the context. Taken for
/// nothing, w0 stands beside the value that had replaced it; taken for all that owner 1 has seen, w1 is gone unread.
#[test]
fn an_unknown_name_that_is_guessed_at_doubles_or_loses_a_value() {
    #[derive(Clone, Copy, PartialEq)]
    enum Guess {
        Asks,
        Nothing,
        All,
    }
    for (guess, values) in
        [(Guess::Asks, vec!["w1", "w2"]), (Guess::Nothing, vec!["w0", "w1", "w2"]), (Guess::All, vec!["w2"])]
    {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        let w0 = zero.put(A, "w0", &DotSet::new());
        let shown = read([&zero], A).covered;
        one.take(A, &w0);
        one.put(A, "w1", &DotSet::new());
        let (zeros, name) = naming(&shown);
        let token = zeros.compress(&shown, |_| true);
        let (mut ones, _) = naming(&dots([dot(8, 1)]));
        let seen = match (ones.whole(&token), guess) {
            (Ok(_), _) => panic!("it can't know"),
            (Err(_), Guess::Nothing) => token.rest,
            (Err(_), Guess::All) => one.clock.clone(),
            (Err(Unknown(lacking)), Guess::Asks) => {
                assert_eq!(lacking, name);
                zeros
                    .rows_for(name, |_| false)
                    .unwrap()
                    .iter()
                    .for_each(|definition| _ = ones.learn(definition).unwrap());
                ones.whole(&token).unwrap()
            }
        };
        one.put(A, "w2", &seen);
        assert_eq!(one.values(A), values);
    }
}

/// N4. A name that one owner alone holds, and loses with its disk, leaves contexts that nobody can expand; one that
/// W = 2 of them hold survives. It is a put that is refused, and never a lost write.
#[test]
fn a_name_that_is_said_before_it_is_spread_leaves_contexts_that_nobody_can_expand() {
    let shown = dots([dot(0, 1), dot(0, 2)]);
    for wrong in [false, true] {
        let (mut zero, name) = naming(&shown);
        zero.held(name, NodeId(0));
        let usable = |names: &Names| names.holders(name, |_| true) >= if wrong { 1 } else { 2 };
        let token = zero.compress(&shown, |_| usable(&zero));
        assert_eq!(token.head.is_some(), wrong, "one owner holds it");
        let others = Names::new(Secret::new([1; 16]));
        assert_eq!(others.whole(&token).is_err(), wrong, "after owner 0 has lost its disk");
        zero.held(name, NodeId(1));
        assert_eq!(zero.compress(&shown, |_| usable(&zero)).head, Some(name), "two do");
    }
}

/// What leaves an owner for one key, cut; `knows` says which lines of the log are there.
fn cut_view(owner: &Owner, key: Key, head: &DotSet, knows: impl Fn(crate::ids::Dot) -> bool) -> View {
    let view = owner.view(key);
    let mut own = owner.residual(key);
    view.live.iter().for_each(|entry| _ = own.insert(entry.dot));
    let is_of_key = |dot| owner.log.get(&dot).filter(|_| knows(dot)).map(|&of| of == key);
    let mut covered = head.clone();
    covered.union_with(&cut(&view.covered, head, &own, is_of_key));
    View { live: view.live, covered }
}

/// N7. Owner 0 has w0, replaced by w1; owner 1 has w0 alone. With its live dots w1 speaks for itself only: at owner 1 it
/// stands beside the version that it had superseded. The key's dots, or where the log has a hole the whole rest, say it.
#[test]
fn a_covered_set_of_live_dots_alone_doubles_a_value() {
    let (mut zero, mut one, mut two) = (Owner::new(0), Owner::new(1), Owner::new(2));
    let w0 = zero.put(A, "w0", &DotSet::new());
    one.take(A, &w0);
    let seen = read([&zero], A).covered;
    let others: Vec<_> = (0..9).map(|_| two.put(B, "other", &DotSet::new())).collect();
    others.iter().for_each(|update| zero.take(B, update));
    zero.put(B, "other", &DotSet::new());
    let w1 = zero.put(A, "w1", &seen);
    let nothing = DotSet::new();
    let live_alone = View { covered: w1.events.clone(), ..zero.view(A) };
    let exact = cut_view(&zero, A, &nothing, |_| true);
    assert_eq!(exact.covered, zero.clock.minus(&two.clock), "all of owner 0's, and none of owner 2's");
    let holed = cut_view(&zero, A, &nothing, |dot| !others[4].events.contains(dot));
    assert_eq!(holed, zero.view(A));
    for (view, values) in [(live_alone, vec!["w0", "w1"]), (exact, vec!["w1"]), (holed, vec!["w1"])] {
        let mut lagging = one.clone();
        lagging.take_whole(A, &view, &nothing);
        assert_eq!(lagging.values(A), values);
    }
}

/// A put through an owner, of a client that has read there or of one that has not, and the owners that it reaches.
fn any_puts() -> impl Strategy<Value = Vec<(usize, Key, bool, bool, u8)>> {
    prop::collection::vec((0..3_usize, 0..2_usize, any::<bool>(), any::<bool>(), 0..8_u8), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// N7. The join of a key with what was cut for it ends as the join with all of it, whatever is named and whatever
    /// lines of the log are missing.
    #[test]
    fn a_cut_that_keeps_the_keys_dots_joins_like_the_whole(puts in any_puts(), named in any::<u32>(), lines in any::<u64>()) {
        let mut owners = [0, 1, 2].map(Owner::new);
        for (at, key, blind, delete, reaches) in puts {
            let seen = if blind { DotSet::new() } else { read([&owners[at]], key).covered };
            let update = if delete { owners[at].delete(key, &seen) } else { owners[at].put(key, "w", &seen) };
            for to in (0..3).filter(|to| *to != at && reaches >> to & 1 == 1) {
                owners[to].take(key, &update);
            }
        }
        let clock: Vec<_> = owners[0].clock.iter().collect();
        let head = clock.iter().enumerate().filter(|(at, _)| named >> at & 1 == 1).map(|(_, dot)| *dot).collect();
        let line = |dot| lines >> (clock.iter().position(|other| *other == dot).unwrap_or(0)) & 1 == 1;
        for (key, all_lines) in [(A, true), (B, true), (A, false), (B, false)] {
            let (whole, part) = (owners[0].view(key), cut_view(&owners[0], key, &head, |dot| all_lines || line(dot)));
            prop_assert!(part.covered.is_subset(&whole.covered));
            for receiver in [&owners[1], &owners[2]] {
                let (mut all, mut some) = (receiver.clone(), receiver.clone());
                all.take_whole(key, &whole, &DotSet::new());
                some.take_whole(key, &part, &DotSet::new());
                prop_assert_eq!(&all.record(key).live, &some.record(key).live);
                prop_assert_eq!(&all.clock, &some.clock);
                // What it leaves of other keys' dots in the residual is looked at by nobody.
                let of_key = |set: DotSet| -> DotSet {
                    let log = owners.iter().flat_map(|owner| &owner.log);
                    let of_key: DotSet = log.filter(|(_, of)| **of == key).map(|(dot, _)| *dot).collect();
                    set.iter().filter(|dot| of_key.contains(*dot)).collect()
                };
                prop_assert_eq!(of_key(all.view(key).covered), of_key(some.view(key).covered));
            }
        }
    }
}
