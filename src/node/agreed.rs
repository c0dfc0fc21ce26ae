//! How far the owners of a partition are known to be equal.

use super::shard::Shard;
use crate::ids::{NodeId, PartitionId};
use crate::status::{Agreement, Debt};
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// Forgets which keys a partition's latest dots are of, if all owners have all of them.
    pub(super) fn trim(&mut self, partition: PartitionId) {
        let changes = self.replica.changes(partition);
        let equal = |owner: &&NodeId| {
            **owner == self.shared.node
                || self.exchanges.agreements.get(&(partition, **owner)).is_some_and(|it| it.equal == changes)
        };
        if self.topology.all_owners(partition).iter().all(|owner| equal(&owner)) {
            self.replica.trim(partition);
        }
    }

    pub(super) fn shares(&self, peer: NodeId, partition: PartitionId) -> bool {
        self.exchanges.peers.get(&peer).is_some_and(|shared| shared.binary_search(&partition).is_ok())
    }

    /// Another node has missed a write, and no hint of it waits here.
    pub(super) fn mark_dirty(&mut self, partition: PartitionId, peer: NodeId) {
        if self.shares(peer, partition) {
            let changes = self.replica.changes(partition);
            self.exchanges.dirty.insert((partition, peer), changes);
        }
    }

    pub(super) fn note_agreement(&mut self, partition: PartitionId, peer: NodeId, apart: bool) -> &mut Agreement {
        let now = self.now.time;
        let agreement = self.exchanges.agreements.entry((partition, peer)).or_default();
        agreement.apart = apart;
        if !apart {
            agreement.agreed = Some(now);
        }
        agreement
    }

    /// How far the owners have become equal.
    pub(super) fn agreements(&self) -> impl Iterator<Item = (&(PartitionId, NodeId), &Agreement)> {
        self.exchanges.agreements.iter()
    }

    /// What is not known to be at all owners.
    pub(super) fn debt(&self) -> impl Iterator<Item = Debt> {
        let hints = self.hints().map(|(target, count)| Debt::Hints { target, count });
        let shared = self.exchanges.peers.iter();
        let pairs = shared.flat_map(|(&peer, partitions)| partitions.iter().map(move |&partition| (partition, peer)));
        let unequal = pairs.filter_map(|(partition, peer)| match self.exchanges.agreements.get(&(partition, peer)) {
            Some(agreement) if agreement.apart => Some(Debt::Apart(partition, peer)),
            Some(agreement) if agreement.equal == self.replica.changes(partition) => None,
            _ => Some(Debt::Unknown(partition, peer)),
        });
        let dirty = self.exchanges.dirty.keys().map(|&(partition, peer)| Debt::Dirty(partition, peer));
        hints.chain(self.replica.partitions_refilling().map(Debt::Refilling)).chain(unequal).chain(dirty)
    }
}
