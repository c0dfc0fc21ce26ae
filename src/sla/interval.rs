//! How far estimates may be off: exact intervals from the binomial distribution.

use std::time::Duration;

/// How sure intervals are: 99 of a hundred hold the true value, each taken by itself.
pub const CONFIDENCE: f64 = 0.99;
/// How likely the true value is beyond one end.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// A duration that was estimated by trials, and what the true one of the model lies between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// As the trials have it.
    pub value: Duration,
    /// It is hardly below this.
    pub lower: Duration,
    /// It is hardly above this. [`Duration::MAX`]: there were too few trials to say, or no [`Duration`] is as long.
    pub upper: Duration,
}

/// A share that was estimated by trials, and what the true one of the model lies between.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// As the trials have it.
    pub value: f64,
    /// It is hardly below this.
    pub lower: f64,
    /// It is hardly above this.
    pub upper: f64,
}

impl Estimate {
    pub(super) const ZERO: Self = Self { value: Duration::ZERO, lower: Duration::ZERO, upper: Duration::ZERO };

    /// The quantile of what trials gave, in microseconds, none below zero. They are put in another order.
    pub(super) fn quantile(values: &mut [f64], share: f64) -> Self {
        let count = values.len();
        let ranks = Ranks::of(count, share);
        let mut at = |rank: usize| {
            let (_, value, _) = values.select_nth_unstable_by(rank - 1, f64::total_cmp);
            Duration::try_from_secs_f64(*value * 1e-6).unwrap_or(Duration::MAX)
        };
        Self {
            value: at(ranks.value),
            lower: if ranks.lower == 0 { Duration::ZERO } else { at(ranks.lower) },
            upper: if ranks.upper > count { Duration::MAX } else { at(ranks.upper) },
        }
    }
}

impl Share {
    pub(super) const ALL: Self = Self { value: 1.0, lower: 1.0, upper: 1.0 };

    /// So many of so many (Clopper and Pearson's interval).
    pub(super) fn of(hits: usize, count: usize) -> Self {
        let lower = if hits == 0 { 0.0 } else { solve(|each| 1.0 - Binomial::of(count, each).at_most(hits - 1), TAIL) };
        let upper =
            if hits == count { 1.0 } else { solve(|each| 1.0 - Binomial::of(count, each).at_most(hits), 1.0 - TAIL) };
        Self { value: hits as f64 / count as f64, lower, upper }
    }
}

/// Where a growing function of a share reaches a value.
fn solve(growing: impl Fn(f64) -> f64, value: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if growing(middle) < value { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Which of sorted values a quantile is, and between which the true one lies; counted from 1.
#[derive(Debug, PartialEq, Eq)]
struct Ranks {
    value: usize,
    /// 0: below the first.
    lower: usize,
    /// Beyond the count: above the last.
    upper: usize,
}

impl Ranks {
    fn of(count: usize, share: f64) -> Self {
        // How many of the values lie below the true quantile has this distribution, whatever that of the values is.
        let below = Binomial::of(count, share);
        Self {
            value: ((count as f64 * share).ceil() as usize).clamp(1, count),
            lower: below.least(TAIL),
            upper: below.least(1.0 - TAIL) + 1,
        }
    }
}

/// The binomial distribution, where it is not negligible.
#[derive(Debug)]
struct Binomial {
    first: usize,
    /// How likely no more than `first`, one more, and so on, happen.
    upto: Vec<f64>,
}

impl Binomial {
    /// Without factorials: from the likeliest outwards by the ratio of neighbours, and scaled so that the sum is 1.
    fn of(n: usize, each: f64) -> Self {
        const NEGLIGIBLE: f64 = 1e-18;
        if each <= 0.0 || each >= 1.0 {
            return Self { first: if each <= 0.0 { 0 } else { n }, upto: vec![1.0] };
        }
        let odds = each / (1.0 - each);
        let mode = (((n + 1) as f64 * each) as usize).min(n);
        let (mut down, mut weight, mut k) = (Vec::new(), 1.0, mode);
        while k > 0 {
            weight *= k as f64 / ((n - k + 1) as f64 * odds);
            if weight < NEGLIGIBLE {
                break;
            }
            down.push(weight);
            k -= 1;
        }
        let first = mode - down.len();
        let mut weights: Vec<f64> = down.into_iter().rev().chain([1.0]).collect();
        (weight, k) = (1.0, mode);
        while k < n {
            weight *= (n - k) as f64 * odds / (k + 1) as f64;
            if weight < NEGLIGIBLE {
                break;
            }
            weights.push(weight);
            k += 1;
        }
        let sum: f64 = weights.iter().sum();
        let mut before = 0.0;
        let upto = weights.into_iter().map(|weight| {
            before += weight / sum;
            before
        });
        Self { first, upto: upto.collect() }
    }

    /// How likely no more than k happen.
    fn at_most(&self, k: usize) -> f64 {
        k.checked_sub(self.first).map_or(0.0, |at| self.upto.get(at).copied().unwrap_or(1.0))
    }

    /// The least k with at least this likelihood of no more than k.
    fn least(&self, likelihood: f64) -> usize {
        self.first + self.upto.partition_point(|upto| *upto < likelihood).min(self.upto.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binomial_distribution_is_the_one_in_tables() {
        let binomial = Binomial::of(10, 0.5);
        for (k, ways) in [(0, 1.0), (2, 56.0), (5, 638.0), (10, 1_024.0)] {
            assert!((binomial.at_most(k) - ways / 1_024.0).abs() < 1e-12, "{k}");
        }
        // Far from where it is computed it is nothing, or all.
        let large = Binomial::of(100_000, 0.999);
        assert_eq!((large.at_most(90_000), large.at_most(100_000)), (0.0, large.at_most(200_000).min(1.0)));
        assert!((large.at_most(100_000) - 1.0).abs() < 1e-9);
    }

    /// Textbook values: 99 % intervals by Clopper and Pearson.
    #[test]
    fn shares_have_the_intervals_of_clopper_and_pearson() {
        let none = Share::of(0, 100);
        assert!((none.upper - (1.0 - TAIL.powf(0.01))).abs() < 1e-9 && none.lower == 0.0);
        let all = Share::of(100, 100);
        assert!((all.lower - TAIL.powf(0.01)).abs() < 1e-9 && (all.upper - 1.0).abs() < f64::EPSILON);
        let half = Share::of(50, 100);
        assert!((half.lower - 0.3689).abs() < 5e-4 && (half.upper - 0.6311).abs() < 5e-4, "{half:?}");
    }

    #[test]
    fn ranks_are_those_of_order_statistics_and_none_where_the_trials_are_too_few() {
        let ranks = Ranks::of(1_000, 0.5);
        // 500 ± 2.576 · √250
        assert_eq!(ranks, Ranks { value: 500, lower: 459, upper: 542 });
        let few = Ranks::of(1_000, 0.999);
        assert!(few.upper > 1_000 && few.value == 999);
        let mut values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        assert_eq!(Estimate::quantile(&mut values, 0.999).upper, Duration::MAX);
    }
}
