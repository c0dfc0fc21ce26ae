//! An owner to be: from the first copy to the decision.

use super::{MoveExchange, PATIENCE, Said};
use crate::ballot::{Group, Groups, Owner};
use crate::change::{Collected, Fenced};
use crate::ids::{LayoutId, NodeId, PartitionId, Start};
use crate::message::{MoveStep, Standing};
use crate::mutant::{self, Mutant};
use crate::node::control::Notice;
use crate::node::shard::Shard;
use crate::node::topology::{member_store, owner};
use crate::node::{Event, Output};
use crate::storage::{Batch, Storage};
use crate::time::Time;

impl<S: Storage> Shard<S> {
    /// Takes the steps of a move that can be taken, and asks for what the next ones need.
    pub(super) fn advance(&mut self, partition: PartitionId) {
        let groups = self.topology.groups(partition);
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        let (target, is_copied) = (coming.target, coming.is_copied);
        let Some(group) = groups.get(target).cloned() else { return };
        let floor = self.topology.floor(partition);
        if let Some(coming) = self.moves.coming.get_mut(&partition) {
            coming.collect.decided(floor);
        }
        if self.topology.floor(partition) >= target {
            self.moves.floor_rose(partition);
            return;
        }
        if !is_copied {
            for other in group.owners().iter().map(|owner| owner.node) {
                if other != self.shared.node {
                    self.say_move(other, partition, target, MoveStep::Copying);
                }
            }
            return self.copy_ahead(partition, target);
        }
        let me = self.shared.node;
        let owners: Vec<NodeId> = group.owners().iter().map(|owner| owner.node).collect();
        if let Some(coming) = self.moves.coming.get_mut(&partition) {
            coming.ready.insert(me);
        }
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        let late = |node: NodeId| !coming.ready.contains(&node) && !self.is_left_out(node, coming.heard);
        let all_ready = coming.ready.len() >= group.holders() && !owners.iter().any(|owner| late(*owner));
        // Nobody says whether they have heard it.
        for &other in owners.iter().filter(|other| **other != me) {
            self.say_move(other, partition, target, MoveStep::Ready);
        }
        if all_ready {
            self.collect(partition, target, &groups);
            self.hold(partition, target, &groups, &owners);
        }
        self.drive(partition, target, &groups);
    }

    /// Whether an owner to be isn't waited for: it can't be reached, or nobody has got on for long.
    pub(super) fn is_left_out(&self, node: NodeId, heard: Time) -> bool {
        let patience = self.shared.timing.handoff * PATIENCE;
        self.is_suspected(node) || self.now.time.since(heard) >= patience
    }

    /// Copies what there is, before anybody has to promise anything.
    pub(super) fn copy_ahead(&mut self, partition: PartitionId, target: LayoutId) {
        if self.exchanges.running.contains_key(&partition) {
            return;
        }
        let me = self.shared.node;
        let owners = self.topology.owners(partition).to_vec();
        let mut from: Vec<NodeId> = owners.into_iter().filter(|owner| *owner != me).collect();
        from.retain(|owner| !self.is_suspected(*owner));
        let Some(coming) = self.moves.coming.get_mut(&partition) else { return };
        // One that has nothing, or that is reading what it has, is not asked for ever.
        coming.tries += 1;
        let tries = coming.tries;
        if let Some(&owner) = from.get(tries % from.len().max(1))
            && self.is_time_for(partition, owner, Said::Copy)
        {
            self.begin_move_exchange(partition, owner, MoveExchange::Copy(target));
        }
    }

    /// Fences whose state counts, and joins it.
    pub(super) fn collect(&mut self, partition: PartitionId, target: LayoutId, groups: &Groups) {
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        let me = self.me();
        for wanted in coming.collect.missing(groups) {
            let Some(coming) = self.moves.coming.get_mut(&partition) else { return };
            if wanted == me {
                // What this store has promised counts when it is durable, like everybody's.
                match coming.fenced.get(&me).cloned() {
                    Some(fenced) => coming.collect.joined(me, fenced),
                    // What it has is not worth collecting: asking itself again would not make it so.
                    None if self.replica.standing(partition) == Standing::Lost => {}
                    None => self.say_move(me.node, partition, target, MoveStep::Fence),
                }
            } else if coming.fenced.contains_key(&wanted) {
                let is_free = !self.exchanges.running.contains_key(&partition) && !self.is_suspected(wanted.node);
                if is_free && self.is_time_for(partition, wanted.node, Said::Collect) {
                    self.begin_move_exchange(partition, wanted.node, MoveExchange::Collect(target));
                }
            } else {
                self.say_move(wanted.node, partition, target, MoveStep::Fence);
            }
        }
    }

    /// All that counts was joined: it is held from now on.
    pub(super) fn hold(&mut self, partition: PartitionId, target: LayoutId, groups: &Groups, owners: &[NodeId]) {
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        let Some(ballots) = self.votes.get(partition) else { return };
        let held = match ballots.held().iter().find(|held| held.layout == target) {
            Some(held) => held.clone(),
            None => {
                let closure = match coming.collect.collected(groups) {
                    Collected::All { closure, possible_loss } => {
                        if possible_loss {
                            self.lanes.say(Output::Event(Event::PossibleLoss(partition, target)));
                        }
                        closure
                    }
                    Collected::Unknown(layout) => {
                        let from = coming.fenced.keys().next().map_or(self.shared.node, |who| who.node);
                        self.notices.push_back(Notice::Wanted(layout, from));
                        return;
                    }
                    Collected::Wanting(_) => return,
                };
                let Ok(step) = ballots.hold(target, &closure) else { return };
                let mut batch = Batch::new();
                step.put(&mut batch, partition);
                self.replica.put_filled(&mut batch, partition);
                let Ok((held, _)) = self.vote_in(partition, step, &batch) else { return };
                self.replica.filled(partition);
                self.counters.rivals += u64::from(closure.len() > 1);
                self.hear_own(partition, self.shared.node);
                held
            }
        };
        for &owner in owners {
            let closure = held.closure.clone();
            self.say_move(owner, partition, target, MoveStep::Held { closure });
        }
    }

    /// Brings it to the decision, if enough hold it.
    pub(super) fn drive(&mut self, partition: PartitionId, target: LayoutId, groups: &Groups) {
        let Some(coming) = self.moves.coming.get(&partition) else { return };
        if coming.drive.is_decided(groups) {
            return self.decided_here(partition, target);
        }
        let owners = groups.get(target).map(Group::owners).unwrap_or_default();
        let late = |owner: &Owner| !coming.drive.is_held_by(*owner) && !self.is_left_out(owner.node, coming.heard);
        if owners.iter().any(late) {
            return;
        }
        for wanted in coming.drive.missing(groups) {
            self.say_move(wanted.node, partition, target, MoveStep::Seal);
        }
    }

    /// The last of the answers that a decision takes has come here: everybody who has a part in it is told.
    pub(super) fn decided_here(&mut self, partition: PartitionId, target: LayoutId) {
        let mut nodes = self.topology.all_owners(partition);
        nodes.extend(self.topology.layout_of(partition, target).iter().flat_map(|layout| layout.owners(partition)));
        nodes.sort_unstable();
        nodes.dedup();
        for node in nodes.into_iter().filter(|node| *node != self.shared.node).collect::<Vec<_>>() {
            self.answer_move(node, partition, target, MoveStep::Decided);
        }
        self.take_decision(partition, target, self.shared.node);
    }

    pub(super) fn take_decision(&mut self, partition: PartitionId, ballot: LayoutId, from: NodeId) {
        if let Some(ballots) = self.votes.get(partition).filter(|ballots| ballots.floor() < ballot) {
            let step = ballots.decided(ballot);
            let _ = self.vote(partition, step);
        }
        let heard = self.topology.decided(partition, ballot);
        self.heard_of(partition, from, heard);
        self.follow_floors();
    }

    /// An exchange of a move has come to its end.
    pub(in crate::node) fn move_exchanged(
        &mut self,
        partition: PartitionId,
        peer: NodeId,
        standing: Standing,
        start: Start,
        purpose: MoveExchange,
    ) {
        if let MoveExchange::Fetch(changes) = purpose {
            return self.fetched(partition, peer, (start, changes));
        }
        let has_all = standing != Standing::Lost || mutant::is(Mutant::CollectUnwhole);
        let floor = self.topology.floor(partition);
        let of_peer = owner(peer, member_store(&self.topology.live(partition)[0], peer));
        let Some(coming) = self.moves.coming.get_mut(&partition) else { return };
        match purpose {
            MoveExchange::Copy(target) if target == coming.target => {
                coming.is_copied = true;
                if mutant::is(Mutant::CopyCounts) {
                    coming.collect.joined(of_peer, Fenced { layout: target, floor, seals: Vec::new() });
                }
            }
            // It may have lost something since it was fenced.
            MoveExchange::Collect(target) if target == coming.target && has_all => {
                let fenced = coming.fenced.iter().find(|(who, _)| who.node == peer);
                if let Some((&who, fenced)) = fenced {
                    coming.collect.joined(who, fenced.clone());
                }
            }
            _ => {}
        }
        self.moves.due = Some(self.now.time);
    }
}
