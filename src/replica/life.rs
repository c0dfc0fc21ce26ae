//! How often a partition has lost something, and how far it has been filled again since.

use std::collections::BTreeMap;

use crate::error::StorageError;
use crate::ids::{NodeId, PartitionId};
use crate::message::Standing;
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Space, Storage};
use crate::wire::{FormatError, Reader, checked, put_checksum, put_varint};

/// A partition's life at this store: it begins anew with every loss.
///
/// What another node was told of a life that has ended, a clock above all, does not hold in the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Life {
    /// How often it has lost something.
    pub(crate) losses: u32,
    /// While it is being filled after a loss.
    pub(crate) refill: Option<Refill>,
    /// There is no copy: another layout names other owners, who have confirmed that they have all of it.
    pub(super) dropped: bool,
    /// Lives that have ended, and whose records have not all been taken over.
    pub(super) old: Vec<Ended>,
}

/// A life that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) incarnation: u32,
    /// Whether a record of it that can be read is the one that was written last. Where the records did not come to what
    /// was written, one of them may have been set back.
    pub(super) is_believed: bool,
}

/// A partition that has lost what it had: with whom it has completed a full exchange since, and whether that one had
/// everything itself.
///
/// It takes writes, but until it has seen what a read quorum of the others has it counts in no read, lest a write be
/// missed that only it and one more had acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Refill {
    done: BTreeMap<NodeId, bool>,
    /// Whether the copy is new: nothing that it had acknowledged is lost.
    is_first: bool,
}

impl Refill {
    fn first() -> Self {
        Self { is_first: true, ..Self::default() }
    }

    /// Nobody has shown anything.
    pub(super) fn anew(&self) -> Self {
        Self { done: BTreeMap::new(), is_first: self.is_first }
    }

    /// A full exchange with `peer` is complete; `whole` tells whether that one had everything.
    pub(crate) fn complete(&mut self, peer: NodeId, whole: bool) {
        *self.done.entry(peer).or_default() |= whole;
    }

    /// Whether it has seen everything that there is: what `needed` whole owners have, or, if there are not as many,
    /// what all `others` have.
    pub(crate) fn is_full(&self, needed: usize, others: usize) -> bool {
        if mutant::is(Mutant::RefillAfterOne) && !self.done.is_empty() {
            return true;
        }
        self.done.values().filter(|whole| **whole).count() >= needed || self.done.len() >= others
    }

    /// Whether an exchange with `peer` would bring it further.
    pub(crate) fn wants(&self, peer: NodeId) -> bool {
        self.done.get(&peer) != Some(&true)
    }
}

/// Notes in the batch that gives an empty storage its name that these partitions have lost what they had.
pub(crate) fn put_lost(batch: &mut Batch, partitions: &[PartitionId]) {
    for &partition in partitions {
        // Of the life that was lost nothing is left to be taken over.
        Life { old: Vec::new(), ..Life::default().next(false) }.put(batch, partition);
    }
}

/// Notes in the batch that renews a storage that what it has of a partition is of an earlier time. All of it was true
/// then, so it is taken over as if another owner had shown it then. `is_owner` says whether the storage owns the
/// partition without a layout that names it: else there is no copy before one does, and it takes that over which lies
/// here.
pub(crate) fn put_set_back<S: Storage>(
    storage: &S,
    batch: &mut Batch,
    partition: PartitionId,
    is_owner: bool,
) -> Result<(), StorageError> {
    let life = Life::load(storage, partition)?;
    if !life.dropped {
        let next = life.next(true);
        let next = if is_owner { next } else { Life { refill: None, dropped: true, ..next } };
        next.put(batch, partition);
    }
    Ok(())
}

const LINE: &[u8] = b"losses";
const VERSION: u8 = 1;
/// In the place of whether it is being filled.
const DROPPED: u8 = 2;
const NEW: u8 = 3;

impl Life {
    pub(super) fn load<S: Storage>(storage: &S, partition: PartitionId) -> Result<Self, StorageError> {
        let name = name(partition);
        match storage.get(Space::Meta, &name)? {
            None => Ok(Self::default()),
            Some(bytes) => Ok(Self::decode(&name, &bytes)?),
        }
    }

    /// Its number at this store, from 1: what its keys begin with.
    pub(super) const fn incarnation(&self) -> u32 {
        self.losses + 1
    }

    /// The life that follows a loss.
    pub(super) fn next(&self, is_believed: bool) -> Self {
        let mut old = self.old.clone();
        old.push(Ended { incarnation: self.incarnation(), is_believed });
        Self { losses: self.losses + 1, refill: Some(Refill::default()), dropped: false, old }
    }

    /// The life that follows when the copy is dropped: nothing of it is taken over.
    pub(super) fn end(&self) -> Self {
        Self { losses: self.losses + 1, refill: None, dropped: true, old: Vec::new() }
    }

    /// The life of a copy that is to be filled by others, where there is none.
    pub(super) fn begin(&self) -> Self {
        Self { refill: Some(Refill::first()), dropped: false, ..self.clone() }
    }

    pub(super) fn standing(&self) -> Standing {
        match &self.refill {
            None => Standing::Whole,
            Some(refill) if refill.is_first => Standing::New,
            Some(_) => Standing::Lost,
        }
    }

    /// version 1 · losses · whole, refilling, dropped or new (1) · count · { node (8) · whole (1) } · count · { old life } · crc32
    pub(super) fn put(&self, batch: &mut Batch, partition: PartitionId) {
        let name = name(partition);
        batch.put_with(
            Space::Meta,
            |out| out.extend_from_slice(&name),
            |out| {
                let start = out.len();
                out.push(VERSION);
                put_varint(out, self.losses.into());
                out.push(match self.standing() {
                    Standing::Whole => {
                        if self.dropped {
                            DROPPED
                        } else {
                            0
                        }
                    }
                    Standing::Lost => 1,
                    Standing::New => NEW,
                });
                let done = self.refill.as_ref().map(|refill| &refill.done);
                put_varint(out, done.map_or(0, BTreeMap::len) as u64);
                for (node, &whole) in done.into_iter().flatten() {
                    out.extend_from_slice(&node.0.to_le_bytes());
                    out.push(u8::from(whole));
                }
                put_varint(out, self.old.len() as u64);
                self.old
                    .iter()
                    .for_each(|old| put_varint(out, u64::from(old.incarnation) << 1 | u64::from(old.is_believed)));
                put_checksum(&name, out, start);
            },
        );
    }

    fn decode(name: &[u8], bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(checked(name, bytes)?);
        match reader.byte()? {
            VERSION => {}
            version => return Err(FormatError::Version(version)),
        }
        let losses = u32::try_from(reader.varint()?).map_err(|_| FormatError::Number)?;
        let (refill, dropped) = match reader.byte()? {
            DROPPED => (None, true),
            0 => (None, false),
            1 => (Some(Refill::default()), false),
            NEW => (Some(Refill::first()), false),
            _ => return Err(FormatError::Content("a life that is of no kind")),
        };
        let mut done = BTreeMap::new();
        for _ in 0..reader.count(9)? {
            let node = NodeId(u64::from_le_bytes(reader.array()?));
            done.insert(node, flag(&mut reader)?);
        }
        let mut old = Vec::new();
        for _ in 0..reader.count(1)? {
            let number = reader.varint()?;
            let incarnation = u32::try_from(number >> 1).map_err(|_| FormatError::Number)?;
            old.push(Ended { incarnation, is_believed: number & 1 == 1 });
        }
        reader.end()?;
        Ok(Self { losses, refill: refill.map(|refill| Refill { done, ..refill }), dropped, old })
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, FormatError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Content("a flag that is neither 0 nor 1")),
    }
}

fn name(partition: PartitionId) -> Vec<u8> {
    [LINE, &partition.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[test]
    fn it_comes_back_as_it_was_stored_and_damage_is_an_error() {
        let mut storage = MemoryStorage::new();
        let partition = PartitionId(7);
        assert_eq!(Life::load(&storage, partition), Ok(Life::default()));
        let mut life = Life { losses: 298, ..Life::default() }.next(true).next(false);
        life.refill.as_mut().unwrap().complete(NodeId(4), true);
        life.refill.as_mut().unwrap().complete(NodeId(9), false);
        let mut batch = Batch::new();
        life.put(&mut batch, partition);
        storage.write(&batch).unwrap();
        assert_eq!(Life::load(&storage, partition), Ok(life));
        assert_eq!(Life::load(&storage, PartitionId(8)), Ok(Life::default()));
        let bytes = storage.get(Space::Meta, &name(partition)).unwrap().unwrap();
        // version, losses (300), refilling, two of: node, whole
        assert_eq!(bytes[..14], [1, 0xac, 2, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
        // The other one: not whole. Two lives that have ended: 299, believed; 300, not.
        assert_eq!(bytes[14..28], [9, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xd7, 4, 0xd8, 4]);
        for at in 0..bytes.len() {
            let mut garbled = bytes.to_vec();
            garbled[at] ^= 1;
            assert!(Life::decode(&name(partition), &garbled).is_err());
        }
        assert!(Life::decode(&name(PartitionId(8)), &bytes).is_err(), "in the place of another's");
    }

    #[test]
    fn it_is_full_when_enough_that_have_everything_were_seen_or_there_is_nobody_else() {
        let mut refill = Refill::default();
        assert!(!refill.is_full(2, 4) && refill.is_full(0, 4) && refill.is_full(2, 0));
        refill.complete(NodeId(1), true);
        refill.complete(NodeId(2), false);
        refill.complete(NodeId(3), false);
        assert!(!refill.is_full(2, 4) && refill.is_full(1, 4));
        assert!(refill.wants(NodeId(2)) && !refill.wants(NodeId(1)) && refill.wants(NodeId(4)));
        refill.complete(NodeId(2), true);
        refill.complete(NodeId(2), false);
        assert!(refill.is_full(2, 4), "what was seen stays seen");
        refill.complete(NodeId(4), false);
        assert!(refill.is_full(3, 4), "there is nobody else");
    }
}
