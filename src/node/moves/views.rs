//! What a change waits for.

use super::{Coming, Going};
use crate::ballot::Owner;
use crate::change::{Collected, Keep};
use crate::ids::{NodeId, PartitionId};
use crate::node::shard::Shard;
use crate::node::{self, Kept, Waiting};
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    pub(in crate::node) fn coming(&self) -> Vec<node::Coming> {
        let all = self.moves.coming.iter();
        let view = |(&partition, coming): (&PartitionId, &Coming)| node::Coming {
            partition,
            layout: coming.target,
            waits: self.waits(partition, coming),
        };
        all.map(view).collect()
    }

    pub(super) fn waits(&self, partition: PartitionId, coming: &Coming) -> Waiting {
        let groups = self.topology.groups(partition);
        let Some(group) = groups.get(coming.target) else { return Waiting::Content(coming.target) };
        let nodes = |owners: Vec<Owner>| owners.into_iter().map(|owner| owner.node).collect::<Vec<_>>();
        let Some(ballots) = self.votes.get(partition) else { return Waiting::Copy(None) };
        if ballots.promise() > coming.target {
            return Waiting::Superseded(ballots.promise());
        }
        if coming.drive.is_held(&groups) {
            return Waiting::Seals(nodes(coming.drive.missing(&groups)));
        }
        if ballots.held().iter().any(|held| held.layout == coming.target) {
            return Waiting::Holders(group.holders().saturating_sub(coming.drive.holders(&groups)));
        }
        if !coming.is_copied {
            let running = self.exchanges.running.get(&partition);
            return Waiting::Copy(running.and_then(|number| self.exchange_with(*number)));
        }
        let needed = group.holders().saturating_sub(coming.ready.len());
        let late = |node: &NodeId| !coming.ready.contains(node) && !self.is_left_out(*node, coming.heard);
        if needed > 0 || group.owners().iter().any(|owner| late(&owner.node)) {
            let missing = group.owners().iter().map(|owner| owner.node);
            return Waiting::Ready { missing: missing.filter(|node| !coming.ready.contains(node)).collect(), needed };
        }
        match coming.collect.collected(&groups) {
            Collected::Unknown(layout) => Waiting::Content(layout),
            Collected::All { .. } => Waiting::Holders(group.holders()),
            Collected::Wanting(needed) => {
                let missing = coming.collect.missing(&groups);
                let (promised, silent) = missing.into_iter().partition(|who| coming.fenced.contains_key(who));
                Waiting::Collect { promised: nodes(promised), silent: nodes(silent), needed }
            }
        }
    }

    pub(in crate::node) fn going(&self) -> Vec<node::Going> {
        let view = |(&partition, going): (&PartitionId, &Going)| {
            let layout = self.topology.floor(partition);
            let groups = self.topology.groups(partition);
            let is_confirmed = |owner: Owner| going.confirmed.contains(&owner);
            let may_delete = self.votes.get(partition).map(|ballots| {
                let group = groups.get(ballots.floor());
                (ballots.promise(), ballots.may_delete(self.me(), group, is_confirmed))
            });
            let kept = match may_delete {
                None | Some((_, Err(Keep::Owner))) => Kept::Unknown,
                Some((promise, Err(Keep::Pending))) => Kept::Promised(promise),
                _ if self.replica.is_salvaging(partition) => Kept::Salvaging,
                Some(_) => {
                    let owners = self.topology.owners(partition).iter().copied();
                    let is_confirmed = |node: &NodeId| going.confirmed.iter().any(|owner| owner.node == *node);
                    Kept::Unconfirmed(owners.filter(|node| !is_confirmed(node)).collect())
                }
            };
            node::Going { partition, layout, kept }
        };
        self.moves.going.iter().map(view).collect()
    }
}
