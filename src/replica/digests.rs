//! The digest tree of a partition, and the proof that storage holds what was written.
//!
//! The tree lives in memory. Its root is stored with every write, in the same batch: a tree that is built from the
//! records must come to the same, or something was lost that left no trace.

use crate::error::StorageError;
use crate::ids::PartitionId;
use crate::merkle::{Rebuild, Summary, Tree};
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Space, Storage};
use crate::wire::{FormatError, Reader, checked, put_checksum};

use super::partition::{DIGEST, line_name};

pub(super) const NOT_WRITTEN: FormatError = FormatError::Content("records that are not what was written");

#[derive(Debug)]
pub(super) struct Digests {
    /// Nothing until it has been built from the records.
    tree: Option<Tree>,
    /// A tree that is being built: the first, a deeper one, or one to compare with.
    rebuild: Option<Box<Rebuild>>,
    /// What was written.
    written: Summary,
}

/// How a key's part of a partition's digest changes with a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Step {
    pub(super) old: Option<u128>,
    pub(super) new: Option<u128>,
}

impl Digests {
    /// Of an empty partition.
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree: Some(tree), rebuild: None, written: Summary::default() }
    }

    /// To be built from the records, and compared with what was `written`.
    pub(super) fn building(rebuild: Rebuild, written: Summary) -> Self {
        Self { tree: None, rebuild: Some(Box::new(rebuild)), written }
    }

    pub(super) const fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// The position with which the next slice of the records begins; nothing if none is wanted.
    pub(super) fn wanted(&self) -> Option<u64> {
        self.rebuild.as_ref().and_then(|rebuild| rebuild.next())
    }

    /// Records that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.rebuild.as_ref().map_or(0, |rebuild| self.written.count.saturating_sub(rebuild.count()))
    }

    pub(super) const fn is_building(&self) -> bool {
        self.rebuild.is_some()
    }

    /// All records are to be read again, and compared with what was written.
    pub(super) fn scrub(&mut self) {
        if let (Some(tree), None) = (&self.tree, &self.rebuild) {
            self.rebuild = Some(Box::new(Rebuild::beside(tree)));
        }
    }

    /// Takes a slice of the records in. After the last, the tree is the one that was built.
    pub(super) fn take(&mut self, through: u64, keys: &[(u64, u128)]) -> Result<(), FormatError> {
        let Some(mut rebuild) = self.rebuild.take() else { return Ok(()) };
        if rebuild.take(through, keys).is_err() {
            // The records were not where the index of the storage has them.
            return Err(FormatError::Content("records out of place"));
        }
        if rebuild.next().is_some() {
            self.rebuild = Some(rebuild);
            return Ok(());
        }
        match rebuild.finish() {
            Some(tree) if tree.summary() == self.written || mutant::is(Mutant::ScrubBelieves) => {
                self.tree = Some(tree);
                Ok(())
            }
            _ => Err(NOT_WRITTEN),
        }
    }

    /// Adds to a batch what will have been written with it.
    pub(super) fn put(&self, batch: &mut Batch, partition: PartitionId, incarnation: u32, step: Step) {
        if step.old != step.new {
            put_line(batch, partition, incarnation, after(self.written, step));
        }
    }

    /// What [`Digests::put`] announced is written.
    pub(super) fn replace(&mut self, position: u64, step: Step) {
        if step.old == step.new {
            return;
        }
        self.written = after(self.written, step);
        if let Some(tree) = &mut self.tree {
            tree.replace(position, step.old, step.new);
        }
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.replace(position, step.old, step.new);
        }
    }
}

fn after(written: Summary, step: Step) -> Summary {
    let digest = step.new.unwrap_or(0).wrapping_sub(step.old.unwrap_or(0));
    Summary {
        digest: written.digest.wrapping_add(digest),
        count: (written.count + u64::from(step.new.is_some())).saturating_sub(u64::from(step.old.is_some())),
    }
}

/// digest (16, little-endian) · number of keys (8, little-endian) · crc32
fn put_line(batch: &mut Batch, partition: PartitionId, incarnation: u32, written: Summary) {
    let name = line_name(partition, incarnation, DIGEST);
    let mut value = Vec::with_capacity(28);
    value.extend_from_slice(&written.digest.to_le_bytes());
    value.extend_from_slice(&written.count.to_le_bytes());
    put_checksum(&name, &mut value, 0);
    batch.put(Space::Dots, &name, &value);
}

/// What was written last; nothing if there is no such line.
pub(super) fn load_written<S: Storage>(
    storage: &S,
    partition: PartitionId,
    incarnation: u32,
) -> Result<Option<Summary>, StorageError> {
    let name = line_name(partition, incarnation, DIGEST);
    let Some(bytes) = storage.get(Space::Dots, &name)? else { return Ok(None) };
    let mut reader = Reader::new(checked(&name, &bytes)?);
    let (digest, count) = (u128::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
    reader.end()?;
    Ok(Some(Summary { digest, count }))
}
