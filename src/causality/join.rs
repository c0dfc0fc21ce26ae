//! The one rule.

use super::record::Entry;
use crate::dots::DotSet;
use crate::ids::Dot;
use crate::mutant::{self, Mutant};

/// The dots that one side of a join speaks for: a set of its own, and one that many records share (a clock).
///
/// Two parts, because a clock is sent once for a batch of records and is never copied into each.
#[derive(Clone, Copy, Debug)]
pub struct Cover<'a> {
    /// What the record itself says: its residual, a message's covered set.
    pub own: &'a DotSet,
    /// The clock at the instant at which the record was read. Empty for a message that is not a whole record: a
    /// delta that claims the clock would kill the siblings that it omits.
    pub shared: &'a DotSet,
}

impl Cover<'_> {
    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.own.contains(dot) || self.shared.contains(dot)
    }
}

/// With E, C for this side and E', C' for the other: `live = (E ∩ E') ∪ (E \ C') ∪ (E' \ C)`.
///
/// Live dots belong to their side's cover whether or not it lists them. Both lists are in order of dots, and so is
/// the result. Commutative, associative and idempotent, as the tests show.
pub(crate) fn join(live: &mut Vec<Entry>, cover: Cover<'_>, other: &[Entry], other_cover: Cover<'_>) {
    debug_assert!(is_sorted(live) && is_sorted(other));
    live.retain(|entry| survives(entry.dot, other, other_cover));
    for entry in other {
        if !cover.shared.contains(entry.dot) {
            bring(live, cover.own, entry);
        }
    }
}

/// `(E ∩ E') ∪ (E \ C')`, for one dot of E.
pub(crate) fn survives(dot: Dot, other: &[Entry], other_cover: Cover<'_>) -> bool {
    contains(other, dot) || !other_cover.contains(dot)
}

/// Adds an entry of E' to what survived of E, unless it is there or in `cover`. Tells whether it did.
pub(crate) fn bring(live: &mut Vec<Entry>, cover: &DotSet, entry: &Entry) -> bool {
    // An entry that was here a moment ago is in the other's list, so it survived.
    if mutant::is(Mutant::DropConcurrent) && !live.is_empty() {
        return false;
    }
    let Err(at) = live.binary_search_by(|own| own.dot.cmp(&entry.dot)) else { return false };
    if cover.contains(entry.dot) {
        return false;
    }
    live.insert(at, entry.clone());
    true
}

pub(crate) fn contains(entries: &[Entry], dot: Dot) -> bool {
    entries.iter().any(|entry| entry.dot == dot)
}

pub(crate) fn is_sorted(entries: &[Entry]) -> bool {
    entries.windows(2).all(|pair| pair[0].dot < pair[1].dot)
}
