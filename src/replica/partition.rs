//! One partition at one owner: its clock, what is not settled, and the lines that keep both in storage.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::digests::{Digests, load_written};
use super::life::{Ended, Life};
use super::log::DotLog;
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::ids::PartitionId;
use crate::key::Key;
use crate::merkle::{Rebuild, Tree};
use crate::mutant::{self, Mutant};
use crate::storage::{Batch, Space, Storage};
use crate::time::WallTime;
use crate::wire::{FormatError, Reader, checked, put_checksum};

#[derive(Debug)]
pub(super) struct Partition {
    /// Which life of the partition at this store: one more than it has lost something.
    pub(super) incarnation: u32,
    pub(super) positions: RangeInclusive<u64>,
    /// Lives that have ended, with what their clocks covered, until their records have been taken over.
    pub(super) old: Vec<(Ended, DotSet)>,
    pub(super) clock: Arc<DotSet>,
    /// The clock as it was a while ago: what was written since is on its way to the other owners anyhow.
    pub(super) calm: Arc<DotSet>,
    /// How many keys have a record with a residual. Their index is in storage alone: a partition that is filled anew has
    /// as many as it has keys.
    pub(super) unsettled: u64,
    /// Where the last sweep of them ended.
    pub(super) swept: Bytes,
    /// No version expires before this; none: no version expires. It is exact after a sweep, and may be too early after
    /// a version was superseded.
    pub(super) expires: Option<WallTime>,
    pub(super) log: DotLog,
    pub(super) digests: Digests,
    pub(super) life: Life,
    pub(super) watch: Option<Box<Watch>>,
    /// How often the clock has changed, or was forgotten.
    pub(super) changes: u64,
}

/// What a full exchange in progress must know of the joins beside it.
#[derive(Debug)]
pub(super) struct Watch {
    /// The dots that the end of the exchange will add to the clock.
    pub(super) opening: DotSet,
    /// Keys into which one of them has come by another way since: they are asked for again.
    pub(super) touched: Vec<Bytes>,
}

const CLOCK_ROW: u8 = 1;
const UNSETTLED: u8 = 2;
pub(super) const DIGEST: u8 = 4;
pub(super) const EXPIRY: u8 = 5;

impl Partition {
    /// Reads a partition's lines. Those that are damaged are left out, and it is said whether there were any.
    pub(super) fn load<S: Storage>(
        storage: &S,
        partition: PartitionId,
        positions: RangeInclusive<u64>,
        log: usize,
    ) -> Result<(Self, bool), StorageError> {
        // Who doesn't know which life it is can't find what it has: that must not pass for a beginning.
        let life = Life::load(storage, partition)?;
        let incarnation = life.incarnation();
        let Lines { clock, unsettled, expires, mut damaged } = Lines::load(storage, partition, incarnation)?;
        let mut old = Vec::new();
        for &ended in &life.old {
            old.push((ended, Lines::load(storage, partition, ended.incarnation)?.clock));
        }
        let prefix = prefix(partition, incarnation);
        let written = undamaged(load_written(storage, partition, incarnation), &mut damaged)?.flatten();
        let digests = if written.is_none_or(|written| written.count == 0) && is_empty(storage, &prefix)? {
            Digests::new(Tree::new(positions.clone()))
        } else {
            let written = written.unwrap_or_default();
            Digests::building(Rebuild::new(positions.clone(), written.count), written)
        };
        let clock = Arc::new(clock);
        let calm = Arc::clone(&clock);
        let (swept, log) = (Bytes::default(), DotLog::new(log));
        Ok((
            Self {
                incarnation,
                positions,
                old,
                clock,
                calm,
                unsettled,
                swept,
                expires,
                log,
                digests,
                life,
                watch: None,
                changes: 1,
            },
            damaged,
        ))
    }

    /// Begins its next life: nothing is known, and what the last knew is to be taken over.
    pub(super) fn begin(&mut self, life: Life) {
        self.old.extend(life.old.last().map(|&ended| (ended, DotSet::clone(&self.clock))));
        self.incarnation = life.incarnation();
        if !mutant::is(Mutant::LoseKeepsClock) {
            (self.clock, self.calm) = (Arc::default(), Arc::default());
        }
        (self.unsettled, self.swept, self.expires) = (0, Bytes::default(), None);
        self.log.clear();
        self.digests = Digests::new(Tree::new(self.positions.clone()));
        self.life = life;
        self.watch = None;
        self.changes += 1;
    }

    /// Brings the count of unsettled keys, here and over all partitions, in line with what was stored.
    pub(super) fn settle(&mut self, listed: bool, unsettled: bool, count: &mut u64) {
        for number in [&mut self.unsettled, count] {
            *number = *number + u64::from(unsettled) - u64::from(listed);
        }
    }

    /// The digest tree, unless it is being built, or there are records yet to be taken over.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.digests.tree().filter(|_| self.old.is_empty())
    }

    /// What a join of `key` has added to the clock, once it is stored.
    pub(super) fn note(&mut self, key: &Bytes, added: &DotSet) {
        self.changes += u64::from(!added.is_empty());
        self.log.push_all(added, key);
        if let Some(watch) = &mut self.watch
            && watch.opening.intersects(added)
        {
            watch.touched.push(key.clone());
        }
    }

    /// Keys whose record carries a residual, from behind `after` on: up to `limit`.
    pub(super) fn list_unsettled<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let mut keys = Vec::new();
        let prefix = line_name(partition, self.incarnation, UNSETTLED);
        let mut from = [&prefix[..], after].concat();
        if !after.is_empty() {
            from.push(0);
        }
        storage.scan(Space::Dots, &from, &mut |name, _| match name.strip_prefix(&prefix[..]) {
            Some(full) if keys.len() < limit => {
                keys.push(Bytes::from(full));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        })?;
        Ok(keys)
    }
}

/// What the lines of a life say.
#[derive(Default)]
struct Lines {
    clock: DotSet,
    unsettled: u64,
    expires: Option<WallTime>,
    /// Some can't be read, and are left out.
    damaged: bool,
}

impl Lines {
    fn load<S: Storage>(storage: &S, partition: PartitionId, incarnation: u32) -> Result<Self, StorageError> {
        let (mut lines, mut newer, mut lost) = (Self::default(), None, false);
        let prefix = prefix(partition, incarnation);
        storage.scan(Space::Dots, &prefix, &mut |name, value| {
            let Some(rest) = name.strip_prefix(&prefix[..]) else { return ControlFlow::Break(()) };
            match rest.split_first() {
                Some((&CLOCK_ROW, _)) => match decode_row(name, value) {
                    Ok(_) if mutant::is(Mutant::LoseClockAtStart) && !lost => lost = true,
                    Ok(row) => lines.clock.union_with(&row),
                    Err(error @ FormatError::Version(_)) => newer = Some(error),
                    Err(_) => lines.damaged = true,
                },
                Some((&UNSETTLED, _)) => lines.unsettled += 1,
                Some((&DIGEST, _)) => {}
                // In the order of time: the first is the next.
                Some((&EXPIRY, line)) => match line.split_first_chunk::<8>() {
                    Some((expires, _)) => {
                        lines.expires.get_or_insert(WallTime(u64::from_be_bytes(*expires)));
                    }
                    None => lines.damaged = true,
                },
                _ => lines.damaged = true,
            }
            if newer.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        // What a newer program has written is not damage: it is not for this one.
        newer.map_or(Ok(lines), |error| Err(error.into()))
    }
}

/// What was read, or nothing if it was damaged. What a newer program has written is not damage.
fn undamaged<T>(read: Result<T, StorageError>, damaged: &mut bool) -> Result<Option<T>, StorageError> {
    match read {
        Err(error) if super::is_damaged(&error) => {
            *damaged = true;
            Ok(None)
        }
        read => read.map(Some),
    }
}

fn is_empty<S: Storage>(storage: &S, prefix: &[u8]) -> Result<bool, StorageError> {
    let mut empty = true;
    storage.scan(Space::Objects, prefix, &mut |name, _| {
        empty = !name.starts_with(prefix);
        ControlFlow::Break(())
    })?;
    Ok(empty)
}

fn decode_row(name: &[u8], value: &[u8]) -> Result<DotSet, FormatError> {
    let mut reader = Reader::new(checked(name, value)?);
    let row = DotSet::decode(&mut reader)?;
    reader.end()?;
    Ok(row)
}

/// One line per actor: a write rewrites the line of its own actor, however many there have been.
pub(super) fn put_clock(batch: &mut Batch, partition: PartitionId, incarnation: u32, clock: &DotSet, added: &DotSet) {
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

/// Brings the index of unsettled keys in line with a record.
pub(super) fn put_index(
    batch: &mut Batch,
    partition: PartitionId,
    incarnation: u32,
    key: &Key,
    listed: bool,
    unsettled: bool,
) {
    if unsettled != listed {
        let mut name = Vec::with_capacity(9 + key.full().len());
        name.extend_from_slice(&line_name(partition, incarnation, UNSETTLED));
        name.extend_from_slice(key.full());
        if unsettled { batch.put(Space::Dots, &name, &[]) } else { batch.delete(Space::Dots, &name) }
    }
}

/// partition (4) · incarnation (4) · position's upper half (8) · keyspace and key: the order of the ring.
pub(super) fn object_name(out: &mut Vec<u8>, partition: PartitionId, incarnation: u32, key: &Key) {
    out.extend_from_slice(&place(partition, incarnation, key.upper_position()));
    out.extend_from_slice(key.full());
}

/// What the names of all objects at one position begin with.
pub(super) fn place(partition: PartitionId, incarnation: u32, position: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&prefix(partition, incarnation));
    head[8..].copy_from_slice(&position.to_be_bytes());
    head
}

/// partition (4) · incarnation (4): what all names of a partition begin with.
pub(super) fn prefix(partition: PartitionId, incarnation: u32) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix[..4].copy_from_slice(&partition.0.to_be_bytes());
    prefix[4..].copy_from_slice(&incarnation.to_be_bytes());
    prefix
}

/// partition (4) · incarnation (4) · kind (1)
pub(super) fn line_name(partition: PartitionId, incarnation: u32, kind: u8) -> [u8; 9] {
    let mut name = [kind; 9];
    name[..8].copy_from_slice(&prefix(partition, incarnation));
    name
}
