//! A disk that forgets what was not synced, and fails when it is told to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::bytes::Bytes;
use crate::error::StorageError;
use crate::ids::NodeId;
use crate::storage::{Batch, MemoryStorage, Space, Storage, Visit};

/// A storage in memory with the manners of a disk: a crash takes back writes since the last sync.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    live: MemoryStorage,
    /// What the batches since the last sync have replaced, newest last.
    undo: Vec<Vec<Replaced>>,
    faults: DiskFaults,
    /// Values that stand under a key that they don't belong to, with that key.
    misplaced: Vec<(Space, Vec<u8>, Vec<u8>)>,
    reads: Arc<Counts>,
}

/// What has been read.
#[derive(Debug, Default)]
struct Counts {
    single: AtomicU64,
    scanned: AtomicU64,
}

/// How many records were read one by one, and how many bytes of them were shown in scans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reads {
    pub(super) single: u64,
    pub(super) scanned: u64,
}

/// What stood under a key before a batch.
type Replaced = (Space, Vec<u8>, Option<Bytes>);

/// A switch, outside the node, for the faults of its disk. Clones switch the same disk.
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
        self.crash_keeping(0);
    }

    /// The power fails, and of the batches since the last sync the first `kept` happen to be on the disk. Each is
    /// there whole or not at all, and none without those before it: what every storage must hold to.
    pub fn crash_keeping(&mut self, kept: usize) {
        let mut batch = Batch::new();
        while self.undo.len() > kept
            && let Some(replaced) = self.undo.pop()
        {
            for (space, key, old) in replaced.into_iter().rev() {
                match old {
                    Some(value) => batch.put(space, &key, &value),
                    None => batch.delete(space, &key),
                }
            }
        }
        self.undo.clear();
        self.live.write(&batch).expect("memory doesn't fail");
        self.faults.set(DiskFault::Sync, false);
    }

    /// What was read of it since this was called last.
    pub(super) fn take_reads(&self) -> Reads {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Reads { single: take(&self.reads.single), scanned: take(&self.reads.scanned) }
    }

    fn count_reads(&self, space: Space, single: u64, scanned: u64) {
        if space == Space::Objects {
            self.reads.single.fetch_add(single, Ordering::Relaxed);
            self.reads.scanned.fetch_add(scanned, Ordering::Relaxed);
        }
    }

    /// What is shown to whoever opens it is durable: a sync may have failed, or not been made, before.
    pub(super) fn open(&mut self) {
        self.undo.clear();
    }

    /// How many batches were written since the last sync.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.undo.len()
    }

    /// A copy of what is durable, on a disk of its own.
    #[must_use]
    pub fn backup(&self) -> Self {
        let mut copy = Self { faults: DiskFaults::default(), reads: Arc::default(), ..self.clone() };
        copy.crash();
        copy
    }

    /// One bit of a stored value flips: the `nth` bit of the space, counted over all values and from the first again.
    /// False if the space is empty.
    pub fn rot(&mut self, space: Space, nth: u64) -> bool {
        let values = self.values(space);
        let bits: u64 = values.iter().map(|(_, value)| 8 * value.len() as u64).sum();
        if bits == 0 {
            return false;
        }
        let mut at = nth % bits;
        for (key, mut value) in values {
            let own = 8 * value.len() as u64;
            if at < own {
                value[at as usize / 8] ^= 1 << (at % 8);
                self.overwrite(space, &key, &value);
                break;
            }
            at -= own;
        }
        true
    }

    /// What belongs to one key is found under another: the value of the `nth` key, counted from the first again,
    /// stands where that of the next was. False if the space has fewer than two keys, or that value is misplaced
    /// already: it might come home, and would then be no garbage but what the disk held once.
    pub fn misdirect(&mut self, space: Space, nth: u64) -> bool {
        let values = self.values(space);
        if values.len() < 2 {
            return false;
        }
        let at = (nth % values.len() as u64) as usize;
        let ((name, value), (victim, _)) = (&values[at], &values[(at + 1) % values.len()]);
        let is_misplaced =
            |(in_space, at, old): &(Space, Vec<u8>, Vec<u8>)| (*in_space, at, old) == (space, name, value);
        if self.misplaced.iter().any(is_misplaced) {
            return false;
        }
        self.misplaced.push((space, victim.clone(), value.clone()));
        self.overwrite(space, victim, value);
        true
    }

    /// Bytes of hints by target. The target is what a hint's name begins with.
    pub(super) fn hint_bytes(&self) -> BTreeMap<NodeId, u64> {
        let mut bytes = BTreeMap::new();
        if !self.live.is_empty(Space::Hints) {
            for (name, value) in self.values(Space::Hints) {
                let target = name.first_chunk().map_or(0, |target| u64::from_be_bytes(*target));
                *bytes.entry(NodeId(target)).or_default() += value.len() as u64;
            }
        }
        bytes
    }

    fn values(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut values = Vec::new();
        let all = self.live.scan(space, &[], &mut |key, value| {
            values.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        all.expect("memory doesn't fail");
        values
    }

    /// Behind the back of whoever wrote it.
    fn overwrite(&mut self, space: Space, key: &[u8], value: &[u8]) {
        let mut batch = Batch::new();
        batch.put(space, key, value);
        self.live.write(&batch).expect("memory doesn't fail");
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
        let found = self.live.get(space, key)?;
        self.count_reads(space, u64::from(found.is_some()), 0);
        Ok(found)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Writes) {
            return Err(StorageError::Full);
        }
        let mut replaced = Vec::new();
        for write in batch.iter() {
            replaced.push((write.space, write.key.to_vec(), self.live.get(write.space, write.key)?));
        }
        self.undo.push(replaced);
        self.live.write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Reads) {
            return Err(StorageError::Read("simulated".into()));
        }
        let mut shown = 0;
        let scanned = self.live.scan(space, from, &mut |key, value| {
            shown += (key.len() + value.len()) as u64;
            visit(key, value)
        });
        self.count_reads(space, 0, shown);
        scanned
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.faults.has(DiskFault::Sync) {
            return Err(StorageError::Sync("simulated".into()));
        }
        self.undo.clear();
        Ok(())
    }
}

/// What a crash would leave of a disk, to be read by whoever sees everything.
pub(super) struct Durable<'a>(pub(super) &'a SimDisk);

impl Storage for Durable<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let mut replaced = self.0.undo.iter().flatten();
        match replaced.find(|(of, name, _)| (*of, &name[..]) == (space, key)) {
            Some((_, _, before)) => Ok(before.clone()),
            None => self.0.live.get(space, key),
        }
    }

    fn write(&mut self, _: &Batch) -> Result<(), StorageError> {
        Err(StorageError::Full)
    }

    fn scan(&self, _: Space, _: &[u8], _: &mut Visit<'_>) -> Result<(), StorageError> {
        Err(StorageError::Read("values are looked up one by one".into()))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
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
        assert_eq!(Durable(&disk).get(Space::Objects, b"k").unwrap(), None);
        disk.sync().unwrap();
        write(&mut disk, b"2");
        write(&mut disk, b"3");
        assert_eq!(Durable(&disk).get(Space::Objects, b"k").unwrap(), Some("1!".into()));
        assert_eq!(disk.get(Space::Objects, b"k").unwrap(), Some("3!".into()));
        disk.crash();
        assert_eq!(disk.get(Space::Objects, b"k").unwrap(), Some("1!".into()));
    }

    #[test]
    fn what_survives_a_crash_is_a_prefix_of_whole_batches() {
        let filled = || {
            let mut disk = SimDisk::new();
            for number in 0..4_u8 {
                let mut batch = Batch::new();
                batch.put(Space::Objects, b"latest", &[number]);
                batch.put(Space::Objects, &[number], b"there");
                disk.write(&batch).unwrap();
            }
            disk
        };
        for kept in 0..=4_u8 {
            let mut disk = filled();
            assert_eq!(disk.unsynced(), 4);
            disk.crash_keeping(kept.into());
            let latest = disk.get(Space::Objects, b"latest").unwrap();
            assert_eq!(latest, kept.checked_sub(1).map(|last| Bytes::from(vec![last])));
            for number in 0..4 {
                assert_eq!(disk.get(Space::Objects, &[number]).unwrap().is_some(), number < kept);
            }
        }
    }

    #[test]
    fn rot_flips_one_bit_and_a_misdirected_write_stands_elsewhere() {
        let mut disk = SimDisk::new();
        assert!(!disk.rot(Space::Hints, 3) && !disk.misdirect(Space::Hints, 3));
        let mut batch = Batch::new();
        batch.put(Space::Hints, b"a", &[0, 0]);
        batch.put(Space::Hints, b"b", &[0]);
        disk.write(&batch).unwrap();
        assert!(disk.rot(Space::Hints, 24 + 17));
        assert_eq!(disk.get(Space::Hints, b"b").unwrap(), Some(Bytes::from(vec![2])));
        assert!(disk.misdirect(Space::Hints, 0));
        assert_eq!(disk.get(Space::Hints, b"b").unwrap(), Some(Bytes::from(vec![0, 0])));
        assert!(!disk.misdirect(Space::Hints, 1), "it is not where it belongs");
    }
}
