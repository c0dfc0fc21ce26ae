//! Writes that are kept for other nodes until they answer again (hinted handoff, Dynamo §4.6).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::causality::{Update, value_bytes};
use crate::config::Limits;
use crate::error::StorageError;
use crate::hash::Secret;
use crate::ids::NodeId;
use crate::key::Key;
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Space, Storage, Stored};
use crate::wire::FormatError;

/// The hints of one shard, per target and key.
///
/// A hint knows the contexts of its own writes and nothing of a partition's clock. It leaves only when the target has
/// acknowledged the very version that is stored: what was joined into it meanwhile has not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct HintStore {
    targets: BTreeMap<NodeId, Queue>,
    next_version: u64,
    batch: Batch,
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// More versions than a node ever gives.
const VERSIONS: u64 = 1 << 62;

/// A hint as it leaves, with the version that its acknowledgement must name.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
    pub(crate) version: u64,
}

/// What became of a hint that was to be kept.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It is stored, in a line of its own.
    Stored(Stored),
    /// It is stored, in the line of what was kept for that node and key already.
    Joined(Stored),
    /// There is no room for it. Nothing was stored.
    Full,
}

impl HintStore {
    pub(crate) fn open<S: Storage>(storage: &S) -> Result<Self, StorageError> {
        let mut store = Self { next_version: 1, ..Self::default() };
        let mut damage = None;
        if mutant::is(Mutant::ForgetHints) {
            return Ok(store);
        }
        storage.scan(Space::Hints, &[], &mut |name, value| match (name.first_chunk::<8>(), version(value)) {
            (Some(target), Some((version, _))) => {
                let queue = store.targets.entry(NodeId(u64::from_be_bytes(*target))).or_default();
                queue.count += 1;
                queue.bytes += value.len() as u64;
                // A version beyond what any node counts to is damage outside the checksum. It still names this hint, as
                // any other would, and the next versions stay clear of it.
                if version < VERSIONS {
                    store.next_version = store.next_version.max(version + 1);
                }
                ControlFlow::Continue(())
            }
            _ => {
                damage = Some(FormatError::Truncated);
                ControlFlow::Break(())
            }
        })?;
        damage.map_or(Ok(store), |error| Err(error.into()))
    }

    /// Keeps an update for `target`, joined with what is kept already; at most [`Limits::hint_bytes`] per target, and of
    /// one object no more than [`Limits::object`]: a hint that no message can hold would never go home, and keep all
    /// others waiting.
    pub(crate) fn keep<S: Storage>(
        &mut self,
        storage: &mut S,
        target: NodeId,
        key: &Key,
        update: &Update,
        limits: &Limits,
    ) -> Result<Kept, StorageError> {
        hint_name(&mut self.name, target, key);
        let old = storage.get(Space::Hints, &self.name)?;
        let mut kept = match &old {
            None => Update::default(),
            Some(_) if mutant::is(Mutant::HintReplacesHint) => Update::default(),
            Some(bytes) => decode(&self.name, bytes)?.1,
        };
        let most = limits.object.max(value_bytes(&kept.live));
        kept.join(update);
        if old.is_some() && value_bytes(&kept.live) > most {
            return Ok(Kept::Full);
        }
        let version = self.next_version;
        self.batch.clear();
        let mut length = 0;
        let name = &self.name;
        self.batch.put_with(
            Space::Hints,
            |out| out.extend_from_slice(name),
            |out| {
                let start = out.len();
                out.extend_from_slice(&version.to_le_bytes());
                kept.encode_into(name, out);
                length = (out.len() - start) as u64;
            },
        );
        let queue = self.targets.entry(target).or_default();
        let before = old.as_ref().map_or(0, |bytes| bytes.len() as u64);
        // What is found need not be what was counted: a disk may have changed it.
        let mut bytes = queue.bytes.saturating_sub(before) + length;
        let growing = length > before;
        if bytes > limits.hint_bytes && growing && !mutant::is(Mutant::UnboundedHints) {
            let mistaken = mutant::is(Mutant::DropHintForRoom);
            let room = if mistaken { drop_another(storage, target, name, &mut self.batch)? } else { 0 };
            if bytes - room > limits.hint_bytes {
                return Ok(Kept::Full);
            }
            bytes -= room;
            queue.count -= 1;
        }
        let stored = Stored::write(storage, &self.batch)?;
        self.next_version += 1;
        queue.count += u64::from(old.is_none());
        queue.bytes = bytes;
        Ok(if old.is_some() { Kept::Joined(stored) } else { Kept::Stored(stored) })
    }

    /// All that is kept of a key, for whomever: what a read may be told by a fallback.
    pub(crate) fn held<S: Storage>(&mut self, storage: &S, key: &Key) -> Result<Option<Update>, StorageError> {
        let mut held: Option<Update> = None;
        for (&target, queue) in &self.targets {
            if queue.count == 0 {
                continue;
            }
            hint_name(&mut self.name, target, key);
            if let Some(bytes) = storage.get(Space::Hints, &self.name)? {
                held.get_or_insert_default().join(&decode(&self.name, &bytes)?.1);
            }
        }
        Ok(held)
    }

    /// Up to [`Limits::hint_batch`] hints for `target`, in the order of the ring, and no more than a frame holds.
    pub(crate) fn batch<S: Storage>(
        storage: &S,
        secret: &Secret,
        target: NodeId,
        limits: &Limits,
    ) -> Result<Vec<Outgoing>, StorageError> {
        const BYTES: usize = 1 << 20;
        let most = limits.object.min(BYTES);
        let prefix = target.0.to_be_bytes();
        let (mut batch, mut bytes, mut damage) = (Vec::new(), 0, None);
        storage.scan(Space::Hints, &prefix, &mut |name, value| {
            if !name.starts_with(&prefix) || batch.len() == limits.hint_batch || bytes > most {
                return ControlFlow::Break(());
            }
            let key = name.get(16..).and_then(|full| Key::from_full(secret, Bytes::from(full)));
            match (key, decode(name, &Bytes::from(value))) {
                (Some(key), Ok((version, update))) => {
                    batch.push(Outgoing { key, update: Arc::new(update), version });
                    bytes += name.len() + value.len();
                }
                // One damaged hint must not hold up the others; it stays, and is reported.
                (_, Err(error)) => damage = Some(error),
                (None, Ok(_)) => damage = Some(FormatError::Truncated),
            }
            ControlFlow::Continue(())
        })?;
        match damage {
            Some(error) if batch.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    /// Drops the hints that `target` has stored, unless they have changed since. Tells how many went.
    pub(crate) fn delivered<S: Storage>(
        &mut self,
        storage: &mut S,
        target: NodeId,
        items: &[Outgoing],
    ) -> Result<(Stored, u64), StorageError> {
        self.batch.clear();
        let (mut count, mut bytes) = (0, 0);
        for item in items {
            hint_name(&mut self.name, target, &item.key);
            if let Some(stored) = storage.get(Space::Hints, &self.name)?
                && version(&stored)
                    .is_some_and(|(version, _)| version == item.version || mutant::is(Mutant::DropChangedHint))
            {
                self.batch.delete(Space::Hints, &self.name);
                count += 1;
                bytes += stored.len() as u64;
            }
        }
        let stored = Stored::write(storage, &self.batch)?;
        let queue = self.targets.entry(target).or_default();
        queue.count -= count;
        queue.bytes = queue.bytes.saturating_sub(bytes);
        Ok((stored, count))
    }

    /// For whom hints are kept.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (NodeId, Queue)> {
        self.targets.iter().filter(|(_, queue)| queue.count > 0).map(|(&target, &queue)| (target, queue))
    }
}

/// What a mistaken store does for want of room: gives up the first other line for the target. Tells its bytes.
fn drop_another<S: Storage>(storage: &S, target: NodeId, name: &[u8], batch: &mut Batch) -> Result<u64, StorageError> {
    let (prefix, mut room) = (target.0.to_be_bytes(), 0);
    storage.scan(Space::Hints, &prefix, &mut |other, value| {
        if other == name {
            return ControlFlow::Continue(());
        }
        if other.starts_with(&prefix) {
            batch.delete(Space::Hints, other);
            room = value.len() as u64;
        }
        ControlFlow::Break(())
    })?;
    Ok(room)
}

/// target (8) · position's upper half (8) · keyspace and key.
fn hint_name(out: &mut Vec<u8>, target: NodeId, key: &Key) {
    out.clear();
    out.extend_from_slice(&target.0.to_be_bytes());
    out.extend_from_slice(&((key.position() >> 64) as u64).to_be_bytes());
    out.extend_from_slice(key.full());
}

/// version (8, little-endian) · update.
fn version(value: &[u8]) -> Option<(u64, &[u8])> {
    value.split_first_chunk::<8>().map(|(version, rest)| (u64::from_le_bytes(*version), rest))
}

fn decode(name: &[u8], value: &Bytes) -> Result<(u64, Update), FormatError> {
    let (version, _) = version(value).ok_or(FormatError::Truncated)?;
    Ok((version, Update::decode(name, &value.slice(8..value.len()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Entry, Stamp};
    use crate::dots::DotSet;
    use crate::ids::{Actor, Dot, KeyspaceId, Start};
    use crate::storage::MemoryStorage;

    const SECRET: Secret = Secret::new([1; 16]);
    const TARGET: NodeId = NodeId(3);

    fn key(name: &str) -> Key {
        Key::new(&SECRET, KeyspaceId(1), name.as_bytes())
    }

    fn update(counter: u64, bytes: usize) -> Update {
        let actor = Actor { node: NodeId(1), start: Start(1) };
        let (dot, value) = (Dot { actor, counter }, Bytes::from(vec![7; bytes]));
        Update::put(Entry { dot, write_id: None, stamp: Stamp(1), value }, &DotSet::new())
    }

    #[test]
    fn a_version_that_is_damaged_to_the_largest_number_stops_neither_the_node_nor_its_hints() {
        let mut storage = MemoryStorage::new();
        let mut hints = HintStore::open(&storage).unwrap();
        hints.keep(&mut storage, TARGET, &key("k"), &update(1, 10), &Limits::default()).unwrap();
        let mut name = Vec::new();
        hint_name(&mut name, TARGET, &key("k"));
        let mut value = storage.get(Space::Hints, &name).unwrap().unwrap().to_vec();
        value[..8].fill(0xff);
        let mut batch = Batch::new();
        batch.put(Space::Hints, &name, &value);
        storage.write(&batch).unwrap();

        let mut hints = HintStore::open(&storage).unwrap();
        hints.keep(&mut storage, TARGET, &key("other"), &update(2, 10), &Limits::default()).unwrap();
        let outgoing = HintStore::batch(&storage, &SECRET, TARGET, &Limits::default()).unwrap();
        assert_eq!(outgoing.len(), 2);
        assert_eq!(hints.delivered(&mut storage, TARGET, &outgoing).unwrap().1, 2);
        assert_eq!(hints.targets().count(), 0);
    }

    #[test]
    fn a_hint_does_not_grow_by_joining_beyond_what_an_object_may_have() {
        let mut storage = MemoryStorage::new();
        let mut hints = HintStore::open(&storage).unwrap();
        let limits = Limits { object: 100, ..Limits::default() };
        let mut keep =
            |update: &Update| !matches!(hints.keep(&mut storage, TARGET, &key("k"), update, &limits), Ok(Kept::Full));
        assert!(keep(&update(1, 60)) && keep(&update(2, 40)));
        assert!(!keep(&update(3, 1)), "101 bytes");
        assert!(keep(&update(3, 0)) && keep(&update(1, 60)), "no larger than it is");
        let mut replaces = update(4, 1);
        replaces.covered = [1, 2, 3, 4].map(|counter| update(counter, 0).live[0].dot).into_iter().collect();
        assert!(keep(&replaces), "it leaves less than there was");
        assert_eq!(HintStore::batch(&storage, &SECRET, TARGET, &limits).unwrap()[0].update.live.len(), 1);
    }
}
