//! A storage's name: whose it is, checked at every open.

use crate::causality::Identity;
use crate::change::Ballots;
use crate::error::{OpenError, StorageError};
use crate::hash::{Purpose, keyless};
use crate::ids::{ClusterId, LayoutId, NodeId, PartitionId, Start, StoreId};
use crate::replica::put_lost;
use crate::storage::{Batch, Space, Storage};
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
pub(super) fn claim<S: Storage>(storage: &mut S, first: &First, claim: &Claim) -> Result<StoreName, OpenError> {
    if let Some(bytes) = storage.get(Space::Meta, NAME)? {
        let found = StoreName::decode(&bytes).map_err(StorageError::from)?;
        found.check(claim)?;
        return Ok(found);
    }
    let name = StoreName {
        cluster: claim.identity.cluster,
        node: claim.node,
        // The start is fresh randomness, and one start opens each shard once: those that it opens first are one store.
        store: StoreId(keyless(Purpose::Store, &[&claim.start.0.to_le_bytes(), &claim.node.0.to_le_bytes()])),
        shard: claim.shard,
        shards: claim.shards,
        partitions: claim.partitions,
        founded: matches!(first, First::Founding(_)),
    };
    let mut batch = Batch::new();
    batch.put(Space::Meta, NAME, &name.encode());
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
    use crate::storage::MemoryStorage;

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
        let name = claim(&mut storage, &First::Nothing, &CLAIM).unwrap();
        assert_eq!(claim(&mut storage, &First::Nothing, &Claim { start: Start(78), ..CLAIM }), Ok(name));
        let other = Identity { cluster: ClusterId(6), ..CLAIM.identity };
        for (foreign, what) in [
            (Claim { node: NodeId(4), ..CLAIM }, "node"),
            (Claim { identity: other, ..CLAIM }, "cluster"),
            (Claim { shards: 2, ..CLAIM }, "shard"),
            (Claim { partitions: 65, ..CLAIM }, "a ring of partitions"),
        ] {
            match claim(&mut storage, &First::Nothing, &foreign) {
                Err(OpenError::Foreign { what: found, .. }) => assert_eq!(found, what),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_damaged_name_is_an_error_and_not_an_empty_storage() {
        let mut storage = MemoryStorage::new();
        let bytes = claim(&mut storage, &First::Nothing, &CLAIM).unwrap().encode();
        for at in 0..bytes.len() {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x10;
            let mut batch = Batch::new();
            batch.put(Space::Meta, NAME, &garbled);
            storage.write(&batch).unwrap();
            assert_eq!(
                claim(&mut storage, &First::Nothing, &CLAIM),
                Err(OpenError::Storage(StorageError::Damaged(FormatError::Checksum)))
            );
        }
    }
}
