//! Writes that are kept for other nodes until they answer again (hinted handoff, Dynamo §4.6).

use std::collections::{BTreeMap, BTreeSet};
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
    next_age: u64,
    batch: Batch,
    name: Vec<u8>,
}

/// What is kept for one target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    bytes: u64,
    /// Version and position (its upper half) of each, oldest first. Not its key: sixteen bytes a hint however long that
    /// is, for which every hint that leaves is looked up by itself.
    order: BTreeSet<(u64, u64)>,
}

/// More versions than a node ever gives.
const VERSIONS: u64 = 1 << 62;
/// A version is a hint's age above how often others were joined into it. So a hint keeps its place: its oldest write is
/// the one that waits, and one that is written again and again would otherwise never be due. And the place is on the
/// disk. After a million joins it begins a new age: a version must not come twice.
const JOINS: u32 = 20;

/// A hint as it leaves, with the version that its acknowledgement must name.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
    pub(crate) version: u64,
}

/// What leaves next for a target.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Oldest first.
    pub(crate) items: Vec<Outgoing>,
    /// Whether these are all.
    pub(crate) last: bool,
    /// Where on the ring hints were that can't be read. They are dropped, in what was stored here.
    pub(crate) dropped: Vec<u64>,
    pub(crate) stored: Stored,
}

/// What became of a hint that was to be kept.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It is stored, in a line of its own.
    Stored(Stored),
    /// It is stored, in the line of what was kept for that node and key already.
    Joined(Stored),
    /// It is stored, in the place of one that could not be read.
    Replaced(Stored),
    /// There is no room for it. Nothing was stored.
    Full,
}

impl HintStore {
    pub(crate) fn open<S: Storage>(storage: &S) -> Result<Self, StorageError> {
        let mut store = Self { next_age: 1, ..Self::default() };
        let mut damage = None;
        if mutant::is(Mutant::ForgetHints) {
            return Ok(store);
        }
        storage.scan(Space::Hints, &[], &mut |name, value| {
            let Some((target, position)) = place(name) else {
                damage = Some(FormatError::Truncated);
                return ControlFlow::Break(());
            };
            // One that is too short to have a version is damaged: it is found when it is to leave.
            let version = version(value).map_or(0, |(version, _)| version);
            let queue = store.targets.entry(target).or_default();
            queue.order.insert((version, position));
            queue.bytes += value.len() as u64;
            // A version beyond what any node counts to is damage outside the checksum. It still names this hint, as
            // any other would, and the next versions stay clear of it.
            if version < VERSIONS {
                store.next_age = store.next_age.max((version >> JOINS) + 1);
            }
            ControlFlow::Continue(())
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
        let (mut kept, damaged) = match &old {
            None => (Update::default(), false),
            Some(_) if mutant::is(Mutant::HintReplacesHint) => (Update::default(), false),
            Some(bytes) => decode(&self.name, bytes).map_or((Update::default(), true), |(_, kept)| (kept, false)),
        };
        let old_version = old.as_ref().map(|bytes| version(bytes).map_or(0, |(version, _)| version));
        let most = limits.object.max(value_bytes(&kept.live));
        kept.join(update);
        if old.is_some() && !damaged && value_bytes(&kept.live) > most {
            return Ok(Kept::Full);
        }
        let position = upper(key);
        // What is on the disk may be garbled outside its checksum: the age is what was written.
        let old_version = old_version.map(|found| {
            let known = self.targets.get(&target).and_then(|queue| queue.known(found, position));
            known.unwrap_or(found)
        });
        let joined = old_version.filter(|version| !damaged && *version < VERSIONS).map(|version| version + 1);
        let goes_on = joined.filter(|version| !version.is_multiple_of(1 << JOINS));
        let version = goes_on.unwrap_or(self.next_age << JOINS);
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
        let growing = length > before && !mutant::is(Mutant::UnboundedHints);
        let too_many = |bytes| growing && bytes > limits.hint_bytes;
        if too_many(bytes) && mutant::is(Mutant::DropHintForRoom) {
            bytes -= drop_another(storage, target, name, &mut self.batch, queue)?;
        }
        if too_many(bytes) {
            return Ok(Kept::Full);
        }
        let stored = Stored::write(storage, &self.batch)?;
        self.next_age += u64::from(goes_on.is_none());
        if let Some(old) = old_version {
            queue.forget(old, position);
        }
        queue.order.insert((version, position));
        queue.bytes = bytes;
        Ok(match old {
            None => Kept::Stored(stored),
            Some(_) if damaged => Kept::Replaced(stored),
            Some(_) => Kept::Joined(stored),
        })
    }

    /// All that is kept of a key, for whomever: what a read may be told by a fallback.
    pub(crate) fn held<S: Storage>(&mut self, storage: &S, key: &Key) -> Result<Option<Update>, StorageError> {
        let mut held: Option<Update> = None;
        for (&target, queue) in &self.targets {
            if queue.order.is_empty() {
                continue;
            }
            hint_name(&mut self.name, target, key);
            if let Some(bytes) = storage.get(Space::Hints, &self.name)? {
                held.get_or_insert_default().join(&decode(&self.name, &bytes)?.1);
            }
        }
        Ok(held)
    }

    /// The oldest hints for `target` whose positions are wanted, up to `most`, and no more than a frame holds. Those that
    /// can't be read are dropped: they would wait for ever.
    pub(crate) fn batch<S: Storage>(
        &mut self,
        storage: &mut S,
        secret: &Secret,
        target: NodeId,
        (most, object): (usize, usize),
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Parcel, StorageError> {
        const BYTES: usize = 1 << 20;
        let most_bytes = object.min(BYTES);
        let queue = self.targets.entry(target).or_default();
        self.batch.clear();
        let (mut items, mut dropped, mut bytes, mut last) = (Vec::new(), Vec::new(), 0, true);
        let mut gone = Vec::new();
        for &(version, position) in queue.order.iter().filter(|(_, position)| wanted(*position)) {
            if items.len() >= most || bytes > most_bytes {
                last = false;
                break;
            }
            let Some((name, value)) = queue.find(storage, target, version, position)? else {
                gone.push((version, position, 0));
                continue;
            };
            let key = name.get(16..).and_then(|full| Key::from_full(secret, Bytes::from(full)));
            if let (Some(key), Ok((found, update))) = (key, decode(&name, &value)) {
                items.push(Outgoing { key, update: Arc::new(update), version: found });
                bytes += name.len() + value.len();
            } else {
                self.batch.delete(Space::Hints, &name);
                gone.push((version, position, value.len() as u64));
            }
        }
        let stored = Stored::write(storage, &self.batch)?;
        for (version, position, length) in gone {
            queue.order.remove(&(version, position));
            queue.bytes = queue.bytes.saturating_sub(length);
            dropped.push(position);
        }
        Ok(Parcel { items, last, dropped, stored })
    }

    /// Drops the hints that `target` has stored, unless they have changed since. Tells how many went.
    pub(crate) fn delivered<S: Storage>(
        &mut self,
        storage: &mut S,
        target: NodeId,
        items: &[Outgoing],
    ) -> Result<(Stored, u64), StorageError> {
        self.batch.clear();
        let (mut gone, mut bytes) = (Vec::new(), 0);
        for item in items {
            hint_name(&mut self.name, target, &item.key);
            if let Some(stored) = storage.get(Space::Hints, &self.name)?
                && let Some((version, _)) = version(&stored)
                && (version == item.version || mutant::is(Mutant::DropChangedHint))
            {
                self.batch.delete(Space::Hints, &self.name);
                gone.push((version, upper(&item.key)));
                bytes += stored.len() as u64;
            }
        }
        let stored = Stored::write(storage, &self.batch)?;
        let queue = self.targets.entry(target).or_default();
        let count = gone.into_iter().filter(|&(version, position)| queue.forget(version, position)).count() as u64;
        queue.bytes = queue.bytes.saturating_sub(bytes);
        Ok((stored, count))
    }

    /// For whom hints are kept, and how many.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (NodeId, u64)> {
        let counts = self.targets.iter().map(|(&target, queue)| (target, queue.order.len() as u64));
        counts.filter(|(_, count)| *count > 0)
    }

    /// The bytes that are kept for `target`, and the version of the oldest hint.
    pub(crate) fn kept_for(&self, target: NodeId) -> Option<(u64, u64)> {
        let queue = self.targets.get(&target)?;
        Some((queue.bytes, queue.order.first()?.0))
    }

    /// The oldest version of all.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.targets.values().filter_map(|queue| queue.order.first()).map(|(version, _)| *version).min()
    }

    /// Where on the ring the hints for `target` are, oldest first: the upper halves of their positions.
    pub(crate) fn positions(&self, target: NodeId) -> impl Iterator<Item = u64> {
        self.targets.get(&target).into_iter().flat_map(|queue| &queue.order).map(|(_, position)| *position)
    }

    /// The first version that no hint has yet.
    pub(crate) const fn mark(&self) -> u64 {
        self.next_age << JOINS
    }

    /// Whether all hints are gone that were kept before this mark was taken.
    pub(crate) fn settled(&self, mark: u64) -> bool {
        self.targets.values().all(|queue| {
            let oldest = queue.order.first().is_none_or(|(version, _)| *version >= mark);
            // The age of such a one is not known.
            oldest && queue.order.last().is_none_or(|(version, _)| *version < VERSIONS)
        })
    }
}

impl Queue {
    /// Takes a hint out of the order. False if it was not there.
    fn forget(&mut self, version: u64, position: u64) -> bool {
        self.known(version, position).is_some_and(|known| self.order.remove(&(known, position)))
    }

    /// The version that was given to a hint whose version on the disk is `found`.
    fn known(&self, found: u64, position: u64) -> Option<u64> {
        if self.order.contains(&(found, position)) {
            return Some(found);
        }
        self.order.iter().find(|(_, other)| *other == position).map(|(version, _)| *version)
    }

    /// Name and value of a hint: the one of this version, or one whose version is not what was written.
    fn find<S: Storage>(
        &self,
        storage: &S,
        target: NodeId,
        wanted: u64,
        position: u64,
    ) -> Result<Option<(Vec<u8>, Bytes)>, StorageError> {
        let prefix = [target.0.to_be_bytes(), position.to_be_bytes()].concat();
        let mut found = None;
        storage.scan(Space::Hints, &prefix, &mut |name, value| {
            if !name.starts_with(&prefix) {
                return ControlFlow::Break(());
            }
            let version = version(value).map_or(0, |(version, _)| version);
            if version == wanted || (found.is_none() && !self.order.contains(&(version, position))) {
                found = Some((name.to_vec(), Bytes::from(value)));
            }
            if version == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }
}

/// What a mistaken store does for want of room: gives up the first other line for the target. Tells its bytes.
fn drop_another<S: Storage>(
    storage: &S,
    target: NodeId,
    name: &[u8],
    batch: &mut Batch,
    queue: &mut Queue,
) -> Result<u64, StorageError> {
    let (prefix, mut room) = (target.0.to_be_bytes(), 0);
    storage.scan(Space::Hints, &prefix, &mut |other, value| {
        if other == name {
            return ControlFlow::Continue(());
        }
        if other.starts_with(&prefix) {
            batch.delete(Space::Hints, other);
            room = value.len() as u64;
            if let (Some((_, position)), Some((version, _))) = (place(other), version(value)) {
                queue.forget(version, position);
            }
        }
        ControlFlow::Break(())
    })?;
    Ok(room)
}

/// target (8) · position's upper half (8) · keyspace and key.
fn hint_name(out: &mut Vec<u8>, target: NodeId, key: &Key) {
    out.clear();
    out.extend_from_slice(&target.0.to_be_bytes());
    out.extend_from_slice(&upper(key).to_be_bytes());
    out.extend_from_slice(key.full());
}

const fn upper(key: &Key) -> u64 {
    (key.position() >> 64) as u64
}

/// Target and position, from a name.
fn place(name: &[u8]) -> Option<(NodeId, u64)> {
    let (target, rest) = name.split_first_chunk::<8>()?;
    let position = rest.first_chunk::<8>()?;
    Some((NodeId(u64::from_be_bytes(*target)), u64::from_be_bytes(*position)))
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
        Update::put(Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value }, &DotSet::new())
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
        assert!(!hints.settled(hints.mark()), "nobody knows how old it is");
        let outgoing = outgoing(&mut storage);
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
        assert_eq!(outgoing(&mut storage)[0].update.live.len(), 1);
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
        hints.targets().map(|(target, count)| (target, count, hints.targets[&target].bytes)).collect()
    }

    fn parcel(storage: &mut MemoryStorage, most: usize, object: usize) -> Parcel {
        let mut hints = HintStore::open(storage).unwrap();
        hints.batch(storage, &SECRET, TARGET, (most, object), |_| true).unwrap()
    }

    fn outgoing(storage: &mut MemoryStorage) -> Vec<Outgoing> {
        parcel(storage, usize::MAX, usize::MAX).items
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
        assert_eq!(value[..8], [0, 0, 0x10, 0, 0, 0, 0, 0], "version: age 1, no joins");
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
        let before = outgoing(&mut storage);

        let mut hints = HintStore::open(&storage).unwrap();
        assert_eq!(queue(&hints), [(TARGET, 2, bytes)]);
        // The last start's acknowledgement comes when this start has joined another write into the hint.
        hints.keep(&mut storage, TARGET, &key("a"), &update(4, 1), &Limits::default()).unwrap();
        assert_eq!(hints.delivered(&mut storage, TARGET, &before).unwrap().1, 1);
        let left = outgoing(&mut storage);
        assert_eq!((left.len(), left[0].update.live.len()), (1, 3), "a, with all that was joined into it");
        let old = before.iter().find(|item| item.key == left[0].key).unwrap();
        assert_eq!(left[0].version, old.version + 1, "of the same age");
        let bytes = raw(&storage)[0].1.len() as u64;
        assert_eq!(queue(&hints), [(TARGET, 1, bytes)]);
        assert_eq!(hints.delivered(&mut storage, TARGET, &left).unwrap().1, 1);
        assert_eq!((queue(&hints), raw(&storage)), (vec![], vec![]));
    }

    #[test]
    fn versions_go_on_above_what_is_stored_unless_that_is_damage() {
        let age = |number: u64| number << JOINS;
        for (stored, next) in [
            (7, 8),
            (age(3), age(3) + 1),
            (age(4) - 1, age(4)),
            (age(4) - 2, age(4) - 1),
            (VERSIONS - 1, VERSIONS),
            (VERSIONS, age(1)),
            (u64::MAX, age(1)),
        ] {
            let mut storage = MemoryStorage::new();
            kept(&mut storage, &[("k", update(1, 1))]);
            let (name, mut value) = raw(&storage).remove(0);
            value[..8].copy_from_slice(&stored.to_le_bytes());
            set(&mut storage, &name, &value);
            kept(&mut storage, &[("k", update(2, 1))]);
            assert_eq!(outgoing(&mut storage)[0].version, next);
        }
    }

    #[test]
    fn a_hint_that_was_joined_into_a_million_times_is_the_youngest_again() {
        let mut storage = MemoryStorage::new();
        kept(&mut storage, &[("a", update(1, 1)), ("b", update(2, 1)), ("c", update(3, 1))]);
        let full = (2_u64 << JOINS) - 1;
        let (name, mut value) = raw(&storage).into_iter().find(|(name, _)| name.ends_with(b"a")).unwrap();
        value[..8].copy_from_slice(&full.to_le_bytes());
        set(&mut storage, &name, &value);
        let versions = |storage: &mut MemoryStorage| -> Vec<u64> {
            outgoing(storage).iter().map(|item| item.version >> JOINS).collect()
        };
        assert_eq!(versions(&mut storage), [1, 2, 3]);
        let hints = kept(&mut storage, &[("a", update(4, 1)), ("d", update(5, 1))]);
        assert_eq!(versions(&mut storage), [2, 3, 4, 5], "b, c, a, d");
        assert_eq!(hints.positions(TARGET).nth(2), Some(upper(&key("a"))));
    }

    /// Halves of positions can be the same, and are where somebody has made the keys for it.
    #[test]
    fn hints_with_one_position_are_told_apart() {
        let (first, second) = (update(1, 1), update(2, 1));
        let store = |missing: Option<usize>| {
            let mut storage = MemoryStorage::new();
            kept(&mut storage, &[("a", first.clone())]);
            let (name, _) = raw(&storage).remove(0);
            let mut other = (name.clone(), (2_u64 << JOINS).to_le_bytes().to_vec());
            *other.0.last_mut().unwrap() = b'b';
            second.encode_into(&other.0, &mut other.1);
            set(&mut storage, &other.0, &other.1);
            let mut hints = HintStore::open(&storage).unwrap();
            if let Some(missing) = missing {
                let mut batch = Batch::new();
                batch.delete(Space::Hints, [&name, &other.0][missing]);
                storage.write(&batch).unwrap();
            }
            let parcel = hints.batch(&mut storage, &SECRET, TARGET, (9, 1 << 20), |_| true).unwrap();
            let keys: Vec<_> = parcel.items.iter().map(|item| item.key.user().to_vec()).collect();
            (keys, parcel.dropped.len(), queue(&hints)[0].1)
        };
        assert_eq!(store(None), (vec![b"a".to_vec(), b"b".to_vec()], 0, 2));
        assert_eq!(store(Some(0)), (vec![b"b".to_vec()], 1, 1));
        assert_eq!(store(Some(1)), (vec![b"a".to_vec()], 1, 1));
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
        let home = outgoing(&mut storage);
        assert_eq!(hints.delivered(&mut storage, TARGET, &home).unwrap().1, 2);
        assert_eq!(hints.held(&storage, &key("k")).unwrap(), Some(update(3, 1)), "the rest went home");
    }

    #[test]
    fn a_batch_ends_at_its_number_at_its_bytes_and_at_its_target() {
        let mut storage = MemoryStorage::new();
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let updates: Vec<_> = (2..).zip(&names).map(|(counter, name)| (name.as_str(), update(counter, 1000))).collect();
        let mut hints = kept(&mut storage, &updates);
        hints.keep(&mut storage, NodeId(4), &key("k"), &update(50, 1), &Limits::default()).unwrap();
        let mut batch = |most, object| {
            let parcel = parcel(&mut storage, most, object);
            (parcel.items.len(), parcel.last)
        };
        assert_eq!(batch(100, 1 << 20), (10, true), "none of the other target's");
        assert_eq!((batch(4, 1 << 20), batch(10, 1 << 20), batch(100, 1)), ((4, false), (10, true), (1, false)));
        // The one that goes beyond the bytes is the last.
        let one = raw(&storage)[0].0.len() + raw(&storage)[0].1.len();
        let mut number = |object| parcel(&mut storage, 100, object).items.len();
        assert_eq!([number(3 * one - 1), number(3 * one), number(3 * one + 1)], [3, 4, 4]);
        assert_eq!(outgoing(&mut storage).len(), 10);
    }

    #[test]
    fn the_oldest_leave_first_and_what_is_joined_into_one_waits_no_longer_for_it() {
        let mut storage = MemoryStorage::new();
        let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let updates: Vec<_> = (2..).zip(&names).map(|(counter, name)| (name.as_str(), update(counter, 1))).collect();
        let mut hints = kept(&mut storage, &updates);
        // An old one is joined into: it keeps its place, before and after a start.
        hints.keep(&mut storage, TARGET, &key("1"), &update(90, 1), &Limits::default()).unwrap();
        let order: Vec<Vec<u8>> = names.iter().map(|name| key(name).user().to_vec()).collect();
        let sent = |parcel: &Parcel| parcel.items.iter().map(|item| item.key.user().to_vec()).collect::<Vec<_>>();
        let before = hints.batch(&mut storage, &SECRET, TARGET, (100, 1 << 20), |_| true).unwrap();
        assert_eq!(sent(&before), order);
        let positions: Vec<u64> = names.iter().map(|name| upper(&key(name))).collect();
        assert_eq!(hints.positions(TARGET).collect::<Vec<_>>(), positions);
        assert_eq!(hints.positions(NodeId(4)).next(), None);
        let after = parcel(&mut storage, 20, 1 << 20);
        assert_eq!((sent(&after), after.last), (order[..20].to_vec(), false));
        // What is not wanted is passed over, and is not what the batch lacks.
        let position = upper(&key("7"));
        let one = hints.batch(&mut storage, &SECRET, TARGET, (9, 1 << 20), |at| at == position).unwrap();
        assert_eq!((sent(&one), one.last), (vec![b"7".to_vec()], true));
    }

    #[test]
    fn hints_are_settled_when_those_before_the_mark_are_home() {
        let mut storage = MemoryStorage::new();
        let mut hints = kept(&mut storage, &[("a", update(2, 1))]);
        let mark = hints.mark();
        assert!(!hints.settled(mark));
        let first = outgoing(&mut storage);
        hints.keep(&mut storage, TARGET, &key("a"), &update(3, 1), &Limits::default()).unwrap();
        hints.keep(&mut storage, NodeId(4), &key("b"), &update(4, 1), &Limits::default()).unwrap();
        assert_eq!(hints.delivered(&mut storage, TARGET, &first).unwrap().1, 0);
        assert!(!hints.settled(mark), "what was there is still there, with more");
        let second = outgoing(&mut storage);
        assert_eq!(hints.delivered(&mut storage, TARGET, &second).unwrap().1, 1);
        assert!(hints.settled(mark) && !hints.settled(hints.mark()), "the other one is younger");
    }

    #[test]
    fn a_hint_whose_age_is_unknown_is_not_settled_before_it_is_home() {
        for version in [VERSIONS, u64::MAX] {
            let mut storage = MemoryStorage::new();
            kept(&mut storage, &[("a", update(1, 1))]);
            let (name, mut value) = raw(&storage).remove(0);
            value[..8].copy_from_slice(&version.to_le_bytes());
            set(&mut storage, &name, &value);
            let mut hints = HintStore::open(&storage).unwrap();
            assert!(!hints.settled(0), "nobody knows how old it is");
            let home = outgoing(&mut storage);
            assert_eq!(hints.delivered(&mut storage, TARGET, &home).unwrap().1, 1);
            assert!(hints.settled(hints.mark()));
        }
    }

    #[test]
    fn a_batch_holds_no_more_than_a_frame_whatever_an_object_may_have() {
        let mut storage = MemoryStorage::new();
        let updates = [("a", update(1, 600_000)), ("b", update(2, 600_000)), ("c", update(3, 600_000))];
        kept(&mut storage, &updates);
        assert_eq!(outgoing(&mut storage).len(), 2);
    }

    #[test]
    fn a_damaged_hint_is_dropped_and_said_to_be_and_holds_up_nobody() {
        let all = [("a", update(1, 10)), ("b", update(2, 10))];
        for damaged in 0..2 {
            for how in [Some(20), Some(0), None] {
                let mut storage = MemoryStorage::new();
                let mut hints = kept(&mut storage, &all);
                let (name, mut value) = raw(&storage)[damaged].clone();
                // A bit of the update, a bit of the version, or too short for either.
                match how {
                    Some(at) => value[at] ^= 1,
                    None => value.truncate(7),
                }
                set(&mut storage, &name, &value);
                let lost = u64::from(how != Some(0));
                let parcel = hints.batch(&mut storage, &SECRET, TARGET, (9, 1 << 20), |_| true).unwrap();
                assert_eq!((parcel.items.len() as u64, parcel.dropped.len() as u64), (2 - lost, lost), "{how:?}");
                let position = u64::from_be_bytes(name[8..16].try_into().unwrap());
                assert!(parcel.dropped.iter().all(|at| *at == position) && parcel.stored.wrote() == (lost > 0));
                assert_eq!((queue(&hints)[0].1, raw(&storage).len() as u64), (2 - lost, 2 - lost));
                assert_eq!(hints.delivered(&mut storage, TARGET, &parcel.items).unwrap().1, 2 - lost);
                assert_eq!((queue(&hints), raw(&storage)), (vec![], vec![]));
            }
        }
    }

    #[test]
    fn what_a_disk_has_lost_or_garbled_beyond_its_name_is_dropped_too() {
        let mut storage = MemoryStorage::new();
        let mut hints = kept(&mut storage, &[("a", update(1, 10))]);
        let (name, _) = raw(&storage).remove(0);
        let mut batch = Batch::new();
        batch.delete(Space::Hints, &name);
        storage.write(&batch).unwrap();
        let parcel = hints.batch(&mut storage, &SECRET, TARGET, (9, 1 << 20), |_| true).unwrap();
        assert_eq!((parcel.items.len(), parcel.dropped.len(), hints.targets().count()), (0, 1, 0));
        // A name too short for a key, and one that doesn't say for whom and where.
        let mut value = 1_u64.to_le_bytes().to_vec();
        update(1, 1).encode_into(&name[..18], &mut value);
        set(&mut storage, &name[..18], &value);
        assert_eq!((parcel_of(&mut storage), raw(&storage)), ((0, 1), vec![]));
        set(&mut storage, &name[..15], &value);
        assert!(HintStore::open(&storage).is_err());
    }

    fn parcel_of(storage: &mut MemoryStorage) -> (usize, usize) {
        let parcel = parcel(storage, 9, 1 << 20);
        (parcel.items.len(), parcel.dropped.len())
    }

    #[test]
    fn a_read_does_not_pass_over_a_damaged_hint_and_a_write_takes_its_place() {
        let mut storage = MemoryStorage::new();
        let mut hints = kept(&mut storage, &[("a", update(1, 10))]);
        let (name, mut damaged) = raw(&storage).remove(0);
        damaged[20] ^= 1;
        set(&mut storage, &name, &damaged);
        assert!(hints.held(&storage, &key("a")).is_err());
        let kept = hints.keep(&mut storage, TARGET, &key("a"), &update(2, 1), &Limits::default()).unwrap();
        assert!(matches!(kept, Kept::Replaced(_)));
        assert_eq!(queue(&hints), [(TARGET, 1, raw(&storage)[0].1.len() as u64)]);
        assert_eq!(hints.held(&storage, &key("a")).unwrap(), Some(update(2, 1)));
    }
}
