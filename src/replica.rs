//! An owner's state: records, clocks, and the atomic batches that keep them together.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::causality::{Change, Cover, Entry, Record, Update, value_bytes};
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::hash::Secret;
use crate::ids::{Actor, Dot, KeyspaceId, PartitionId};
use crate::key::Key;
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Space, Storage, Stored};
use crate::wire::{FormatError, Reader, checked, put_checksum};

/// The partitions of one shard: their clocks in memory, everything in storage.
///
/// Invariant: a dot is in a partition's clock only if the state of its key reflects it. Record, clock row and index
/// therefore travel in one batch.
#[derive(Debug)]
pub(crate) struct Replica {
    partitions: Vec<Option<Box<Partition>>>,
    /// The next counter of this start in each partition, owned or not: whoever takes a request names its write.
    counters: Vec<u64>,
    /// How many keys are unsettled, in all partitions.
    unsettled: usize,
    /// Scratch, kept for its memory: what is written, the storage key, the record that a join works on.
    batch: Batch,
    name: Vec<u8>,
    record: Record,
}

#[derive(Debug)]
struct Partition {
    /// Which life of the partition at this store: dropping or refilling it is one meta write and a sweep.
    incarnation: u32,
    clock: Arc<DotSet>,
    /// Keys whose record carries a residual: nothing else would ever look at them again.
    unsettled: BTreeSet<Bytes>,
    /// Where the last sweep of them ended.
    swept: Bytes,
}

/// What a coordinator's own write may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap {
    pub(crate) siblings: usize,
    /// Of all values together.
    pub(crate) bytes: usize,
}

impl Cap {
    /// For what is acknowledged elsewhere.
    pub(crate) const NONE: Self = Self { siblings: usize::MAX, bytes: usize::MAX };

    fn or_as_much_as(self, live: &[Entry]) -> Self {
        Self { siblings: self.siblings.max(live.len()), bytes: self.bytes.max(value_bytes(live)) }
    }

    fn holds(self, live: &[Entry]) -> bool {
        live.len() <= self.siblings && value_bytes(live) <= self.bytes
    }
}

/// What became of a join.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It is stored, or was there already.
    Stored(Stored),
    /// It would leave more than the cap: these live entries. Nothing was stored.
    AtCap(Vec<Entry>),
}

const CLOCK_ROW: u8 = 1;
const UNSETTLED: u8 = 2;

impl Replica {
    /// Reads the clocks of the partitions `owned` of `count`.
    pub(crate) fn open<S: Storage>(
        storage: &S,
        count: u32,
        owned: impl Iterator<Item = PartitionId>,
    ) -> Result<Self, StorageError> {
        let mut replica = Self {
            partitions: (0..count).map(|_| None).collect(),
            counters: vec![1; count as usize],
            unsettled: 0,
            batch: Batch::new(),
            name: Vec::with_capacity(64),
            record: Record::default(),
        };
        for partition in owned {
            let loaded = Partition::load(storage, partition)?;
            replica.unsettled += loaded.unsettled.len();
            replica.partitions[partition.0 as usize] = Some(Box::new(loaded));
        }
        Ok(replica)
    }

    /// The next dot of `actor` in a partition.
    pub(crate) fn next_dot(&mut self, actor: Actor, partition: PartitionId) -> Dot {
        let counter = &mut self.counters[partition.0 as usize];
        let dot = Dot { actor, counter: *counter };
        *counter += 1;
        dot
    }

    pub(crate) fn owns(&self, partition: PartitionId) -> bool {
        self.partitions[partition.0 as usize].is_some()
    }

    /// The record of a key and the clock that fills it, both of this instant. `name` is scratch for the storage key.
    pub(crate) fn read<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        key: &Key,
        name: &mut Vec<u8>,
    ) -> Result<(Record, Arc<DotSet>), StorageError> {
        let state = self.state(partition);
        name.clear();
        object_name(name, partition, state.incarnation, key);
        let mut record = Record::default();
        load(storage, name, &mut record)?;
        record.strip(&state.clock);
        Ok((record, Arc::clone(&state.clock)))
    }

    /// Joins a coordinator's own write, unless it would leave more than `cap`.
    ///
    /// The cap is for this alone: a join of what is acknowledged elsewhere must never be cut.
    pub(crate) fn admit<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        update: &Update,
        cap: Cap,
    ) -> Result<Joined, StorageError> {
        self.join(storage, partition, key, &update.live, update.cover(&DotSet::new()), &update.events, cap)
    }

    /// Joins writes: one of another coordinator, or those of a hint.
    pub(crate) fn update<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        update: &Update,
    ) -> Result<Stored, StorageError> {
        stored(self.admit(storage, partition, key, update, Cap::NONE))
    }

    /// Joins a whole record: read repair.
    pub(crate) fn repair<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        live: &[Entry],
        covered: &DotSet,
    ) -> Result<Stored, StorageError> {
        let nothing = DotSet::new();
        let cover = Cover { own: covered, shared: &nothing };
        stored(self.join(storage, partition, key, live, cover, &nothing, Cap::NONE))
    }

    #[expect(clippy::too_many_arguments, reason = "a storage, a place, and the four parts of a join")]
    fn join<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        live: &[Entry],
        cover: Cover<'_>,
        events: &DotSet,
        cap: Cap,
    ) -> Result<Joined, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        self.name.clear();
        object_name(&mut self.name, partition, state.incarnation, key);
        let record = &mut self.record;
        let dropped = match storage.get(Space::Objects, &self.name)? {
            None => {
                record.clear();
                0
            }
            Some(bytes) => record.decode_survivors(&self.name, &bytes, live, cover)?,
        };
        let clock = Arc::make_mut(&mut state.clock);
        if mutant::is(Mutant::TimestampBeatsCausality)
            && let Some(latest) = record.live.iter().map(|entry| entry.stamp).max()
            && live.iter().any(|entry| entry.stamp < latest)
        {
            clock.union_with(events);
            return Stored::write(storage, &Batch::new()).map(Joined::Stored);
        }
        let change = record.take_in(clock, live, cover, events, dropped > 0);
        self.batch.clear();
        if mutant::is(Mutant::CutAtJoin) {
            record.live.truncate(3);
        }
        if mutant::is(Mutant::ForgetResidual) {
            record.residual = DotSet::new();
        }
        if change.live && !cap.holds(&record.live) {
            // Who leaves no more than there was is not turned away for what remains.
            let mut before = Record::default();
            let loaded = load(storage, &self.name, &mut before);
            if loaded.is_err() || !cap.or_as_much_as(&before.live).holds(&record.live) {
                *clock = clock.minus(&change.added);
                return loaded.map(|()| Joined::AtCap(std::mem::take(&mut record.live)));
            }
        }
        if !change.any() {
            record.clear();
            return Stored::write(storage, &self.batch).map(Joined::Stored);
        }
        put_record(&mut self.batch, &self.name, record, &change);
        if !mutant::is(Mutant::ForgetDeletes) || !record.is_absent() {
            put_clock(&mut self.batch, partition, state.incarnation, clock, &change.added);
        } else {
            *clock = clock.minus(cover.own);
        }
        if mutant::is(Mutant::ClockBeforeRecord) {
            let mut first = Batch::new();
            put_clock(&mut first, partition, state.incarnation, clock, &change.added);
            let _ = Stored::write(storage, &first)?;
        }
        let unsettled = index(&mut self.batch, partition, state, key, record);
        // Before the write: a storage in memory overwrites in place what nobody holds.
        record.clear();
        match Stored::write(storage, &self.batch) {
            Ok(stored) => {
                state.settle(key, unsettled, &mut self.unsettled);
                Ok(Joined::Stored(stored))
            }
            Err(error) => {
                if mutant::is(Mutant::ClockAheadOfRecords) {
                    return Err(error);
                }
                // A clock that is ahead of its records deletes writes everywhere.
                let clock = Arc::make_mut(&mut state.clock);
                *clock = clock.minus(&change.added);
                Err(error)
            }
        }
    }

    /// Looks at up to `limit` keys of a partition that carried a residual: what the clock covers by now goes, and with
    /// it records that say nothing more.
    pub(crate) fn sweep<S: Storage>(
        &mut self,
        storage: &mut S,
        secret: &Secret,
        partition: PartitionId,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        // Round and round, lest keys that never settle keep the others waiting.
        let after = (Bound::Excluded(&state.swept), Bound::Unbounded);
        let mut keys: Vec<Bytes> = state.unsettled.range::<Bytes, _>(after).take(limit).cloned().collect();
        if keys.is_empty() {
            keys = state.unsettled.iter().take(limit).cloned().collect();
        }
        state.swept = keys.last().cloned().unwrap_or_default();
        let mut settled = Vec::new();
        self.batch.clear();
        for full in keys {
            let Some(key) = Key::from_full(secret, full) else { continue };
            self.name.clear();
            object_name(&mut self.name, partition, state.incarnation, &key);
            let record = &mut self.record;
            load(storage, &self.name, record)?;
            if record.strip(&state.clock) || record.residual.is_empty() {
                put_record(&mut self.batch, &self.name, record, &Change { residual: true, ..Change::default() });
                if !index(&mut self.batch, partition, state, &key, record) {
                    settled.push(key);
                }
            }
        }
        let stored = Stored::write(storage, &self.batch)?;
        for key in settled {
            state.settle(&key, false, &mut self.unsettled);
        }
        Ok(stored)
    }

    /// How many keys still carry a residual.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Partitions that have something to sweep.
    pub(crate) fn partitions_unsettled(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions
            .iter()
            .enumerate()
            .filter_map(|(index, state)| (!state.as_ref()?.unsettled.is_empty()).then_some(PartitionId(index as u32)))
    }

    /// A page of the keys of a keyspace that have live entries: the keys, and where the page ended if there is more.
    pub(crate) fn list<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        keyspace: KeyspaceId,
        after: &[u8],
        limit: usize,
    ) -> Result<(Vec<Bytes>, Bytes), StorageError> {
        let state = self.state(partition);
        let mut prefix = Vec::with_capacity(8 + after.len() + 1);
        prefix.extend_from_slice(&partition.0.to_be_bytes());
        prefix.extend_from_slice(&state.incarnation.to_be_bytes());
        let mut from = prefix.clone();
        from.extend_from_slice(after);
        if !after.is_empty() {
            from.push(0);
        }
        let (mut keys, mut end, mut damage) = (Vec::new(), Bytes::default(), None);
        storage.scan(Space::Objects, &from, &mut |name, value| {
            let Some(rest) = name.strip_prefix(&prefix[..]) else { return ControlFlow::Break(()) };
            if keys.len() == limit {
                return ControlFlow::Break(());
            }
            let Some(user) = rest.get(8..).and_then(|full| full.strip_prefix(&keyspace.0.to_be_bytes())) else {
                return ControlFlow::Continue(());
            };
            match Record::decode(name, &Bytes::from(value)) {
                Ok(record) if record.live.is_empty() => {}
                Ok(_) => keys.push(Bytes::from(user)),
                Err(error) => damage = Some(error),
            }
            if keys.len() == limit {
                end = Bytes::from(rest);
            }
            ControlFlow::Continue(())
        })?;
        match damage {
            Some(error) => Err(error.into()),
            None => Ok((keys, end)),
        }
    }

    fn state(&self, partition: PartitionId) -> &Partition {
        self.partitions[partition.0 as usize].as_deref().expect("the caller has checked that it is owned")
    }
}

fn state_mut(partitions: &mut [Option<Box<Partition>>], partition: PartitionId) -> &mut Partition {
    partitions[partition.0 as usize].as_deref_mut().expect("the caller has checked that it is owned")
}

impl Partition {
    fn load<S: Storage>(storage: &S, partition: PartitionId) -> Result<Self, StorageError> {
        // Lives of a partition that follow the first come with changing layouts.
        let incarnation = 1;
        let (mut clock, mut unsettled, mut damage, mut lost) = (DotSet::new(), BTreeSet::new(), None, None);
        let mut prefix = partition.0.to_be_bytes().to_vec();
        prefix.extend_from_slice(&u32::to_be_bytes(incarnation));
        storage.scan(Space::Dots, &prefix, &mut |name, value| {
            let Some(rest) = name.strip_prefix(&prefix[..]) else { return ControlFlow::Break(()) };
            match rest.split_first() {
                Some((&CLOCK_ROW, _)) => match decode_row(name, value) {
                    Ok(_) if mutant::is(Mutant::LoseClockAtStart) && lost.is_none() => lost = Some(()),
                    Ok(row) => clock.union_with(&row),
                    Err(error) => damage = Some(error),
                },
                Some((&UNSETTLED, full)) => {
                    unsettled.insert(Bytes::from(full));
                }
                _ => damage = Some(FormatError::Content("an unknown kind of line beside a clock")),
            }
            if damage.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match damage {
            Some(error) => Err(error.into()),
            None => Ok(Self { incarnation, clock: Arc::new(clock), unsettled, swept: Bytes::default() }),
        }
    }

    /// Brings the index in memory, and the count over all partitions, in line with what was stored.
    fn settle(&mut self, key: &Key, unsettled: bool, count: &mut usize) {
        if unsettled {
            *count += usize::from(self.unsettled.insert(key.full().clone()));
        } else if !self.unsettled.is_empty() {
            *count -= usize::from(self.unsettled.remove(key.full()));
        }
    }
}

fn stored(joined: Result<Joined, StorageError>) -> Result<Stored, StorageError> {
    match joined? {
        Joined::Stored(stored) => Ok(stored),
        Joined::AtCap(_) => unreachable!("there are fewer than usize::MAX siblings"),
    }
}

fn decode_row(name: &[u8], value: &[u8]) -> Result<DotSet, FormatError> {
    let mut reader = Reader::new(checked(name, value)?);
    let row = DotSet::decode(&mut reader)?;
    reader.end()?;
    Ok(row)
}

fn load<S: Storage>(storage: &S, name: &[u8], record: &mut Record) -> Result<(), StorageError> {
    match storage.get(Space::Objects, name)? {
        None => record.clear(),
        Some(bytes) => record.decode_from(name, &bytes)?,
    }
    Ok(())
}

fn put_record(batch: &mut Batch, name: &[u8], record: &Record, change: &Change) {
    if record.is_absent() {
        batch.delete(Space::Objects, name);
    } else if change.live || change.residual {
        batch.put_with(Space::Objects, |out| out.extend_from_slice(name), |out| record.encode_into(name, out));
    }
}

/// One line per actor: a write rewrites the line of its own actor, however many there have been.
fn put_clock(batch: &mut Batch, partition: PartitionId, incarnation: u32, clock: &DotSet, added: &DotSet) {
    for actor in added.actors() {
        let mut name = [0; 25];
        name[..9].copy_from_slice(&line_name(partition, incarnation, CLOCK_ROW));
        name[9..17].copy_from_slice(&actor.node.0.to_be_bytes());
        name[17..].copy_from_slice(&actor.start.0.to_be_bytes());
        batch.put_with(
            Space::Dots,
            |out| out.extend_from_slice(&name),
            |out| {
                let start = out.len();
                clock.encode_row_of(actor, out);
                put_checksum(&name, out, start);
            },
        );
    }
}

/// Brings the index of unsettled keys in line with a record. Tells whether the key belongs there.
fn index(batch: &mut Batch, partition: PartitionId, state: &Partition, key: &Key, record: &Record) -> bool {
    let unsettled = !record.residual.is_empty();
    // An empty index answers without a look-up: it is the common case.
    let listed = !state.unsettled.is_empty() && state.unsettled.contains(key.full());
    if unsettled != listed {
        let mut name = Vec::with_capacity(9 + key.full().len());
        name.extend_from_slice(&line_name(partition, state.incarnation, UNSETTLED));
        name.extend_from_slice(key.full());
        if unsettled { batch.put(Space::Dots, &name, &[]) } else { batch.delete(Space::Dots, &name) }
    }
    unsettled
}

/// partition (4) · incarnation (4) · position's upper half (8) · keyspace and key: the order of the ring.
fn object_name(out: &mut Vec<u8>, partition: PartitionId, incarnation: u32, key: &Key) {
    let mut head = [0; 16];
    head[..4].copy_from_slice(&partition.0.to_be_bytes());
    head[4..8].copy_from_slice(&incarnation.to_be_bytes());
    head[8..].copy_from_slice(&((key.position() >> 64) as u64).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(key.full());
}

/// partition (4) · incarnation (4) · kind (1)
fn line_name(partition: PartitionId, incarnation: u32, kind: u8) -> [u8; 9] {
    let mut name = [kind; 9];
    name[..4].copy_from_slice(&partition.0.to_be_bytes());
    name[4..8].copy_from_slice(&incarnation.to_be_bytes());
    name
}
