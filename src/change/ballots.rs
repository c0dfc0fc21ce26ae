//! What a replica has promised about the layouts of one partition.

use smallvec::SmallVec;

use crate::ballot::{Group, Ids, Owner, Reason, Refused, Sets, insert};
use crate::ids::{LayoutId, PartitionId};
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Stored};

/// A replica's ballots of one partition: durable, beside the partition's data and in the same batches.
///
/// They outlive the data: a replica that has dropped its copy still refuses requests that know too little.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ballots {
    /// The latest layout that is known to be decided.
    pub(super) floor: LayoutId,
    /// The latest that was accepted as current. Never below the floor.
    pub(super) promise: LayoutId,
    /// The layouts above the floor for which earlier ones were sealed: all, and not the latest alone, since any of them
    /// may be decided.
    pub(super) seals: Ids,
    /// The layouts above the floor for which this owner has collected.
    pub(super) held: SmallVec<[Held; 1]>,
}

/// An owner of a layout has joined what a quorum of each earlier one had that may count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The layout that is held.
    pub layout: LayoutId,
    /// What it was collected from: the floor, and what was sealed for above it. All of them have to be sealed.
    pub closure: Vec<LayoutId>,
}

/// What a fenced replica answers. Its state is to be taken after that, and not before: a write that it acknowledged in
/// between would be in nobody's hands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fenced {
    /// What was promised.
    pub layout: LayoutId,
    /// The latest layout that it knows to be decided.
    pub floor: LayoutId,
    /// Those above its floor that it has sealed for.
    pub seals: Vec<LayoutId>,
}

/// A step that was taken and is not durable yet: what goes into the batch, and what may be said then.
///
/// The answer comes out against the proof that the batch was written, and leaves by the lane that a sync opens.
#[must_use]
#[derive(Debug)]
pub struct Step<T> {
    next: Option<Ballots>,
    answer: T,
}

/// Why a copy must be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The latest decided layout needs it, or is not known.
    Owner,
    /// A later layout was promised: it may come to collect.
    Pending,
    /// Too few owners have confirmed that they have all that is here.
    Uncovered {
        /// So many have.
        confirmed: usize,
        /// So many must.
        needed: usize,
    },
}

impl Ballots {
    /// Those of a partition whose first layout is decided by being founded.
    #[must_use]
    pub fn founded(floor: LayoutId) -> Self {
        Self { floor, promise: floor, seals: Ids::new(), held: SmallVec::new() }
    }

    /// Any: for models, which keep them otherwise.
    #[cfg(feature = "sim")]
    pub(crate) fn of(floor: LayoutId, promise: LayoutId, seals: Ids) -> Self {
        Self { floor, promise, seals, held: SmallVec::new() }
    }

    /// The latest layout that is known to be decided.
    #[must_use]
    pub fn floor(&self) -> LayoutId {
        self.floor
    }

    /// The latest layout that was accepted as current.
    #[must_use]
    pub fn promise(&self) -> LayoutId {
        self.promise
    }

    /// The layouts above the floor for which earlier ones were sealed.
    #[must_use]
    pub fn seals(&self) -> &[LayoutId] {
        &self.seals
    }

    /// The layouts above the floor that this owner holds.
    #[must_use]
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// Accepts a layout as current: from now on no write counts that doesn't name it.
    ///
    /// # Errors
    /// A later layout was promised, or this one or a later one is decided. Nothing has changed.
    pub fn fence(&self, layout: LayoutId) -> Result<Step<Fenced>, Refused> {
        if layout <= self.floor {
            return Err(self.refuse(Reason::Floor));
        }
        if layout < self.promise
            || (mutant::is(Mutant::FirstCome) && self.promise > self.floor && layout != self.promise)
        {
            return Err(self.refuse(Reason::Promise));
        }
        let answer = Fenced { layout, floor: self.floor, seals: self.seals.to_vec() };
        Ok(self.step(|next| next.promise = layout, answer))
    }

    /// Takes a write that names these layouts. It goes into the same batch.
    ///
    /// A request that knows less than this replica would be acknowledged where nobody looks any more.
    ///
    /// # Errors
    /// What the request doesn't name, and must. Nothing has changed.
    pub fn admit_write(&self, sets: &Sets) -> Result<Step<()>, Refused> {
        let known = sets.floor().max(self.floor);
        if self.floor > sets.floor() && !mutant::is(Mutant::OldFloorPasses) {
            return Err(self.refuse(Reason::Floor));
        }
        let unnamed = |seal: &LayoutId| *seal > known && !sets.contains(*seal);
        if self.seals.iter().any(unnamed) && !mutant::is(Mutant::WriteIgnoresSeals) {
            return Err(self.refuse(Reason::Seals));
        }
        if self.promise > known && !sets.contains(self.promise) && !mutant::is(Mutant::WriteIgnoresPromise) {
            return Err(self.refuse(Reason::Promise));
        }
        let raise = |next: &mut Self| {
            next.learn(sets.floor());
            if !mutant::is(Mutant::WriteKeepsPromise) {
                next.promise = next.promise.max(sets.top());
            }
        };
        Ok(self.step(raise, ()))
    }

    /// Shows a record to a strict read of the owners of one decided layout.
    ///
    /// Where a later one was sealed for it may be decided any moment, and writes need the earlier owners no more.
    ///
    /// # Errors
    /// A later layout is decided, or may be: the reader is to learn which.
    pub fn admit_read(&self, floor: LayoutId) -> Result<(), Refused> {
        if self.floor > floor && !mutant::is(Mutant::OldFloorPasses) {
            return Err(self.refuse(Reason::Floor));
        }
        if self.seals.iter().any(|seal| *seal > floor) && !mutant::is(Mutant::ReadIgnoresSeals) {
            return Err(self.refuse(Reason::Seals));
        }
        Ok(())
    }

    /// Gives up the earlier layouts in favour of one that enough owners hold.
    ///
    /// # Errors
    /// A later layout was promised, or this one or a later one is decided. Nothing has changed.
    pub fn seal(&self, layout: LayoutId) -> Result<Step<()>, Refused> {
        if layout <= self.floor {
            return Err(self.refuse(Reason::Floor));
        }
        // The owners of the promised one have been told already what is sealed here.
        if layout < self.promise && !mutant::is(Mutant::SealBelowPromise) {
            return Err(self.refuse(Reason::Promise));
        }
        let seal = |next: &mut Self| {
            next.promise = next.promise.max(layout);
            if mutant::is(Mutant::TopSealOnly) {
                next.seals.clear();
            }
            insert(&mut next.seals, layout);
        };
        Ok(self.step(seal, ()))
    }

    /// Counts as an owner that holds `layout`. What was collected is durable with it or before.
    ///
    /// It promises what it holds: else it could drop a copy, as a former owner, that it has counted.
    ///
    /// # Errors
    /// A later layout was promised, or this one or a later one is decided. Nothing has changed.
    pub fn hold(&self, layout: LayoutId, closure: &[LayoutId]) -> Result<Step<Held>, Refused> {
        if layout <= self.floor {
            return Err(self.refuse(Reason::Floor));
        }
        if layout < self.promise {
            return Err(self.refuse(Reason::Promise));
        }
        let answer = Held { layout, closure: closure.to_vec() };
        let held = answer.clone();
        let hold = |next: &mut Self| {
            if !mutant::is(Mutant::HoldWithoutPromise) {
                next.promise = layout;
            }
            next.held.retain(|held| held.layout != layout);
            next.held.push(held);
            next.held.sort_by_key(|held| held.layout);
        };
        Ok(self.step(hold, answer))
    }

    /// Learns that a layout is decided.
    pub fn decided(&self, layout: LayoutId) -> Step<()> {
        self.step(|next| next.learn(layout), ())
    }

    /// The partition has lost something here, and begins its next life: another owner, who has collected nothing.
    ///
    /// What the one before it has promised and sealed, it keeps to.
    pub fn lost(&self) -> Step<()> {
        self.step(|next| next.held.clear(), ())
    }

    /// Whether a later layout is to be brought to its decision in this partition. `promised` is the group of the latest
    /// promise.
    ///
    /// A layout that leaves the owners as they were asks nothing of them, and stands for what was decided before. But
    /// where a rival was promised it is the way back: else writes would need the rival's owners for ever.
    #[must_use]
    pub fn is_ballot(&self, group: &Group, promised: Option<&Group>) -> bool {
        let is_same = |promised: &Group| promised.layout() == self.promise && promised.has_owners_of(group);
        group.layout() > self.promise && !promised.is_some_and(is_same)
    }

    /// Whether the copy may be dropped, data and clock together. `floor` is the group of the floor, `confirmed` tells
    /// who of it has said, since this replica's floor is what it is, that its clock covers all of this replica's.
    ///
    /// "Equal roots" would never come true while writes go on.
    ///
    /// # Errors
    /// Why it must be kept.
    pub fn may_delete(&self, me: Owner, floor: Option<&Group>, confirmed: impl Fn(Owner) -> bool) -> Result<(), Keep> {
        let Some(group) = floor.filter(|group| group.layout() == self.floor && !group.owners().contains(&me)) else {
            return Err(Keep::Owner);
        };
        if self.promise != self.floor && !mutant::is(Mutant::DeleteWhilePending) {
            return Err(Keep::Pending);
        }
        let confirmed = group.owners().iter().filter(|owner| confirmed(**owner)).count();
        let needed = group.confirmations();
        if confirmed < needed && !mutant::is(Mutant::DeleteUncovered) {
            return Err(Keep::Uncovered { confirmed, needed });
        }
        Ok(())
    }

    fn learn(&mut self, floor: LayoutId) {
        if floor > self.floor {
            self.floor = floor;
            self.promise = self.promise.max(floor);
            self.seals.retain(|seal| *seal > floor);
            self.held.retain(|held| held.layout > floor);
        }
    }

    fn step<T>(&self, change: impl FnOnce(&mut Self), answer: T) -> Step<T> {
        let mut next = self.clone();
        change(&mut next);
        Step { next: (next != *self).then_some(next), answer }
    }

    fn refuse(&self, reason: Reason) -> Refused {
        Refused { reason, floor: self.floor, promise: self.promise, seals: self.seals.to_vec() }
    }
}

impl<T> Step<T> {
    /// Adds to a batch what must be durable before the answer is told. Usually that is nothing.
    pub fn put(&self, batch: &mut Batch, partition: PartitionId) {
        if let Some(next) = &self.next {
            next.put(batch, partition);
        }
    }

    /// The batch was written: the replica is what it says now, and this is its answer. Without the proof nothing has
    /// happened.
    pub fn stored(self, ballots: &mut Ballots, _proof: &Stored) -> T {
        self.apply(ballots)
    }

    fn apply(self, ballots: &mut Ballots) -> T {
        if let Some(next) = self.next {
            *ballots = next;
        }
        self.answer
    }

    /// As if it had been stored: for models in which a step and its durability are one.
    #[cfg(feature = "sim")]
    pub(crate) fn at_once(self, ballots: &mut Ballots) -> T {
        self.apply(ballots)
    }
}
