//! Counters that lose no increment: for each writer what it has added and taken away, merged by the larger of the two.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::random::random;

/// Who counts: a program that serves clients, for as long as the counter is there. Drawn at random.
pub(crate) type Writer = u64;

/// What one writer has added and taken away in all. Both only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) added: u64,
    pub(crate) taken: u64,
}

impl Tally {
    /// None if it has counted all that it can.
    pub(crate) fn and(self, amount: i64) -> Option<Self> {
        let more = amount.unsigned_abs();
        Some(match amount {
            0.. => Self { added: self.added.checked_add(more)?, ..self },
            _ => Self { taken: self.taken.checked_add(more)?, ..self },
        })
    }
}

/// A counter: the tallies of all who have counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counter(BTreeMap<Writer, Tally>);

impl Counter {
    pub(crate) fn of(writer: Writer, tally: Tally) -> Self {
        Self(BTreeMap::from([(writer, tally)]))
    }

    /// The sum; at the ends of what an `i64` can say it stays there.
    pub(crate) fn value(&self) -> i64 {
        let sum: i128 = self.0.values().map(|tally| i128::from(tally.added) - i128::from(tally.taken)).sum();
        i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
    }

    /// Each writer's later tally: what only grows is later where it is larger.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (&writer, tally) in &other.0 {
            let own = self.0.entry(writer).or_default();
            *own = Tally { added: own.added.max(tally.added), taken: own.taken.max(tally.taken) };
        }
    }

    /// 24 bytes for each writer, in order.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let rows = self.0.iter().flat_map(|(writer, tally)| [*writer, tally.added, tally.taken]);
        rows.flat_map(u64::to_be_bytes).collect()
    }

    /// None if these are not the bytes of one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (rows, rest) = bytes.as_chunks::<24>();
        let number =
            |row: &[u8; 24], at: usize| row[at..at + 8].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let row = |row| (number(row, 0), Tally { added: number(row, 8), taken: number(row, 16) });
        rest.is_empty().then(|| Self(rows.iter().map(row).collect()))
    }
}

/// What this program has counted, for each counter, for as long as it runs.
///
/// A tally that were read back could be an old one, and what is counted on top of it would be lost: the merge takes the
/// larger. Kept here it can't go back, whatever the reads show. Where a counter doesn't know this program (it is new, or
/// was deleted meanwhile, or the read was stale) the program counts under a new name, which is never wrong.
pub(crate) struct Tallies {
    /// By the counter's key. One lock for many keys: who counts holds it until the write is acknowledged.
    stripes: Vec<Mutex<Own>>,
}

type Own = HashMap<Vec<u8>, (Writer, Tally)>;

/// The right to count under one key.
pub(crate) struct Counting<'a> {
    own: MutexGuard<'a, Own>,
    key: &'a [u8],
    before: Option<(Writer, Tally)>,
}

impl Tallies {
    pub(crate) fn new() -> Self {
        Self { stripes: (0..64).map(|_| Mutex::default()).collect() }
    }

    /// Waits for whoever else counts under the key.
    pub(crate) fn lock<'a>(&'a self, key: &'a [u8]) -> Counting<'a> {
        let stripe = key.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        // Whoever panicked has left a tally that is no lower than what was written.
        let own = self.stripes[stripe % self.stripes.len()].lock().unwrap_or_else(PoisonError::into_inner);
        let before = own.get(key).copied();
        Counting { own, key, before }
    }
}

impl Counting<'_> {
    /// Counts on top of what was read. None if that is more than can be said; then nothing is changed.
    #[must_use]
    pub(crate) fn add(&mut self, read: &mut Counter, amount: i64) -> Option<i64> {
        let known = self.before.filter(|(writer, _)| read.0.contains_key(writer));
        let (writer, tally) = known.unwrap_or_else(|| (random() as u64, Tally::default()));
        let tally = tally.and(amount)?;
        read.merge(&Counter::of(writer, tally));
        self.own.insert(self.key.to_vec(), (writer, tally));
        Some(read.value())
    }

    /// Nothing was written: it is as if nothing had been counted.
    pub(crate) fn take_back(mut self) {
        match self.before {
            Some(before) => _ = self.own.insert(self.key.to_vec(), before),
            None => _ = self.own.remove(self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_writers_who_know_nothing_of_each_other_all_count() {
        let mut one = Counter::of(1, Tally { added: 5, taken: 1 });
        let two = Counter::of(2, Tally { added: 0, taken: 7 });
        one.merge(&two);
        one.merge(&Counter::of(1, Tally { added: 3, taken: 0 }));
        assert_eq!(one.value(), -3);
        assert_eq!(Counter::from_bytes(&one.to_bytes()), Some(one));
        assert_eq!(Counter::from_bytes(&[0; 23]), None);
    }

    #[test]
    fn a_sum_beyond_all_measure_stays_at_the_end() {
        let mut counter = Counter::of(1, Tally { added: u64::MAX, taken: 0 });
        assert_eq!(counter.value(), i64::MAX);
        counter.merge(&Counter::of(2, Tally { added: 0, taken: u64::MAX }));
        assert_eq!(counter.value(), 0);
        assert_eq!(Tally { added: 0, taken: u64::MAX }.and(-1), None);
        assert_eq!(Tally::default().and(i64::MIN), Some(Tally { added: 0, taken: 1 << 63 }));
    }

    #[test]
    fn a_stale_read_takes_nothing_back_and_a_new_counter_begins_at_nothing() {
        let tallies = Tallies::new();
        let count = |read: &Counter, amount: i64| {
            let mut counter = read.clone();
            tallies.lock(b"k").add(&mut counter, amount).unwrap();
            counter
        };
        let first = count(&Counter::default(), 2);
        let second = count(&first, 3);
        // Read before the second was written, and counted on top of it all the same.
        assert_eq!((second.value(), count(&first, 1).value()), (5, 6));
        // Deleted meanwhile, or so stale that it knows nothing: both are merged in the end.
        let mut anew = count(&Counter::default(), 10);
        assert_eq!(anew.value(), 10);
        anew.merge(&second);
        assert_eq!(anew.value(), 15);
    }

    #[test]
    fn what_was_not_written_is_not_counted() {
        let tallies = Tallies::new();
        let mut counter = Counter::default();
        assert_eq!(tallies.lock(b"k").add(&mut counter, 2), Some(2));
        let mut lost = counter.clone();
        let mut counting = tallies.lock(b"k");
        assert_eq!(counting.add(&mut lost, 40), Some(42));
        counting.take_back();
        assert_eq!(tallies.lock(b"k").add(&mut counter, 1), Some(3));
        let mut counting = tallies.lock(b"k");
        assert_eq!(
            (counting.add(&mut counter, i64::MAX), counting.add(&mut counter, i64::MAX)),
            (Some(i64::MAX), Some(i64::MAX))
        );
    }
}
