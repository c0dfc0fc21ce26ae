//! Negative controls: each rule, taken literally wrong, must lose or double a value, or the tests prove nothing.

use super::super::{Cover, Update, View};
use super::laws::{Broken, Harm, Speech, Step, broken_laws, shortest_harm};
use super::world::{Owner, RULES, exchange, read};
use super::{dot, dots, entry, named};
use crate::dots::DotSet;
use crate::ids::Dot;

const A: usize = 0;
const B: usize = 1;

/// Per actor, 1 to the largest counter: a version vector.
fn maxima(set: &DotSet) -> DotSet {
    set.iter().flat_map(|last| (1..=last.counter).map(move |counter| Dot { counter, ..last })).collect()
}

/// Per actor, the part without gaps.
fn bases(set: &DotSet) -> DotSet {
    set.iter().filter(|&last| (1..=last.counter).all(|counter| set.contains(Dot { counter, ..last }))).collect()
}

/// R4. Owner 0 takes w0 on key a. A client reads key b there: absent, and the token covers w0's dot, because that is
/// what the answer speaks for. It puts key b at owner 1. If owner 1's clock takes in the token, it claims w0, which it
/// never saw; its "absent" for key a then deletes w0 at owner 0.
#[test]
fn a_context_joined_into_the_clock_loses_an_acknowledged_write() {
    for wrong in [false, true] {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        zero.put(A, "w0", &DotSet::new());
        let token = zero.view(B).covered;
        let put = Update::put(entry(dot(1, 1), "w1"), &token);
        let events = if wrong { &put.covered } else { &put.events };
        one.apply(B, &put.live, put.cover(&DotSet::new()), events);
        zero.take_whole(A, &one.view(A), &DotSet::new());
        assert_eq!(zero.values(A), if wrong { vec![] } else { vec!["w0"] });
    }
}

/// R7. Two blind puts are siblings at owner 0; the first one's message is late. If the second one's message speaks for
/// owner 0's clock, the first reads as superseded at owner 1, and from there everywhere.
#[test]
fn a_clock_that_goes_with_a_delta_kills_the_siblings_that_the_delta_omits() {
    for wrong in [false, true] {
        let mut owners = [Owner::new(0), Owner::new(1)];
        owners[0].put(A, "w0", &DotSet::new());
        let second = owners[0].put(A, "w1", &DotSet::new());
        let (clock, nothing) = (owners[0].clock.clone(), DotSet::new());
        let cover = Cover { own: &second.covered, shared: if wrong { &clock } else { &nothing } };
        owners[1].apply(A, &second.live, cover, &second.events);
        exchange(&mut owners, true, RULES);
        assert_eq!(owners[0].values(A), if wrong { vec!["w1"] } else { vec!["w0", "w1"] });
    }
}

/// R8. Owner 0 takes w0 on key a and w1 on key b; owner 1 has w1 alone. A client reads key a at owner 1: absent. A
/// token that says "up to the second of owner 0's dots" speaks for w0, which the client never saw.
#[test]
fn a_token_by_maxima_kills_a_write_that_nobody_read() {
    for wrong in [false, true] {
        let (mut zero, mut one) = (Owner::new(0), Owner::new(1));
        zero.put(A, "w0", &DotSet::new());
        let second = zero.put(B, "w1", &DotSet::new());
        one.take(B, &second);
        let token = one.view(A).covered;
        let put = one.put(A, "w2", &if wrong { maxima(&token) } else { token });
        zero.take(A, &put);
        assert_eq!(zero.values(A), if wrong { vec!["w2"] } else { vec!["w0", "w2"] });
    }
}

/// R8. The quorum that answered has not seen w0; the coordinator has. Its clock in the token speaks for w0.
#[test]
fn the_coordinators_clock_in_a_token_kills_a_write_that_nobody_read() {
    for wrong in [false, true] {
        let (mut zero, one) = (Owner::new(0), Owner::new(1));
        zero.put(A, "w0", &DotSet::new());
        let mut token = read([&one], A).covered;
        if wrong {
            token.union_with(&zero.clock);
        }
        zero.put(A, "w1", &token);
        assert_eq!(zero.values(A), if wrong { vec!["w1"] } else { vec!["w0", "w1"] });
    }
}

/// R6 and R8, found by walking all short runs: what a strip by the whole clock needs is a fill and a token by the
/// whole clock. By maxima loses; by the part without gaps shows superseded values beside their successors.
#[test]
fn a_fill_or_token_that_is_not_what_was_stripped_harms_within_six_steps() {
    use Step::{Blind, Deliver, Show, Update};
    let speech = |fill, token| Speech { fill, token };
    // The first write's message is late, so that the second makes a gap in the clock of owner 1, who strips by it.
    let by_base = shortest_harm(6, speech(bases, DotSet::clone)).expect("a superseded value must return");
    let gap = [Blind(0, 0), Blind(0, 0), Deliver(0), Update(1)];
    assert_eq!(by_base, ([&gap[..], &[Show(1)]].concat(), Harm::FalseConcurrency));
    let token = shortest_harm(6, speech(DotSet::clone, bases)).expect("a superseded value must return");
    assert_eq!(token.1, Harm::FalseConcurrency);
    // Owner 1 has the second dot of owner 0, and its "absent" claims the first.
    let by_maximum = shortest_harm(6, speech(maxima, DotSet::clone)).expect("a write must be lost");
    assert_eq!(by_maximum, (vec![Blind(0, 0), Blind(0, 0), Deliver(0), Show(1)], Harm::Lost));
    let token = shortest_harm(6, speech(DotSet::clone, maxima)).expect("a write must be lost");
    assert_eq!(token.1, Harm::Lost);
}

/// Of two live entries with one write id the one with the larger dot goes, and is covered.
fn collapse(view: &mut View) {
    let live = view.live.clone();
    view.live.retain(|entry| !live.iter().any(|other| other.write_id == entry.write_id && other.dot < entry.dot));
    live.iter().for_each(|entry| _ = view.covered.insert(entry.dot));
}

/// R19. Three of four dots are one write's. Joining and then collapsing is commutative and idempotent; 6,156 of
/// 216,000 triples tell that it is not associative. The shortest: X has seen a superseded, Y has a, Z has b, and both
/// are the write w. (X Y) Z keeps b; X (Y Z) drops b in favour of a, which X then kills: w is lost.
#[test]
fn collapsing_equal_write_ids_inside_the_join_breaks_its_associativity() {
    let all = [named(dot(1, 1), 0), named(dot(2, 1), 0), named(dot(3, 1), 1), named(dot(4, 1), 0)];
    let join = |x: &View, y: &View| {
        let mut joined = x.clone();
        joined.join(&y.live, Cover { own: &y.covered, shared: &DotSet::new() });
        joined
    };
    let mut states = Vec::new();
    for (covered, live) in (0..16).flat_map(|covered| (0..16).map(move |live| (covered, live))) {
        let chosen =
            |mask: u32| all.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, entry)| entry);
        let view =
            View { live: chosen(live).cloned().collect(), covered: chosen(covered).map(|entry| entry.dot).collect() };
        let mut collapsed = view.clone();
        collapse(&mut collapsed);
        if live & !covered == 0 && collapsed == view {
            states.push(view);
        }
    }
    assert_eq!(states.len().pow(3), 216_000);
    let table: Vec<Vec<usize>> = states
        .iter()
        .map(|x| {
            let number = |y| {
                let mut joined = join(x, y);
                collapse(&mut joined);
                states.iter().position(|state| *state == joined).expect("the states are closed under the join")
            };
            states.iter().map(number).collect()
        })
        .collect();
    assert_eq!(broken_laws(&table), Broken { commutative: 0, associative: 6_156, idempotent: 0 });

    let superseded = View { live: vec![], covered: dots([all[0].dot]) };
    let (first, second) = (
        View { live: vec![all[0].clone()], covered: dots([all[0].dot]) },
        View { live: vec![all[1].clone()], covered: dots([all[1].dot]) },
    );
    let mut both = join(&first, &second);
    assert_eq!(join(&superseded, &both).live.len(), 1, "the product's join keeps the second event");
    collapse(&mut both);
    assert!(join(&superseded, &both).live.is_empty(), "the write is gone");
}
