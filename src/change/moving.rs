//! A new owner that collects what counts of the layouts before its own.

use super::ballots::Fenced;
use crate::ballot::{Groups, Ids, Owner, insert};
use crate::ids::LayoutId;
use crate::mutant::{self, Mutant};

/// An owner of a layout on its way to hold it. It is in memory alone: who starts anew collects anew.
///
/// Everybody whom it asks is fenced first, then shows its state. It needs nobody's word that it is through: it counts
/// its own answers.
#[derive(Clone, Debug)]
pub struct Move {
    target: LayoutId,
    floor: LayoutId,
    answers: Vec<(Owner, Fenced)>,
    leaves_out: bool,
}

/// Where a move stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Collected {
    /// The states of these are to be taken, so many of each layout's.
    Wanting(Vec<(LayoutId, usize)>),
    /// A layout was named whose content has not come.
    Unknown(LayoutId),
    /// All that counts was joined.
    All {
        /// The floor, and all that was collected beside it.
        closure: Vec<LayoutId>,
        /// So few were left of a layout's owners that acknowledged writes may be gone with the others.
        possible_loss: bool,
    },
}

impl Move {
    /// Begins at a layout that is known to be decided, as late a one as is known.
    #[must_use]
    pub fn new(target: LayoutId, floor: LayoutId) -> Self {
        Self { target, floor, answers: Vec::new(), leaves_out: true }
    }

    /// Collects also from layouts that can't be decided any more.
    #[must_use]
    pub fn leaving_nothing_out(self) -> Self {
        Self { leaves_out: false, ..self }
    }

    /// The layout that is to be held.
    #[must_use]
    pub fn target(&self) -> LayoutId {
        self.target
    }

    /// A later layout is known to be decided: what was before it needs no collecting.
    pub fn decided(&mut self, floor: LayoutId) {
        if floor < self.target {
            self.floor = self.floor.max(floor);
        }
    }

    /// The state that `owner` showed was joined, and is durable here: all of it, its clock last.
    ///
    /// Its full exchange was opened after that one was fenced, and ended in the same life of it: whoever drops a copy
    /// begins a new life, or an exchange that goes on would find nothing and take the clock. No other exchange of this
    /// partition was open here meanwhile: what one brings without its clock the other would not look at again.
    pub fn joined(&mut self, owner: Owner, fenced: Fenced) {
        if fenced.layout == self.target && self.answers.iter().all(|(known, _)| *known != owner) {
            self.answers.push((owner, fenced));
        }
    }

    /// The state was lost, or dropped: what was joined before is not here any more.
    pub fn lost(&mut self) {
        self.answers.clear();
    }

    /// Whom it has no state of yet, of all that it must ask.
    #[must_use]
    pub fn missing(&self, groups: &Groups) -> Vec<Owner> {
        let mut owners = Vec::new();
        if let Collected::Wanting(wanting) = self.collected(groups) {
            for group in wanting.iter().filter_map(|(layout, _)| groups.get(*layout)) {
                for owner in groups.remaining(group) {
                    if !owners.contains(&owner) && self.answers.iter().all(|(known, _)| *known != owner) {
                        owners.push(owner);
                    }
                }
            }
        }
        owners
    }

    /// What was collected: the floor, and each layout between it and the target of which an answer says that it was
    /// sealed for or is decided, with a quorum of the owners of each.
    #[must_use]
    pub fn collected(&self, groups: &Groups) -> Collected {
        let (mut closure, mut todo) = (Ids::new(), Ids::from_slice(&[self.floor]));
        let (mut wanting, mut possible_loss) = (Vec::new(), false);
        while let Some(layout) = todo.pop() {
            let Some(group) = groups.get(layout) else { return Collected::Unknown(layout) };
            insert(&mut closure, layout);
            let is_of = |owner: Owner| group.owners().contains(&owner) && !groups.is_gone(owner);
            let answers = || self.answers.iter().filter(|(owner, _)| is_of(*owner)).map(|(_, fenced)| fenced);
            let needed = groups.needed(group);
            let quorum = if mutant::is(Mutant::CollectFromOne) { 1 } else { needed.answers };
            if answers().count() < quorum {
                wanting.push((layout, quorum - answers().count()));
            }
            possible_loss |= needed.possible_loss;
            // With owners gone nobody can tell what those had sealed for.
            let leaves_out = self.leaves_out && groups.remaining(group).count() == group.owners().len();
            let seals = if mutant::is(Mutant::DecideByOneSeal) { 1 } else { needed.answers };
            let most = group.owners().len() - seals;
            for named in answers().flat_map(|fenced| fenced.seals.iter().chain([&fenced.floor])).copied() {
                let counts = named > self.floor && named < self.target && !closure.contains(&named);
                // Who knows a later one to be decided has forgotten its seals below it: that is no "not sealed". And
                // what is somebody's floor is decided, though these owners need not have sealed for it.
                let is_floor = || answers().any(|fenced| fenced.floor == named) && !mutant::is(Mutant::LeaveOutFloors);
                let has_not = |fenced: &&Fenced| {
                    let may_have = fenced.floor > named && !mutant::is(Mutant::LeaveOutFloors);
                    !may_have && fenced.floor != named && !fenced.seals.contains(&named)
                };
                let is_dead = || leaves_out && !is_floor() && answers().filter(has_not).count() > most;
                if counts && !is_dead() && !mutant::is(Mutant::LeaveOutRivals) {
                    insert(&mut todo, named);
                }
            }
        }
        if !wanting.is_empty() {
            return Collected::Wanting(wanting);
        }
        Collected::All { closure: closure.into_vec(), possible_loss }
    }
}
