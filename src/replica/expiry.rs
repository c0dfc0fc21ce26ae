//! Removing what has expired: every owner alone, at the same stamp plus the bound on how far wall clocks differ.
//!
//! It is a delete without an event of its own. The version's dot stays in the clock, or in the residual until it is, so
//! that a late copy is refused; there is no tombstone. An index in the order of time finds what is due without a scan.

use std::ops::ControlFlow;
use std::time::Duration;

use super::partition::{EXPIRY, Partition, line_name};
use super::{Cap, Replica, Said, state_mut, stored};
use crate::bytes::Bytes;
use crate::causality::{Cover, Entry};
use crate::dots::DotSet;
use crate::error::StorageError;
use crate::ids::{Dot, PartitionId};
use crate::key::Key;
use crate::storage::{Batch, Space, Storage, Stored};
use crate::time::WallTime;

/// What the partitions know of time.
#[derive(Debug)]
pub(super) struct Expiry {
    now: WallTime,
    skew: Duration,
    /// No version in any partition expires before this.
    first: Option<WallTime>,
}

impl Expiry {
    pub(super) const fn new(skew: Duration) -> Self {
        Self { now: WallTime(0), skew, first: None }
    }

    pub(super) const fn now(&self) -> WallTime {
        self.now
    }

    /// A version expires then.
    pub(super) fn note(&mut self, expires: Option<WallTime>) {
        self.first = earlier(self.first, expires);
    }

    /// Whether a version that expires then is to be removed: no clock that is right within the skew shows it any more.
    pub(super) fn is_due(&self, expires: WallTime) -> bool {
        expires.after(self.skew) <= self.now
    }
}

/// A line of the index: expiry kind · time (8) · keyspace and key, behind the partition's prefix.
struct Line {
    name: Vec<u8>,
    full: Bytes,
}

/// The earlier of two times, where none is never.
pub(super) fn earlier(one: Option<WallTime>, other: Option<WallTime>) -> Option<WallTime> {
    one.into_iter().chain(other).min()
}

impl Replica {
    /// The wall clock says this now.
    pub(crate) fn tell_time(&mut self, now: WallTime) {
        self.expiry.now = now;
    }

    /// How long until something may have to be removed; none if nothing expires.
    pub(crate) fn until_due(&self) -> Option<Duration> {
        let due = self.expiry.first?.after(self.expiry.skew);
        Some(Duration::from_micros(due.0.saturating_sub(self.expiry.now.0)))
    }

    /// Whether another owner, whose clock differs from this one's by up to twice the skew, may have removed a version
    /// that is here.
    pub(super) fn is_near_due(&self, partition: PartitionId) -> bool {
        self.state(partition).expires.is_some_and(|expires| expires <= self.expiry.now.after(self.expiry.skew))
    }

    /// Partitions in which something may have to be removed.
    pub(crate) fn partitions_due(&self) -> impl Iterator<Item = PartitionId> {
        let due = |(index, state): (usize, &Option<Box<Partition>>)| {
            let expires = state.as_ref()?.expires?;
            self.expiry.is_due(expires).then_some(PartitionId(index as u32))
        };
        self.partitions.iter().enumerate().filter_map(due)
    }

    /// Removes what is due, up to `limit` versions of a partition.
    pub(crate) fn expire<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        limit: usize,
    ) -> Result<Stored, StorageError> {
        let (due, next) = self.lines_due(storage, partition, limit)?;
        let state = state_mut(&mut self.partitions, partition);
        let was = std::mem::replace(&mut state.expires, next);
        let removed = self.remove(storage, partition, due);
        if removed.is_err() {
            let state = state_mut(&mut self.partitions, partition);
            state.expires = earlier(state.expires, was);
        }
        removed
    }

    /// What was due is removed: when is something due next?
    pub(crate) fn find_next_due(&mut self) {
        self.expiry.first = self.partitions.iter().flatten().filter_map(|state| state.expires).min();
    }

    fn remove<S: Storage>(
        &mut self,
        storage: &mut S,
        partition: PartitionId,
        due: Vec<Line>,
    ) -> Result<Stored, StorageError> {
        let (nothing, mut batch) = (DotSet::new(), Batch::new());
        let mut all = Stored::write(storage, &batch)?;
        for Line { name, full } in due {
            if let Some(key) = Key::from_full(&self.secret, full) {
                // With whatever is joined goes what is due: even with nothing.
                let cover = Cover { own: &nothing, shared: &nothing };
                let said = Said { live: &[], cover, events: Some(&nothing) };
                all = all.and(stored(self.join(storage, partition, &key, said, Cap::NONE))?);
            }
            // A line whose version is not there would be found again and again.
            if storage.get(Space::Dots, &name)?.is_some() {
                batch.delete(Space::Dots, &name);
            }
        }
        Ok(all.and(Stored::write(storage, &batch)?))
    }

    /// The lines of the index that are due, up to `limit`; and when the next version expires.
    fn lines_due<S: Storage>(
        &self,
        storage: &S,
        partition: PartitionId,
        limit: usize,
    ) -> Result<(Vec<Line>, Option<WallTime>), StorageError> {
        let prefix = line_name(partition, self.state(partition).incarnation, EXPIRY);
        let (mut due, mut next) = (Vec::new(), None);
        storage.scan(Space::Dots, &prefix, &mut |name, _| {
            let line = name.strip_prefix(&prefix[..]).and_then(<[u8]>::split_first_chunk::<8>);
            let Some((expires, full)) = line else { return ControlFlow::Break(()) };
            let expires = WallTime(u64::from_be_bytes(*expires));
            if due.len() == limit || !self.expiry.is_due(expires) {
                next = Some(expires);
                return ControlFlow::Break(());
            }
            due.push(Line { name: name.to_vec(), full: Bytes::from(full) });
            ControlFlow::Continue(())
        })?;
        Ok((due, next))
    }
}

/// Brings the index of what expires in line with a record that had `before` and now has `live`. Returns what expires
/// first of what is new.
pub(super) fn put_expiries(
    batch: &mut Batch,
    partition: PartitionId,
    incarnation: u32,
    key: &Key,
    before: &[(Dot, Option<WallTime>)],
    live: &[Entry],
) -> Option<WallTime> {
    // Versions of a key that expire at one time share a line.
    let had = |expires: WallTime| before.iter().any(|(_, other)| *other == Some(expires));
    let has = |expires: WallTime| live.iter().any(|entry| entry.expires == Some(expires));
    let name = |WallTime(expires): WallTime| {
        [&line_name(partition, incarnation, EXPIRY)[..], &expires.to_be_bytes(), key.full()].concat()
    };
    for gone in before.iter().filter_map(|(_, expires)| *expires).filter(|&expires| !has(expires)) {
        batch.delete(Space::Dots, &name(gone));
    }
    let mut first = None;
    for new in live.iter().filter_map(|entry| entry.expires).filter(|&expires| !had(expires)) {
        batch.put(Space::Dots, &name(new), &[]);
        first = earlier(first, Some(new));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Stamp;
    use crate::hash::Secret;
    use crate::ids::{Actor, KeyspaceId, NodeId, Start};

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(now: u64) -> Expiry {
        Expiry { now: WallTime(now), ..Expiry::new(MINUTE) }
    }

    #[test]
    fn it_is_due_a_skew_after_its_stamp_and_the_largest_numbers_do_not_overflow() {
        assert!(!at(60_000_004).is_due(WallTime(5)) && at(60_000_005).is_due(WallTime(5)));
        assert!(!at(u64::MAX - 1).is_due(WallTime(u64::MAX)) && at(u64::MAX).is_due(WallTime(u64::MAX)));
        assert_eq!(WallTime(u64::MAX).after(Duration::MAX), WallTime(u64::MAX));
    }

    /// What the index is told is what the record went through, and versions that share a stamp share a line.
    #[test]
    fn the_index_follows_the_record() {
        let dot = |counter| Dot { actor: Actor { node: NodeId(1), start: Start(1) }, counter };
        let entry = |counter, expires: Option<u64>| Entry {
            dot: dot(counter),
            write_id: None,
            expires: expires.map(WallTime),
            stamp: Stamp(1),
            value: Bytes::default(),
        };
        let key = Key::new(&Secret::new([1; 16]), KeyspaceId(1), b"k");
        let lines = |before: &[Entry], live: &[Entry]| {
            let mut storage = crate::storage::MemoryStorage::new();
            let mut first = None;
            for (before, live) in [(&[][..], before), (before, live)] {
                let before: Vec<_> = before.iter().map(|entry| (entry.dot, entry.expires)).collect();
                let mut batch = Batch::new();
                first = put_expiries(&mut batch, PartitionId(7), 3, &key, &before, live);
                storage.write(&batch).unwrap();
            }
            let mut lines = Vec::new();
            let mut visit = |name: &[u8], _: &[u8]| {
                assert_eq!(name[..9], [0, 0, 0, 7, 0, 0, 0, 3, 5]);
                assert_eq!(&name[17..], &key.full()[..]);
                lines.push(name[16]);
                ControlFlow::Continue(())
            };
            storage.scan(Space::Dots, &[], &mut visit).unwrap();
            (lines, first)
        };
        let [one, two, never] = [entry(1, Some(8)), entry(2, Some(9)), entry(3, None)];
        assert_eq!(lines(&[], &[one.clone(), two.clone(), never.clone()]), (vec![8, 9], Some(WallTime(8))));
        assert_eq!(lines(std::slice::from_ref(&one), &[one.clone(), two.clone()]), (vec![8, 9], Some(WallTime(9))));
        assert_eq!(lines(&[one.clone(), two.clone()], std::slice::from_ref(&two)), (vec![9], None));
        assert_eq!(lines(&[one.clone(), entry(4, Some(8))], std::slice::from_ref(&one)), (vec![8], None));
        assert_eq!(lines(&[one, two], &[never]), (vec![], None));
    }
}
