//! Partitions that change hands while requests go on: what a node does of it as an owner to be, and as one that was.
//!
//! ```text
//! owner to be              owners of the earlier layouts
//!   copies ahead      <->  (an exchange; it promises nothing)
//!   Ready             ->   the other owners to be: nobody is fenced before as many as a write takes are ready
//!   Fence             ->   promise; then, and not before, their state is taken
//!   collects          <->  (full exchanges with a quorum of each layout that may count)
//!   holds, Held       ->   the other owners to be
//!   Seal              ->   strict reads of theirs end
//!   Decided           ->   all of them: who owns nothing any more looks whether the others have all of it, and drops it
//! ```
//! Whoever waits for something says again what it has to say, now and then; nothing depends on a single message.

mod coming;
mod going;
mod hear;
#[cfg(test)]
mod tests;
mod views;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::admit::Barred;
use super::control::Notice;
use super::exchange::keep_pairs;
use super::shard::Shard;
use super::{Event, Output};
use crate::ballot::{Owner, Sets};
use crate::change::{Ballots, Drive, Fenced, Move};
use crate::error::Refusal;
use crate::ids::{LayoutId, NodeId, PartitionId, Start};
use crate::ring::Layout;
use crate::storage::Storage;
use crate::time::{Now, Time};

/// What a shard has to do with partitions that change hands.
#[derive(Debug)]
pub(super) struct Moves {
    coming: BTreeMap<PartitionId, Coming>,
    going: BTreeMap<PartitionId, Going>,
    /// When something was said last, that is said until it is answered.
    said: BTreeMap<(PartitionId, NodeId, Said), Time>,
    /// Partitions whose floor has risen, and has not been acted upon.
    rose: BTreeSet<PartitionId>,
    /// Partitions in which the disk failed at something that nobody asks for again.
    failed: BTreeSet<PartitionId>,
    /// The state of a former owner's copy that was fetched: its start, and how often it had changed.
    fetched: BTreeMap<(PartitionId, NodeId), (Start, u64)>,
    /// When what waits is said again.
    pub(super) due: Option<Time>,
}

/// A partition that is to be owned by another layout than before, at one of its owners to be.
#[derive(Debug)]
struct Coming {
    target: LayoutId,
    /// Whether there is a copy that lacks little.
    is_copied: bool,
    /// How often one was asked for.
    tries: usize,
    /// When another owner to be was last heard to get on.
    heard: Time,
    /// The owners to be who have said that they have one.
    ready: BTreeSet<NodeId>,
    /// Who has promised the target, and is to be collected from.
    fenced: BTreeMap<Owner, Fenced>,
    collect: Move,
    drive: Drive,
    /// Records that have come of it, and the bytes of their values.
    moved: (u64, u64),
}

/// A copy that no layout names any more.
#[derive(Debug)]
struct Going {
    since: Time,
    /// The owners that have confirmed that they have all of it, as of so many changes of it.
    confirmed: BTreeSet<Owner>,
    changes: u64,
}

/// What is said again and again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Said {
    Copying,
    Ready,
    Fence,
    Held,
    Seal,
    Cover,
    Asking,
    /// An exchange to have a first copy, to collect, to be filled.
    Copy,
    Collect,
    Fill,
}

/// So many times `Timing::handoff` owners wait for others that seem to be there and get nowhere. It takes but W of them,
/// and yet all are waited for: one that is left out has nothing until the others have filled it, and an old copy that is
/// dropped meanwhile was one of N.
const PATIENCE: u32 = 60;

/// What an exchange is for, if not to become equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MoveExchange {
    /// To have a copy before anybody is fenced.
    Copy(LayoutId),
    /// To join what a fenced owner has.
    Collect(LayoutId),
    /// To have all that a former owner has that has changed so often.
    Fetch(u64),
}

impl Moves {
    pub(super) fn new() -> Self {
        let (coming, going, said) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (rose, failed, fetched) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Self { coming, going, said, rose, failed, fetched, due: None }
    }

    fn forget_said(&mut self, partition: PartitionId) {
        let mut rest = self.said.split_off(&(partition, NodeId(0), Said::Copying));
        if let Some(next) = partition.0.checked_add(1) {
            self.said.append(&mut rest.split_off(&(PartitionId(next), NodeId(0), Said::Copying)));
        }
    }

    pub(super) fn floor_rose(&mut self, partition: PartitionId) {
        self.rose.insert(partition);
    }

    /// A record has come from another owner. True if its partition is on its way here.
    pub(super) fn note_record(&mut self, partition: PartitionId, bytes: u64) -> bool {
        let coming = self.coming.get_mut(&partition);
        coming.map(|coming| coming.moved = (coming.moved.0 + 1, coming.moved.1 + bytes)).is_some()
    }

    /// Records that have come of a partition on its way here, and the bytes of their values.
    pub(super) fn moved(&self, partition: PartitionId) -> (u64, u64) {
        self.coming.get(&partition).map_or((0, 0), |coming| coming.moved)
    }

    /// Whether there is a copy that no layout names: it needs nothing that is new.
    pub(super) fn is_going(&self, partition: PartitionId) -> bool {
        self.going.contains_key(&partition)
    }

    /// Whether this node is to own the partition by a layout that isn't decided there.
    pub(super) fn is_coming(&self, partition: PartitionId) -> bool {
        self.coming.contains_key(&partition)
    }
}

/// Beginning and ending.
impl<S: Storage> Shard<S> {
    /// It is known now what a layout says.
    pub(super) fn learn_layout(&mut self, now: Now, layout: &Arc<Layout>) {
        self.set_now(now);
        if !self.shared.elastic || !self.topology.learn(layout) {
            return;
        }
        self.attend_members();
        let partitions = self.shared.layout.partitions();
        let own = (0..partitions).map(PartitionId).filter(|partition| self.is_of_this_shard(*partition));
        for partition in own.collect::<Vec<_>>() {
            // What was promised before it was known may be this one.
            self.hear_own(partition, self.shared.node);
            self.pursue(partition);
        }
    }

    /// A node that no layout names which is known here: it has left before this one came, or comes before the layout that
    /// names it.
    pub(in crate::node) fn meet(&mut self, now: Now, node: NodeId) {
        self.set_now(now);
        // Of one that there is no room for there is nothing to note, however much it has to say.
        if self.topology.directory.meet(node) {
            self.attend_members();
        }
    }

    /// Whoever is in no layout that is known may end without anybody looking for it.
    fn attend_members(&mut self) {
        while self.peers.len() < self.topology.directory.len() {
            self.peers.add(self.now.time);
        }
        for peer in 0..self.topology.directory.len() {
            let node = self.topology.directory.node(peer);
            if node != self.shared.node && self.topology.is_member(node) {
                self.peers.attend(peer);
            } else {
                self.peers.ignore(peer);
                self.notices.push_back(Notice::Gone(node));
            }
        }
    }

    /// Goes for what the partition is to go for, if this node is an owner by it.
    fn pursue(&mut self, partition: PartitionId) {
        self.give_up_superseded(partition);
        if let Some(goal) = self.topology.goal(partition) {
            self.begin_move(partition, goal);
        }
    }

    /// The latest layout may have a lower ballot than a rival of its parents, which is gone for here. If nobody has promised
    /// that one it is given up; else the way to the latest leads over it.
    fn give_up_superseded(&mut self, partition: PartitionId) {
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        let (target, floor) = (coming.target, self.topology.floor(partition));
        if self.topology.is_wanted(partition, target) {
            return;
        }
        let is_own = self.votes.get(partition).is_some_and(|ballots| ballots.promise() >= target);
        if is_own || !coming.fenced.is_empty() || self.topology.sets(partition).contains(target) {
            if !self.topology.hear_of(partition, floor, std::iter::once(target)).changed {
                return;
            }
        } else {
            self.moves.coming.remove(&partition);
            self.moves.forget_said(partition);
            self.counters.superseded += 1;
        }
        // What was copied may be nobody's now.
        self.moves.rose.insert(partition);
        self.moves.due = Some(self.now.time);
    }

    /// A layout is decided in all partitions.
    pub(super) fn settled(&mut self, now: Now, id: LayoutId) {
        self.set_now(now);
        let Some(layout) = self.topology.layout_by_id(id).cloned().filter(|_| self.shared.elastic) else { return };
        let partitions =
            (0..layout.partitions()).map(PartitionId).filter(|partition| self.is_of_this_shard(*partition));
        for partition in partitions.collect::<Vec<_>>() {
            let heard = self.topology.decided(partition, layout.ballot(partition));
            self.heard_of(partition, self.shared.node, heard);
        }
        self.topology.settle(id);
        self.topology.forget_old();
        self.attend_members();
        let coming = self.moves.coming.iter();
        let over = coming.filter(|(partition, coming)| self.topology.layout_of(**partition, coming.target).is_none());
        for partition in over.map(|(&partition, _)| partition).collect::<Vec<_>>() {
            // Nobody has promised it, and a later one is decided.
            self.moves.coming.remove(&partition);
            self.moves.forget_said(partition);
            self.live_layouts_changed(partition);
        }
        self.follow_floors();
        if !self.left_over().is_empty() {
            self.move_later();
        }
    }

    /// This node is an owner by one of these layouts, and has nothing of the partition yet.
    pub(super) fn begin_ownership(&mut self, partition: PartitionId, sets: &Sets) -> Result<(), Barred> {
        let me = self.me();
        let named = sets.iter().filter(|ballot| self.topology.is_named(partition, *ballot, me) == Some(true)).last();
        // An earlier layout than the one that is known to be decided makes nobody an owner.
        let Some(ballot) = named.filter(|ballot| *ballot >= self.topology.floor(partition)) else {
            return Err(Barred::Refused(Refusal::NotAnOwner));
        };
        let heard = self.topology.hear_of(partition, sets.floor(), sets.iter());
        self.heard_of(partition, self.shared.node, heard);
        if ballot > sets.floor() {
            self.begin_move(partition, ballot);
            return Ok(());
        }
        self.take_copy(partition, sets.floor()).map_err(Barred::Refused)
    }

    /// Makes room for a copy, with nothing in it, and begins to vote.
    fn take_copy(&mut self, partition: PartitionId, floor: LayoutId) -> Result<(), Refusal> {
        if self.votes.get(partition).is_some_and(|ballots| ballots.floor() > floor) {
            return Err(Refusal::NotAnOwner);
        }
        if self.votes.get(partition).is_none() {
            let _ = self.put_ballots(partition, Ballots::founded(floor))?;
        }
        if !self.replica.owns(partition) {
            let positions = self.shared.layout.positions_of(partition);
            let log = self.shared.limits.dot_log;
            let begun = self.replica.adopt(&mut self.storage, partition, positions, log);
            let stored = self.or_refuse(begun)?;
            self.lanes.wrote(&stored);
            let named = self.names.own(&mut self.storage, partition);
            let stored = self.or_refuse(named)?;
            self.lanes.wrote(&stored);
            self.names.adopt(partition, self.replica.clock(partition));
            if self.replica.is_salvaging(partition) {
                // A store that was set back has it from another life.
                self.building_due.get_or_insert(self.now.time);
            }
        }
        self.moves.going.remove(&partition);
        self.share_partition(partition);
        Ok(())
    }

    /// Goes for a ballot, if this node is an owner by it and goes for none that is later.
    fn begin_move(&mut self, partition: PartitionId, target: LayoutId) {
        if self.topology.is_named(partition, target, self.me()) != Some(true) {
            return;
        }
        let is_over = self.votes.get(partition).is_some_and(|ballots| ballots.floor() >= target);
        let floor = self.topology.floor(partition);
        // What is decided by what this store has promised it may not know the content of, after a start.
        if is_over || target <= floor || self.moves.coming.get(&partition).is_some_and(|coming| coming.target >= target)
        {
            return;
        }
        if self.take_copy(partition, floor).is_err() {
            return self.move_failed(partition);
        }
        let coming = Coming {
            target,
            is_copied: !self.replica.is_refilling(partition),
            tries: 0,
            heard: self.now.time,
            ready: BTreeSet::new(),
            fenced: BTreeMap::new(),
            collect: Move::new(target, floor),
            drive: Drive::new(target),
            moved: (0, 0),
        };
        self.moves.forget_said(partition);
        self.counters.superseded += u64::from(self.moves.coming.insert(partition, coming).is_some());
        self.moves.due = Some(self.now.time);
    }

    /// Acts upon floors that have risen.
    pub(super) fn follow_floors(&mut self) {
        while let Some(partition) = self.moves.rose.pop_first() {
            let floor = self.topology.floor(partition);
            keep_pairs(&mut self.moves.fetched, partition, &[]);
            if self.moves.coming.get(&partition).is_some_and(|coming| coming.target <= floor) {
                self.moves.coming.remove(&partition);
                self.moves.forget_said(partition);
                self.counters.moves_done += 1;
                self.lanes.say(Output::Event(Event::PartitionMoved(partition, floor)));
            }
            if self.replica.owns(partition) && self.replica.is_refilling(partition) {
                // Whoever filled it did so as an owner of an earlier layout.
                let anew = self.replica.refill_anew(&mut self.storage, partition);
                match anew {
                    Ok(stored) => self.lanes.wrote(&stored),
                    Err(error) => {
                        self.storage_failed(error);
                        self.move_failed(partition);
                    }
                }
            }
            self.live_layouts_changed(partition);
        }
    }

    /// Other layouts count in a partition than before.
    pub(super) fn live_layouts_changed(&mut self, partition: PartitionId) {
        self.share_partition(partition);
        self.handoff.is_stale = true;
        self.handoff_due = self.now.time;
        let floor = self.topology.floor(partition);
        if !self.replica.owns(partition) && self.topology.is_named(partition, floor, self.me()) == Some(true) {
            // The others have decided it without this one, which is filled by them.
            if self.take_copy(partition, floor).is_err() {
                self.move_failed(partition);
            }
        }
        if !self.replica.owns(partition) {
            return self.pursue(partition);
        }
        if self.shared.elastic && self.replica.is_refilling(partition) {
            self.move_later();
        }
        // A copy that a later layout may want is kept.
        if self.is_serving(partition) || self.moves.is_coming(partition) {
            self.moves.going.remove(&partition);
        } else if let Entry::Vacant(free) = self.moves.going.entry(partition) {
            free.insert(Going { since: self.now.time, confirmed: BTreeSet::new(), changes: 0 });
            self.moves.due = Some(self.now.time);
        }
        self.pursue(partition);
    }

    /// Whether the layout is decided in all partitions that this node owns by it.
    pub(super) fn has_decided(&self, layout: &Layout) -> bool {
        let partitions = (0..layout.partitions()).map(PartitionId);
        let own =
            |partition: &PartitionId| self.is_of_this_shard(*partition) && layout.owns(self.shared.node, *partition);
        partitions.filter(own).all(|partition| self.is_decided(layout, partition))
    }

    fn is_decided(&self, layout: &Layout, partition: PartitionId) -> bool {
        self.topology.floor(partition) >= layout.ballot(partition)
            && self.topology.owners(partition).iter().all(|owner| layout.owns(*owner, partition))
            && !self.moves.coming.contains_key(&partition)
    }

    pub(super) fn has_changed_to(&self, layout: &Layout) -> bool {
        let own = (0..layout.partitions()).map(PartitionId).filter(|partition| self.is_of_this_shard(*partition));
        let is_done = |partition: PartitionId| {
            let owns = self.replica.owns(partition);
            let is_owner = layout.owns(self.shared.node, partition);
            if !owns && !is_owner {
                return true;
            }
            let is_filled = !owns || !self.replica.is_refilling(partition);
            owns == is_owner && is_filled && self.is_decided(layout, partition)
        };
        own.into_iter().all(is_done)
    }

    /// The partition's data is lost here, or a part of it: what was collected is not here any more.
    pub(super) fn move_lost(&mut self, partition: PartitionId) {
        if let Some(coming) = self.moves.coming.get_mut(&partition) {
            coming.collect.lost();
            coming.fenced.clear();
        }
        if let Some(ballots) = self.votes.get(partition) {
            let step = ballots.lost();
            let _ = self.vote(partition, step);
        }
    }

    /// The disk failed at a step: it is tried again a while later. Not where the vote is lost: a layout must give it back.
    pub(in crate::node) fn move_failed(&mut self, partition: PartitionId) {
        if !self.votes.void().contains(&partition) {
            self.moves.failed.insert(partition);
            self.move_later();
        }
    }

    fn move_later(&mut self) {
        let again = self.now.time + self.shared.timing.handoff;
        self.moves.due = Some(self.moves.due.map_or(again, |due| due.min(again)));
    }

    /// Asks the owners for all that they have, where this one is named and lacks it. It does not wait for the owners to
    /// compare themselves: that may be far off.
    fn fill(&mut self, partition: PartitionId) {
        for owner in self.topology.owners(partition).to_vec() {
            let wants = owner != self.shared.node && self.replica.wants(partition, owner);
            if wants && self.is_time_for(partition, owner, Said::Fill) {
                self.want_exchange(partition, owner, true);
            }
        }
    }

    /// The partitions that are decided to be this node's, and that it lacks something of.
    fn partitions_to_fill(&self) -> Vec<PartitionId> {
        let is_mine = |partition: &PartitionId| {
            self.topology.is_named(*partition, self.topology.floor(*partition), self.me()) == Some(true)
        };
        self.replica.partitions_refilling().filter(is_mine).collect()
    }

    /// Says again what was not answered.
    pub(super) fn move_on(&mut self) {
        self.moves.due = None;
        for partition in std::mem::take(&mut self.moves.failed) {
            self.hear_own(partition, self.shared.node);
            self.raise_vote(partition);
            self.moves.rose.insert(partition);
        }
        self.follow_floors();
        let coming: Vec<_> = self.moves.coming.keys().copied().collect();
        coming.into_iter().for_each(|partition| self.advance(partition));
        let going: Vec<_> = self.moves.going.keys().copied().collect();
        going.into_iter().for_each(|partition| self.let_go(partition));
        self.follow_floors();
        let to_fill = self.partitions_to_fill();
        to_fill.iter().for_each(|partition| self.fill(*partition));
        self.begin_waiting();
        let left_over = self.left_over();
        left_over.iter().for_each(|partition| self.ask_how_it_ended(*partition));
        let is_done = self.moves.coming.is_empty() && self.moves.going.is_empty();
        if !is_done || !to_fill.is_empty() || !left_over.is_empty() {
            self.move_later();
        }
    }

    /// Copies that this node takes for its own, though the latest layout is decided everywhere and does not name it there:
    /// by rivals that this one's owners have gone on from. Its ballot is below theirs, so that it ends nothing here, and
    /// who had decided a rival had said so once.
    fn left_over(&self) -> Vec<PartitionId> {
        let latest = self.topology.latest();
        if latest.id() != self.topology.base().id() {
            return Vec::new();
        }
        let is_left = |partition: &PartitionId| {
            !latest.owns(self.shared.node, *partition)
                && !self.moves.is_going(*partition)
                && !self.moves.is_coming(*partition)
        };
        self.replica.partitions().filter(is_left).collect()
    }
}
