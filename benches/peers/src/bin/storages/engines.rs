//! The sides.

use std::ops::Bound;
use std::path::Path;

use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode};
use quorate::durable::{DataDirectory, Options, RedbStorage};
use quorate::error::StorageError;
use quorate::storage::{Batch, Space, Storage, Visit};
use quorate::{Bytes, NodeId};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

/// A side: how it is opened in a directory of its own.
pub struct Engine {
    pub name: &'static str,
    /// Whether it is more than a shape to be measured.
    pub ships: bool,
    pub open: fn(&Path) -> Box<dyn Storage>,
}

/// As much memory for each.
const CACHE: usize = 256 << 20;

pub const ENGINES: &[Engine] = &[
    Engine {
        name: "redb",
        ships: true,
        open: |path| Box::new(ours(path)),
    },
    Engine {
        name: "redb-open",
        ships: false,
        open: |path| Box::new(OpenTransaction::new(path)),
    },
    Engine {
        name: "redb-each",
        ships: false,
        open: |path| Box::new(CommitEach::new(path)),
    },
    Engine {
        name: "fjall",
        ships: true,
        open: |path| Box::new(FjallStorage::new(path)),
    },
];

fn ours(path: &Path) -> RedbStorage {
    let options = Options {
        cache: CACHE,
        reserve: 0,
        ..Options::default()
    };
    DataDirectory::open(path, NodeId(1), 1, &options)
        .unwrap()
        .storages()
        .unwrap()
        .remove(0)
}

// ---- fjall

struct FjallStorage {
    database: fjall::Database,
    spaces: [Keyspace; 4],
}

impl FjallStorage {
    fn new(path: &Path) -> Self {
        let database = fjall::Database::builder(path)
            .cache_size(CACHE as u64)
            // Else each batch is a system call of its own.
            .manual_journal_persist(true)
            .open()
            .unwrap();
        let spaces = Space::ALL.map(|space| {
            database
                .keyspace(&format!("{space:?}"), KeyspaceCreateOptions::default)
                .unwrap()
        });
        Self { database, spaces }
    }
}

fn read(error: impl ToString) -> StorageError {
    StorageError::Read(error.to_string())
}

impl Storage for FjallStorage {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let found = self.spaces[space as usize].get(key).map_err(read)?;
        Ok(found.map(|value| Bytes::from(&value[..])))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut writes = self.database.batch();
        for write in batch.iter() {
            let space = &self.spaces[write.space as usize];
            match write.value {
                Some(value) => writes.insert(space, write.key, value),
                None => writes.remove(space, write.key),
            }
        }
        writes.commit().map_err(|error| StorageError::Write(error.to_string()))
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        for pair in self.spaces[space as usize].range(from..) {
            let (key, value) = pair.into_inner().map_err(read)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.database
            .persist(PersistMode::SyncData)
            .map_err(|error| StorageError::Sync(error.to_string()))
    }
}

// ---- other shapes over redb

type Bytewise = ReadOnlyTable<&'static [u8], &'static [u8]>;

const TABLES: [TableDefinition<'static, &'static [u8], &'static [u8]>; 4] = [
    TableDefinition::new("objects"),
    TableDefinition::new("dots"),
    TableDefinition::new("hints"),
    TableDefinition::new("meta"),
];

fn database(path: &Path) -> Database {
    let database = Database::builder()
        .set_cache_size(CACHE)
        .create(path.join("shape.redb"))
        .unwrap();
    let transaction = database.begin_write().unwrap();
    for table in TABLES {
        transaction.open_table(table).unwrap();
    }
    transaction.commit().unwrap();
    database
}

fn apply(transaction: &WriteTransaction, batch: &Batch) {
    for space in Space::ALL {
        let mut writes = batch.iter().filter(|write| write.space == space).peekable();
        if writes.peek().is_none() {
            continue;
        }
        let mut table = transaction.open_table(TABLES[space as usize]).unwrap();
        for write in writes {
            match write.value {
                Some(value) => drop(table.insert(write.key, value).unwrap()),
                None => drop(table.remove(write.key).unwrap()),
            }
        }
    }
}

fn scan(table: &impl ReadableTable<&'static [u8], &'static [u8]>, from: &[u8], visit: &mut Visit<'_>) {
    let range = table.range::<&[u8]>((Bound::Included(from), Bound::Unbounded)).unwrap();
    for pair in range {
        let (key, value) = pair.unwrap();
        if visit(key.value(), value.value()).is_break() {
            break;
        }
    }
}

/// One write transaction from sync to sync, and reads through it.
struct OpenTransaction {
    transaction: Option<WriteTransaction>,
    database: Database,
}

impl OpenTransaction {
    fn new(path: &Path) -> Self {
        let database = database(path);
        Self {
            transaction: Some(database.begin_write().unwrap()),
            database,
        }
    }
}

impl Storage for OpenTransaction {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let table = self
            .transaction
            .as_ref()
            .unwrap()
            .open_table(TABLES[space as usize])
            .unwrap();
        let found = table.get(key).unwrap();
        Ok(found.map(|value| Bytes::from(value.value())))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        apply(self.transaction.as_ref().unwrap(), batch);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        scan(
            &self
                .transaction
                .as_ref()
                .unwrap()
                .open_table(TABLES[space as usize])
                .unwrap(),
            from,
            visit,
        );
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.transaction.take().unwrap().commit().unwrap();
        self.transaction = Some(self.database.begin_write().unwrap());
        Ok(())
    }
}

/// A commit for each batch, and a durable one at the sync.
struct CommitEach {
    tables: [Bytewise; 4],
    database: Database,
}

impl CommitEach {
    fn new(path: &Path) -> Self {
        let database = database(path);
        Self {
            tables: Self::tables(&database),
            database,
        }
    }

    fn tables(database: &Database) -> [Bytewise; 4] {
        let transaction = database.begin_read().unwrap();
        TABLES.map(|table| transaction.open_table(table).unwrap())
    }

    fn commit(&mut self, batch: &Batch, durability: Durability) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_durability(durability).unwrap();
        apply(&transaction, batch);
        transaction.commit().unwrap();
        self.tables = Self::tables(&self.database);
    }
}

impl Storage for CommitEach {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.tables[space as usize]
            .get(key)
            .unwrap()
            .map(|value| Bytes::from(value.value())))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.commit(batch, Durability::None);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        scan(&self.tables[space as usize], from, visit);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.commit(&Batch::new(), Durability::Immediate);
        Ok(())
    }
}
