//! A disk that forgets what was not synced, and fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::bytes::Bytes;
use crate::error::StorageError;
use crate::storage::{Batch, MemoryStorage, Space, Storage, Visit};

/// A storage in memory with the manners of a disk: a crash takes back every write since the last sync.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    live: MemoryStorage,
    /// What the writes since the last sync have replaced, newest last.
    undo: Vec<(Space, Vec<u8>, Option<Bytes>)>,
    faults: DiskFaults,
}

/// A switch, outside the node, for the faults of its disk.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults(Arc<AtomicU8>);

/// Which calls fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// Every read fails.
    Reads = 1,
    /// Every write fails: the disk is full.
    Writes = 2,
    /// The next sync fails.
    Sync = 4,
}

impl DiskFaults {
    /// Makes calls of this kind fail, or stops it.
    pub fn set(&self, fault: DiskFault, on: bool) {
        let bit = fault as u8;
        if on {
            self.0.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.0.fetch_and(!bit, Ordering::Relaxed)
        };
    }

    fn has(&self, fault: DiskFault) -> bool {
        self.0.load(Ordering::Relaxed) & fault as u8 != 0
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The switch for its faults.
    #[must_use]
    pub fn faults(&self) -> DiskFaults {
        self.faults.clone()
    }

    /// The power fails: every write since the last sync is gone.
    pub fn crash(&mut self) {
        let mut batch = Batch::new();
        for (space, key, old) in self.undo.drain(..).rev() {
            match old {
                Some(value) => batch.put(space, &key, &value),
                None => batch.delete(space, &key),
            }
        }
        self.live.write(&batch).expect("memory doesn't fail");
        self.faults.set(DiskFault::Sync, false);
    }

    /// How many keys a space holds.
    #[must_use]
    pub fn len(&self, space: Space) -> usize {
        self.live.len(space)
    }

    /// Whether a space holds nothing.
    #[must_use]
    pub fn is_empty(&self, space: Space) -> bool {
        self.live.is_empty(space)
    }
}

impl Storage for SimDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if self.faults.has(DiskFault::Reads) {
            return Err(StorageError::Read("simulated".into()));
        }
        self.live.get(space, key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Writes) {
            return Err(StorageError::Full);
        }
        for write in batch.iter() {
            self.undo.push((write.space, write.key.to_vec(), self.live.get(write.space, write.key)?));
        }
        self.live.write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Reads) {
            return Err(StorageError::Read("simulated".into()));
        }
        self.live.scan(space, from, visit)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Sync) {
            return Err(StorageError::Sync("simulated".into()));
        }
        self.undo.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_takes_back_what_was_not_synced_and_nothing_else() {
        let mut disk = SimDisk::new();
        let write = |disk: &mut SimDisk, value: &[u8]| {
            let mut batch = Batch::new();
            batch.put(Space::Objects, b"k", value);
            batch.put(Space::Objects, b"k", &[value, b"!"].concat());
            disk.write(&batch).unwrap();
        };
        write(&mut disk, b"1");
        disk.sync().unwrap();
        write(&mut disk, b"2");
        write(&mut disk, b"3");
        assert_eq!(disk.get(Space::Objects, b"k").unwrap(), Some("3!".into()));
        disk.crash();
        assert_eq!(disk.get(Space::Objects, b"k").unwrap(), Some("1!".into()));
    }
}
