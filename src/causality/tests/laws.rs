//! The join's laws, exhaustively over four dots: R4, R5, and R6 by a walk over all short runs of two owners.
//!
//! A dot climbs a ladder, and the join takes the higher rung: that is the whole specification.

use super::super::{Cover, Entry, Record, Update, View};
use super::world::Owner;
use super::{dot, entry, values};
use crate::dots::DotSet;
use crate::ids::Dot;

/// Two actors, one of them with a gap.
const DOTS: [Dot; 4] = [dot(1, 1), dot(1, 2), dot(2, 1), dot(2, 3)];

/// The dots of a state whose digit (in base `base`) satisfies `is`.
fn chosen(state: usize, base: usize, is: impl Fn(usize) -> bool) -> impl Iterator<Item = Dot> {
    (0..DOTS.len()).filter(move |&at| is(state / base.pow(at as u32) % base)).map(|at| DOTS[at])
}

fn entries(state: usize, base: usize, is: impl Fn(usize) -> bool) -> Vec<Entry> {
    chosen(state, base, is).map(|dot| entry(dot, &dot.to_string())).collect()
}

fn number(base: usize, digit: impl Fn(Dot) -> usize) -> usize {
    DOTS.iter().rev().fold(0, |state, &dot| state * base + digit(dot))
}

fn lives(live: &[Entry], dot: Dot) -> bool {
    live.iter().any(|entry| entry.dot == dot)
}

/// 0 not covered, 1 live, 2 covered and not live: 81 states.
fn view(state: usize) -> View {
    View { live: entries(state, 3, |digit| digit == 1), covered: chosen(state, 3, |digit| digit > 0).collect() }
}

fn number_of_view(view: &View) -> usize {
    number(3, |dot| if lives(&view.live, dot) { 1 } else { 2 * usize::from(view.covered.contains(dot)) })
}

/// Bit 0: superseded; bit 1: its event is here. 2 is live, 1 is known from a context alone: 256 states.
fn update(state: usize) -> Update {
    Update {
        live: entries(state, 4, |digit| digit == 2),
        covered: chosen(state, 4, |digit| digit > 0).collect(),
        events: chosen(state, 4, |digit| digit >= 2).collect(),
    }
}

fn number_of_update(update: &Update) -> usize {
    number(4, |dot| {
        let covered = usize::from(update.covered.contains(dot) && !lives(&update.live, dot));
        2 * usize::from(update.events.contains(dot)) + covered
    })
}

/// Bit 0: superseded; bit 1: in the clock. 2 is live, 1 is residual: the 256 states that invariant I (R3) allows.
fn owner(state: usize) -> (Record, DotSet) {
    let live = entries(state, 4, |digit| digit == 2);
    let residual = chosen(state, 4, |digit| digit == 1).collect();
    (Record { live, residual }, chosen(state, 4, |digit| digit >= 2).collect())
}

fn number_of_owner((record, clock): &(Record, DotSet)) -> usize {
    number(4, |dot| {
        let live = lives(&record.live, dot);
        assert!(!live || clock.contains(dot), "a live dot that the clock lacks");
        assert!(!(record.residual.contains(dot) && clock.contains(dot)), "a residual that was not stripped");
        let superseded = record.residual.contains(dot) || (clock.contains(dot) && !live);
        2 * usize::from(clock.contains(dot)) + usize::from(superseded)
    })
}

/// The pairs and triples that break a law.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Broken {
    pub(super) commutative: usize,
    pub(super) associative: usize,
    pub(super) idempotent: usize,
}

/// `table[x][y]` is the number of the join of states x and y.
pub(super) fn broken_laws(table: &[Vec<usize>]) -> Broken {
    let mut broken = Broken::default();
    for (x, row) in table.iter().enumerate() {
        broken.idempotent += usize::from(row[x] != x);
        for (y, &xy) in row.iter().enumerate() {
            broken.commutative += usize::from(xy != table[y][x]);
            // (x y) z and x (y z), for all z.
            broken.associative += table[xy].iter().zip(&table[y]).filter(|&(&left, &yz)| left != row[yz]).count();
        }
    }
    broken
}

/// If y stands nowhere above z, then x with y stands nowhere above x with z; and a join never falls below its sides.
fn is_monotone(table: &[Vec<usize>], below: impl Fn(usize, usize) -> bool) -> bool {
    let order: Vec<Vec<bool>> = (0..table.len()).map(|x| (0..table.len()).map(|y| below(x, y)).collect()).collect();
    table.iter().enumerate().all(|(x, row)| {
        (0..table.len()).all(|y| {
            order[x][row[y]]
                && order[y][row[y]]
                && (0..table.len()).filter(|&z| order[y][z]).all(|z| order[row[y]][row[z]])
        })
    })
}

fn digits_below(base: usize, x: usize, y: usize, below: impl Fn(usize, usize) -> bool) -> bool {
    (0..DOTS.len() as u32).all(|at| below(x / base.pow(at) % base, y / base.pow(at) % base))
}

/// R5 on all 81^3 = 531,441 triples of what a coordinator may know.
#[test]
fn joining_views_is_commutative_associative_idempotent_and_monotone() {
    let table: Vec<Vec<usize>> = (0..81)
        .map(|x| {
            (0..81)
                .map(|y| {
                    let (mut joined, other) = (view(x), view(y));
                    joined.join(&other.live, Cover { own: &other.covered, shared: &DotSet::new() });
                    let number = number_of_view(&joined);
                    assert_eq!(joined, view(number), "not one of the states, or out of order");
                    number
                })
                .collect()
        })
        .collect();
    assert_eq!(broken_laws(&table), Broken::default());
    assert!(is_monotone(&table, |x, y| digits_below(3, x, y, |x, y| x <= y)));
}

/// R5 and R9 on all 256^3 triples of hints.
#[test]
fn joining_hints_is_commutative_associative_idempotent_and_monotone() {
    let table: Vec<Vec<usize>> = (0..256)
        .map(|x| {
            (0..256)
                .map(|y| {
                    let mut joined = update(x);
                    joined.join(&update(y));
                    let number = number_of_update(&joined);
                    assert_eq!(joined, update(number), "not one of the states, or out of order");
                    assert_eq!(number, x | y);
                    number
                })
                .collect()
        })
        .collect();
    assert_eq!(broken_laws(&table), Broken::default());
    assert!(is_monotone(&table, |x, y| x & !y == 0));
}

/// The same message in the forms it comes in: live dots listed in its cover or not, the rest its own or a clock's.
fn applied(owner_state: usize, message: usize, form: usize) -> (Record, DotSet, super::super::record::Change) {
    let (mut record, mut clock) = owner(owner_state);
    let update = update(message);
    let lists_live = form & 4 == 0;
    let mut parts = [DotSet::new(), DotSet::new()];
    for (at, dot) in update.covered.iter().enumerate() {
        if lists_live || !lives(&update.live, dot) {
            let part = match form & 3 {
                0 => 0,
                1 => 1,
                other => (at + other) % 2,
            };
            parts[part].insert(dot);
        }
    }
    let cover = Cover { own: &parts[0], shared: &parts[1] };
    let change = record.apply(&mut clock, &update.live, cover, &update.events);
    (record, clock, change)
}

/// R4 and R5 at an owner: every valid state (invariant I) meets every message that carries its events, in any order
/// of any two: 16 million runs.
#[test]
fn applying_messages_to_an_owner_is_commutative_associative_idempotent_and_monotone() {
    let table: Vec<Vec<usize>> = (0..256)
        .map(|state| {
            (0..256)
                .map(|message| {
                    let (record, clock, _) = applied(state, message, 0);
                    let number = number_of_owner(&(record.clone(), clock.clone()));
                    assert_eq!((record, clock), owner(number), "not one of the states, or out of order");
                    number
                })
                .collect()
        })
        .collect();
    // States and messages have the same numbers, so the table is a join like the others.
    assert_eq!(broken_laws(&table), Broken::default());
    assert!(is_monotone(&table, |x, y| x & !y == 0));
    for (state, row) in table.iter().enumerate() {
        for (message, &result) in row.iter().enumerate() {
            assert_eq!(result, state | message, "state {state}, message {message}");
            assert_eq!(table[result][message], result, "applied twice");
        }
    }
}

/// A message says the same whether a dot is in its own cover or in the clock that it shares, and whether or not the
/// cover lists the live dots. Without events (read repair, R4) the clock takes in the live dots alone.
#[test]
fn the_form_of_a_message_changes_nothing() {
    for state in 0..256 {
        for message in 0..256 {
            let expected = applied(state, message, 0);
            for form in 1..8 {
                assert_eq!(applied(state, message, form), expected, "state {state}, message {message}, form {form}");
            }
            let ((mut record, mut clock), sent) = (owner(state), update(message));
            record.apply(&mut clock, &sent.live, sent.cover(&DotSet::new()), &DotSet::new());
            assert_eq!(record.live, expected.0.live);
            let mut grown = owner(state).1;
            sent.live.iter().for_each(|entry| _ = grown.insert(entry.dot));
            assert_eq!(clock, grown, "the clock took in more or less than the live dots");
        }
    }
}

/// R6: strip by the whole clock, fill by the whole clock. What an owner shows after a message is what a coordinator
/// that never strips knows after the same message.
#[test]
fn an_owner_that_strips_shows_what_one_that_never_strips_knows() {
    for state in 0..256 {
        let (record, clock) = owner(state);
        for message in 0..256 {
            let mut known = record.view(&clock);
            let sent = update(message);
            known.join(&sent.live, sent.cover(&DotSet::new()));
            let (after, clock, _) = applied(state, message, 0);
            assert_eq!(after.view(&clock), known, "state {state}, message {message}");
        }
    }
}

/// What must be stored is told exactly, with the message's events or without: no flag without a change, no change
/// without its flag.
#[test]
fn a_change_tells_exactly_what_changed() {
    let nothing = DotSet::new();
    for state in 0..256 {
        let (before, clock_before) = owner(state);
        for (message, with_events) in (0..256).flat_map(|message| [(message, true), (message, false)]) {
            let ((mut after, mut clock), sent) = (owner(state), update(message));
            let events = if with_events { &sent.events } else { &nothing };
            let change = after.apply(&mut clock, &sent.live, sent.cover(&nothing), events);
            assert_eq!(change.live, after.live != before.live, "state {state}, message {message}");
            assert_eq!(change.residual, after.residual != before.residual, "state {state}, message {message}");
            assert_eq!(change.added, clock.minus(&clock_before), "state {state}, message {message}");
            assert_eq!(change.any(), (&after, &clock) != (&before, &clock_before));
        }
    }
}

/// Read repair goes to exactly the owners whose live entries it would change.
#[test]
fn a_view_is_ahead_of_an_owner_if_and_only_if_joining_it_changes_the_live_entries() {
    for state in 0..256 {
        let (record, clock) = owner(state);
        for joined in 0..81 {
            let (view, (mut after, mut clock_after)) = (view(joined), owner(state));
            let cover = Cover { own: &view.covered, shared: &DotSet::new() };
            let change = after.apply(&mut clock_after, &view.live, cover, &DotSet::new());
            let shown = Cover { own: &record.residual, shared: &clock };
            assert_eq!(view.is_ahead_of(&record.live, shown), change.live, "owner {state}, view {joined}");
        }
    }
}

/// How an owner's clock goes into what leaves it as a record, and into the token that a client gets.
#[derive(Clone, Copy)]
pub(super) struct Speech {
    pub(super) fill: fn(&DotSet) -> DotSet,
    pub(super) token: fn(&DotSet) -> DotSet,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Blind(usize, usize),
    Update(usize),
    Delete(usize),
    /// The last write of this owner reaches the other one.
    Deliver(usize),
    /// The whole record of key 0 goes from this owner to the other one.
    Show(usize),
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Harm {
    /// A value is gone that nothing superseded.
    Lost,
    /// A superseded value stands beside its successor.
    FalseConcurrency,
}

/// Two owners that strip, and beside each what it would be if it kept every context for ever.
#[derive(Clone)]
struct Twin {
    owners: [Owner; 2],
    naive: [[View; 2]; 2],
    last: [Option<(usize, Update, Update)>; 2],
}

impl Twin {
    fn write(&mut self, at: usize, key: usize, value: Option<&str>, contexts: [DotSet; 2]) {
        let [context, naive_context] = contexts;
        let update = match value {
            Some(value) => self.owners[at].put(key, value, &context),
            None => self.owners[at].delete(key, &context),
        };
        let dot = update.events.iter().next().expect("a write has its event");
        let naive = match update.live.first() {
            Some(entry) => Update::put(entry.clone(), &naive_context),
            None => Update::delete(dot, &naive_context),
        };
        self.naive[at][key].join(&naive.live, naive.cover(&DotSet::new()));
        self.last[at] = Some((key, update, naive));
    }

    /// What a client that reads key 0 at this owner would pass back.
    fn tokens(&self, at: usize, speech: Speech) -> [DotSet; 2] {
        let record = self.owners[at].record(0);
        let mut token = (speech.token)(&self.owners[at].clock);
        token.union_with(&record.residual);
        record.live.iter().for_each(|entry| _ = token.insert(entry.dot));
        [token, self.naive[at][0].covered.clone()]
    }

    /// Whether the step can be taken.
    fn take(&mut self, step: Step, speech: Speech) -> bool {
        let nothing = || [DotSet::new(), DotSet::new()];
        match step {
            Step::Blind(at, key) => self.write(at, key, Some("value"), nothing()),
            Step::Update(at) => self.write(at, 0, Some("value"), self.tokens(at, speech)),
            Step::Delete(at) => self.write(at, 0, None, self.tokens(at, speech)),
            Step::Deliver(at) => {
                let Some((key, update, naive)) = self.last[at].take() else { return false };
                self.owners[1 - at].take(key, &update);
                self.naive[1 - at][key].join(&naive.live, naive.cover(&DotSet::new()));
            }
            Step::Show(at) => {
                let (record, fill) = (self.owners[at].record(0), (speech.fill)(&self.owners[at].clock));
                let cover = Cover { own: &record.residual, shared: &fill };
                self.owners[1 - at].apply(0, &record.live, cover, &DotSet::new());
                let sent = self.naive[at][0].clone();
                self.naive[1 - at][0].join(&sent.live, Cover { own: &sent.covered, shared: &DotSet::new() });
            }
        }
        true
    }

    fn harm(&self) -> Option<Harm> {
        for (owner, naive) in self.owners.iter().zip(&self.naive) {
            for (key, naive) in naive.iter().enumerate() {
                let live = owner.record(key).live;
                if naive.live.iter().any(|entry| !lives(&live, entry.dot)) {
                    return Some(Harm::Lost);
                }
                if live.len() != naive.live.len() {
                    return Some(Harm::FalseConcurrency);
                }
            }
        }
        None
    }

    fn search(&self, depth: usize, speech: Speech, path: &mut Vec<Step>) -> Option<Harm> {
        let steps = (0..2).flat_map(|at| {
            use Step::{Blind, Delete, Deliver, Show, Update};
            [Blind(at, 0), Blind(at, 1), Update(at), Delete(at), Deliver(at), Show(at)]
        });
        for step in steps {
            let mut next = self.clone();
            if (path.is_empty() && step != Step::Blind(0, 0) && step != Step::Blind(0, 1)) || !next.take(step, speech) {
                continue;
            }
            path.push(step);
            let harm = next.harm().or_else(|| if depth > 1 { next.search(depth - 1, speech, path) } else { None });
            if harm.is_some() {
                return harm;
            }
            path.pop();
        }
        None
    }
}

/// The shortest run of two owners and two keys, up to `depth` steps, in which a live set is not what it would be
/// without any stripping. The owners are alike, and a run that harms begins with a write: at owner 0, say.
pub(super) fn shortest_harm(depth: usize, speech: Speech) -> Option<(Vec<Step>, Harm)> {
    let twin = Twin { owners: [Owner::new(1), Owner::new(2)], naive: Default::default(), last: Default::default() };
    (1..=depth).find_map(|depth| {
        let mut path = Vec::new();
        twin.search(depth, speech, &mut path).map(|harm| (path, harm))
    })
}

/// R6 and R8 as they stand, over all runs of up to six steps.
#[test]
fn stripping_and_filling_by_the_whole_clock_is_sound_in_every_short_run() {
    let whole = Speech { fill: DotSet::clone, token: DotSet::clone };
    assert_eq!(shortest_harm(6, whole), None);
}

#[test]
fn values_come_in_the_order_of_their_dots_whatever_the_order_they_came_in() {
    let mut view = View::default();
    for (at, value) in [(3, "d"), (0, "a"), (2, "c"), (1, "b")] {
        view.join(&[entry(DOTS[at], value)], Cover { own: &DotSet::new(), shared: &DotSet::new() });
    }
    assert_eq!(values(&view.live), ["a", "b", "c", "d"]);
}
