//! A former owner: whether the others have all that it has, and the end of its copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{MoveExchange, Said};
use crate::ballot::Owner;
use crate::change::Keep;
use crate::dots::DotSet;
use crate::ids::{LayoutId, NodeId, PartitionId, Start};
use crate::message::MoveStep;
use crate::node::exchange::keep_pairs;
use crate::node::shard::Shard;
use crate::node::{Event, Output};
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// Looks whether the others have all that is here, and drops it.
    pub(super) fn let_go(&mut self, partition: PartitionId) {
        if !self.replica.owns(partition) {
            self.moves.going.remove(&partition);
            return;
        }
        self.settle_copy(partition);
        let Some(ballots) = self.votes.get(partition) else { return };
        let floor = ballots.floor();
        let groups = self.topology.groups(partition);
        let changes = self.replica.changes(partition);
        let Some(going) = self.moves.going.get_mut(&partition) else { return };
        if going.changes != changes {
            (going.changes, going.confirmed) = (changes, BTreeSet::new());
        }
        let (confirmed, since) = (going.confirmed.clone(), going.since);
        let group = groups.get(floor);
        // A few would do, and one that is being filled is better off with a copy more.
        let awaited = |owner: &Owner| !confirmed.contains(owner) && !self.is_left_out(owner.node, since);
        let is_awaited = group.is_some_and(|group| group.owners().iter().any(awaited));
        match ballots.may_delete(self.me(), group, |owner| confirmed.contains(&owner)) {
            Ok(()) if !self.replica.is_salvaging(partition) && !is_awaited => self.drop_copy(partition),
            Err(Keep::Owner) => {}
            // Nobody waits for what is not collected any more: how it ended need not be told here.
            Err(Keep::Pending) => self.ask_how_it_ended(partition),
            Ok(()) | Err(Keep::Uncovered { .. }) => {
                let owners: Vec<NodeId> = group
                    .map(|group| {
                        group.owners().iter().filter(|owner| !confirmed.contains(owner)).map(|owner| owner.node)
                    })
                    .into_iter()
                    .flatten()
                    .collect();
                for owner in owners {
                    let clock = Arc::clone(self.replica.clock(partition));
                    let (settled, start) = (self.replica.is_settled(partition), self.shared.actor.start);
                    self.say_move(owner, partition, floor, MoveStep::Cover { clock, settled, start, changes });
                }
            }
        }
    }

    /// What the clock speaks for by now is settled at once: until the next sweep clients would have written more.
    pub(super) fn settle_copy(&mut self, partition: PartitionId) {
        const RECORDS: usize = 256;
        let mut before = u64::MAX;
        while !self.replica.is_settled(partition) && self.replica.unsettled_of(partition) < before {
            before = self.replica.unsettled_of(partition);
            let swept = self.of_partition(partition, |replica, storage| replica.sweep(storage, partition, RECORDS));
            match swept {
                Ok(stored) => self.lanes.wrote(&stored),
                Err(_) => return,
            }
        }
    }

    pub(super) fn drop_copy(&mut self, partition: PartitionId) {
        let dropped = self.replica.drop_copy(&mut self.storage, partition);
        match dropped {
            Ok(stored) => self.lanes.wrote(&stored),
            Err(error) => return self.storage_failed(error),
        }
        self.share_partition(partition);
        if let Some(number) = self.exchanges.running.get(&partition).copied() {
            self.end_exchange(number);
        }
        self.moves.going.remove(&partition);
        self.moves.forget_said(partition);
        keep_pairs(&mut self.moves.fetched, partition, &[]);
        self.names.disown(partition);
        self.building_due.get_or_insert(self.now.time);
        self.counters.moves_dropped += 1;
        self.lanes.reveal(Output::Event(Event::PartitionDropped(partition)));
    }

    pub(super) fn on_cover(
        &mut self,
        from: NodeId,
        partition: PartitionId,
        layout: LayoutId,
        settled: Option<&DotSet>,
        state: (Start, u64),
    ) {
        // That it asks by a layout says that it knows it to be decided.
        self.take_decision(partition, layout, from);
        let is_owner = self.topology.is_named(partition, layout, self.me()) == Some(true);
        if self.topology.floor(partition) > layout {
            return self.tell_floor(from, partition);
        }
        if !is_owner || self.topology.floor(partition) != layout || !self.replica.owns(partition) {
            return;
        }
        // What is not settled no clock speaks for: it was fetched, or it is.
        let covers = settled.is_some_and(|clock| clock.is_subset(self.replica.clock(partition)))
            || self.moves.fetched.get(&(partition, from)) == Some(&state);
        let is_free = !self.exchanges.running.contains_key(&partition) && !self.is_suspected(from);
        if !covers && is_free && self.is_time_for(partition, from, Said::Collect) {
            self.begin_move_exchange(partition, from, MoveExchange::Fetch(state.1));
        }
        self.answer_move(from, partition, layout, MoveStep::Covered { changes: state.1, covers });
    }

    /// All of a former owner's copy was fetched, as it was when it had changed so often.
    pub(super) fn fetched(&mut self, partition: PartitionId, from: NodeId, state: (Start, u64)) {
        self.moves.fetched.insert((partition, from), state);
        let floor = self.topology.floor(partition);
        self.answer_move(from, partition, floor, MoveStep::Covered { changes: state.1, covers: true });
    }

    pub(super) fn on_covered(&mut self, who: Owner, partition: PartitionId, changes: u64, covers: bool) {
        let Some(going) = self.moves.going.get_mut(&partition) else { return };
        if going.changes != changes {
            return;
        }
        // Who lacks something fetches it, and is asked again.
        if covers {
            going.confirmed.insert(who);
            self.let_go(partition);
        }
    }
}
