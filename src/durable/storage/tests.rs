//! The storage over a disk that forgets, tears and fails: what a crash leaves, and what an error does.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::testing::{crash_suite, refusal_suite, storage_suite};

mod crashes;
mod damage;
mod disk;

use disk::Disk;

/// A storage that can be crashed: it knows its disk.
struct Tested {
    /// Nowhere while a crash has it.
    storage: Option<RedbStorage>,
    disk: Disk,
}

impl Tested {
    fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Disk) -> Self {
        Self { storage: Some(open(&disk).unwrap()), disk }
    }

    fn inner(&mut self) -> &mut RedbStorage {
        self.storage.as_mut().unwrap()
    }

    fn crash(mut self, rng: &mut Xoshiro256PlusPlus) -> Self {
        let image = self.disk.crash(rng);
        // What the dying process does to its disk comes after the crash.
        drop(self.storage.take());
        Self::on(image)
    }
}

impl Storage for Tested {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.storage.as_ref().unwrap().get(space, key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.inner().write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.storage.as_ref().unwrap().scan(space, from, visit)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.inner().sync()
    }
}

const CACHE: usize = 1 << 20;

fn open(disk: &Disk) -> Result<RedbStorage, Refused> {
    RedbStorage::open(disk.clone(), Arc::new(Room::none()), CACHE, false, None)
}

/// A name in the system's directory for temporary files that nobody else has.
fn temporary(what: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("quorate-{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    std::env::temp_dir().join(name)
}

type Found = (Space, Vec<u8>, Vec<u8>);

fn all<S: Storage>(storage: &S) -> Result<Vec<Found>, StorageError> {
    let mut pairs = Vec::new();
    for space in Space::ALL {
        storage.scan(space, &[], &mut |key, value| {
            pairs.push((space, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
    }
    Ok(pairs)
}

#[test]
fn it_is_a_storage() {
    storage_suite(Tested::new);
}

#[test]
fn what_was_synced_survives_a_crash_and_of_the_rest_a_prefix() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    crash_suite(Tested::new, |storage| storage.crash(&mut rng));
}

#[test]
fn without_room_it_writes_nothing() {
    let path = temporary("room");
    let open = || {
        let room = Arc::new(Room::open(path.clone(), 1).unwrap());
        RedbStorage::open(Disk::new(), room, CACHE, false, None).unwrap()
    };
    refusal_suite(open, |storage, on| if on { assert!(storage.room.release()) } else { storage.room.regain() });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_held_back_lets_the_sync_through_that_meets_a_full_disk_and_writes_are_refused_then() {
    let path = temporary("reserve");
    let room = Arc::new(Room::open(path.clone(), 1 << 16).unwrap());
    let disk = Disk::new();
    let mut storage = RedbStorage::open(disk.clone(), Arc::clone(&room), CACHE, false, None).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Objects, b"k", b"1");
    storage.write(&batch).unwrap();
    disk.fill_up_beside(path.clone());
    storage.sync().unwrap();
    assert_eq!(path.metadata().unwrap().len(), 0, "the room was needed");
    assert_eq!(storage.write(&batch), Err(StorageError::Full));
    assert_eq!(storage.get(Space::Objects, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    storage.sync().unwrap();
    room.regain();
    batch.put(Space::Objects, b"k", b"2");
    storage.write(&batch).unwrap();
    assert_eq!(path.metadata().unwrap().len(), 1 << 16);
    drop(storage);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_failed_sync_is_the_last_and_what_was_written_is_still_shown() {
    let mut tested = Tested::new();
    let mut batch = Batch::new();
    batch.put(Space::Hints, b"k", b"1");
    tested.write(&batch).unwrap();
    tested.disk.fail_at(1, disk::Fault::Once(std::io::ErrorKind::StorageFull));
    assert!(matches!(tested.sync(), Err(StorageError::Sync(_))));
    assert!(matches!(tested.sync(), Err(StorageError::Sync(_))), "nothing is taken for durable that may not be");
    assert!(matches!(tested.write(&batch), Err(StorageError::Write(_))));
    assert_eq!(tested.get(Space::Hints, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(all(&tested).unwrap().len(), 1);
}
