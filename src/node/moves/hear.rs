//! What owners say to each other, and what becomes of it.

use super::Said;
use crate::change::{Fenced, Held};
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::message::{Message, MoveStep, Moving};
use crate::node::Output;
use crate::node::control::Notice;
use crate::node::shard::Shard;
use crate::node::topology::owner;
use crate::storage::Storage;
use crate::time::Time;

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
            MoveStep::Cover { clock, changes } => return self.on_cover(from, partition, layout, &clock, changes),
            MoveStep::Covered { changes, covers } => return self.on_covered(who, partition, changes, covers),
            MoveStep::Decided => return self.take_decision(partition, layout, from),
            MoveStep::Refused(refused) => {
                self.hear_refused(partition, from, &refused);
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
            let floor = self.topology.floor(partition);
            return self.say_move(from, partition, floor, MoveStep::Decided);
        }
        if let MoveStep::Fenced { floor, seals, .. } = &step {
            // A former owner has nothing to show, but knows how it went on.
            let heard = self.topology.hear_of(partition, *floor, seals.iter().copied());
            self.heard_of(partition, from, heard);
        }
        if self.topology.layout_of(partition, layout).is_none() {
            self.notices.push_back(Notice::Wanted(layout, from));
            return;
        }
        if self.topology.goal(partition).is_none_or(|goal| goal <= layout) {
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
            MoveStep::Fenced { floor, seals, whole } if whole => {
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
        let Some(ballots) = self.votes.get(partition) else { return };
        let answer = match ballots.fence(layout) {
            Ok(step) => {
                let Ok((fenced, _)) = self.vote(partition, step) else { return };
                let whole = self.replica.owns(partition) && !self.replica.is_refilling(partition);
                MoveStep::Fenced { floor: fenced.floor, seals: fenced.seals, whole }
            }
            Err(refused) => MoveStep::Refused(refused),
        };
        self.answer_move(from, partition, layout, answer);
        self.hear_own(partition, from);
    }

    pub(super) fn on_seal(&mut self, from: NodeId, partition: PartitionId, layout: LayoutId) {
        let Some(ballots) = self.votes.get(partition) else { return };
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

    pub(super) fn answer_move(&mut self, to: NodeId, partition: PartitionId, layout: LayoutId, step: MoveStep) {
        let moving = Message::Moving(Moving { partition, layout, store: self.votes.store, step });
        self.lanes.reveal(Output::Send(to, moving));
    }

    pub(super) fn say_move(&mut self, to: NodeId, partition: PartitionId, layout: LayoutId, step: MoveStep) {
        let said = match &step {
            MoveStep::Copying => Some(Said::Copying),
            MoveStep::Ready => Some(Said::Ready),
            MoveStep::Fence => Some(Said::Fence),
            MoveStep::Held { .. } => Some(Said::Held),
            MoveStep::Seal => Some(Said::Seal),
            MoveStep::Cover { .. } => Some(Said::Cover),
            _ => None,
        };
        if let Some(said) = said {
            let (now, pause) = (self.now.time, self.shared.timing.handoff);
            let last = self.moves.said.entry((partition, to, said)).or_insert(Time(0));
            if *last > Time(0) && now.since(*last) < pause {
                return;
            }
            *last = now;
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
