//! A storage's name: whose it is, checked at every open.

use crate::causality::Identity;
use crate::change::Ballots;
use crate::error::{OpenError, StorageError};
use crate::hash::{Purpose, keyless};
use crate::ids::{ClusterId, LayoutId, NodeId, PartitionId, Start, StoreId};
use crate::replica::{put_lost, put_set_back};
use crate::storage::{Batch, Space, Storage, is_set_back, unmark_set_back};
use crate::wire::{FormatError, Reader, checked, put_checksum};

const NAME: &[u8] = b"store";
const VERSION: u8 = 2;

/// Which storage this is: one of `shards` of one node of one cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StoreName {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) store: StoreId,
    pub(super) shard: u32,
    pub(super) shards: u32,
    pub(super) partitions: u32,
    /// Whether the node was founded with it: layouts name it by no name then.
    pub(super) founded: bool,
}

/// What an empty storage is.
#[derive(Clone, Debug)]
pub(super) enum First {
    /// The first of its node: these ballots of its partitions are decided from the beginning.
    Founding(Vec<(PartitionId, LayoutId)>),
    /// One in the place of another, which has lost what these partitions had.
    Lost(Vec<PartitionId>),
    /// One that has no part in anything yet.
    Nothing,
}

/// What becomes of what a storage holds that was set back: it may have acknowledged and promised more.
#[derive(Clone, Debug)]
pub(super) enum SetBack {
    /// The others fill these partitions.
    Refill(Vec<PartitionId>),
    /// It waits for a layout that names the store.
    Wait,
    /// There is nobody who could know more.
    Keep,
}

impl SetBack {
    /// Of a storage that owns these partitions, if layouts don't change.
    pub(super) fn of(elastic: bool, copies: u8, owned: &[PartitionId]) -> Self {
        match copies {
            _ if elastic => Self::Wait,
            1 => Self::Keep,
            _ => Self::Refill(owned.to_vec()),
        }
    }
}

/// Whose storage is to be opened.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) identity: Identity,
    pub(super) node: NodeId,
    pub(super) start: Start,
    pub(super) shard: u32,
    pub(super) shards: u32,
    pub(super) partitions: u32,
}

/// Reads the storage's name, or gives one to an empty storage.
pub(super) fn claim<S: Storage>(
    storage: &mut S,
    first: &First,
    set_back: &SetBack,
    claim: &Claim,
) -> Result<StoreName, OpenError> {
    let mut batch = Batch::new();
    if let Some(bytes) = storage.get(Space::Meta, NAME)? {
        let found = StoreName::decode(&bytes).map_err(StorageError::from)?;
        found.check(claim)?;
        if !is_set_back(storage)? {
            return Ok(found);
        }
        // All in one batch with the name: whoever has the new one has forgotten what the old one had promised.
        let renewed = StoreName { store: claim.store(), founded: false, ..found };
        batch.put(Space::Meta, NAME, &renewed.encode());
        renew(storage, &mut batch, set_back, claim)?;
        unmark_set_back(&mut batch);
        storage.write(&batch)?;
        storage.sync()?;
        return Ok(renewed);
    }
    let name = StoreName {
        cluster: claim.identity.cluster,
        node: claim.node,
        store: claim.store(),
        shard: claim.shard,
        shards: claim.shards,
        partitions: claim.partitions,
        founded: matches!(first, First::Founding(_)),
    };
    batch.put(Space::Meta, NAME, &name.encode());
    // One that was marked before it ever had a name holds nothing.
    unmark_set_back(&mut batch);
    match first {
        First::Founding(owned) => {
            for &(partition, floor) in owned {
                Ballots::founded(floor).put(&mut batch, partition);
            }
        }
        First::Lost(lost) => put_lost(&mut batch, lost),
        First::Nothing => {}
    }
    storage.write(&batch)?;
    storage.sync()?;
    Ok(name)
}

/// The storage has promised nothing, and what it holds is hearsay.
fn renew<S: Storage>(storage: &S, batch: &mut Batch, set_back: &SetBack, claim: &Claim) -> Result<(), StorageError> {
    let of_this_shard = (claim.shard..claim.partitions).step_by(claim.shards as usize).map(PartitionId);
    for partition in of_this_shard {
        let had_ballots = Ballots::forget(storage, batch, partition)?;
        match set_back {
            SetBack::Refill(owned) if owned.contains(&partition) => put_set_back(storage, batch, partition, true)?,
            // Where layouts change there are no copies but those that it has ballots for.
            SetBack::Wait if had_ballots => put_set_back(storage, batch, partition, false)?,
            SetBack::Refill(_) | SetBack::Wait | SetBack::Keep => {}
        }
    }
    Ok(())
}

impl Claim {
    /// The start is fresh randomness, and one start opens each shard once: those that it opens first, or again after they
    /// were set back, are one store.
    fn store(&self) -> StoreId {
        StoreId(keyless(Purpose::Store, &[&self.start.0.to_le_bytes(), &self.node.0.to_le_bytes()]))
    }
}

impl StoreName {
    fn check(&self, claim: &Claim) -> Result<(), OpenError> {
        let differ = |what, found: String, expected: String| {
            if found == expected { Ok(()) } else { Err(OpenError::Foreign { what, found, expected }) }
        };
        differ("cluster", self.cluster.to_string(), claim.identity.cluster.to_string())?;
        differ("node", self.node.to_string(), claim.node.to_string())?;
        let shard = |index, count| format!("{index} of {count}");
        differ("shard", shard(self.shard, self.shards), shard(claim.shard, claim.shards))?;
        differ("a ring of partitions", self.partitions.to_string(), claim.partitions.to_string())
    }

    /// version 2 · cluster (16) · node (8) · store (16) · shard (4) · shards (4) · partitions (4) · founded (1) ·
    /// crc32 (4)
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.store.0.to_le_bytes());
        for number in [self.shard, self.shards, self.partitions] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.founded));
        put_checksum(NAME, &mut out, 0);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(checked(NAME, bytes)?);
        match reader.byte()? {
            VERSION => {}
            version => return Err(FormatError::Version(version)),
        }
        let name = Self {
            cluster: ClusterId(u128::from_le_bytes(reader.array()?)),
            node: NodeId(u64::from_le_bytes(reader.array()?)),
            store: StoreId(u128::from_le_bytes(reader.array()?)),
            shard: u32::from_le_bytes(reader.array()?),
            shards: u32::from_le_bytes(reader.array()?),
            partitions: u32::from_le_bytes(reader.array()?),
            founded: match reader.byte()? {
                0 => false,
                1 => true,
                _ => return Err(FormatError::Content("a flag that is neither 0 nor 1")),
            },
        };
        reader.end()?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Secret;
    use crate::storage::{MemoryStorage, mark_set_back};

    const CLAIM: Claim = Claim {
        identity: Identity { cluster: ClusterId(5), secret: Secret::new([1; 16]) },
        node: NodeId(3),
        start: Start(77),
        shard: 0,
        shards: 1,
        partitions: 64,
    };

    #[test]
    fn a_storage_is_named_once_and_refused_to_others() {
        let mut storage = MemoryStorage::new();
        let name = claim(&mut storage, &First::Nothing, &SetBack::Keep, &CLAIM).unwrap();
        assert_eq!(
            claim(&mut storage, &First::Nothing, &SetBack::Keep, &Claim { start: Start(78), ..CLAIM }),
            Ok(name)
        );
        let other = Identity { cluster: ClusterId(6), ..CLAIM.identity };
        for (foreign, what) in [
            (Claim { node: NodeId(4), ..CLAIM }, "node"),
            (Claim { identity: other, ..CLAIM }, "cluster"),
            (Claim { shards: 2, ..CLAIM }, "shard"),
            (Claim { partitions: 65, ..CLAIM }, "a ring of partitions"),
        ] {
            match claim(&mut storage, &First::Nothing, &SetBack::Keep, &foreign) {
                Err(OpenError::Foreign { what: found, .. }) => assert_eq!(found, what),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_storage_that_was_set_back_is_another_store_once_and_has_no_vote() {
        let mut storage = MemoryStorage::new();
        let floor = LayoutId { version: 1, hash: 7 };
        let founding = First::Founding(vec![(PartitionId(3), floor), (PartitionId(5), floor)]);
        let first = claim(&mut storage, &founding, &SetBack::Wait, &CLAIM).unwrap();
        assert!(first.founded && Ballots::load(&storage, PartitionId(3)).unwrap().is_some());
        mark_set_back(&mut storage).unwrap();
        let later = Claim { start: Start(78), ..CLAIM };
        let renewed = claim(&mut storage, &founding, &SetBack::Wait, &later).unwrap();
        assert!(renewed.store != first.store && !renewed.founded, "also where it was to be founded");
        assert_eq!(Ballots::load(&storage, PartitionId(3)), Ok(None));
        let again = Claim { start: Start(79), ..CLAIM };
        assert_eq!(claim(&mut storage, &founding, &SetBack::Wait, &again), Ok(renewed));
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_no_missing_one() {
        let mut storage = MemoryStorage::new();
        claim(&mut storage, &First::Nothing, &SetBack::Keep, &CLAIM).unwrap();
        let mut batch = Batch::new();
        batch.put(Space::Meta, b"set back", &[1, 0, 0, 0, 0]);
        storage.write(&batch).unwrap();
        let opened = claim(&mut storage, &First::Nothing, &SetBack::Keep, &CLAIM);
        assert_eq!(opened, Err(OpenError::Storage(StorageError::Damaged(FormatError::Checksum))));
    }

    #[test]
    fn a_damaged_name_is_an_error_and_not_an_empty_storage() {
        let mut storage = MemoryStorage::new();
        let bytes = claim(&mut storage, &First::Nothing, &SetBack::Keep, &CLAIM).unwrap().encode();
        for at in 0..bytes.len() {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x10;
            let mut batch = Batch::new();
            batch.put(Space::Meta, NAME, &garbled);
            storage.write(&batch).unwrap();
            assert_eq!(
                claim(&mut storage, &First::Nothing, &SetBack::Keep, &CLAIM),
                Err(OpenError::Storage(StorageError::Damaged(FormatError::Checksum)))
            );
        }
    }
}
