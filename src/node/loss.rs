//! Damage: how it is found, and what becomes of a partition that has lost something.

use super::shard::Shard;
use super::{Event, Output};
use crate::error::StorageError;
use crate::ids::PartitionId;
use crate::replica::{Replica, is_damaged, is_set_back};
use crate::storage::Storage;

impl<S: Storage> Shard<S> {
    /// Does something with a partition. If it turns out to be damaged it forgets what is, and it is tried once more.
    pub(super) fn of_partition<T>(
        &mut self,
        partition: PartitionId,
        mut what: impl FnMut(&mut Replica, &mut S) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let result = what(&mut self.replica, &mut self.storage);
        match result {
            Err(error) if is_damaged(&error) => {
                self.lost(partition, error)?;
                what(&mut self.replica, &mut self.storage)
            }
            Err(error) => {
                self.storage_failed(error.clone());
                Err(error)
            }
            Ok(done) => Ok(done),
        }
    }

    /// A partition is damaged: the others fill it again.
    pub(super) fn lost(&mut self, partition: PartitionId, error: StorageError) -> Result<(), StorageError> {
        let is_believed = !is_set_back(&error);
        self.storage_failed(error);
        let stored = self.replica.lose(&mut self.storage, partition, is_believed).inspect_err(|error| {
            self.lanes.say(Output::Event(Event::StorageFailed(error.clone())));
        })?;
        self.lanes.wrote(&stored);
        self.lanes.say(Output::Event(Event::PartitionLost(partition)));
        self.building_due.get_or_insert(self.now.time);
        if let Some(number) = self.exchanges.running.get(&partition).copied() {
            self.end_exchange(number);
        }
        self.move_lost(partition);
        let me = self.shared.node;
        for owner in self.topology.owners(partition).to_vec().into_iter().filter(|owner| *owner != me) {
            self.want_exchange(partition, owner, true);
        }
        Ok(())
    }

    /// How many others, that have all that they ever had, must have shown everything before nothing can be missing that
    /// W nodes had; and how many others there are.
    pub(super) fn needed_for_refill(&self, partition: PartitionId) -> (usize, usize) {
        if self.shared.elastic
            && self.topology.is_named(partition, self.topology.floor(partition), self.me()) != Some(true)
        {
            // The owners that there are know of no acknowledgement of this one: only a move makes it one.
            return (usize::MAX, usize::MAX);
        }
        let owners = self.topology.owners(partition).len();
        let w = self.shared.keyspaces.iter().map(|keyspace| usize::from(keyspace.quorum.w())).min().unwrap_or(1);
        (owners + 1 - w.min(owners), owners - 1)
    }
}
