//! Writes that are not in the file yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::bytes::Bytes;
use crate::storage::{Batch, Space};

/// What was written since the last sync, by space and key; no value deletes the key.
///
/// All of it goes into the file in one transaction, so a crash leaves all of its batches or none: no order among them
/// has to be kept.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    spaces: [BTreeMap<Box<[u8]>, Option<Bytes>>; 4],
}

impl Overlay {
    pub(super) fn is_empty(&self) -> bool {
        self.spaces.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn write(&mut self, batch: &Batch) {
        for write in batch.iter() {
            let space = &mut self.spaces[write.space as usize];
            match (space.get_mut(write.key), write.value) {
                (Some(Some(old)), Some(value)) => old.replace(value),
                (Some(old), value) => *old = value.map(Bytes::from),
                (None, value) => _ = space.insert(write.key.into(), value.map(Bytes::from)),
            }
        }
    }

    /// Nothing if the key was not written; else its value, or that it was deleted.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<&Option<Bytes>> {
        self.spaces[space as usize].get(key)
    }

    /// In the order of the keys, from the first that is not below `from`.
    pub(super) fn range(&self, space: Space, from: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let range = self.spaces[space as usize].range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        range.map(|(key, value)| (&key[..], value.as_deref()))
    }

    pub(super) fn clear(&mut self) {
        self.spaces.iter_mut().for_each(BTreeMap::clear);
    }
}
