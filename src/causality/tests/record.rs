//! What an owner does with one record, step by step.

use super::*;
use crate::causality::{Update, View};
use crate::time::WallTime;

fn cover<'a>(own: &'a DotSet, shared: &'a DotSet) -> Cover<'a> {
    Cover { own, shared }
}

fn record<const N: usize>(live: [Dot; N], residual: DotSet) -> Record {
    Record { live: live.into_iter().map(|dot| entry(dot, "v")).collect(), residual }
}

fn shown(live: &[Entry]) -> Vec<Dot> {
    live.iter().map(|entry| entry.dot).collect()
}

#[test]
fn a_version_is_shown_until_the_very_moment_at_which_it_expires() {
    let expiring = |expires| Entry { expires, ..entry(dot(1, 1), "v") };
    assert!(!expiring(None).is_expired(WallTime(u64::MAX)));
    let at = expiring(Some(WallTime(7)));
    assert_eq!([6, 7, 8].map(|now| at.is_expired(WallTime(now))), [false, true, true]);
}

#[test]
fn each_part_of_a_change_is_to_be_stored() {
    assert!(!Change::default().any());
    assert!(Change { live: true, ..Change::default() }.any());
    assert!(Change { residual: true, ..Change::default() }.any());
    assert!(Change { added: dots([dot(1, 1)]), ..Change::default() }.any());
}

#[test]
fn a_message_tells_what_it_changed() {
    let nothing = DotSet::new();
    let step = |dropped| {
        let (mut record, mut clock) = (Record::default(), DotSet::new());
        let live = [entry(dot(1, 1), "a"), entry(dot(2, 1), "b")];
        let covered = dots([dot(1, 1), dot(2, 1), dot(3, 1)]);
        let events = dots([dot(1, 1), dot(4, 1)]);
        let first = record.take_in(&mut clock, &live, cover(&covered, &nothing), &events, dropped);
        let again = record.take_in(&mut clock, &live, cover(&covered, &nothing), &events, dropped);
        (record, clock, first, again)
    };
    let (record, clock, first, again) = step(false);
    assert_eq!((shown(&record.live), record.residual), (vec![dot(1, 1), dot(2, 1)], dots([dot(3, 1)])));
    assert_eq!(clock, dots([dot(1, 1), dot(2, 1), dot(4, 1)]));
    assert_eq!(first, Change { live: true, residual: true, added: clock });
    assert_eq!(again, Change::default());
    assert_eq!(step(true).3, Change { live: true, ..Change::default() }, "what went before it is a change too");
}

/// The first entry is brought, the second is not: one is enough to have changed something.
#[test]
fn one_entry_that_is_brought_is_a_change() {
    let (nothing, live) = (DotSet::new(), [entry(dot(1, 1), "a"), entry(dot(2, 1), "b")]);
    let covered = dots([dot(1, 1), dot(2, 1)]);
    let mut record = Record { live: Vec::new(), residual: dots([dot(2, 1)]) };
    let taken = record.clone().take_in(&mut DotSet::new(), &live, cover(&covered, &nothing), &nothing, false);
    assert!(taken.live);
    let taken = record.take_from(&DotSet::new(), &live, cover(&covered, &nothing), false);
    assert_eq!((taken.live, taken.residual, shown(&record.live)), (true, true, vec![dot(1, 1)]));
}

#[test]
fn from_a_list_of_records_comes_what_the_clock_does_not_cover_and_the_clock_stays() {
    let nothing = DotSet::new();
    let clock = dots([dot(1, 1)]);
    let live = [entry(dot(1, 1), "deleted here"), entry(dot(2, 1), "new")];
    let covered = dots([dot(1, 1), dot(2, 1), dot(3, 1)]);
    let mut record = Record::default();
    let change = record.take_from(&clock, &live, cover(&covered, &nothing), false);
    assert_eq!(shown(&record.live), [dot(2, 1)]);
    assert_eq!(
        record.residual,
        dots([dot(2, 1), dot(3, 1)]),
        "what it covers is said by the record until the clock does"
    );
    assert_eq!((change.live, change.residual, change.added), (true, true, nothing.clone()));
    let again = record.take_from(&clock, &live, cover(&covered, &nothing), false);
    assert!(!again.any());
    assert!(record.take_from(&clock, &live, cover(&covered, &nothing), true).live);
}

#[test]
fn two_whole_records_of_one_key_become_their_join() {
    let (clock, nothing) = (dots([dot(1, 1), dot(2, 1)]), DotSet::new());
    let mut own = record([dot(1, 1), dot(2, 1)], DotSet::new());
    // The other has seen the first, and superseded it by another.
    let (other, covered) = (record([dot(3, 1)], DotSet::new()), dots([dot(1, 1), dot(3, 1)]));
    own.join_whole(&clock, &other.live, cover(&covered, &nothing));
    assert_eq!((shown(&own.live), own.residual), (vec![dot(2, 1), dot(3, 1)], dots([dot(3, 1)])));
}

#[test]
fn what_is_due_goes_and_its_dot_stays_known() {
    let expiring = |dot, at| Entry { expires: Some(WallTime(at)), ..entry(dot, "v") };
    let clock = dots([dot(1, 1)]);
    let live = vec![expiring(dot(1, 1), 5), expiring(dot(2, 1), 5), expiring(dot(3, 1), 9), entry(dot(4, 1), "v")];
    let mut record = Record { live, residual: DotSet::new() };
    assert!(!record.expire(&clock, |at| at < WallTime(5)));
    assert_eq!((record.live.len(), record.residual.is_empty()), (4, true));
    assert!(record.expire(&clock, |at| at <= WallTime(5)));
    assert_eq!((shown(&record.live), record.residual), (vec![dot(3, 1), dot(4, 1)], dots([dot(2, 1)])));
}

#[test]
fn two_hints_for_one_key_become_one_that_speaks_for_both() {
    let mut first = Update::put(entry(dot(1, 1), "a"), &DotSet::new());
    first.join(&Update::put(entry(dot(2, 1), "b"), &dots([dot(1, 1)])));
    first.join(&Update::delete(dot(3, 1), &DotSet::new()));
    let all = dots([dot(1, 1), dot(2, 1), dot(3, 1)]);
    assert_eq!((shown(&first.live), first.covered, first.events), (vec![dot(2, 1)], all.clone(), all));
}

#[test]
fn an_owner_is_behind_a_view_that_would_change_what_it_shows() {
    let nothing = DotSet::new();
    let mut view = View::default();
    let clock = dots([dot(1, 1), dot(2, 1)]);
    view.join(&[entry(dot(2, 1), "b")], cover(&clock, &nothing));
    let ahead = |live: &[Dot], clock: DotSet| {
        let live: Vec<_> = live.iter().map(|&dot| entry(dot, "v")).collect();
        view.is_ahead_of(&live, cover(&nothing, &clock))
    };
    assert!(!ahead(&[dot(2, 1)], dots([dot(2, 1)])), "the same");
    assert!(ahead(&[], DotSet::new()), "it lacks one");
    assert!(!ahead(&[], dots([dot(2, 1)])), "it has superseded it");
    assert!(ahead(&[dot(1, 1), dot(2, 1)], clock.clone()), "it shows one that is superseded");
    assert!(
        !ahead(&[dot(2, 1), dot(3, 1)], dots([dot(2, 1), dot(3, 1)])),
        "it shows one that the view has not heard of"
    );
}
