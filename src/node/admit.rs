//! Which requests an owner takes while layouts change: its ballots, and what of them must be durable first.

use super::control::Notice;
use super::shard::Shard;
use super::topology::{Heard, owner};
use super::{Event, Output};
use crate::ballot::{Owner, Reason, Refused, Sets};
use crate::change::{Ballots, Step};
use crate::error::{Refusal, StorageError};
use crate::ids::{LayoutId, NodeId, PartitionId, StoreId};
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Storage, Stored};

/// What a store has promised, partition by partition: of those that it owns or owned.
///
/// A store without ballots for a partition has no vote in it, whatever it holds: it may be the empty successor of one
/// that had promised something.
#[derive(Debug)]
pub(super) struct Votes {
    /// Which store votes, if it is not the one that the node was founded with.
    pub(super) store: Option<StoreId>,
    ballots: Vec<Option<Box<Ballots>>>,
    /// Partitions whose ballots can't be read any more: what was promised is not known, so nothing may be.
    void: Vec<PartitionId>,
}

/// Why a request is not taken.
#[derive(Debug)]
pub(super) enum Barred {
    /// It knows too little.
    Behind(Box<Refused>),
    Refused(Refusal),
}

impl Votes {
    /// Of a node whose layout never changes: nobody asks it.
    pub(super) fn none(store: Option<StoreId>, partitions: u32) -> Self {
        Self { store, ballots: (0..partitions).map(|_| None).collect(), void: Vec::new() }
    }

    /// # Errors
    /// [`StorageError`] if a line can't be read, or is of a newer format. One that is damaged is no ballots.
    pub(super) fn load<S: Storage>(
        storage: &S,
        store: Option<StoreId>,
        partitions: u32,
        is_own: impl Fn(PartitionId) -> bool,
    ) -> Result<Self, StorageError> {
        let (mut ballots, mut void) = (Vec::with_capacity(partitions as usize), Vec::new());
        for partition in (0..partitions).map(PartitionId) {
            if !is_own(partition) {
                ballots.push(None);
                continue;
            }
            let loaded = match Ballots::load(storage, partition) {
                Err(error) if crate::replica::is_damaged(&error) => {
                    void.push(partition);
                    None
                }
                loaded => loaded?,
            };
            ballots.push(loaded.map(Box::new));
        }
        Ok(Self { store, ballots, void })
    }

    /// The partitions that it has lost its vote in.
    pub(super) fn void(&self) -> &[PartitionId] {
        &self.void
    }

    pub(super) fn get(&self, partition: PartitionId) -> Option<&Ballots> {
        self.ballots[partition.0 as usize].as_deref()
    }

    /// The partitions that it has ballots of.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        (0..)
            .map(PartitionId)
            .zip(&self.ballots)
            .filter(|(_, ballots)| ballots.is_some())
            .map(|(partition, _)| partition)
    }
}

impl<S: Storage> Shard<S> {
    /// This node with the store that votes here.
    pub(super) fn me(&self) -> Owner {
        owner(self.shared.node, self.votes.store)
    }

    /// A write that names these layouts comes for this node's own copy. What it teaches is written before it.
    pub(super) fn admit_write(&mut self, from: NodeId, partition: PartitionId, sets: &Sets) -> Result<Stored, Barred> {
        if !self.shared.elastic {
            return self.check_copy(partition);
        }
        if self.votes.get(partition).is_none() {
            self.begin_ownership(partition, sets)?;
        }
        let Some(ballots) = self.votes.get(partition) else { return Err(Barred::Refused(Refusal::NotAnOwner)) };
        let step = ballots.admit_write(sets).map_err(|refused| Barred::Behind(Box::new(refused)))?;
        let ((), stored) = self.vote(partition, step).map_err(Barred::Refused)?;
        if stored.wrote() {
            self.hear_own(partition, from);
        }
        if !self.is_serving(partition) {
            return Err(Barred::Refused(Refusal::NotAnOwner));
        }
        self.check_copy(partition).map(|copy| stored.and(copy))
    }

    /// A read of the owners of a decided layout comes for this node's own copy.
    pub(super) fn admit_read(&mut self, from: NodeId, partition: PartitionId, floor: LayoutId) -> Result<(), Barred> {
        self.check_fixed(from, partition, floor)?;
        match self.votes.get(partition) {
            Some(ballots) => ballots.admit_read(floor).map_err(|refused| Barred::Behind(Box::new(refused))),
            None => Ok(()),
        }
    }

    /// Where layouts never change all nodes have the same.
    pub(super) fn check_fixed(&mut self, from: NodeId, partition: PartitionId, floor: LayoutId) -> Result<(), Barred> {
        let own = self.topology.floor(partition);
        if floor == own || self.shared.elastic {
            return Ok(());
        }
        self.layout_differs(from);
        Err(Barred::Refused(Refusal::Layout(own)))
    }

    fn check_copy(&mut self, partition: PartitionId) -> Result<Stored, Barred> {
        if self.replica.owns(partition) {
            let nothing = Stored::write(&mut self.storage, &Batch::new());
            return self.or_refuse(nothing).map_err(Barred::Refused);
        }
        self.counters.refused += 1;
        Err(Barred::Refused(Refusal::NotAnOwner))
    }

    /// Whether some layout that counts here names this node. A former owner takes nothing more: what it has is looked
    /// for at the others once, and then dropped.
    pub(super) fn is_serving(&self, partition: PartitionId) -> bool {
        let Some(ballots) = self.votes.get(partition) else { return !self.shared.elastic };
        if mutant::is(Mutant::GoingTakesWrites) {
            return true;
        }
        let me = self.me();
        let mut counting = ballots.seals().iter().copied().chain([ballots.floor(), ballots.promise()]);
        // Who doesn't know what one says is not to be the judge of it.
        counting.any(|ballot| self.topology.is_named(partition, ballot, me) != Some(false))
    }

    /// The ballots take a step.
    pub(super) fn vote<T>(&mut self, partition: PartitionId, step: Step<T>) -> Result<(T, Stored), Refusal> {
        let mut batch = Batch::new();
        step.put(&mut batch, partition);
        self.vote_in(partition, step, &batch)
    }

    /// As [`Shard::vote`], with all that is in the batch.
    pub(super) fn vote_in<T>(
        &mut self,
        partition: PartitionId,
        step: Step<T>,
        batch: &Batch,
    ) -> Result<(T, Stored), Refusal> {
        let written = Stored::write(&mut self.storage, batch);
        let stored = self.or_refuse(written)?;
        self.lanes.wrote(&stored);
        let Some(ballots) = self.votes.ballots[partition.0 as usize].as_deref_mut() else {
            return Err(Refusal::NotAnOwner);
        };
        let before = ballots.floor();
        let answer = step.stored(ballots, &stored);
        if ballots.floor() > before {
            self.moves.floor_rose(partition);
        }
        Ok((answer, stored))
    }

    /// The ballots begin, at this floor. Not where there were some that can't be read any more.
    pub(super) fn put_ballots(&mut self, partition: PartitionId, ballots: Ballots) -> Result<Stored, Refusal> {
        if self.votes.void.contains(&partition) {
            return Err(Refusal::NotAnOwner);
        }
        let mut batch = Batch::new();
        ballots.put(&mut batch, partition);
        let written = Stored::write(&mut self.storage, &batch);
        let stored = self.or_refuse(written)?;
        self.lanes.wrote(&stored);
        self.votes.ballots[partition.0 as usize] = Some(Box::new(ballots));
        Ok(stored)
    }

    /// What this store's ballots say counts for its coordinators too. `from` has just taught it.
    pub(super) fn hear_own(&mut self, partition: PartitionId, from: NodeId) {
        let Some(ballots) = self.votes.get(partition) else { return };
        let above: Vec<_> = ballots.seals().iter().copied().chain([ballots.promise()]).collect();
        let heard = self.topology.hear_of(partition, ballots.floor(), above.into_iter());
        self.heard_of(partition, from, heard);
    }

    /// A peer has refused a request that knew too little. True if it knows more now.
    pub(super) fn hear_refused(&mut self, partition: PartitionId, from: NodeId, refused: &Refused) -> bool {
        if !self.shared.elastic {
            return false;
        }
        let heard = self.topology.hear(partition, refused);
        let changed = heard.changed;
        self.heard_of(partition, from, heard);
        changed
    }

    /// Something was heard of the layouts of a partition.
    pub(super) fn heard_of(&mut self, partition: PartitionId, from: NodeId, heard: Heard) {
        for layout in heard.unknown {
            self.want_layout(partition, layout, from);
        }
        if !heard.changed {
            return;
        }
        self.raise_vote(partition);
        self.live_layouts_changed(partition);
    }

    /// It is not known what a layout says that `from` has spoken of, be it this node before it was started again.
    fn want_layout(&mut self, partition: PartitionId, layout: LayoutId, from: NodeId) {
        if from != self.shared.node {
            return self.notices.push_back(Notice::Wanted(layout, from));
        }
        let others = self.topology.latest().owners(partition).iter().filter(|node| **node != from);
        self.notices.extend(others.map(|&node| Notice::Wanted(layout, node)));
    }

    /// That a layout is decided is a fact, whoever tells it.
    pub(super) fn raise_vote(&mut self, partition: PartitionId) {
        let floor = self.topology.floor(partition);
        if let Some(ballots) = self.votes.get(partition).filter(|ballots| ballots.floor() < floor) {
            let step = ballots.decided(floor);
            if self.vote(partition, step).is_err() {
                self.move_failed(partition);
            }
        }
    }

    pub(super) fn layout_differs(&mut self, from: NodeId) {
        self.counters.refused += 1;
        self.lanes.say(Output::Event(Event::LayoutDiffers(from)));
    }

    /// A refusal as a peer is told it, with what it must know of the partition's layouts: whoever takes this node for an
    /// owner may not know that it is none any more.
    pub(super) fn refuse(&mut self, partition: PartitionId, barred: Barred) -> (Refusal, Option<Box<Refused>>) {
        match barred {
            Barred::Behind(refused) => {
                self.counters.behind += 1;
                (Refusal::Layout(self.topology.floor(partition)), Some(refused))
            }
            Barred::Refused(refusal) => {
                let sets = self.topology.sets(partition);
                let knows = refusal == Refusal::NotAnOwner && self.shared.elastic;
                let known = knows.then(|| Refused {
                    reason: Reason::Floor,
                    floor: sets.floor(),
                    promise: sets.top(),
                    seals: sets.iter().skip(1).collect(),
                });
                (refusal, known.map(Box::new))
            }
        }
    }
}
