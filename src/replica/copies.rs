//! Copies that come and go with layouts.

use std::ops::{ControlFlow, RangeInclusive};

use super::life::{Life, Refill};
use super::partition::{Partition, prefix};
use super::{Replica, state_mut};
#[cfg(feature = "sim")]
use super::{load, partition::object_name};
#[cfg(feature = "sim")]
use crate::causality::Record;
use crate::error::StorageError;
use crate::ids::PartitionId;
#[cfg(feature = "sim")]
use crate::key::Key;
use crate::storage::{Batch, Space, Storage, Stored};

/// The record of a key as it stands in a storage, whoever has that open: an empty one if there is no copy. What lives
/// that have ended have left is not looked at.
#[cfg(feature = "sim")]
pub(crate) fn record_in<S: Storage>(storage: &S, partition: PartitionId, key: &Key) -> Result<Record, StorageError> {
    let (life, mut record) = (Life::load(storage, partition)?, Record::default());
    if !life.dropped {
        let mut name = Vec::new();
        object_name(&mut name, partition, life.incarnation(), key);
        load(storage, &name, &mut record)?;
    }
    Ok(record)
}

impl Replica {
    /// Makes room for a copy of a partition of which there is none: others will fill it, and until then it counts in no
    /// read.
    pub(crate) fn adopt<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        positions: RangeInclusive<u64>,
        log: usize,
    ) -> Result<Stored, StorageError> {
        self.batch.clear();
        Life::load(storage, partition)?.begin().put(&mut self.batch, partition);
        let stored = Stored::write(storage, &self.batch)?;
        let (loaded, _) = Partition::load(storage, partition, positions, log)?;
        self.unsettled += loaded.unsettled;
        self.partitions[partition.0 as usize] = Some(Box::new(loaded));
        Ok(stored)
    }

    /// Drops the copy: data and clock together, by the beginning of a life in which there is none. What lies about of it
    /// is removed by and by.
    pub(crate) fn drop_copy<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
    ) -> Result<Stored, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        let life = state.life.end();
        self.batch.clear();
        life.put(&mut self.batch, partition);
        let stored = Stored::write(storage, &self.batch)?;
        self.unsettled -= state.unsettled;
        self.leftovers.push((partition, life.incarnation()));
        self.partitions[partition.0 as usize] = None;
        Ok(stored)
    }

    /// Whether there is something of dropped copies that may have to be removed.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.leftovers.is_empty()
    }

    /// Removes about so many records and lines of copies that were dropped.
    pub(crate) fn remove_leftovers<S: Storage>(
        &mut self,
        storage: &mut S,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        let mut batch = Batch::new();
        let Some(&(partition, end)) = self.leftovers.last() else { return Stored::write(storage, &batch) };
        // Lives begin at 1. Below that are the partition's names, which are no part of a copy.
        let (first, mut left) = (prefix(partition, 1), limit);
        for space in [Space::Objects, Space::Dots] {
            storage.scan(space, &first, &mut |name, _| {
                let Some(life) = name.get(..8).filter(|life| life[..4] == first[..4]) else {
                    return ControlFlow::Break(());
                };
                if life >= &prefix(partition, end)[..] || left == 0 {
                    return ControlFlow::Break(());
                }
                batch.delete(space, name);
                left -= 1;
                ControlFlow::Continue(())
            })?;
        }
        if left == limit {
            self.leftovers.pop();
        }
        Stored::write(storage, &batch)
    }

    /// Whoever has filled the partition so far has done so by a layout that counts no more.
    pub(crate) fn refill_anew<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
    ) -> Result<Stored, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        self.batch.clear();
        let life = Life { refill: state.life.refill.as_ref().map(Refill::anew), ..state.life.clone() };
        life.put(&mut self.batch, partition);
        let stored = Stored::write(storage, &self.batch)?;
        state.life = life;
        Ok(stored)
    }

    /// Adds to a batch that the partition has all that counts: [`Replica::filled`] when that is written.
    pub(crate) fn put_filled(&self, batch: &mut Batch, partition: PartitionId) {
        let life = &self.state(partition).life;
        if life.refill.is_some() {
            Life { refill: None, ..life.clone() }.put(batch, partition);
        }
    }

    /// The partition has all that counts.
    pub(crate) fn filled(&mut self, partition: PartitionId) {
        state_mut(&mut self.partitions, partition).life.refill = None;
    }

    /// For how many keys the clock doesn't speak yet.
    pub(crate) fn unsettled_of(&self, partition: PartitionId) -> u64 {
        self.state(partition).unsettled
    }

    /// Whether records of lives that have ended are being looked through still.
    pub(crate) fn is_salvaging(&self, partition: PartitionId) -> bool {
        !self.state(partition).old.is_empty()
    }

    /// Whether the clock speaks for all that is there.
    pub(crate) fn is_settled(&self, partition: PartitionId) -> bool {
        let state = self.state(partition);
        state.unsettled == 0 && state.old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bytes::Bytes;
    use crate::causality::{Entry, Stamp, Update};
    use crate::dots::DotSet;
    use crate::hash::Secret;
    use crate::ids::{Actor, Dot, KeyspaceId, NodeId, Start};
    use crate::key::Key;
    use crate::message::Standing;
    use crate::ring::{Layout, Member};
    use crate::storage::MemoryStorage;

    const SECRET: Secret = Secret::new([3; 16]);
    const PARTITION: PartitionId = PartitionId(0);

    fn layout() -> Layout {
        let members = [1, 2].map(|node| Member::new(NodeId(node))).to_vec();
        Layout::from_owners(2, members, vec![vec![NodeId(1), NodeId(2)]]).unwrap()
    }

    fn open(storage: &mut MemoryStorage) -> Replica {
        Replica::open(storage, SECRET, &layout(), [PARTITION].into_iter(), 16, Duration::ZERO).unwrap()
    }

    fn write(replica: &mut Replica, storage: &mut MemoryStorage, counter: u64) -> Key {
        let key = Key::new(&SECRET, KeyspaceId(1), &counter.to_le_bytes());
        let dot = Dot { actor: Actor { node: NodeId(1), start: Start(1) }, counter };
        let entry = Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: Bytes::from("value") };
        let _ = replica.update(storage, PARTITION, &key, &Update::put(entry, &DotSet::new())).unwrap();
        key
    }

    /// Whom W acknowledgements can't have come from may be whole and lack what was acknowledged.
    #[test]
    fn a_new_copy_is_filled_by_owners_alone_and_has_lost_nothing() {
        let mut storage = MemoryStorage::new();
        let mut replica = open(&mut storage);
        let _ = replica.drop_copy(&mut storage, PARTITION).unwrap();
        let _ = replica.adopt(&mut storage, PARTITION, 0..=u64::MAX, 16).unwrap();
        assert_eq!(replica.standing(PARTITION), Standing::New);
        let opening = DotSet::of(Dot { actor: Actor { node: NodeId(2), start: Start(1) }, counter: 1 });
        let _ = replica.close(&mut storage, PARTITION, &opening, None, (1, 2)).unwrap();
        assert!(replica.is_refilling(PARTITION) && opening.is_subset(replica.clock(PARTITION)));
        let _ = replica.refill_anew(&mut storage, PARTITION).unwrap();
        let mut replica = open(&mut storage);
        assert_eq!(replica.standing(PARTITION), Standing::New, "also after a start");
        let _ = replica.close(&mut storage, PARTITION, &opening, Some((NodeId(2), true)), (1, 2)).unwrap();
        assert_eq!(replica.standing(PARTITION), Standing::Whole);
    }

    #[test]
    fn a_dropped_copy_is_gone_at_once_stays_so_and_is_removed_in_slices() {
        let mut storage = MemoryStorage::new();
        let mut replica = open(&mut storage);
        for counter in 1..=10 {
            write(&mut replica, &mut storage, counter);
        }
        let _ = replica.drop_copy(&mut storage, PARTITION).unwrap();
        assert!(!replica.owns(PARTITION) && replica.has_leftovers());
        // A name is no part of a copy.
        let mut batch = Batch::new();
        batch.put(Space::Dots, &crate::names::line_key(PARTITION, crate::names::Name(1)), b"a name");
        storage.write(&batch).unwrap();
        let mut replica = open(&mut storage);
        assert!(!replica.owns(PARTITION), "nor does it come back when the node starts");
        let mut slices = 0;
        while replica.has_leftovers() {
            let _ = replica.remove_leftovers(&mut storage, 4).unwrap();
            slices += 1;
        }
        assert!((4..8).contains(&slices), "{slices}");
        assert_eq!((storage.len(Space::Objects), storage.len(Space::Dots)), (0, 1));
    }

    #[test]
    fn a_copy_that_begins_anew_knows_nothing_of_the_one_before_and_counts_when_it_is_filled() {
        let mut storage = MemoryStorage::new();
        let mut replica = open(&mut storage);
        let key = write(&mut replica, &mut storage, 1);
        let _ = replica.drop_copy(&mut storage, PARTITION).unwrap();
        let _ = replica.adopt(&mut storage, PARTITION, layout().positions_of(PARTITION), 16).unwrap();
        let (record, clock) = replica.read(&storage, PARTITION, &key, &mut Vec::new()).unwrap();
        assert!(record.is_absent() && clock.is_empty() && replica.is_refilling(PARTITION));
        write(&mut replica, &mut storage, 2);
        let mut batch = Batch::new();
        replica.put_filled(&mut batch, PARTITION);
        storage.write(&batch).unwrap();
        replica.filled(PARTITION);
        let mut replica = open(&mut storage);
        assert!(replica.owns(PARTITION) && !replica.is_refilling(PARTITION) && !replica.clock(PARTITION).is_empty());
        // What lay about of the first life does not take anything of this one along.
        let _ = replica.drop_copy(&mut storage, PARTITION).unwrap();
        let _ = replica.adopt(&mut storage, PARTITION, layout().positions_of(PARTITION), 16).unwrap();
        let key = write(&mut replica, &mut storage, 3);
        while replica.has_leftovers() {
            let _ = replica.remove_leftovers(&mut storage, 64).unwrap();
        }
        let (record, _) = replica.read(&storage, PARTITION, &key, &mut Vec::new()).unwrap();
        assert_eq!(record.live.len(), 1);
    }
}
