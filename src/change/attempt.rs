//! A coordinator's attempt to write while layouts change.

use smallvec::SmallVec;

use crate::ballot::{Groups, Owner, Refused, Sets};
use crate::ids::LayoutId;
use crate::mutant::{self, Mutant};

/// One write: the layouts that it names, and who has acknowledged it under exactly these.
///
/// When they change, what was acknowledged counts no more: the same dot is sent again, which costs those nothing that
/// have it. An acknowledgement under other layouts promised other things.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    sets: Sets,
    round: u32,
    stored: SmallVec<[Owner; 4]>,
}

impl Attempt {
    /// Begins with the latest layout that the coordinator knows to be decided.
    #[must_use]
    pub fn new(floor: LayoutId) -> Self {
        Self { sets: Sets::of(floor), round: 0, stored: SmallVec::new() }
    }

    /// What the request names.
    #[must_use]
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// Goes with every request, and comes back with its answer: changes with what is named.
    #[must_use]
    pub fn round(&self) -> u32 {
        self.round
    }

    /// A replica knows more. Tells whether the request names more now, and is to be sent again.
    pub fn refused(&mut self, refused: &Refused) -> bool {
        let raised = self.decided(refused.floor);
        // What is above the floor that it reports may count, whether or not it is the reason.
        let mut grown = false;
        for &layout in refused.seals.iter().chain([&refused.promise]) {
            grown |= self.sets.add(layout);
        }
        if grown && !mutant::is(Mutant::KeepAcksWhenNamingMore) {
            self.void();
        }
        raised || grown
    }

    /// A later layout is decided. Tells whether that changes what is named.
    pub fn decided(&mut self, layout: LayoutId) -> bool {
        let raised = self.sets.raise(layout);
        if raised && !mutant::is(Mutant::KeepAcksWhenFloorRises) {
            self.void();
        }
        raised
    }

    /// An owner has stored it durably, as asked in `round`.
    pub fn stored(&mut self, owner: Owner, round: u32) {
        if round == self.round && !self.stored.contains(&owner) {
            self.stored.push(owner);
        }
    }

    /// Whether `w` owners of every layout that is named have stored it. Not before the content of all of them is known.
    #[must_use]
    pub fn is_reached(&self, w: u8, groups: &Groups) -> bool {
        self.sets.iter().all(|layout| {
            let group = groups.get(layout);
            group.is_some_and(|group| groups.count(group, |owner| self.stored.contains(&owner)) >= group.writes(w))
        })
    }

    /// Layouts that are named and whose content has not come yet.
    pub fn unknown<'a>(&'a self, groups: &'a Groups) -> impl Iterator<Item = LayoutId> + 'a {
        self.sets.iter().filter(|layout| groups.get(*layout).is_none())
    }

    /// Everybody whom it must reach, each once, without those that have stored it.
    #[must_use]
    pub fn missing(&self, groups: &Groups) -> Vec<Owner> {
        let mut owners = Vec::new();
        for group in self.sets.iter().filter_map(|layout| groups.get(layout)) {
            for owner in groups.remaining(group) {
                if !owners.contains(&owner) && !self.stored.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        owners
    }

    fn void(&mut self) {
        self.stored.clear();
        self.round += 1;
    }
}
