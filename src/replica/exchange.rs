//! What an owner shows to another in an exchange, and what it takes in from one.
//!
//! Whoever shows keeps nothing of the exchange, and whoever takes in is sound after every single record: a record
//! comes whole, and the clock takes in dots of that key alone.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::digests::NOT_WRITTEN;
use super::partition::{Partition, Watch, place, prefix, put_clock};
use super::{Cap, Replica, Said, state_mut, stored};
use crate::bytes::Bytes;
use crate::causality::{Cover, Entry, Record, value_bytes};
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::hash::{Purpose, hash};
use crate::ids::{NodeId, PartitionId};
use crate::key::Key;
use crate::merkle::{KeyDigest, Nodes, Summary, Tree, digest};
use crate::message::{Answer, Item, Keys, Mark, Page, Records, Standing, Surveyed};
use crate::mutant::{self, Mutant};
use crate::storage::{Space, Storage, Stored};

/// How much goes into one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    /// Records.
    pub(crate) records: usize,
    /// Bytes of values, after which no further record is added.
    pub(crate) bytes: usize,
}

impl Portion {
    /// Keys in a list, for each record that a portion has: they are that much smaller.
    const KEYS: usize = 16;

    fn take(&mut self, item: &Item) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(value_bytes(&item.live) + item.key.full().len());
    }

    const fn is_spent(self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

/// Showing.
impl Replica {
    /// A partition's state in a few bytes, without a root while owners may differ in what has expired; nothing if it
    /// isn't owned.
    pub(crate) fn mark(&self, partition: PartitionId) -> Option<Mark> {
        let state = self.partitions.get(partition.0 as usize)?.as_deref()?;
        let mut bytes = Vec::with_capacity(64);
        state.clock.encode(&mut bytes);
        let clock = (hash(&self.secret, Purpose::Clock, &[&bytes]) as u64).to_le_bytes();
        // Another owner may have removed already what is due here, or soon: that is not damage.
        let root = state.tree().filter(|_| !self.is_near_due(partition)).map(|tree| tree.summary().short());
        Some(Mark { partition, clock, root })
    }

    /// How often the partition's clock has changed: what was found equal at one number need not be at the next.
    pub(crate) fn changes(&self, partition: PartitionId) -> u64 {
        self.state(partition).changes
    }

    /// All other owners have what this one has: nobody will ask for the keys of its dots.
    pub(crate) fn trim(&mut self, partition: PartitionId) {
        state_mut(&mut self.partitions, partition).log.clear();
    }

    /// From now on what has been written until now is shown to clocks that lack it.
    ///
    /// What was written a moment ago is on its way to the other owners: shown at once, it would travel twice.
    pub(crate) fn calm_down(&mut self) {
        for state in self.partitions.iter_mut().flatten() {
            state.calm = Arc::clone(&state.clock);
        }
    }

    /// What this owner has and `theirs` lacks, a portion of it.
    pub(crate) fn since<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        theirs: &DotSet,
        mut portion: Portion,
    ) -> Result<Answer, StorageError> {
        let state = self.state(partition);
        let due = state.calm.minus(theirs);
        if due.is_empty() {
            return Ok(Answer::Nothing);
        }
        // If the keys of all that is lacking are known, a record needn't speak for dots of other keys.
        let (keys, exact) = match state.log.keys(&state.clock.minus(theirs)) {
            Some(all) => (all, true),
            None => match state.log.keys(&due) {
                Some(some) => (some, false),
                None => return Ok(Answer::TooOld),
            },
        };
        let mut wanted = keys.into_iter().filter(|(_, dots)| !exact || dots.intersects(&due));
        let mut items = Vec::new();
        let mut more = false;
        for (full, events) in &mut wanted {
            if portion.is_spent() {
                more = true;
                break;
            }
            let Some(key) = Key::from_full(&self.secret, full) else { continue };
            let record = self.whole(storage, partition, &key)?;
            let live: DotSet = record.live.iter().map(|entry| entry.dot).collect();
            let item = Item { key, live: record.live, residual: record.residual, events: events.minus(&live) };
            portion.take(&item);
            items.push(item);
        }
        Ok(Answer::Page(Page { clock: Arc::clone(&state.clock), exact, items, more }))
    }

    /// A partition at the opening of a full exchange; nothing while its tree is being built.
    ///
    /// What is unsettled is read in the same instant as the clock. A key whose delete is known, but not yet all that
    /// it deletes, has an empty list of live dots like one that was never there: who took them for equal, and took the
    /// clock, would take what the delete is about for new.
    pub(crate) fn survey<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
    ) -> Result<Option<Surveyed>, StorageError> {
        let state = self.state(partition);
        let Some(tree) = state.tree() else { return Ok(None) };
        let keys = state.list_unsettled(storage, partition, &[], usize::MAX)?;
        let mut unsettled: Vec<u64> = keys
            .into_iter()
            .filter_map(|full| Key::from_full(&self.secret, full))
            .map(|key| key.upper_position())
            .collect();
        unsettled.sort_unstable();
        unsettled.dedup();
        let (standing, clock) = (state.life.standing(), Arc::clone(&state.clock));
        Ok(Some(Surveyed { standing, clock, root: tree.summary().short(), depth: tree.depth(), unsettled }))
    }

    /// The partition's tree, unless it is being built, or there are records yet to be taken over.
    pub(crate) fn tree(&self, partition: PartitionId) -> Option<&Tree> {
        self.state(partition).tree()
    }

    fn positions(&self, partition: PartitionId) -> RangeInclusive<u64> {
        self.state(partition).positions.clone()
    }

    /// The keys under some nodes, from behind a position on, and at most to `end`.
    pub(crate) fn keys<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        nodes: &Nodes,
        after: Option<u64>,
        end: u64,
        portion: Portion,
    ) -> Result<Option<Keys>, StorageError> {
        let Some(tree) = self.tree(partition) else { return Ok(None) };
        let mut found = Keys { live: Vec::new(), unsettled: Vec::new(), through: None };
        let most = portion.records.saturating_mul(Portion::KEYS);
        let mut last = None;
        for (whole, expected) in tree.runs(nodes) {
            let start = after.map_or(*whole.start(), |after| after.saturating_add(1).max(*whole.start()));
            let range = start..=end.min(*whole.end());
            if range.is_empty() || after == Some(u64::MAX) {
                continue;
            }
            let mut sum = Summary::default();
            let is_whole = range == whole;
            self.scan(storage, partition, range, |position, full, record| {
                // Keys at one position belong into one list.
                if found.live.len() + found.unsettled.len() >= most && last != Some(position) {
                    found.through = last;
                    return Ok(ControlFlow::Break(()));
                }
                last = Some(position);
                if let Some(digest) = digest(&self.secret, full, record.live.iter().map(|entry| entry.dot)) {
                    sum = sum.plus(Summary { digest, count: 1 });
                    found.live.push(KeyDigest::new(position, digest));
                }
                if !record.residual.is_empty() && found.unsettled.last() != Some(&position) {
                    found.unsettled.push(position);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if found.through.is_some() {
                break;
            }
            // A record that the disk has dropped without a trace would be taken for a deleted one by the other side.
            if is_whole && expected.is_some_and(|expected| expected != sum) && !mutant::is(Mutant::ListBelieves) {
                return Err(NOT_WRITTEN.into());
            }
        }
        Ok(Some(found))
    }

    /// What lies at some positions.
    pub(crate) fn records<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        positions: &[u64],
        mut portion: Portion,
    ) -> Result<Records, StorageError> {
        let state = self.state(partition);
        let mut found = Records { clock: Arc::clone(&state.clock), items: Vec::new(), done: 0 };
        for &position in positions {
            if portion.is_spent() {
                break;
            }
            self.scan(storage, partition, position..=position, |_, full, record| {
                let Some(key) = Key::from_full(&self.secret, Bytes::from(full)) else {
                    return Ok(ControlFlow::Continue(()));
                };
                let (live, residual) = (std::mem::take(&mut record.live), std::mem::take(&mut record.residual));
                let item = Item { key, live, residual, events: DotSet::new() };
                portion.take(&item);
                found.items.push(item);
                Ok(ControlFlow::Continue(()))
            })?;
            found.done += 1;
        }
        Ok(found)
    }

    /// A record without what the clock covers by now.
    fn whole<S: Storage>(&self, storage: &S, partition: PartitionId, key: &Key) -> Result<Record, StorageError> {
        self.read(storage, partition, key, &mut Vec::new()).map(|(record, _)| record)
    }

    /// Visits the records at these positions, in order, without what the clock covers by now.
    fn scan<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        positions: RangeInclusive<u64>,
        mut visit: impl FnMut(u64, &[u8], &mut Record) -> Result<ControlFlow<()>, StorageError>,
    ) -> Result<(), StorageError> {
        let state = self.state(partition);
        let prefix = prefix(partition, state.incarnation);
        let from = place(partition, state.incarnation, *positions.start());
        let (mut record, mut failed) = (Record::default(), None);
        storage.scan(Space::Objects, &from, &mut |name, value| {
            let Some((position, full)) = name.strip_prefix(&prefix[..]).and_then(<[u8]>::split_first_chunk::<8>) else {
                return ControlFlow::Break(());
            };
            let position = u64::from_be_bytes(*position);
            if !positions.contains(&position) {
                return ControlFlow::Break(());
            }
            let visited = record.decode_from(name, &Bytes::from(value)).map_err(StorageError::from).and_then(|()| {
                record.strip(&state.clock);
                visit(position, full, &mut record)
            });
            visited.unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// Taking in.
impl Replica {
    /// What of a page's clock its records speak for.
    pub(crate) fn cover_of(&self, partition: PartitionId, page: &Page) -> DotSet {
        if mutant::is(Mutant::PageWithoutClock) {
            return DotSet::new();
        }
        if page.exact {
            let own = &self.state(partition).clock;
            // What both have: of what only the other has, each record names what is of its key.
            return page.clock.minus(&page.clock.minus(own));
        }
        DotSet::clone(&page.clock)
    }

    /// Joins another owner's whole record, which speaks for `cover` too. The clock takes in its dots if it `grows`.
    pub(crate) fn take<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        item: &Item,
        cover: &DotSet,
        grows: bool,
    ) -> Result<Stored, StorageError> {
        let mut own = item.residual.clone();
        own.union_with(&item.events);
        let nothing = DotSet::new();
        let is_deaf = mutant::is(Mutant::AbsentSaysNothing) && item.live.is_empty() && item.residual.is_empty();
        let cover = Cover { own: &own, shared: if is_deaf { &nothing } else { cover } };
        let said = Said { live: &item.live, cover, events: grows.then_some(&item.events) };
        let stored = stored(self.join(storage, partition, &item.key, said, Cap::NONE))?;
        let state = state_mut(&mut self.partitions, partition);
        item.live.iter().for_each(|entry| state.log.push(entry.dot, item.key.full()));
        Ok(stored)
    }

    /// What this owner has of a key and another, who showed it, lacks: to be joined there. Nothing if it lacks nothing.
    pub(crate) fn ahead<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        item: &Item,
        clock: &DotSet,
    ) -> Result<Option<(Vec<Entry>, DotSet)>, StorageError> {
        let (record, own) = self.read(storage, partition, &item.key, &mut Vec::new())?;
        let view = record.view(&own);
        let cover = Cover { own: &item.residual, shared: clock };
        Ok(view.is_ahead_of(&item.live, cover).then_some((view.live, view.covered)))
    }

    /// The keys that lie at a position.
    pub(crate) fn keys_at<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        position: u64,
    ) -> Result<Vec<Key>, StorageError> {
        let mut keys = Vec::new();
        self.scan(storage, partition, position..=position, |_, full, _| {
            keys.extend(Key::from_full(&self.secret, Bytes::from(full)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    /// A full exchange begins, at the end of which the clock takes in `opening`.
    pub(crate) fn watch(&mut self, partition: PartitionId, opening: &DotSet) {
        let state = state_mut(&mut self.partitions, partition);
        let opening = opening.minus(&state.clock);
        state.watch = Some(Box::new(Watch { opening, touched: Vec::new() }));
    }

    /// The full exchange is over, or given up.
    pub(crate) fn unwatch(&mut self, partition: PartitionId) {
        state_mut(&mut self.partitions, partition).watch = None;
    }

    /// Where keys lie into which a dot of the opening has come by another way since this was asked last.
    ///
    /// A hint may bring what the opening knows to be deleted, after its key was found equal: absent on both sides. With
    /// the opening's clock it would seem to be new and known at once, and stay for ever.
    pub(crate) fn touched(&mut self, partition: PartitionId) -> Vec<u64> {
        let secret = self.secret;
        let state = state_mut(&mut self.partitions, partition);
        let touched = state.watch.as_mut().map(|watch| std::mem::take(&mut watch.touched)).unwrap_or_default();
        let keys = touched.into_iter().filter_map(|full| Key::from_full(&secret, full));
        keys.map(|key| key.upper_position()).collect()
    }

    /// Every key is as the other owner has it, or newer: the clock takes in what that one's reflected at the opening.
    ///
    /// The caller has fetched what [`Replica::touched`] told. A partition that is being filled may be whole then: only an
    /// `owner` counts for that, whom W acknowledgements may have come from, and whether it has all that it ever had.
    pub(crate) fn close<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        opening: &DotSet,
        owner: Option<(NodeId, bool)>,
        needed: (usize, usize),
    ) -> Result<Stored, StorageError> {
        let state = state_mut(&mut self.partitions, partition);
        state.watch = None;
        self.batch.clear();
        let mut clock = DotSet::clone(&state.clock);
        let added = clock.absorb(opening);
        put_clock(&mut self.batch, partition, state.incarnation, &clock, &added);
        let mut life = state.life.clone();
        if let (Some(refill), Some((owner, whole))) = (&mut life.refill, owner) {
            refill.complete(owner, whole);
            if refill.is_full(needed.0, needed.1) {
                life.refill = None;
            }
            life.put(&mut self.batch, partition);
        }
        let stored = Stored::write(storage, &self.batch)?;
        (state.clock, state.life) = (Arc::new(clock), life);
        state.changes += 1;
        Ok(stored)
    }
}

/// Reading everything.
impl Replica {
    /// The owned partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        let owned =
            |(index, state): (usize, &Option<Box<Partition>>)| state.is_some().then_some(PartitionId(index as u32));
        self.partitions.iter().enumerate().filter_map(owned)
    }

    /// The owned partitions whose records are being read, or are to be.
    pub(crate) fn partitions_building(&self) -> impl Iterator<Item = PartitionId> {
        let building = |(index, state): (usize, &Option<Box<Partition>>)| {
            let state = state.as_ref()?;
            (state.digests.is_building() || !state.old.is_empty()).then_some(PartitionId(index as u32))
        };
        self.partitions.iter().enumerate().filter_map(building)
    }

    /// How many records are still to be read. How many there are of lives that have ended is not known.
    pub(crate) fn records_to_read(&self) -> u64 {
        self.partitions.iter().flatten().map(|state| state.digests.left()).sum()
    }

    /// All records of a partition are to be read again, and compared with what was written.
    pub(crate) fn scrub(&mut self, partition: PartitionId) {
        state_mut(&mut self.partitions, partition).digests.scrub();
    }

    /// Reads on, about so many records, or takes them over from a life that has ended. Damage is an error, and so is that they are not what was written.
    pub(crate) fn build<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        self.batch.clear();
        let state = self.state(partition);
        if !state.old.is_empty() {
            return self.salvage(storage, partition, limit);
        }
        if let Some(next) = state.digests.wanted() {
            let last = *self.positions(partition).end();
            let (mut keys, mut through) = (Vec::with_capacity(limit), last);
            self.scan(storage, partition, next..=last, |position, full, record| {
                let before = keys.last().map(|(position, _)| *position);
                // A slice may not end between two keys of one position.
                if keys.len() >= limit && before != Some(position) {
                    through = before.unwrap_or(position);
                    return Ok(ControlFlow::Break(()));
                }
                let live = record.live.iter().map(|entry| entry.dot);
                keys.extend(digest(&self.secret, full, live).map(|digest| (position, digest)));
                Ok(ControlFlow::Continue(()))
            })?;
            state_mut(&mut self.partitions, partition).digests.take(through, &keys)?;
        }
        Stored::write(storage, &self.batch)
    }
}

/// Losing.
impl Replica {
    /// How often the partition has lost something: what was told of an earlier life does not hold any more.
    pub(crate) fn losses(&self, partition: PartitionId) -> u32 {
        self.state(partition).life.losses
    }

    /// Whether it has lost something and is not filled again: it counts in no read.
    pub(crate) fn is_refilling(&self, partition: PartitionId) -> bool {
        self.state(partition).life.refill.is_some()
    }

    /// What the partition's copy can be relied on for.
    pub(crate) fn standing(&self, partition: PartitionId) -> Standing {
        self.state(partition).life.standing()
    }

    /// The partitions that have lost something and are not filled again.
    pub(crate) fn partitions_refilling(&self) -> impl Iterator<Item = PartitionId> {
        let refilling = |(index, state): (usize, &Option<Box<Partition>>)| {
            state.as_ref()?.life.refill.is_some().then_some(PartitionId(index as u32))
        };
        self.partitions.iter().enumerate().filter_map(refilling)
    }

    /// Whether a full exchange with `peer` would bring a partition further that has lost something.
    pub(crate) fn wants(&self, partition: PartitionId, peer: NodeId) -> bool {
        self.state(partition).life.refill.as_ref().is_some_and(|refill| refill.wants(peer))
    }
}
