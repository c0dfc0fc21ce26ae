//! Room that is held back, so that a full disk refuses writes instead of breaking a sync.
//!
//! A sync that fails fences its node for good: nobody can tell what is on the disk. But that a disk is full shows when
//! pages go to the file, which is at a sync. So a second file takes room from the beginning, and gives it back to the
//! sync that would fail. From then on writes are refused, until the room could be taken again.

#![allow(clippy::disallowed_methods, reason = "how often a full disk is tried again is a matter of time")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{BackendError, StorageBackend};

/// How often it is tried to take the room again: each try writes as much as there is.
const EVERY: Duration = Duration::from_secs(1);

/// The file that takes the room. Its bytes are really written: a file that is long alone takes none.
#[derive(Debug)]
pub(super) struct Room {
    held: Option<(PathBuf, u64)>,
    /// Since when it is given back, or was last tried to be taken again.
    short: Mutex<Option<Instant>>,
}

impl Room {
    /// Holds nothing back: a full disk fails the sync.
    pub(super) fn none() -> Self {
        Self { held: None, short: Mutex::new(None) }
    }

    /// Takes `bytes` of room. Where there aren't as many, writes are refused from the beginning.
    ///
    /// # Errors
    /// What is wrong with the file, but for a lack of room.
    pub(super) fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self::none());
        }
        let has = path.metadata().map_or(0, |file| file.len());
        let short = if has == bytes || fill(&path, bytes)? { None } else { Some(Instant::now()) };
        Ok(Self { held: Some((path, bytes)), short: Mutex::new(short) })
    }

    /// Whether writes are to be refused. Now and then it tries to take the room again.
    pub(super) fn is_short(&self) -> bool {
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(since), Some((path, bytes))) = (*short, &self.held) else { return false };
        if since.elapsed() >= EVERY {
            *short = if fill(path, *bytes).unwrap_or(false) { None } else { Some(Instant::now()) };
        }
        short.is_some()
    }

    /// Gives the room back. False if there is none.
    pub(super) fn release(&self) -> bool {
        let Some((path, _)) = &self.held else { return false };
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        if short.is_some() || empty(path).is_err() {
            return false;
        }
        *short = Some(Instant::now());
        true
    }
}

/// False if there is no room for it; then it takes none.
fn fill(path: &Path, bytes: u64) -> io::Result<bool> {
    let mut file = empty(path)?;
    let zeros = [0; 1 << 14];
    let mut left = bytes;
    while left > 0 {
        let next = left.min(zeros.len() as u64);
        match file.write_all(&zeros[..next as usize]) {
            Ok(()) => left -= next,
            Err(error) if is_full(&error) => {
                file.set_len(0)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn empty(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
impl Room {
    /// As if the time had come to try it again.
    pub(super) fn regain(&self) {
        let Some((path, bytes)) = &self.held else { return };
        if fill(path, *bytes).unwrap_or(false) {
            *self.short.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// A file that gives room back when there is none left for it.
#[derive(Debug)]
pub(super) struct Roomy<B> {
    inner: B,
    room: Arc<Room>,
}

impl<B: StorageBackend> Roomy<B> {
    pub(super) fn new(inner: B, room: Arc<Room>) -> Self {
        Self { inner, room }
    }

    fn again<T>(&self, mut what: impl FnMut(&B) -> io::Result<T>) -> io::Result<T> {
        match what(&self.inner) {
            Err(error) if is_full(&error) && self.room.release() => what(&self.inner),
            done => done,
        }
    }
}

impl<B: StorageBackend> StorageBackend for Roomy<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.again(|file| file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.again(|file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
