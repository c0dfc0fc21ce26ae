//! What is known of one key: at an owner, in a message, at a coordinator, in a hint.

use serde::{Deserialize, Serialize};

use super::join::{Cover, bring, join, survives};
use super::stamp::Stamp;
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::ids::{Dot, WriteId};
use crate::time::WallTime;
use crate::wire::list;

/// One live version of a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The write event that made it.
    pub dot: Dot,
    /// The client's name for the write, if it gave one.
    pub write_id: Option<WriteId>,
    /// When it expires, if ever, by every node's own wall clock: a part of the version like its value, said once by the
    /// node that named the write.
    pub expires: Option<WallTime>,
    /// For last-write-wins among siblings.
    pub stamp: Stamp,
    /// The value itself.
    pub value: Bytes,
}

impl Entry {
    /// Whether no read shows it any more, by a wall clock that says `now`.
    #[must_use]
    pub fn is_expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What an owner keeps of a key.
///
/// A record without live entries and without residual says nothing that the clock doesn't: it is absence, and is
/// dropped at once, without asking anybody (no tombstone, no grace period).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Versions that nothing supersedes, in order of dots. More than one are siblings.
    pub live: Vec<Entry>,
    /// Dots that the live entries supersede, or that were deleted, and that the partition's clock does not cover yet.
    pub residual: DotSet,
}

/// A part of a key's history on its way to an owner: one write, or several of them joined in a hint.
///
/// It speaks for the context that its writers had read and for its own events, never for a clock: it is not the whole
/// record of anybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Update {
    /// The versions that it brings, in order of dots; none for a delete.
    #[serde(deserialize_with = "list")]
    pub live: Vec<Entry>,
    /// All dots that it speaks for: contexts and events.
    pub covered: DotSet,
    /// The write events that it is: the clock of an owner that joins it takes them in.
    pub events: DotSet,
}

/// What a coordinator knows of a key: the join of whole records, each with the clock of its owner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Versions that none of the replies supersedes, in order of dots.
    pub live: Vec<Entry>,
    /// Exactly what the replies speak for. This, and nothing more or less, is the client's context.
    pub covered: DotSet,
}

/// What an owner's state went through when something was joined into it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Change {
    /// The live entries are not what they were.
    pub(crate) live: bool,
    /// The residual is not what it was.
    pub(crate) residual: bool,
    /// The dots that the clock took in.
    pub(crate) added: DotSet,
}

impl Change {
    /// Whether there is anything to store.
    pub(crate) fn any(&self) -> bool {
        self.live || self.residual || !self.added.is_empty()
    }
}

/// The bytes of the values alone.
pub(crate) fn value_bytes(live: &[Entry]) -> usize {
    live.iter().map(|entry| entry.value.len()).sum()
}

impl Record {
    /// Whether it says nothing that the clock doesn't say.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.live.is_empty() && self.residual.is_empty()
    }

    /// Says nothing any more, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.live.clear();
        self.residual = DotSet::new();
    }

    /// Joins a message into an owner's state whose entries that the message supersedes are gone already; `dropped`
    /// tells whether there were any.
    ///
    /// The clock takes in the message's live dots and `events`, and nothing else: not the context, not the fill.
    /// A clock that claims a dot whose effect is not in the state deletes that write everywhere.
    pub(crate) fn take_in(
        &mut self,
        clock: &mut DotSet,
        live: &[Entry],
        cover: Cover<'_>,
        events: &DotSet,
        dropped: bool,
    ) -> Change {
        let (mut added, mut brought) = (clock.absorb(events), false);
        for entry in live {
            // What the clock had before is either here or superseded.
            if added.contains(entry.dot) || (clock.insert(entry.dot) && added.insert(entry.dot)) {
                brought |= bring(&mut self.live, &self.residual, entry);
            }
        }
        // Stripping by the whole clock is sound because whatever leaves this owner is filled by the whole clock.
        let residual_changed = self.absorb(cover, clock);
        Change { live: dropped || brought, residual: residual_changed, added }
    }

    /// As [`Record::take_in`], where the clock takes in nothing: then a live dot need not be in it.
    ///
    /// The dots of a partition's records, one by one and in the order of the keys, would be as many gaps in the clock,
    /// where the end of an exchange brings them all at once.
    pub(crate) fn take_from(&mut self, clock: &DotSet, live: &[Entry], cover: Cover<'_>, dropped: bool) -> Change {
        let mut brought = false;
        for entry in live.iter().filter(|entry| !clock.contains(entry.dot)) {
            brought |= bring(&mut self.live, &self.residual, entry);
        }
        let residual = self.absorb(cover, clock);
        Change { live: dropped || brought, residual, added: DotSet::new() }
    }

    /// Joins another whole record of the key into it, at an owner with this clock.
    pub(crate) fn join_whole(&mut self, clock: &DotSet, live: &[Entry], cover: Cover<'_>) {
        self.live.retain(|entry| survives(entry.dot, live, cover));
        let _ = self.take_from(clock, live, cover, false);
    }

    /// Removes the versions that are `due`. Tells whether there were any.
    ///
    /// Their dots stay known, in the clock or else in the residual: a late copy is refused like that of a deleted one.
    pub(crate) fn expire(&mut self, clock: &DotSet, due: impl Fn(WallTime) -> bool) -> bool {
        let before = self.live.len();
        let residual = &mut self.residual;
        self.live.retain(|entry| {
            let stays = !entry.expires.is_some_and(&due);
            if !stays && !clock.contains(entry.dot) {
                residual.insert(entry.dot);
            }
            stays
        });
        self.live.len() < before
    }

    /// residual := (residual ∪ cover) \ clock. Tells whether the residual changed.
    fn absorb(&mut self, cover: Cover<'_>, clock: &DotSet) -> bool {
        let mut changed = self.strip(clock);
        for part in [cover.own, cover.shared] {
            // Nearly always: a write's context is older than what its owners have seen.
            if part.is_subset(clock) {
                continue;
            }
            let uncovered = part.minus(clock);
            if !uncovered.is_subset(&self.residual) {
                self.residual.union_with(&uncovered);
                changed = true;
            }
        }
        changed
    }

    /// What an owner with this clock shows: the record with all that its owner speaks for.
    #[must_use]
    pub fn view(&self, clock: &DotSet) -> View {
        let mut view = View { live: self.live.clone(), covered: clock.clone() };
        view.covered.union_with(&self.residual);
        for entry in &self.live {
            view.covered.insert(entry.dot);
        }
        view
    }

    /// Leaves out of the residual what the clock covers by now. Tells whether anything went.
    pub(crate) fn strip(&mut self, clock: &DotSet) -> bool {
        if !self.residual.intersects(clock) {
            return false;
        }
        self.residual = self.residual.minus(clock);
        true
    }
}

impl Update {
    /// One put: its value, superseding `context`.
    #[must_use]
    pub fn put(entry: Entry, context: &DotSet) -> Self {
        let (covered, events) = (context.with(entry.dot), DotSet::of(entry.dot));
        Self { live: vec![entry], covered, events }
    }

    /// One delete: no value, superseding `context`.
    #[must_use]
    pub fn delete(dot: Dot, context: &DotSet) -> Self {
        Self { live: Vec::new(), covered: context.with(dot), events: DotSet::of(dot) }
    }

    /// Joins another update of the same key: what a fallback does with a second hint.
    pub fn join(&mut self, other: &Self) {
        let nothing = DotSet::new();
        join(
            &mut self.live,
            Cover { own: &self.covered, shared: &nothing },
            &other.live,
            Cover { own: &other.covered, shared: &nothing },
        );
        self.covered.union_with(&other.covered);
        self.events.union_with(&other.events);
    }

    /// What it speaks for; `nothing` is the empty set, in the place of a clock.
    #[must_use]
    pub const fn cover<'a>(&'a self, nothing: &'a DotSet) -> Cover<'a> {
        Cover { own: &self.covered, shared: nothing }
    }
}

impl View {
    /// Joins a reply: a whole record and what it speaks for.
    pub fn join(&mut self, live: &[Entry], cover: Cover<'_>) {
        let nothing = DotSet::new();
        join(&mut self.live, Cover { own: &self.covered, shared: &nothing }, live, cover);
        for part in [cover.own, cover.shared] {
            // The common case is two replicas with equal clocks: nothing is copied.
            if !part.is_subset(&self.covered) {
                self.covered.union_with(part);
            }
        }
        for entry in live {
            self.covered.insert(entry.dot);
        }
    }

    /// Whether an owner that showed `live` and `cover` would change its live entries if it joined this view.
    #[must_use]
    pub fn is_ahead_of(&self, live: &[Entry], cover: Cover<'_>) -> bool {
        self.live.iter().any(|entry| !cover.contains(entry.dot) && !live.iter().any(|own| own.dot == entry.dot))
            || live
                .iter()
                .any(|own| self.covered.contains(own.dot) && !self.live.iter().any(|entry| entry.dot == own.dot))
    }
}
