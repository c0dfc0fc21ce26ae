//! Whoever brings a change to its decision: any node, and several at once.

use super::ballots::Held;
use crate::ballot::{Group, Groups, Ids, Owner, insert};
use crate::ids::LayoutId;
use crate::mutant::{self, Mutant};

/// What somebody has heard of one layout: who holds it, and who has sealed the earlier ones in its favour.
///
/// It is in memory alone. Both are facts that stay true, so whoever begins anew asks again and hears the same.
#[derive(Clone, Debug)]
pub struct Drive {
    target: LayoutId,
    holders: Vec<(Owner, Vec<LayoutId>)>,
    sealed: Vec<Owner>,
}

impl Drive {
    /// Nothing was heard of `target` yet.
    #[must_use]
    pub fn new(target: LayoutId) -> Self {
        Self { target, holders: Vec::new(), sealed: Vec::new() }
    }

    /// The layout that is to be decided.
    #[must_use]
    pub fn target(&self) -> LayoutId {
        self.target
    }

    /// An owner has told what it holds.
    pub fn held(&mut self, owner: Owner, held: &Held) {
        if held.layout == self.target && self.holders.iter().all(|(known, _)| *known != owner) {
            self.holders.push((owner, held.closure.clone()));
        }
    }

    /// An owner has sealed.
    pub fn sealed(&mut self, owner: Owner) {
        if !self.sealed.contains(&owner) {
            self.sealed.push(owner);
        }
    }

    /// Who is to seal: nobody before enough owners hold the layout, since from the first seal on strict reads of the
    /// earlier ones may be refused.
    #[must_use]
    pub fn missing(&self, groups: &Groups) -> Vec<Owner> {
        let mut owners = Vec::new();
        if !self.is_held(groups) {
            return owners;
        }
        let mut closure = Ids::new();
        for layout in self.holding(groups).flatten() {
            insert(&mut closure, *layout);
        }
        for group in closure.iter().filter_map(|layout| groups.get(*layout)) {
            for owner in groups.remaining(group) {
                if !owners.contains(&owner) && !self.sealed.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        owners
    }

    /// Whether an owner has told that it holds it.
    #[must_use]
    pub fn is_held_by(&self, owner: Owner) -> bool {
        self.holders.iter().any(|(holder, _)| *holder == owner)
    }

    /// How many owners hold it.
    #[must_use]
    pub fn holders(&self, groups: &Groups) -> usize {
        self.holding(groups).count()
    }

    /// Whether enough owners hold it.
    #[must_use]
    pub fn is_held(&self, groups: &Groups) -> bool {
        groups.get(self.target).is_some_and(|group| self.holders(groups) >= group.holders())
    }

    /// Whether it is decided: as many owners as it takes hold it, and for each of them a quorum of every layout that it
    /// has collected from is sealed. Then it stays so for ever.
    #[must_use]
    pub fn is_decided(&self, groups: &Groups) -> bool {
        let Some(target) = groups.get(self.target) else { return false };
        let is_sealed = |layout: &LayoutId| {
            groups.get(*layout).is_some_and(|group| {
                let needed = if mutant::is(Mutant::DecideByOneSeal) { 1 } else { groups.needed(group).answers };
                groups.count(group, |owner| self.sealed.contains(&owner)) >= needed
            })
        };
        self.holding(groups).filter(|closure| closure.iter().all(is_sealed)).count() >= target.holders()
    }

    /// What those have collected from that own the layout and hold it.
    fn holding<'a>(&'a self, groups: &'a Groups) -> impl Iterator<Item = &'a Vec<LayoutId>> {
        let owners = groups.get(self.target).map(Group::owners).unwrap_or_default();
        let counts = |owner: &Owner| owners.contains(owner) && !groups.is_gone(*owner);
        self.holders.iter().filter(move |(owner, _)| counts(owner)).map(|(_, closure)| closure)
    }
}
