//! An owner's state: records, clocks, and the atomic batches that keep them together.

mod copies;
mod digests;
mod exchange;
mod expiry;
mod life;
mod log;
mod partition;
mod salvage;

#[cfg(feature = "sim")]
pub(crate) use copies::record_in;
pub(crate) use exchange::Portion;
pub(crate) use life::{put_lost, put_set_back};

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::bytes::Bytes;
use crate::causality::{Change, Cover, Entry, Record, Update, value_bytes};
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::hash::Secret;
use crate::ids::{Actor, Dot, KeyspaceId, PartitionId};
use crate::key::Key;
use crate::merkle::digest;
use crate::mutant::{self, Mutant};
use crate::ring::Layout;
use crate::storage::{Batch, Space, Storage, Stored};
use crate::time::WallTime;
use crate::wire::FormatError;
use digests::{NOT_WRITTEN, Step};
use expiry::{Expiry, earlier, put_expiries};
use partition::{Partition, object_name, put_clock, put_index};

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
    unsettled: u64,
    secret: Secret,
    expiry: Expiry,
    /// Whether no partition has another owner.
    alone: bool,
    /// Copies that were dropped, and whose records may still lie about: those of all lives before this one.
    leftovers: Vec<(PartitionId, u32)>,
    /// Scratch, kept for its memory: what is written, the storage key, the record that a join works on.
    batch: Batch,
    name: Vec<u8>,
    record: Record,
    before: Vec<(Dot, Option<WallTime>)>,
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

    pub(crate) fn holds(self, live: &[Entry]) -> bool {
        live.len() <= self.siblings && value_bytes(live) <= self.bytes
    }
}

/// What is to be joined into a record.
#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    live: &'a [Entry],
    cover: Cover<'a>,
    /// What the clock takes in beside the live dots; none if it takes in nothing at all.
    events: Option<&'a DotSet>,
}

/// What became of a join.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It is stored, or was there already.
    Stored(Stored),
    /// It would leave more than the cap: these live entries. Nothing was stored.
    AtCap(Vec<Entry>),
}

impl Replica {
    /// Reads the clocks of the partitions `owned` of the layout, and keeps a log of so many dots for each. What has
    /// expired is removed `skew` later.
    ///
    /// A partition whose lines are damaged has lost something, and is filled again by the others.
    pub(crate) fn open<S: Storage>(
        storage: &mut S,
        secret: Secret,
        layout: &Layout,
        owned: impl Iterator<Item = PartitionId>,
        log: usize,
        skew: Duration,
    ) -> Result<Self, StorageError> {
        let mut replica = Self {
            partitions: (0..layout.partitions()).map(|_| None).collect(),
            counters: vec![1; layout.partitions() as usize],
            unsettled: 0,
            secret,
            expiry: Expiry::new(skew),
            alone: layout.n() == 1,
            leftovers: Vec::new(),
            batch: Batch::new(),
            name: Vec::with_capacity(64),
            record: Record::default(),
            before: Vec::new(),
        };
        for partition in owned {
            let positions = layout.positions_of(partition);
            let (loaded, damaged) = Partition::load(storage, partition, positions, log)?;
            if loaded.life.dropped {
                replica.leftovers.push((partition, loaded.incarnation));
                continue;
            }
            replica.unsettled += loaded.unsettled;
            replica.expiry.note(loaded.expires);
            replica.partitions[partition.0 as usize] = Some(Box::new(loaded));
            if damaged {
                // It is synced with the first write that is.
                let _ = replica.lose(storage, partition, true)?;
            }
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

    /// The clock of an owned partition.
    pub(crate) fn clock(&self, partition: PartitionId) -> &Arc<DotSet> {
        &self.state(partition).clock
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
        state.add_old(storage, partition, key, &mut record)?;
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
        let nothing = DotSet::new();
        let said = Said { live: &update.live, cover: update.cover(&nothing), events: Some(&update.events) };
        self.join(storage, partition, key, said, cap)
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
        let said = Said { live, cover: Cover { own: covered, shared: &nothing }, events: Some(&nothing) };
        stored(self.join(storage, partition, key, said, Cap::NONE))
    }

    fn join<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        said: Said<'_>,
        cap: Cap,
    ) -> Result<Joined, StorageError> {
        if self.state(partition).old.is_empty() {
            return self.join_here(storage, partition, key, said, cap);
        }
        let salvaged = self.salvage_key(storage, partition, key)?;
        Ok(match self.join_here(storage, partition, key, said, cap)? {
            Joined::Stored(stored) => Joined::Stored(salvaged.and(stored)),
            at_cap @ Joined::AtCap(_) => at_cap,
        })
    }

    fn join_here<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        key: &Key,
        Said { live, cover, events }: Said<'_>,
        cap: Cap,
    ) -> Result<Joined, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        self.name.clear();
        object_name(&mut self.name, partition, state.incarnation, key);
        let record = &mut self.record;
        self.before.clear();
        let dropped = match storage.get(Space::Objects, &self.name)? {
            None => {
                record.clear();
                0
            }
            Some(bytes) => record.decode_survivors(&self.name, &bytes, live, cover, &mut self.before)?,
        };
        let listed = !record.residual.is_empty();
        let clock = Arc::make_mut(&mut state.clock);
        if mutant::is(Mutant::TimestampBeatsCausality)
            && let Some(latest) = record.live.iter().map(|entry| entry.stamp).max()
            && live.iter().any(|entry| entry.stamp < latest)
        {
            clock.union_with(events.unwrap_or(&DotSet::new()));
            return Stored::write(storage, &Batch::new()).map(Joined::Stored);
        }
        let mut change = match events {
            Some(events) => record.take_in(clock, live, cover, events, dropped > 0),
            None => record.take_from(clock, live, cover, dropped > 0),
        };
        // What is due is removed with whatever is joined, and what comes late never stays.
        change.live |= record.expire(clock, |expires| self.expiry.is_due(expires));
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
        let mut step = Step::default();
        if change.live {
            step.old = digest(&self.secret, key.full(), self.before.iter().map(|(dot, _)| *dot));
            step.new = digest(&self.secret, key.full(), record.live.iter().map(|entry| entry.dot));
        }
        if mutant::is(Mutant::DigestKeepsDeletes) && step.new.is_none() {
            step = Step::default();
        }
        state.digests.put(&mut self.batch, partition, state.incarnation, step);
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
        let unsettled = !record.residual.is_empty();
        put_index(&mut self.batch, partition, state.incarnation, key, listed, unsettled);
        let first = put_expiries(&mut self.batch, partition, state.incarnation, key, &self.before, &record.live);
        // Before the write: a storage in memory overwrites in place what nobody holds.
        record.clear();
        match Stored::write(storage, &self.batch) {
            Ok(stored) => {
                state.settle(listed, unsettled, &mut self.unsettled);
                state.expires = earlier(state.expires, first);
                self.expiry.note(first);
                state.note(key.full(), &change.added);
                state.digests.replace(key.upper_position(), step);
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
        partition: PartitionId,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        let secret = self.secret;
        let state = state_mut(&mut self.partitions, partition);
        // Round and round, lest keys that never settle keep the others waiting.
        let mut keys = state.list_unsettled(storage, partition, &state.swept, limit)?;
        if keys.is_empty() {
            keys = state.list_unsettled(storage, partition, &[], limit)?;
        }
        state.swept = keys.last().cloned().unwrap_or_default();
        let mut settled = 0;
        self.batch.clear();
        for full in keys {
            let Some(key) = Key::from_full(&secret, full) else { continue };
            self.name.clear();
            object_name(&mut self.name, partition, state.incarnation, &key);
            let record = &mut self.record;
            load(storage, &self.name, record)?;
            if record.strip(&state.clock) || record.residual.is_empty() {
                put_record(&mut self.batch, &self.name, record, &Change { residual: true, ..Change::default() });
                let unsettled = !record.residual.is_empty();
                put_index(&mut self.batch, partition, state.incarnation, &key, true, unsettled);
                settled += u64::from(!unsettled);
            }
        }
        let stored = Stored::write(storage, &self.batch)?;
        state.unsettled = state.unsettled.saturating_sub(settled);
        self.unsettled = self.unsettled.saturating_sub(settled);
        Ok(stored)
    }

    /// How many keys still carry a residual.
    pub(crate) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Partitions that have something to sweep, and how many keys.
    pub(crate) fn partitions_unsettled(&self) -> impl Iterator<Item = (PartitionId, u64)> {
        self.partitions
            .iter()
            .enumerate()
            .map(|(index, state)| (PartitionId(index as u32), state.as_ref().map_or(0, |state| state.unsettled)))
            .filter(|(_, count)| *count > 0)
    }

    /// A page of the keys of a keyspace that have live entries which have not expired: the keys, and where the page ended
    /// if there is more.
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
                Ok(record) if record.live.iter().all(|entry| entry.is_expired(self.expiry.now())) => {}
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

fn stored(joined: Result<Joined, StorageError>) -> Result<Stored, StorageError> {
    match joined? {
        Joined::Stored(stored) => Ok(stored),
        Joined::AtCap(_) => unreachable!("there are fewer than usize::MAX siblings"),
    }
}

/// Whether stored bytes are not what was written. What a newer program has written is not damage.
/// Whether records were found not to be what was written: each of them may be an earlier one.
pub(crate) fn is_set_back(error: &StorageError) -> bool {
    matches!(error, StorageError::Damaged(NOT_WRITTEN))
}

pub(crate) fn is_damaged(error: &StorageError) -> bool {
    matches!(error, StorageError::Damaged(error) if !matches!(error, FormatError::Version(_)))
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

#[cfg(test)]
mod tests;
