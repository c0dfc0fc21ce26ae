//! Schedules by hand: each runs clean by the rules, and loses or doubles a value when one rule is broken.
//!
//! Random runs reach some of them not once in 40,000, so they are kept here. W is 2 of 3 owners where it matters.

use super::super::{Cover, Update, View};
use super::world::{Namer, Owner, RULES, Rules, Session, agree, exchange, pull, read};
use super::{entry, values};
use crate::dots::DotSet;

const KEY: usize = 0;
const OTHER: usize = 1;

fn owners() -> [Owner; 3] {
    [Owner::new(0), Owner::new(1), Owner::new(2)]
}

/// A blind write that a fallback took for the owners: a hint speaks for its writers' contexts alone (R9).
fn hint(value: &str) -> Update {
    Update::put(entry(Namer::new(3, 1).next(), value), &DotSet::new())
}

/// What a read at a fallback shows.
fn hinted(hint: &Update) -> View {
    let mut view = View::default();
    view.join(&hint.live, Cover { own: &hint.covered, shared: &DotSet::new() });
    view
}

fn show(owners: &[Owner], key: usize) -> Vec<Vec<String>> {
    owners.iter().map(|owner| owner.values(key)).collect()
}

/// R12, `latehint`. A fallback alone has w0. A client reads it there and deletes it through owner 1; the delete
/// reaches all owners, none of which has seen w0. Then the hint comes.
fn late_hint(vanish: fn(&Owner) -> bool) -> [Owner; 3] {
    let mut owners = owners();
    let late = hint("w0");
    let delete = owners[1].delete(KEY, &hinted(&late).covered);
    owners[0].take(KEY, &delete);
    owners[2].take(KEY, &delete);
    exchange(&mut owners, false, RULES);
    for owner in &mut owners {
        assert!(owner.record(KEY).live.is_empty());
        assert!(delete.events.is_subset(&owner.clock));
        if vanish(owner) {
            owner.records.remove(&KEY);
        }
    }
    owners.iter_mut().for_each(|owner| owner.take(KEY, &late));
    exchange(&mut owners, true, RULES);
    owners
}

#[test]
fn a_late_hint_does_not_bring_a_deleted_value_back() {
    let owners = late_hint(|owner| owner.record(KEY).is_absent());
    assert!(agree(&owners, 1));
    assert!(owners.iter().all(|owner| owner.records.is_empty()), "nothing is left of the key");
}

/// The delete's own dot is in everybody's clock, and its record goes, though nobody's clock covers what it deleted.
/// A timer is the same mistake: the hint may always be later.
#[test]
fn a_late_hint_resurrects_the_value_where_a_delete_vanishes_when_its_dot_alone_is_covered() {
    let owners = late_hint(|_| true);
    assert_eq!(show(&owners, KEY), [["w0"], ["w0"], ["w0"]]);
}

/// R11, `digest`. w0 is at owner 1 alone. A client reads it there and deletes it through owner 0, which never saw w0:
/// "absent, with a residual". Owner 2 has nothing, and pulls from 0 by the trees. Then w0 reaches owner 2.
fn digest(rules: Rules) -> [Owner; 3] {
    let mut owners = owners();
    let late = owners[1].put(KEY, "w0", &DotSet::new());
    let context = owners[1].view(KEY).covered;
    owners[0].delete(KEY, &context);
    let [zero, _, two] = &mut owners;
    pull(zero, two, true, rules);
    two.take(KEY, &late);
    exchange(&mut owners, false, rules);
    owners
}

#[test]
fn a_residual_counts_as_a_difference_of_two_digests() {
    let owners = digest(RULES);
    assert!(agree(&owners, 1));
    assert!(owners.iter().all(|owner| owner.records.is_empty()));
}

/// Equal live sets, so the key is not sent; but the clock that owner 2 joins has the delete's dot. No exchange of
/// clock differences will ever look again.
#[test]
fn digests_of_live_dots_alone_leave_equal_clocks_with_unequal_states() {
    let owners = digest(Rules { residual_differs: false, ..RULES });
    assert_eq!(owners[0].clock, owners[2].clock);
    assert_eq!(show(&owners, KEY), [vec![], vec![], vec!["w0"]]);
}

/// R11, `endrule`. w0 came to owner 0 through a fallback, which still has hints for 1 and 2; a client deleted it at 0,
/// and the delete's messages are lost. Owner 1 pulls from 0 by the trees: both are empty, no key differs. Between the
/// digest and End the hint reaches owner 1. The opening clock covers w0 and its delete.
fn end_rule(rules: Rules) -> [Owner; 3] {
    let mut owners = owners();
    let hint = hint("w0");
    owners[0].take(KEY, &hint);
    let context = owners[0].view(KEY).covered;
    owners[0].delete(KEY, &context);
    let [zero, one, _] = &mut owners;
    let session = Session::open(zero, one, true, rules);
    assert_eq!(session.next_key(), None, "no key differs");
    one.take(KEY, &hint);
    assert_eq!(one.values(KEY), ["w0"]);
    session.end(zero, one);
    exchange(&mut owners, false, rules);
    owners
}

#[test]
fn what_arrives_between_digest_and_end_and_is_gone_at_the_sender_goes_at_the_end() {
    let owners = end_rule(RULES);
    assert!(agree(&owners, 1));
    assert!(owners.iter().all(|owner| owner.records.is_empty()));
}

#[test]
fn without_the_end_rule_a_deleted_value_stays_under_a_clock_that_covers_its_delete() {
    let owners = end_rule(Rules { end_drops: false, ..RULES });
    assert_eq!(owners[0].clock, owners[1].clock);
    assert_eq!(show(&owners, KEY)[..2], [vec![], vec!["w0"]]);
}

/// The End rule takes only what the sender's opening clock covers: a write that arrives meanwhile, and one that the
/// receiver had before, stay.
#[test]
fn the_end_rule_leaves_what_the_sender_has_not_seen_and_what_the_receiver_had() {
    let mut owners = owners();
    let shared = owners[0].put(OTHER, "shared", &DotSet::new());
    owners[1].take(OTHER, &shared);
    let [zero, one, _] = &mut owners;
    let session = Session::open(zero, one, true, RULES);
    one.take(KEY, &hint("new"));
    session.end(zero, one);
    assert_eq!((one.values(KEY), one.values(OTHER)), (vec!["new".to_owned()], vec!["shared".to_owned()]));
}

/// Owner 0 comes back from a backup: its counter from the disk (wrong), or in a new start (R1, R17).
fn restored(backup: &Owner, reuses: bool) -> Owner {
    if reuses { backup.clone() } else { backup.clone().restarted(2) }
}

/// R1, `quorumshake`. w0 is acknowledged by owner 0 and by a fallback's hint for owner 2; the message to 1 is lost. 0
/// is restored from a backup and asks a quorum of owners whether they have seen dots of its own: none has. It takes w1,
/// which reaches all owners. Then the hint comes.
fn quorum_shake(reuses: bool) -> [Owner; 3] {
    let mut owners = owners();
    let backup = owners[0].clone();
    let hint = owners[0].put(KEY, "w0", &DotSet::new());
    owners[0] = restored(&backup, reuses);
    assert!(owners.iter().all(|owner| !hint.events.intersects(&owner.clock)), "no owner has seen it");
    let put = owners[0].put(KEY, "w1", &DotSet::new());
    owners[1].take(KEY, &put);
    owners[2].take(KEY, &put);
    owners[2].take(KEY, &hint);
    exchange(&mut owners, true, RULES);
    owners
}

#[test]
fn a_restored_owner_in_a_new_start_keeps_what_lived_in_a_hint_alone() {
    let owners = quorum_shake(false);
    assert!(agree(&owners, 1));
    assert_eq!(show(&owners, KEY), [["w0", "w1"]; 3]);
}

#[test]
fn a_reused_counter_loses_the_write_that_lived_in_a_hint_alone_though_a_quorum_was_asked() {
    assert_eq!(show(&quorum_shake(true), KEY), [["w1"]; 3]);
}

/// R1, `inflight`. Owner 0's message with w0 is on its way to 2. 0 is restored from a backup and asks all owners and
/// all fallbacks: none has seen the dot. The message arrives, and then w1, which 0, 1 and 2 acknowledge.
fn in_flight(reuses: bool) -> [Owner; 3] {
    let mut owners = owners();
    let backup = owners[0].clone();
    let on_its_way = owners[0].put(KEY, "w0", &DotSet::new());
    owners[0] = restored(&backup, reuses);
    let put = owners[0].put(KEY, "w1", &DotSet::new());
    owners[2].take(KEY, &on_its_way);
    owners[1].take(KEY, &put);
    owners[2].take(KEY, &put);
    exchange(&mut owners, false, RULES);
    exchange(&mut owners, true, RULES);
    owners
}

#[test]
fn a_restored_owner_in_a_new_start_is_safe_from_its_own_messages_under_way() {
    let owners = in_flight(false);
    assert!(agree(&owners, 1));
    assert_eq!(show(&owners, KEY), [["w0", "w1"]; 3]);
}

/// Equal dots and equal clocks with different values: no exchange can find it. A client that reads at 2 and writes
/// what it read, with its token, deletes the acknowledged w1 that it never saw.
#[test]
fn a_reused_counter_parts_the_replicas_for_ever_though_everybody_was_asked() {
    let mut owners = in_flight(true);
    assert_eq!(show(&owners, KEY), [["w1"], ["w1"], ["w0"]]);
    assert_eq!(owners[0].clock, owners[2].clock);
    let context = read([&owners[2]], KEY);
    assert_eq!(values(&context.live), ["w0"]);
    let put = owners[2].put(KEY, "w2", &context.covered);
    owners[0].take(KEY, &put);
    assert_eq!(owners[0].values(KEY), ["w2"]);
}

/// R10(5). While a session runs, its sender takes w1 on a key that is not of the session.
fn write_during_session(rules: Rules) -> [Owner; 3] {
    let mut owners = owners();
    owners[0].put(KEY, "w0", &DotSet::new());
    let [zero, one, _] = &mut owners;
    let mut session = Session::open(zero, one, false, rules);
    session.step(zero, one);
    zero.put(OTHER, "w1", &DotSet::new());
    session.end(zero, one);
    exchange(&mut owners, true, rules);
    owners
}

#[test]
fn a_session_ends_with_the_clock_that_it_began_with() {
    assert_eq!(show(&write_during_session(RULES), OTHER), [["w1"]; 3]);
}

#[test]
fn a_session_that_ends_with_a_later_clock_loses_what_was_written_meanwhile() {
    let owners = write_during_session(Rules { opening_clock: false, ..RULES });
    assert_eq!(show(&owners, OTHER), [[""; 0]; 3]);
}

/// R10(3), R13. The log is a cache: owner 0 has dropped the line of w0 when owner 1 pulls.
fn trimmed_log(rules: Rules) -> [Owner; 3] {
    let mut owners = owners();
    owners[0].put(KEY, "w0", &DotSet::new());
    owners[0].log.clear();
    let [zero, one, _] = &mut owners;
    pull(zero, one, false, rules);
    exchange(&mut owners, true, rules);
    owners
}

#[test]
fn a_difference_that_the_log_does_not_explain_takes_the_full_exchange() {
    assert_eq!(show(&trimmed_log(RULES), KEY), [["w0"]; 3]);
}

#[test]
fn a_trimmed_log_that_is_believed_loses_the_write() {
    let owners = trimmed_log(Rules { log_must_cover: false, ..RULES });
    assert_eq!(show(&owners, KEY), [[""; 0]; 3]);
}

/// R9. A fallback brought w0 home to owner 2 and dropped the hint. Asked again, it has no information; if it keeps
/// the dot in a clock of its own, its answer says "seen and gone", and read repair deletes w0.
#[test]
fn a_fallback_that_keeps_a_clock_deletes_what_it_has_delivered() {
    for keeps_clock in [false, true] {
        let mut owners = owners();
        let hint = hint("w0");
        owners[2].take(KEY, &hint);
        let mut reply = read([&owners[2]], KEY);
        if keeps_clock {
            reply.join(&[], Cover { own: &DotSet::new(), shared: &hint.events });
        }
        owners.iter_mut().for_each(|owner| owner.take_whole(KEY, &reply, &DotSet::new()));
        assert_eq!(owners[2].values(KEY), if keeps_clock { vec![] } else { vec!["w0"] });
    }
}

/// R10(4). A record leaves with the clock of the instant at which it is read: s was read and superseded after the
/// session had opened, so the opening clock doesn't cover s, and the residual no longer does.
#[test]
fn a_record_filled_with_the_opening_clock_shows_a_superseded_value_beside_its_successor() {
    for opening_fill in [false, true] {
        let mut owners = owners();
        owners[0].put(KEY, "w0", &DotSet::new());
        let opening = owners[0].clock.clone();
        let superseded = owners[2].put(KEY, "s", &DotSet::new());
        owners[0].take(KEY, &superseded);
        owners[1].take(KEY, &superseded);
        let context = owners[0].view(KEY).covered;
        owners[0].put(KEY, "successor", &context);
        let record = owners[0].record(KEY);
        let fill = if opening_fill { opening } else { owners[0].clock.clone() };
        let cover = Cover { own: &record.residual, shared: &fill };
        owners[1].apply(KEY, &record.live, cover, &DotSet::new());
        assert_eq!(owners[1].values(KEY), if opening_fill { vec!["successor", "s"] } else { vec!["successor"] });
    }
}

/// R2. A retry through another node with the same dot is the same write; with a new dot it is another one, which a
/// client that has read and deleted the first doesn't cover.
#[test]
fn a_retry_with_a_new_dot_brings_a_deleted_value_back() {
    for new_dot in [false, true] {
        let mut owners = owners();
        let first = owners[0].put(KEY, "w0", &DotSet::new());
        let retried = if new_dot { owners[1].put(KEY, "w0", &DotSet::new()) } else { first };
        let context = owners[0].view(KEY).covered;
        owners[0].delete(KEY, &context);
        owners[1].take(KEY, &retried);
        exchange(&mut owners, false, RULES);
        assert!(agree(&owners, 1));
        assert_eq!(owners[0].values(KEY), if new_dot { vec!["w0"] } else { vec![] });
    }
}
