//! What owners say to each other, and what becomes of it.

use std::collections::btree_map::Entry;

use super::Said;
use crate::ballot::{Reason, Refused};
use crate::change::{Fenced, Held};
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::message::{Message, MoveStep, Moving, Standing};
use crate::mutant::{self, Mutant};
use crate::node::Output;
use crate::node::control::Notice;
use crate::node::shard::Shard;
use crate::node::topology::owner;
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    pub(in crate::node) fn on_moving(&mut self, from: NodeId, moving: Moving) {
        let Moving { partition, layout, store, step } = moving;
        if !self.shared.elastic || partition.0 >= self.shared.layout.partitions() {
            return self.layout_differs(from);
        }
        let (who, now) = (owner(from, store), self.now.time);
        match step {
            MoveStep::Fence => return self.on_fence(from, partition, layout),
            MoveStep::Seal => return self.on_seal(from, partition, layout),
            MoveStep::Cover { clock, settled, start, changes } => {
                let clock = settled.then_some(&*clock);
                return self.on_cover(from, partition, layout, clock, (start, changes));
            }
            MoveStep::Covered { changes, covers } => return self.on_covered(who, partition, changes, covers),
            MoveStep::Decided => return self.take_decision(partition, layout, from),
            MoveStep::Asking => {
                self.take_decision(partition, layout, from);
                return self.tell_floor(from, partition);
            }
            MoveStep::Refused(refused) => {
                self.hear_refused(partition, from, &refused);
                if refused.floor < self.topology.floor(partition) {
                    // It has not heard that it is an owner.
                    self.tell_floor(from, partition);
                }
                return self.follow_floors();
            }
            MoveStep::Copying
            | MoveStep::Ready
            | MoveStep::Held { .. }
            | MoveStep::Fenced { .. }
            | MoveStep::Sealed => {}
        }
        if self.topology.floor(partition) >= layout {
            if from == self.shared.node {
                return;
            }
            // It has not heard how it ended.
            return self.tell_floor(from, partition);
        }
        if let MoveStep::Fenced { floor, seals, .. } = &step {
            // A former owner has nothing to show, but knows how it went on.
            let heard = self.topology.hear_of(partition, *floor, seals.iter().copied());
            self.heard_of(partition, from, heard);
            if *floor < self.topology.floor(partition) {
                // It may be an owner by this one, and then it is to be filled.
                self.tell_floor(from, partition);
            }
        }
        if self.topology.layout_of(partition, layout).is_none() {
            self.notices.push_back(Notice::Wanted(layout, from));
            return;
        }
        if self.topology.is_wanted(partition, layout) {
            self.begin_move(partition, layout);
        }
        let Some(coming) = self.moves.coming.get_mut(&partition).filter(|coming| coming.target == layout) else {
            return;
        };
        match step {
            MoveStep::Ready => {
                let is_news = coming.ready.insert(from);
                if is_news {
                    coming.heard = now;
                }
                if is_news && coming.is_copied {
                    self.say_move(from, partition, layout, MoveStep::Ready);
                }
            }
            MoveStep::Copying => coming.heard = now,
            MoveStep::Held { closure } => {
                coming.ready.insert(from);
                if !coming.drive.is_held_by(who) {
                    coming.heard = now;
                }
                coming.drive.held(who, &Held { layout, closure });
            }
            MoveStep::Fenced { floor, seals, has_all } if has_all || mutant::is(Mutant::CollectUnwhole) => {
                coming.fenced.insert(who, Fenced { layout, floor, seals });
            }
            MoveStep::Sealed => coming.drive.sealed(who),
            _ => {}
        }
        self.advance(partition);
        self.follow_floors();
    }

    /// `from` may be this node: its own promise counts by the message that comes back when it is durable.
    pub(super) fn on_fence(&mut self, from: NodeId, partition: PartitionId, layout: LayoutId) {
        if !self.replica.owns(partition) && self.topology.is_named_by_any(partition, self.me()) {
            // By a rival that is sealed for, of which nothing has come here: that is what it has to show.
            let _ = self.take_copy(partition, self.topology.floor(partition));
            self.live_layouts_changed(partition);
        }
        let Some(ballots) = self.votes.get(partition) else { return self.tell_ignorance(from, partition, layout) };
        let answer = match ballots.fence(layout) {
            Ok(step) => {
                let Ok((fenced, _)) = self.vote(partition, step) else { return };
                let owns = self.replica.owns(partition);
                let has_all = owns && self.replica.standing(partition) != Standing::Lost;
                MoveStep::Fenced { floor: fenced.floor, seals: fenced.seals, has_all }
            }
            Err(refused) => MoveStep::Refused(refused),
        };
        self.answer_move(from, partition, layout, answer);
        self.hear_own(partition, from);
    }

    /// This node has no vote: if it is an owner of something that was decided, it missed it.
    fn tell_ignorance(&mut self, from: NodeId, partition: PartitionId, layout: LayoutId) {
        let floor = self.topology.floor(partition);
        let refused = Refused { reason: Reason::Floor, floor, promise: floor, seals: Vec::new() };
        self.answer_move(from, partition, layout, MoveStep::Refused(refused));
    }

    pub(super) fn on_seal(&mut self, from: NodeId, partition: PartitionId, layout: LayoutId) {
        let Some(ballots) = self.votes.get(partition) else { return self.tell_ignorance(from, partition, layout) };
        let answer = match ballots.seal(layout) {
            Ok(step) => {
                let Ok(((), _)) = self.vote(partition, step) else { return };
                MoveStep::Sealed
            }
            Err(refused) => MoveStep::Refused(refused),
        };
        self.answer_move(from, partition, layout, answer);
        self.hear_own(partition, from);
    }

    /// Tells a node that takes this one for an owner how it went on.
    pub(in crate::node) fn tell_floor(&mut self, to: NodeId, partition: PartitionId) {
        if self.shared.elastic {
            let floor = self.topology.floor(partition);
            self.answer_move(to, partition, floor, MoveStep::Decided);
        }
    }

    /// Who is silent may have left, and died, before this node heard who owns the partition now.
    pub(in crate::node) fn owners_are_silent(&mut self, partition: PartitionId) {
        if self.topology.latest().id() != self.topology.base().id() {
            self.ask_how_it_ended(partition);
        }
    }

    /// Those know which layout is decided in the partition that are to own it by the latest.
    pub(super) fn ask_how_it_ended(&mut self, partition: PartitionId) {
        let floor = self.topology.floor(partition);
        for owner in self.topology.latest().owners(partition).to_vec() {
            if owner != self.shared.node {
                self.say_move(owner, partition, floor, MoveStep::Asking);
            }
        }
    }

    pub(super) fn answer_move(&mut self, to: NodeId, partition: PartitionId, layout: LayoutId, step: MoveStep) {
        let early = mutant::is(Mutant::FenceUnsynced) && matches!(step, MoveStep::Fenced { .. });
        let moving = Message::Moving(Moving { partition, layout, store: self.votes.store, step });
        if early {
            return self.lanes.say(Output::Send(to, moving));
        }
        self.lanes.reveal(Output::Send(to, moving));
    }

    /// Whether something is said or done again that was not answered. It is noted that it is.
    pub(super) fn is_time_for(&mut self, partition: PartitionId, to: NodeId, said: Said) -> bool {
        let (now, pause) = (self.now.time, self.shared.timing.handoff);
        match self.moves.said.entry((partition, to, said)) {
            Entry::Occupied(last) if now.since(*last.get()) < pause => return false,
            Entry::Occupied(mut last) => _ = last.insert(now),
            Entry::Vacant(free) => _ = free.insert(now),
        }
        true
    }

    pub(super) fn say_move(&mut self, to: NodeId, partition: PartitionId, layout: LayoutId, step: MoveStep) {
        let said = match &step {
            MoveStep::Copying => Some(Said::Copying),
            MoveStep::Ready => Some(Said::Ready),
            MoveStep::Fence => Some(Said::Fence),
            MoveStep::Held { .. } => Some(Said::Held),
            MoveStep::Seal => Some(Said::Seal),
            MoveStep::Cover { .. } => Some(Said::Cover),
            MoveStep::Asking => Some(Said::Asking),
            _ => None,
        };
        if let Some(said) = said
            && !self.is_time_for(partition, to, said)
        {
            return;
        }
        let moving = Message::Moving(Moving { partition, layout, store: self.votes.store, step });
        if to == self.shared.node {
            // It comes back when what it says is durable.
            self.lanes.reveal(Output::Send(to, moving));
        } else {
            self.ask_with_state(to, moving);
        }
    }
}
