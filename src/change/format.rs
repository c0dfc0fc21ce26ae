//! The stored line of a partition's ballots.
//!
//! ```text
//! 1                          format
//! floor, promise             layouts
//! varint, then each          layouts sealed for, ascending
//! varint, then for each:     a layout held, ascending · varint, then each of its closure, ascending
//! 4 bytes                    CRC-32 of the line's name and of everything above
//! ```
//! A layout is its version (varint) and its hash (8 bytes, little-endian).

use smallvec::SmallVec;

use super::ballots::{Ballots, Held};
use crate::ballot::Ids;
use crate::error::StorageError;
use crate::ids::{LayoutId, PartitionId};
use crate::storage::{Batch, Space, Storage};
use crate::wire::{FormatError, Reader, checked, put_checksum, put_varint};

const LINE: &[u8] = b"ballots";
const VERSION: u8 = 1;
/// A layout takes at least so many bytes.
const LAYOUT: usize = 9;

impl Ballots {
    /// Those of a partition; none if none were stored, which is not the same as having promised nothing.
    ///
    /// # Errors
    /// [`StorageError::Read`], or [`StorageError::Damaged`]: then what was promised is not known, and the node must not
    /// answer as this owner any more.
    pub fn load<S: Storage>(storage: &S, partition: PartitionId) -> Result<Option<Self>, StorageError> {
        let name = name(partition);
        let bytes = storage.get(Space::Meta, &name)?;
        Ok(bytes.map(|bytes| Self::decode(&name, &bytes)).transpose()?)
    }

    /// Adds to a batch that there are none any more. False if there were none.
    ///
    /// # Errors
    /// [`StorageError`] if the storage can't be read.
    pub(crate) fn forget<S: Storage>(
        storage: &S,
        batch: &mut Batch,
        partition: PartitionId,
    ) -> Result<bool, StorageError> {
        let name = name(partition);
        let has_some = storage.get(Space::Meta, &name)?.is_some();
        if has_some {
            batch.delete(Space::Meta, &name);
        }
        Ok(has_some)
    }

    /// Adds its line to a batch.
    pub fn put(&self, batch: &mut Batch, partition: PartitionId) {
        let name = name(partition);
        batch.put_with(
            Space::Meta,
            |out| out.extend_from_slice(&name),
            |out| {
                let start = out.len();
                out.push(VERSION);
                put_layout(out, self.floor);
                put_layout(out, self.promise);
                put_layouts(out, &self.seals);
                put_varint(out, self.held.len() as u64);
                for held in &self.held {
                    put_layout(out, held.layout);
                    put_layouts(out, &held.closure);
                }
                put_checksum(&name, out, start);
            },
        );
    }

    pub(super) fn decode(name: &[u8], bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(checked(name, bytes)?);
        match reader.byte()? {
            VERSION => {}
            version => return Err(FormatError::Version(version)),
        }
        let (floor, promise) = (layout(&mut reader)?, layout(&mut reader)?);
        let seals = layouts(&mut reader)?;
        let mut held: SmallVec<[Held; 1]> = SmallVec::new();
        for _ in 0..reader.count(LAYOUT + 1)? {
            held.push(Held { layout: layout(&mut reader)?, closure: layouts(&mut reader)?.into_vec() });
        }
        reader.end()?;
        let above = |layout: &LayoutId| *layout > floor && *layout <= promise;
        let closed = |held: &Held| held.closure.iter().all(|layout| *layout < held.layout);
        if promise < floor
            || !seals.iter().all(above)
            || !held.iter().all(|held| above(&held.layout) && closed(held))
            || !held.is_sorted_by(|one, next| one.layout < next.layout)
        {
            return Err(FormatError::Content("ballots that no replica can have"));
        }
        Ok(Self { floor, promise, seals, held })
    }
}

fn put_layout(out: &mut Vec<u8>, layout: LayoutId) {
    put_varint(out, layout.version);
    out.extend_from_slice(&layout.hash.to_le_bytes());
}

fn put_layouts(out: &mut Vec<u8>, layouts: &[LayoutId]) {
    put_varint(out, layouts.len() as u64);
    layouts.iter().for_each(|layout| put_layout(out, *layout));
}

fn layout(reader: &mut Reader<'_>) -> Result<LayoutId, FormatError> {
    Ok(LayoutId { version: reader.varint()?, hash: u64::from_le_bytes(reader.array()?) })
}

fn layouts(reader: &mut Reader<'_>) -> Result<Ids, FormatError> {
    let mut found = Ids::new();
    for _ in 0..reader.count(LAYOUT)? {
        found.push(layout(reader)?);
    }
    if found.is_sorted_by(|one, next| one < next) { Ok(found) } else { Err(FormatError::Content("layouts ascend")) }
}

pub(super) fn name(partition: PartitionId) -> Vec<u8> {
    [LINE, &partition.0.to_be_bytes()].concat()
}
