//! A storage whose syncs are put off, for those who would rather lose a second than wait for the disk.

use std::time::{Duration, Instant};

use quorate::Bytes;
use quorate::error::StorageError;
use quorate::storage::{Batch, Space, Storage, Visit};

/// Says that what was written is durable up to a second before it is, as Redis does with `appendfsync everysec`: a crash
/// may take back what was acknowledged in that second. Other replicas that crashed in another second still have it.
#[derive(Debug)]
pub(crate) struct Lazy<S> {
    storage: S,
    /// How long it is put off; none: never.
    pause: Option<Duration>,
    synced: Instant,
}

impl<S: Storage> Lazy<S> {
    pub(crate) fn new(storage: S, pause: Option<Duration>) -> Self {
        Self { storage, pause, synced: Instant::now() }
    }

    /// The sync that was put off.
    pub(crate) fn finish(mut self) -> Result<(), StorageError> {
        self.storage.sync()
    }
}

impl<S: Storage> Storage for Lazy<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.storage.get(space, key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.storage.write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.storage.scan(space, from, visit)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.pause.is_some_and(|pause| self.synced.elapsed() < pause) {
            return Ok(());
        }
        self.storage.sync()?;
        self.synced = Instant::now();
        Ok(())
    }
}
