//! What becomes of a partition that is damaged: a new life, into which the records of the old one are taken over.
//!
//! The old clock claims the effects of writes that may be gone; kept, it would have them deleted everywhere. So the new
//! life begins with an empty clock, where a key that is not there says nothing. A record that can be read is taken over
//! as if another owner had shown it, whole and with the old clock: for its key that is the truth, and it may be the last
//! copy. Unless the records were found not to be what was written: a disk that has dropped a write shows the record of
//! before it, with a good checksum, and the clock would have that write superseded by what it has replaced. Then each
//! speaks for itself alone.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::partition::{Partition, prefix, put_clock};
use super::{Cap, Replica, Said, is_damaged, object_name, state_mut, stored};
use crate::bytes::Bytes;
use crate::causality::{Cover, Record};
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::ids::PartitionId;
use crate::key::Key;
use crate::storage::{Batch, Space, Storage, Stored};

impl Replica {
    /// The partition is damaged: its next life begins.
    pub(crate) fn lose<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        is_believed: bool,
    ) -> Result<Stored, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        let life = state.life.next(is_believed);
        self.batch.clear();
        life.put(&mut self.batch, partition);
        let stored = Stored::write(storage, &self.batch)?;
        self.unsettled -= state.unsettled;
        state.begin(life);
        Ok(stored)
    }

    /// Takes over about so many records of lives that have ended.
    pub(super) fn salvage<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        let mut batch = Batch::new();
        let Some(&(ended, _)) = self.state(partition).old.first() else { return Stored::write(storage, &batch) };
        let old = prefix(partition, ended.incarnation);
        let mut keys = Vec::new();
        storage.scan(Space::Objects, &old, &mut |name, _| {
            let Some(full) = name.strip_prefix(&old[..]).and_then(|rest| rest.get(8..)) else {
                return ControlFlow::Break(());
            };
            if keys.len() == limit {
                return ControlFlow::Break(());
            }
            keys.push((Bytes::from(name), Key::from_full(&self.secret, Bytes::from(full))));
            ControlFlow::Continue(())
        })?;
        if keys.is_empty() {
            self.end_salvage(storage, partition, &mut batch, limit)?;
        }
        for (name, key) in &keys {
            // What has no key is nobody's.
            if key.is_none() {
                batch.delete(Space::Objects, name);
            }
        }
        let mut stored = Stored::write(storage, &batch)?;
        for key in keys.iter().filter_map(|(_, key)| key.as_ref()) {
            stored = stored.and(self.salvage_key(storage, partition, key)?);
        }
        Ok(stored)
    }

    /// All records are taken over: the lines of the old life go, and then the life itself.
    fn end_salvage<S: Storage>(
        &mut self,
        storage: &S,
        partition: PartitionId,
        batch: &mut Batch,
        limit: usize,
    ) -> Result<(), StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        let old = prefix(partition, state.old[0].0.incarnation);
        let mut left = limit;
        storage.scan(Space::Dots, &old, &mut |name, _| {
            if !name.starts_with(&old) || left == 0 {
                return ControlFlow::Break(());
            }
            batch.delete(Space::Dots, name);
            left -= 1;
            ControlFlow::Continue(())
        })?;
        if left < limit {
            return Ok(());
        }
        let (_, clock) = state.old.remove(0);
        state.life.old.remove(0);
        if self.alone && state.life.old.is_empty() {
            // There is nobody whom the clock could mislead, and nobody to be filled by.
            state.life.refill = None;
            let added = Arc::make_mut(&mut state.clock).absorb(&clock);
            put_clock(batch, partition, state.incarnation, &state.clock, &added);
        }
        state.life.put(batch, partition);
        Ok(())
    }

    /// Takes over what lives that have ended know of a key. What can't be read is dropped: nothing claims to know it.
    pub(super) fn salvage_key<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
    ) -> Result<Stored, StorageError> {
        let mut batch = Batch::new();
        let mut all = Stored::write(storage, &batch)?;
        let nothing = DotSet::new();
        for (ended, clock) in self.state(partition).old.clone() {
            let mut name = Vec::new();
            object_name(&mut name, partition, ended.incarnation, key);
            let Some(bytes) = storage.get(Space::Objects, &name)? else { continue };
            match Record::decode(&name, &bytes).map_err(StorageError::from) {
                Ok(Record { live, residual }) => {
                    let shared = if ended.is_believed { &clock } else { &nothing };
                    let cover = Cover { own: &residual, shared };
                    let said = Said { live: &live, cover, events: None };
                    all = all.and(stored(self.join_here(storage, partition, key, said, Cap::NONE))?);
                }
                Err(error) if is_damaged(&error) => {}
                Err(error) => return Err(error),
            }
            // Only now: between the two it is there twice, which is as good as once.
            batch.clear();
            batch.delete(Space::Objects, &name);
            all = all.and(Stored::write(storage, &batch)?);
        }
        Ok(all)
    }
}

impl Partition {
    /// Joins to a record what lives that have ended know of its key.
    pub(super) fn add_old<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        key: &Key,
        record: &mut Record,
    ) -> Result<(), StorageError> {
        let nothing = DotSet::new();
        for (ended, clock) in &self.old {
            let mut name = Vec::new();
            object_name(&mut name, partition, ended.incarnation, key);
            let Some(bytes) = storage.get(Space::Objects, &name)? else { continue };
            match Record::decode(&name, &bytes).map_err(StorageError::from) {
                Ok(old) => {
                    let shared = if ended.is_believed { clock } else { &nothing };
                    record.join_whole(&self.clock, &old.live, Cover { own: &old.residual, shared });
                }
                Err(error) if is_damaged(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
