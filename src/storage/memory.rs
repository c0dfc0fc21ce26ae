//! A storage in memory.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Batch, Space, Storage, Visit};
use crate::bytes::Bytes;
use crate::error::StorageError;

/// Keeps everything in memory: for tests, caches, and whatever may be lost with its process.
///
/// A hash table finds a key; the order of keys stands beside it and is touched only when keys come and go, so that
/// overwriting a value costs one look-up. Its sync has nothing to do: "durable" here means as durable as the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    spaces: [Table; 4],
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Not with the default hasher: it took a third of what a write to memory costs, and whoever chooses keys can't
    /// choose the keyed hash of their positions, which a record's name begins with.
    values: HashMap<Arc<[u8]>, Bytes, RandomState>,
    order: BTreeSet<Arc<[u8]>>,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys a space holds.
    #[must_use]
    pub fn len(&self, space: Space) -> usize {
        self.spaces[space as usize].values.len()
    }

    /// Whether a space holds nothing.
    #[must_use]
    pub fn is_empty(&self, space: Space) -> bool {
        self.len(space) == 0
    }
}

impl Table {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(old) = self.values.get_mut(key) {
            old.replace(value);
        } else {
            let key: Arc<[u8]> = Arc::from(key);
            self.order.insert(Arc::clone(&key));
            self.values.insert(key, Bytes::from(value));
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if self.values.remove(key).is_some() {
            self.order.remove(key);
        }
    }
}

impl Storage for MemoryStorage {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.spaces[space as usize].values.get(key).cloned())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        for write in batch.iter() {
            let table = &mut self.spaces[write.space as usize];
            match write.value {
                Some(value) => table.put(write.key, value),
                None => table.delete(write.key),
            }
        }
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let table = &self.spaces[space as usize];
        for key in table.order.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if visit(key, &table.values[key]).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn all(storage: &MemoryStorage, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut pairs = Vec::new();
        storage
            .scan(Space::Objects, from, &mut |key, value| {
                pairs.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
        pairs
    }

    #[test]
    fn a_batch_is_visible_in_order_and_spaces_are_apart() {
        let mut storage = MemoryStorage::new();
        let mut batch = Batch::new();
        batch.put(Space::Objects, b"b", b"1");
        batch.put(Space::Objects, b"a", b"2");
        batch.put(Space::Objects, b"c", b"3");
        batch.delete(Space::Objects, b"c");
        batch.put(Space::Hints, b"a", b"other");
        batch.put(Space::Objects, b"b", b"4");
        storage.write(&batch).unwrap();
        assert_eq!(all(&storage, b""), [(b"a".to_vec(), b"2".to_vec()), (b"b".to_vec(), b"4".to_vec())]);
        assert_eq!(all(&storage, b"aa"), [(b"b".to_vec(), b"4".to_vec())]);
        assert_eq!(storage.get(Space::Hints, b"a").unwrap().unwrap(), *b"other".as_slice());
        assert_eq!((storage.len(Space::Objects), storage.is_empty(Space::Dots)), (2, true));
        batch.clear();
        assert!(batch.is_empty());
    }
}
