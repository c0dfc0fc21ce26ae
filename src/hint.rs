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

    /// A store with these hints for the target.
    fn kept(storage: &mut MemoryStorage, updates: &[(&str, Update)]) -> HintStore {
        let mut hints = HintStore::open(storage).unwrap();
        for (name, update) in updates {
            let kept = hints.keep(storage, TARGET, &key(name), update, &Limits::default()).unwrap();
            assert!(matches!(kept, Kept::Stored(stored) | Kept::Joined(stored) if stored.wrote()));
        }
        hints
    }

    fn queue(hints: &HintStore) -> Vec<(NodeId, u64, u64)> {
        hints.targets().map(|(target, queue)| (target, queue.count, queue.bytes)).collect()
    }

    fn outgoing(storage: &MemoryStorage) -> Vec<Outgoing> {
        HintStore::batch(storage, &SECRET, TARGET, &Limits::default()).unwrap()
    }

    /// Name and value of a hint, whatever else is stored.
    fn raw(storage: &MemoryStorage) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let mut take = |name: &[u8], value: &[u8]| {
            all.push((name.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        storage.scan(Space::Hints, &[], &mut take).unwrap();
        all
    }

    fn set(storage: &mut MemoryStorage, name: &[u8], value: &[u8]) {
        let mut batch = Batch::new();
        batch.put(Space::Hints, name, value);
        storage.write(&batch).unwrap();
    }

    #[test]
    fn golden_bytes() {
        let mut storage = MemoryStorage::new();
        kept(&mut storage, &[("k", update(1, 3))]);
        let (name, value) = raw(&storage).remove(0);
        assert_eq!(name[..8], [0, 0, 0, 0, 0, 0, 0, 3], "target");
        assert_eq!(name[8..16], ((key("k").position() >> 64) as u64).to_be_bytes());
        assert_eq!(name[16..], [0, 0, 0, 1, b'k'], "keyspace and key");
        assert_eq!(value[..8], [1, 0, 0, 0, 0, 0, 0, 0], "version");
        let mut encoded = Vec::new();
        update(1, 3).encode_into(&name, &mut encoded);
        assert_eq!(value[8..], encoded);
    }

    #[test]
    fn what_is_kept_is_known_after_a_start_and_newer_versions_stand_above() {
        let mut storage = MemoryStorage::new();
        let hints = kept(&mut storage, &[("a", update(1, 10)), ("b", update(2, 20)), ("a", update(3, 30))]);
        let bytes = raw(&storage).iter().map(|(_, value)| value.len() as u64).sum();
        assert_eq!(queue(&hints), [(TARGET, 2, bytes)]);
        let before = outgoing(&storage);

        let mut hints = HintStore::open(&storage).unwrap();
        assert_eq!(queue(&hints), [(TARGET, 2, bytes)]);
        // The last start's acknowledgement comes when this start has joined another write into the hint.
        hints.keep(&mut storage, TARGET, &key("a"), &update(4, 1), &Limits::default()).unwrap();
        assert_eq!(hints.delivered(&mut storage, TARGET, &before).unwrap().1, 1);
        let left = outgoing(&storage);
        assert_eq!((left.len(), left[0].update.live.len()), (1, 3), "a, with all that was joined into it");
        assert!(before.iter().all(|item| item.version < left[0].version));
        let bytes = raw(&storage)[0].1.len() as u64;
        assert_eq!(queue(&hints), [(TARGET, 1, bytes)]);
        assert_eq!(hints.delivered(&mut storage, TARGET, &left).unwrap().1, 1);
        assert_eq!((queue(&hints), raw(&storage)), (vec![], vec![]));
    }

    #[test]
    fn versions_go_on_above_what_is_stored_unless_that_is_damage() {
        for (stored, next) in [(7, 8), (VERSIONS - 1, VERSIONS), (VERSIONS, 1), (u64::MAX, 1)] {
            let mut storage = MemoryStorage::new();
            kept(&mut storage, &[("k", update(1, 1))]);
            let (name, mut value) = raw(&storage).remove(0);
            value[..8].copy_from_slice(&stored.to_le_bytes());
            set(&mut storage, &name, &value);
            kept(&mut storage, &[("k", update(2, 1))]);
            assert_eq!(outgoing(&storage)[0].version, next);
        }
    }

    #[test]
    fn a_target_has_so_many_bytes_and_no_more_but_what_makes_a_hint_smaller_is_always_taken() {
        let mut storage = MemoryStorage::new();
        let mut hints = kept(&mut storage, &[("a", update(2, 100)), ("b", update(3, 100))]);
        let (full, one) = (queue(&hints)[0].2, raw(&storage)[0].1.len() as u64);
        assert_eq!(full, 2 * one);
        let mut keep = |name: &str, update: &Update, hint_bytes: u64, target: NodeId| {
            let limits = Limits { hint_bytes, ..Limits::default() };
            !matches!(hints.keep(&mut storage, target, &key(name), update, &limits), Ok(Kept::Full) | Err(_))
        };
        assert!(!keep("c", &update(4, 100), 3 * one - 1, TARGET));
        assert!(keep("c", &update(4, 100), 3 * one, TARGET), "to the byte");
        assert!(!keep("a", &update(5, 100), 3 * one, TARGET), "it would grow");
        assert!(keep("a", &update(2, 100), 0, TARGET), "what is there already");
        let mut replaces = update(6, 10);
        replaces.covered.union_with(&update(2, 0).covered);
        assert!(keep("a", &replaces, 0, TARGET), "it leaves less than there was");
        assert!(keep("c", &update(4, 100), one, NodeId(4)), "of another target");
        let sum: u64 = raw(&storage).iter().map(|(_, value)| value.len() as u64).sum();
        let queues = queue(&hints);
        assert_eq!((queues[0].1, queues[1].1, queues[0].2 + queues[1].2), (3, 1, sum));
        assert!(queues[0].2 < 3 * one);
    }

    #[test]
    fn a_read_is_told_what_is_kept_for_anybody() {
        let mut storage = MemoryStorage::new();
        let mut hints = kept(&mut storage, &[("k", update(1, 1)), ("other", update(2, 1))]);
        assert_eq!(hints.held(&storage, &key("k")).unwrap(), Some(update(1, 1)));
        assert_eq!(hints.held(&storage, &key("none")).unwrap(), None);
        hints.keep(&mut storage, NodeId(4), &key("k"), &update(3, 1), &Limits::default()).unwrap();
        let mut both = update(1, 1);
        both.join(&update(3, 1));
        assert_eq!(hints.held(&storage, &key("k")).unwrap(), Some(both));
        let home = outgoing(&storage);
        let _ = hints.delivered(&mut storage, TARGET, &home).unwrap();
        assert_eq!(hints.held(&storage, &key("k")).unwrap(), Some(update(3, 1)), "the rest went home");
    }

    #[test]
    fn a_batch_ends_at_its_number_at_its_bytes_and_at_its_target() {
        let mut storage = MemoryStorage::new();
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let updates: Vec<_> = (2..).zip(&names).map(|(counter, name)| (name.as_str(), update(counter, 1000))).collect();
        let mut hints = kept(&mut storage, &updates);
        hints.keep(&mut storage, NodeId(4), &key("k"), &update(50, 1), &Limits::default()).unwrap();
        let batch = |hint_batch, object| {
            let limits = Limits { object, hint_batch, ..Limits::default() };
            HintStore::batch(&storage, &SECRET, TARGET, &limits).unwrap()
        };
        let all = batch(100, 1 << 20);
        assert_eq!(all.len(), 10, "none of the other target's");
        let positions: Vec<u128> = all.iter().map(|item| item.key.position()).collect();
        assert!(positions.is_sorted(), "in the order of the ring");
        assert_eq!((batch(4, 1 << 20).len(), batch(100, 1).len()), (4, 1));
        // The one that goes beyond the bytes is the last.
        let one = raw(&storage)[0].0.len() + raw(&storage)[0].1.len();
        assert_eq!([3 * one - 1, 3 * one, 3 * one + 1].map(|object| batch(100, object).len()), [3, 4, 4]);
        assert_eq!(outgoing(&storage).len(), 10);
    }

    #[test]
    fn a_batch_holds_no_more_than_a_frame_whatever_an_object_may_have() {
        let mut storage = MemoryStorage::new();
        let updates = [("a", update(1, 600_000)), ("b", update(2, 600_000)), ("c", update(3, 600_000))];
        kept(&mut storage, &updates);
        let limits = Limits { object: usize::MAX, ..Limits::default() };
        assert_eq!(HintStore::batch(&storage, &SECRET, TARGET, &limits).unwrap().len(), 2);
    }

    #[test]
    fn a_damaged_hint_stays_and_holds_up_nobody() {
        let mut storage = MemoryStorage::new();
        kept(&mut storage, &[("a", update(1, 10)), ("b", update(2, 10))]);
        let stored = raw(&storage);
        for (name, value) in &stored {
            let mut damaged = value.clone();
            damaged[20] ^= 1;
            set(&mut storage, name, &damaged);
            assert_eq!(outgoing(&storage).len(), 1);
            set(&mut storage, name, value);
        }
        // A value too short for a version, and a name too short for a key.
        let mut short = MemoryStorage::new();
        set(&mut short, &stored[0].0, &[1; 7]);
        assert!(HintStore::batch(&short, &SECRET, TARGET, &Limits::default()).is_err());
        assert!(HintStore::open(&short).is_err());
        let mut nameless = MemoryStorage::new();
        let mut value = 1_u64.to_le_bytes().to_vec();
        update(1, 1).encode_into(&stored[0].0[..18], &mut value);
        set(&mut nameless, &stored[0].0[..18], &value);
        assert!(HintStore::batch(&nameless, &SECRET, TARGET, &Limits::default()).is_err());
        set(&mut nameless, b"name", &value);
        assert!(HintStore::open(&nameless).is_err());
        // Alone it is an error, and it is still there.
        let mut alone = MemoryStorage::new();
        let mut hints = kept(&mut alone, &[("a", update(1, 10))]);
        let (name, mut damaged) = raw(&alone).remove(0);
        damaged[20] ^= 1;
        set(&mut alone, &name, &damaged);
        assert!(HintStore::batch(&alone, &SECRET, TARGET, &Limits::default()).is_err());
        assert!(hints.held(&alone, &key("a")).is_err());
        assert!(hints.keep(&mut alone, TARGET, &key("a"), &update(2, 1), &Limits::default()).is_err());
        assert_eq!(raw(&alone), [(name, damaged)]);
    }
}
