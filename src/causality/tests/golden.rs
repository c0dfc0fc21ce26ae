//! What others have published: the paper's figure 3, the sibling counts of the dotted-version-vector README; and what
//! a record costs.

use super::super::{Cover, Record, Update, View};
use super::world::{Owner, RULES, exchange, read};
use super::{dot, dots, entry, values};
use crate::dots::DotSet;
use crate::ids::{Actor, Dot, NodeId, Start};

const X: u64 = 1;
const Y: u64 = 2;
const Z: u64 = 3;
const KEY: usize = 0;

/// Figure 3: D1 and D2 by Sx, then D3 by Sy and D4 by Sz, both by clients that had read D2.
fn figure3() -> [Update; 4] {
    let d1 = Update::put(entry(dot(X, 1), "D1"), &DotSet::new());
    let d2 = Update::put(entry(dot(X, 2), "D2"), &d1.covered);
    let d3 = Update::put(entry(dot(Y, 1), "D3"), &d2.covered);
    let d4 = Update::put(entry(dot(Z, 1), "D4"), &d2.covered);
    [d1, d2, d3, d4]
}

/// An owner that got these and nothing else.
fn node<'a>(updates: impl IntoIterator<Item = &'a Update>) -> Owner {
    let mut owner = Owner::new(9);
    updates.into_iter().for_each(|update| owner.take(KEY, update));
    owner
}

/// Dynamo §4.4: "a node that is aware of D1 or D2 can determine, upon receiving D4, that D1 and D2 are overwritten".
#[test]
fn a_node_of_figure_3_with_d1_or_d2_that_receives_d4_drops_them() {
    let [d1, d2, _, d4] = figure3();
    for known in [vec![&d1], vec![&d2], vec![&d1, &d2], vec![&d2, &d1]] {
        let mut owner = node(known);
        owner.take(KEY, &d4);
        assert_eq!(owner.values(KEY), ["D4"]);
    }
    let mut before = node([&d4]);
    before.take(KEY, &d1);
    before.take(KEY, &d2);
    assert_eq!(before.values(KEY), ["D4"], "D1 and D2 came late");
}

/// Dynamo §4.4: "a node that is aware of D3 and receives D4 will find no causal relation": both are kept, and a read
/// gives the context [(Sx, 2), (Sy, 1), (Sz, 1)].
#[test]
fn a_node_of_figure_3_with_d3_keeps_d4_beside_it() {
    let [_, _, d3, d4] = figure3();
    let mut owner = node([&d3]);
    owner.take(KEY, &d4);
    assert_eq!(owner.values(KEY), ["D3", "D4"]);
    assert_eq!(owner.view(KEY).covered, dots([dot(X, 1), dot(X, 2), dot(Y, 1), dot(Z, 1)]));
}

/// Dynamo §4.4: a client reads D3 and D4 and reconciles them through Sx: D5 is [(Sx, 3), (Sy, 1), (Sz, 1)], stands
/// alone, and replaces all that came before at every node, in every order of arrival.
#[test]
fn reconciling_d3_and_d4_of_figure_3_leaves_d5_alone_everywhere() {
    let [d1, d2, d3, d4] = figure3();
    let context = read([&node([&d1, &d2, &d3]), &node([&d2, &d4])], KEY);
    assert_eq!(values(&context.live), ["D3", "D4"]);
    let d5 = Update::put(entry(dot(X, 3), "D5"), &context.covered);
    assert_eq!(d5.covered, dots([dot(X, 1), dot(X, 2), dot(X, 3), dot(Y, 1), dot(Z, 1)]));
    let updates = [d1, d2, d3, d4, d5];
    for order in permutations(5) {
        let owner = node(order.iter().map(|&at| &updates[at]));
        assert_eq!(owner.values(KEY), ["D5"], "{order:?}");
        assert!(owner.residual(KEY).is_empty(), "{order:?}");
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..count {
        let insert = |list: &Vec<usize>| {
            let mut lists = Vec::new();
            for at in 0..=list.len() {
                let mut list = list.clone();
                list.insert(at, next);
                lists.push(list);
            }
            lists
        };
        all = all.iter().flat_map(insert).collect();
    }
    all
}

/// A server as the README's measurement had it before: one version vector for all siblings of a key.
#[derive(Default)]
struct VersionVector {
    last: u64,
    siblings: usize,
}

impl VersionVector {
    /// A put with what its client had seen of the server's one entry; returns the entry after it.
    fn put(&mut self, seen: u64) -> u64 {
        self.siblings = if seen == self.last { 1 } else { self.siblings + 1 };
        self.last += 1;
        self.last
    }
}

/// Dotted version vectors, README, scenario 1: a client writes and reads, another writes blindly in between. 101
/// writes: 101 siblings with version vectors, 2 here: the blind writes stay only until the first client reads them.
#[test]
fn a_client_that_writes_and_reads_beside_a_blind_writer_leaves_2_siblings_after_101_writes() {
    let (mut owner, mut vector) = (Owner::new(X), VersionVector::default());
    let (mut context, mut seen) = (DotSet::new(), 0);
    for write in 1..=101 {
        let value = format!("v{write}");
        if write % 2 == 0 {
            owner.put(KEY, &value, &DotSet::new());
            vector.put(0);
        } else {
            owner.put(KEY, &value, &context);
            assert!(owner.values(KEY).len() <= 2);
            context = owner.view(KEY).covered;
            seen = vector.put(seen);
        }
    }
    assert_eq!(owner.values(KEY), ["v100", "v101"]);
    assert_eq!(vector.siblings, 101);
}

/// Dotted version vectors, README, scenario 2: two clients take turns, each with the context of its own last write.
/// 101 writes: 101 siblings with version vectors, 2 here, whether a client takes for its context what the server
/// showed after its write or its own write alone.
#[test]
fn two_clients_that_take_turns_leave_2_siblings_after_101_writes_not_101() {
    for reads in [true, false] {
        let (mut owner, mut vector) = (Owner::new(X), VersionVector::default());
        let (mut contexts, mut seen) = ([DotSet::new(), DotSet::new()], [0, 0]);
        for write in 1..=101 {
            let client = write % 2;
            let put = owner.put(KEY, &format!("v{write}"), &contexts[client]);
            contexts[client] = if reads { owner.view(KEY).covered } else { put.covered };
            seen[client] = vector.put(seen[client]);
            assert!(owner.values(KEY).len() <= 2);
        }
        assert_eq!(owner.values(KEY), ["v100", "v101"]);
        assert_eq!(vector.siblings, 101);
    }
}

#[test]
fn a_blind_or_stale_put_makes_a_sibling_and_a_put_with_the_context_of_all_leaves_one() {
    let mut owner = Owner::new(X);
    owner.put(KEY, "first", &DotSet::new());
    let stale = owner.view(KEY).covered;
    owner.put(KEY, "second", &stale);
    assert_eq!(owner.values(KEY), ["second"]);
    owner.put(KEY, "blind", &DotSet::new());
    assert_eq!(owner.values(KEY), ["second", "blind"]);
    owner.put(KEY, "stale", &stale);
    assert_eq!(owner.values(KEY), ["second", "blind", "stale"]);
    let all = owner.view(KEY).covered;
    owner.put(KEY, "one", &all);
    assert_eq!(owner.values(KEY), ["one"]);
}

/// R19: two events of one write id are two entries, and the token of a read covers both.
#[test]
fn two_events_of_one_write_id_stay_two_entries_that_one_put_replaces() {
    let mut record = Record::default();
    let mut clock = DotSet::new();
    for event in [super::named(dot(X, 1), 7), super::named(dot(Y, 1), 7)] {
        let update = Update::put(event, &DotSet::new());
        record.apply(&mut clock, &update.live, update.cover(&DotSet::new()), &update.events);
    }
    assert_eq!(record.live.len(), 2);
    let put = Update::put(entry(dot(X, 2), "next"), &record.view(&clock).covered);
    record.apply(&mut clock, &put.live, put.cover(&DotSet::new()), &put.events);
    assert_eq!(values(&record.live), ["next"]);
}

/// Absence is two answers. "Not seen" speaks for nothing, and joins without effect; "seen and gone" refuses the value.
#[test]
fn absent_is_two_answers_seen_and_gone_or_not_seen() {
    let mut owner = Owner::new(X);
    let put = owner.put(KEY, "value", &DotSet::new());
    let unaware = Owner::new(Y);
    let mut gone = unaware.clone();
    gone.take(KEY, &put);
    gone.delete(KEY, &put.covered);
    assert!(unaware.record(KEY).is_absent() && gone.record(KEY).is_absent());
    assert_eq!(values(&read([&owner, &unaware], KEY).live), ["value"]);
    assert!(read([&owner, &gone], KEY).live.is_empty());
    assert!(read([&gone, &owner], KEY).live.is_empty());
}

/// R12: no tombstone is left, and the clock alone refuses a replay of the old value, whoever brings it.
#[test]
fn a_deleted_record_is_absent_and_a_replay_of_the_old_value_is_refused() {
    let mut owner = Owner::new(X);
    let put = owner.put(KEY, "value", &DotSet::new());
    let shown = owner.view(KEY);
    owner.delete(KEY, &shown.covered);
    assert!(owner.record(KEY).is_absent());
    assert!(owner.records.is_empty(), "an absent record is dropped");
    owner.take(KEY, &put);
    owner.take_whole(KEY, &shown, &DotSet::new());
    assert!(owner.records.is_empty());
}

/// R5, R12: a delete whose context the clock doesn't cover keeps it as a residual, without a live entry; it refuses
/// the value when that comes, and then nothing is left.
#[test]
fn a_delete_that_overtakes_its_value_keeps_a_residual_until_the_value_has_come() {
    let mut first = Owner::new(X);
    let put = first.put(KEY, "value", &DotSet::new());
    let mut second = Owner::new(Y);
    second.delete(KEY, &first.view(KEY).covered);
    assert!(second.record(KEY).live.is_empty() && !second.record(KEY).is_absent());
    assert_eq!(second.residual(KEY), put.events);
    second.take(KEY, &put);
    assert!(second.record(KEY).is_absent());
    second.take(KEY, &put);
    assert!(second.records.is_empty(), "a replay");
}

/// R12: the residual also goes when the clock learns the dot with another key's exchange.
#[test]
fn a_residual_goes_when_the_clock_covers_it_however_it_learned_it() {
    let mut owners = [Owner::new(X), Owner::new(Y)];
    owners[0].put(KEY, "value", &DotSet::new());
    let context = owners[0].view(KEY).covered;
    owners[1].delete(KEY, &context);
    owners[1].put(1, "other", &context);
    assert!(!owners[1].residual(1).is_empty());
    exchange(&mut owners, false, RULES);
    for owner in &owners {
        assert!(owner.record(KEY).is_absent());
        assert!(owner.residual(1).is_empty());
        assert_eq!(owner.values(1), ["other"]);
    }
}

/// R6: contexts are stripped by the clock, so a settled record has no history: one dot for each live value.
#[test]
fn a_settled_record_costs_one_dot_per_live_value_however_many_writes_it_had() {
    let mut owners = [Owner::new(X), Owner::new(Y), Owner::new(Z)];
    for write in 0..300 {
        let context = owners[write % 3].view(KEY).covered;
        let put = owners[write % 3].put(KEY, &format!("{write:03}"), &context);
        for (at, owner) in owners.iter_mut().enumerate() {
            if at != write % 3 {
                owner.take(KEY, &put);
            }
        }
    }
    // Version, count; flags, node, start, counter, stamp, length, value; empty residual; checksum.
    let entry = 1 + 1 + 8 + 1 + 8 + 1 + 3;
    for owner in &owners {
        assert_eq!(owner.values(KEY), ["299"]);
        assert_eq!(owner.record(KEY).encode(b"").len(), 1 + 1 + entry + 2 + 4);
    }
    let sibling = owners[0].put(KEY, "xyz", &DotSet::new());
    owners[1].take(KEY, &sibling);
    assert_eq!(owners[1].record(KEY).encode(b"").len(), 1 + 1 + 2 * entry + 2 + 4);
    assert_eq!(owners[1].clock.intervals(), 3, "and the clock one range per actor");
}

/// R6, R8: a read of owners that agree speaks for their clock, exactly; what one owner alone has seen is in it too.
#[test]
fn a_token_is_the_union_of_what_the_replies_speak_for() {
    let (mut one, mut two) = (Owner::new(X), Owner::new(Y));
    one.put(1, "other key", &DotSet::new());
    two.delete(KEY, &dots([dot(Z, 4)]));
    let own = |node, counter| Dot { actor: Actor { node: NodeId(node), start: Start(1) }, counter };
    assert_eq!(read([&one, &two], KEY).covered, dots([own(X, 1), own(Y, 1), dot(Z, 4)]));
    let mut view = View::default();
    view.join(&[entry(dot(Z, 9), "hinted")], Cover { own: &DotSet::new(), shared: &DotSet::new() });
    assert_eq!(view.covered, dots([dot(Z, 9)]), "live dots are covered whether or not the reply lists them");
}
