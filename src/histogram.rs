//! How long things took, counted by size: a histogram of fixed memory, in whole microseconds.
//!
//! Classes are log-linear, as in an HDR histogram: below 16 µs each value has its own, above that each doubling is cut into 16
//! equal ones. A class is at most a sixteenth of its lower end wide, so its middle is never further than 1/32 (3.2 %)
//! from any value in it. The last one begins at 130 s, beyond every sane deadline, and has no end.
//!
//! Why not the crate `hdrhistogram`: the core depends on nothing that it can do in so few lines, its counters would have to grow at
//! run time or be bounded by a range, and what is recorded here is on the path of each request.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::micros;

/// Durations by their size: 3 KiB, never more, whatever is recorded.
///
/// Two of them add up to what one would be that had been told all ([`merge`](Self::merge)).
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::CLASSES],
    sum: u64,
    max: u64,
}

/// What a quantile lies between: some recorded duration of that rank is within, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// It is not below this.
    pub lower: Duration,
    /// It is not above this.
    pub upper: Duration,
}

impl Bounds {
    /// The middle: within 1/32 of the true value, or half a microsecond, for what took less than 130 s.
    #[must_use]
    pub const fn middle(self) -> Duration {
        let (lower, upper) = (self.lower.as_micros() as u64, self.upper.as_micros() as u64);
        Duration::from_micros(lower + (upper - lower) / 2)
    }
}

/// The doublings are cut into 2 to the power of this.
const BITS: u32 = 4;

impl Histogram {
    /// Up to 2^27 µs; what took longer is in the last of them.
    const CLASSES: usize = (27 - BITS as usize + 1) << BITS;

    /// With nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; Self::CLASSES], sum: 0, max: 0 }
    }

    /// Counts a duration, in whole microseconds.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        let value = micros(duration);
        let class = class(value, BITS).min(Self::CLASSES - 1);
        self.counts[class] += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, others) in self.counts.iter_mut().zip(&other.counts) {
            *own += others;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all, in microseconds; exact.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The longest; exact. Zero if there is none.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The duration that so many of a million are not above: the one of rank ⌈count · millionths / 1,000,000⌉, at least
    /// the first. None if there are none.
    #[must_use]
    pub fn quantile(&self, millionths: u32) -> Option<Bounds> {
        const MILLION: u128 = 1_000_000;
        let count = self.count();
        let part = u128::from(count) * u128::from(millionths).min(MILLION);
        let rank = (part.div_ceil(MILLION) as u64).max(1);
        let mut seen = 0;
        let class = self.counts.iter().position(|&count| {
            seen += count;
            seen >= rank
        })?;
        let last = class + 1 == Self::CLASSES;
        let upper = if last { self.max } else { upper(class, BITS).min(self.max) };
        let lower = class.checked_sub(1).map_or(0, |below| self::upper(below, BITS) + 1);
        Some(Bounds { lower: Duration::from_micros(lower), upper: Duration::from_micros(upper) })
    }

    /// What has come since an earlier copy of the same histogram, class by class: its middle in microseconds, and how many.
    /// For those who hand it on to another histogram.
    pub fn since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let middle = |class: usize| {
            let lower = class.checked_sub(1).map_or(0, |below| upper(below, BITS) + 1);
            lower + (upper(class, BITS) - lower) / 2
        };
        let pairs = self.counts.iter().zip(&earlier.counts).enumerate();
        pairs.filter(|(_, (now, before))| now > before).map(move |(at, (now, before))| (middle(at), now - before))
    }

    /// The classes that something was counted in: their lowest and highest value, in microseconds, and how many. The last
    /// one ends with the longest that was counted.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(class, &count)| {
            let lower = class.checked_sub(1).map_or(0, |below| upper(below, BITS) + 1);
            let upper = if class + 1 == Self::CLASSES { self.max } else { upper(class, BITS).min(self.max) };
            (lower, upper, count)
        })
    }

    /// The numbers that people look at.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let at = |millionths| self.quantile(millionths).map_or(0, |bounds| bounds.middle().as_micros() as u64);
        Summary {
            count: self.count(),
            sum_us: self.sum,
            p50_us: at(500_000),
            p95_us: at(950_000),
            p99_us: at(990_000),
            p999_us: at(999_000),
            max_us: self.max,
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.summary(), f)
    }
}

/// A histogram in seven numbers, in microseconds. Quantiles are within 1/32 of the true ones, or half a microsecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many there are. With none all other numbers are zero.
    pub count: u64,
    /// Their sum; exact.
    pub sum_us: u64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 95 of a hundred took no longer.
    pub p95_us: u64,
    /// 99 of a hundred took no longer.
    pub p99_us: u64,
    /// 999 of a thousand took no longer.
    pub p999_us: u64,
    /// The longest; exact.
    pub max_us: u64,
}

/// The class of a value, where each doubling is cut into 2^`bits`: the position of the highest bit, and the bits behind it.
pub(crate) const fn class(value: u64, bits: u32) -> usize {
    if value < 1 << bits {
        return value as usize;
    }
    let shift = 63 - bits - value.leading_zeros();
    ((shift as usize) << bits) + (value >> shift) as usize
}

/// The highest value of a class.
pub(crate) const fn upper(class: usize, bits: u32) -> u64 {
    if class < 2 << bits {
        return class as u64;
    }
    let shift = (class >> bits) - 1;
    let step = (class & ((1 << bits) - 1)) + (1 << bits) + 1;
    ((step as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(Duration::from_micros(value)));
        histogram
    }

    /// Durations of all sizes, not only of the largest ones.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0..34_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
        proptest::collection::vec(value, 1..300)
    }

    proptest! {
        #[test]
        fn a_quantile_lies_within_its_bounds_and_near_their_middle(values in values(), millionths in 0..=1_000_000_u32) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * u64::from(millionths)).div_ceil(1_000_000).max(1);
            let exact = sorted[rank as usize - 1];
            let bounds = of(&values).quantile(millionths).unwrap();
            let exactly = Duration::from_micros(exact);
            prop_assert!(bounds.lower <= exactly && exactly <= bounds.upper, "{exact} is not within {bounds:?}");
            if exact < 31 << 22 {
                let middle = bounds.middle().as_micros() as u64;
                prop_assert!(middle.abs_diff(exact) * 32 <= exact, "{middle} is too far from {exact}");
            }
        }

        #[test]
        fn merged_they_are_what_one_would_be(one in values(), other in values()) {
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(&merged, &of(&[one.clone(), other.clone()].concat()));
            prop_assert_eq!(merged.count(), (one.len() + other.len()) as u64);
            prop_assert_eq!(merged.sum(), one.iter().chain(&other).sum::<u64>());
            let came: u64 = merged.since(&of(&one)).map(|(_, count)| count).sum();
            prop_assert_eq!(came, other.len() as u64);
        }
    }

    #[test]
    fn classes_follow_each_other_without_gaps_and_each_value_is_in_its_own() {
        for bits in [3, BITS] {
            let mut lower = 0;
            for at in 0..(31 - bits as usize) << bits {
                assert_eq!((class(lower, bits), class(upper(at, bits), bits)), (at, at));
                lower = upper(at, bits) + 1;
            }
        }
        assert_eq!(upper(Histogram::CLASSES - 1, BITS), (1 << 27) - 1);
    }

    #[test]
    fn an_empty_one_has_no_quantiles_and_the_longest_durations_have_an_end() {
        assert_eq!(Histogram::new().quantile(500_000), None);
        assert_eq!(Histogram::new().summary(), Summary::default());
        let mut histogram = of(&[1]);
        histogram.record(Duration::MAX);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(1_000_000).unwrap().upper, histogram.max());
        assert_eq!((histogram.count(), histogram.sum()), (3, u64::MAX));
    }

    #[test]
    fn its_size_is_what_is_said() {
        assert_eq!(size_of::<Histogram>(), 3 * 1_024 + 16);
    }
}
