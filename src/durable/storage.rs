//! One shard's storage in one file.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{AccessGuard, Builder, Database, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};

use super::directory::Lock;
use super::overlay::Overlay;
use super::room::{Room, Roomy};
use crate::bytes::Bytes;
use crate::error::StorageError;
use crate::storage::{Batch, Space, Storage, Visit};

/// A [`Storage`] in one file, by redb. [`DataDirectory::storages`](super::DataDirectory::storages) opens it.
///
/// What is written stays in memory until the next sync, which puts it into the file in one transaction. So a node pays
/// for one commit whatever number of requests it serves between two syncs, a crash takes back all batches since the
/// last sync or none, and a batch that is refused leaves nothing to be undone.
///
/// Its errors say what redb said. A full disk refuses writes ([`StorageError::Full`]) as long as what
/// [`Options::reserve`](super::Options::reserve) holds back is enough for the sync that meets it; else that sync fails.
/// After a sync that failed nothing is written any more until the file is opened again.
pub struct RedbStorage {
    /// Of the last sync. It goes before the database.
    committed: Committed,
    database: Closing,
    overlay: Overlay,
    room: Arc<Room>,
    two_phase: bool,
    /// A sync has failed.
    failed: bool,
    /// The directory's, which must stay as long as the file is open.
    _lock: Option<Arc<Lock>>,
}

type Bytewise = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Pair<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// A space's table. Four tables cost a commit no more pages than one with a prefix to each key, and reads no copy of it.
const fn table(space: Space) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match space {
        Space::Objects => "objects",
        Space::Dots => "dots",
        Space::Hints => "hints",
        Space::Meta => "meta",
    })
}

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum Refused {
    /// Its bytes are not what was written.
    Damaged(String),
    /// Somebody has it open.
    InUse,
    /// It is of a format that this redb doesn't read.
    Format(u8),
    Io(std::io::Error),
}

impl RedbStorage {
    /// Opens, or begins, what the backend holds, and verifies all of it.
    pub(super) fn open(
        backend: impl StorageBackend,
        room: Arc<Room>,
        cache: usize,
        two_phase: bool,
        lock: Option<Arc<Lock>>,
    ) -> Result<Self, Refused> {
        // A process that died has left writes that it had not synced, and redb shows the latest that are whole.
        backend.sync_data().map_err(Refused::Io)?;
        let opened = guarded(|| -> Result<_, redb::Error> {
            let mut builder = Builder::new();
            builder.set_cache_size(cache).set_check_integrity_on_open(true);
            let database = builder.create_with_backend(Roomy::new(backend, Arc::clone(&room)))?;
            let committed = match Committed::open(&database) {
                Err(redb::Error::TableDoesNotExist(_)) => {
                    let transaction = database.begin_write()?;
                    for space in Space::ALL {
                        transaction.open_table(table(space))?;
                    }
                    transaction.commit()?;
                    Committed::open(&database)?
                }
                opened => opened?,
            };
            Ok((committed, database))
        });
        let (committed, database) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(refused(error)),
            Err(panic) => return Err(Refused::Damaged(panic)),
        };
        let database = Closing(Some(Arc::new(database)));
        Ok(Self { committed, database, overlay: Overlay::default(), room, two_phase, failed: false, _lock: lock })
    }

    pub(super) fn database(&self) -> &Arc<Database> {
        self.database.get()
    }

    fn commit(&self) -> Result<Committed, redb::Error> {
        let mut transaction = self.database().begin_write()?;
        transaction.set_two_phase_commit(self.two_phase);
        for space in Space::ALL {
            let mut written = self.overlay.range(space, &[]).peekable();
            if written.peek().is_none() {
                continue;
            }
            let mut table = transaction.open_table(table(space))?;
            for (key, value) in written {
                match value {
                    Some(value) => drop(table.insert(key, value)?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        transaction.commit()?;
        Committed::open(self.database())
    }
}

impl Storage for RedbStorage {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.overlay.get(space, key) {
            Some(written) => Ok(written.clone()),
            None => self.committed.get(space, key),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Write("a sync has failed".into()));
        }
        if self.room.is_short() {
            return Err(StorageError::Full);
        }
        self.overlay.write(batch);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let mut written = self.overlay.range(space, from).peekable();
        let mut stored = self.committed.range(space, from)?;
        let mut next = stored.next()?;
        loop {
            let order = match (written.peek(), &next) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some((stored, _))) => (*key).cmp(stored.value()),
            };
            let flow = match (order, written.next_if(|_| order.is_le()), &next) {
                (_, Some((key, Some(value))), _) => visit(key, value),
                (Ordering::Greater, _, Some((key, value))) => visit(key.value(), value.value()),
                // It was deleted since.
                _ => std::ops::ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
            if order.is_ge() {
                next = stored.next()?;
            }
        }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Sync("a sync has failed".into()));
        }
        if self.overlay.is_empty() {
            // What is shown was durable at the last sync, or when it was opened.
            return Ok(());
        }
        match guarded(|| self.commit()) {
            Ok(Ok(committed)) => self.committed = committed,
            Ok(Err(error)) => {
                self.failed = true;
                return Err(StorageError::Sync(error.to_string()));
            }
            Err(panic) => {
                self.failed = true;
                return Err(StorageError::Sync(panic));
            }
        }
        self.overlay.clear();
        Ok(())
    }
}

impl fmt::Debug for RedbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbStorage(failed: {})", self.failed)
    }
}

/// A database that is closed without a panic, whatever its pages say.
struct Closing(Option<Arc<Database>>);

impl Closing {
    fn get(&self) -> &Arc<Database> {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let database = self.0.take();
        // What was synced is durable; closing only saves the next open some work.
        let _ = guarded(|| drop(database));
    }
}

/// The spaces as of one commit.
pub(super) struct Committed {
    tables: [Bytewise; 4],
}

impl Committed {
    pub(super) fn open(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let open = |space| transaction.open_table(table(space));
        let [objects, dots, hints, meta] = Space::ALL.map(open);
        Ok(Self { tables: [objects?, dots?, hints?, meta?] })
    }

    fn table(&self, space: Space) -> &Bytewise {
        &self.tables[space as usize]
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        reading(|| Ok(self.table(space).get(key)?.map(|value| Bytes::from(value.value()))))
    }

    pub(super) fn len(&self, space: Space) -> Result<u64, StorageError> {
        reading(|| redb::ReadableTableMetadata::len(self.table(space)))
    }

    pub(super) fn range(&self, space: Space, from: &[u8]) -> Result<Pairs<'_>, StorageError> {
        let range = (Bound::Included(from), Bound::Unbounded);
        Ok(Pairs(reading(|| redb::ReadableTable::range::<&[u8]>(self.table(space), range))?))
    }
}

/// Pairs in the order of their keys.
pub(super) struct Pairs<'a>(redb::Range<'a, &'static [u8], &'static [u8]>);

impl<'a> Pairs<'a> {
    pub(super) fn next(&mut self) -> Result<Option<Pair<'a>>, StorageError> {
        reading(|| self.0.next().transpose())
    }
}

fn reading<T>(read: impl FnOnce() -> Result<T, redb::StorageError>) -> Result<T, StorageError> {
    match guarded(read) {
        Ok(done) => done.map_err(|error| StorageError::Read(error.to_string())),
        Err(panic) => Err(StorageError::Read(panic)),
    }
}

/// redb promises no more of a garbled page than that it does no harm to memory: what it says by a panic is an error of
/// this call. What it was about to change is never looked at again: a sync that fails is the last.
fn guarded<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given");
        format!("the file can't be understood: {text}")
    })
}

pub(super) fn refused(error: redb::Error) -> Refused {
    use std::io::ErrorKind;
    match error {
        redb::Error::DatabaseAlreadyOpen => Refused::InUse,
        redb::Error::UpgradeRequired(version) => Refused::Format(version),
        redb::Error::Io(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            Refused::Damaged(error.to_string())
        }
        redb::Error::Io(error) => Refused::Io(error),
        other => Refused::Damaged(other.to_string()),
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests;
