//! A storage whose syncs are put off, for those who would rather lose a second than wait for the disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use quorate::Bytes;
use quorate::error::StorageError;
use quorate::storage::{Batch, Space, Storage, Visit};

/// Says that what was written is durable up to a second before it is, as Redis does with `appendfsync everysec`: a crash
/// may take back what was acknowledged in that second. Other replicas that crashed in another second still have it.
///
/// A thread of its own syncs: the node asks for no sync when it has nothing more to write, and then what it wrote last
/// would wait for ever.
pub(crate) struct Lazy<S> {
    state: Arc<Mutex<State<S>>>,
    is_late: bool,
}

struct State<S> {
    storage: S,
    /// Since when something waits for a sync that was promised.
    waits: Option<Instant>,
    /// A sync that was promised has failed: the node hears of it at the next one, and is fenced.
    failed: Option<StorageError>,
}

impl<S: Storage + 'static> Lazy<S> {
    /// Syncs so long after it was asked to; none: at once.
    pub(crate) fn new(storage: S, late: Option<Duration>) -> Self {
        let state = Arc::new(Mutex::new(State { storage, waits: None, failed: None }));
        if let Some(late) = late {
            let own = Arc::downgrade(&state);
            thread::spawn(move || {
                while let Some(state) = own.upgrade() {
                    lock(&state).sync_if_due(late);
                    drop(state);
                    thread::park_timeout(late / 8);
                }
            });
        }
        Self { state, is_late: late.is_some() }
    }

    /// The sync that was put off.
    pub(crate) fn finish(self) -> Result<(), StorageError> {
        lock(&self.state).storage.sync()
    }
}

impl<S: Storage> State<S> {
    fn sync_if_due(&mut self, late: Duration) {
        if self.waits.is_some_and(|since| since.elapsed() >= late) {
            self.waits = None;
            self.failed = self.storage.sync().err().or(self.failed.take());
        }
    }
}

fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Storage + 'static> Storage for Lazy<S> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        lock(&self.state).storage.get(space, key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        lock(&self.state).storage.write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        lock(&self.state).storage.scan(space, from, visit)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let mut state = lock(&self.state);
        if !self.is_late {
            return state.storage.sync();
        }
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.waits.get_or_insert_with(Instant::now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has reached its disk.
    #[derive(Default)]
    struct Disk(Arc<Mutex<u32>>);

    impl Storage for Disk {
        fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, StorageError> {
            Ok(None)
        }

        fn write(&mut self, _: &Batch) -> Result<(), StorageError> {
            Ok(())
        }

        fn scan(&self, _: Space, _: &[u8], _: &mut Visit<'_>) -> Result<(), StorageError> {
            Ok(())
        }

        fn sync(&mut self) -> Result<(), StorageError> {
            let mut syncs = self.0.lock().unwrap();
            *syncs += 1;
            if *syncs > 1 { Err(StorageError::Sync("the second".into())) } else { Ok(()) }
        }
    }

    #[test]
    fn what_was_written_last_is_synced_though_nobody_asks_again_and_a_failure_is_told() {
        let syncs = Arc::new(Mutex::new(0));
        let mut lazy = Lazy::new(Disk(Arc::clone(&syncs)), Some(Duration::from_millis(8)));
        lazy.sync().unwrap();
        let until = |count| {
            let begun = Instant::now();
            while *syncs.lock().unwrap() < count {
                assert!(begun.elapsed() < Duration::from_secs(60), "it is never synced");
                thread::yield_now();
            }
        };
        until(1);
        lazy.sync().unwrap();
        until(2);
        while lock(&lazy.state).failed.is_none() {
            thread::yield_now();
        }
        assert_eq!(lazy.sync(), Err(StorageError::Sync("the second".into())));
    }
}
