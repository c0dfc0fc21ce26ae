//! How fast a peer answers.

use std::time::Duration;

use crate::time::micros;

/// A running estimate of a latency: its mean, with a weight of 1/8 for the newest, and its 95th percentile.
///
/// The percentile moves up by a step for one sample above it, and down by a nineteenth of that for one below: in
/// balance one sample of twenty lies above. Steps are a share of the estimate, so it follows any scale.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    samples: u32,
    mean: u64,
    /// In sixteenths of a microsecond, lest small steps vanish.
    p95: u64,
}

impl Latency {
    /// Samples before the percentile is worth anything.
    const ENOUGH: u32 = 32;

    /// Takes a sample in.
    pub(crate) fn record(&mut self, sample: Duration) {
        // An hour is beyond every deadline, and keeps the arithmetic far from its ends.
        let sample = micros(sample).min(3_600_000_000);
        let scaled = sample * 16;
        if self.samples == 0 {
            (self.mean, self.p95) = (sample, scaled);
        }
        self.samples = self.samples.saturating_add(1);
        self.mean = (self.mean * 7 + sample) / 8;
        let step = (self.p95 / 16).max(19);
        if scaled > self.p95 {
            self.p95 += step;
        } else {
            self.p95 = self.p95.saturating_sub(step / 19);
        }
    }

    /// The mean of the latest samples.
    pub(crate) const fn typical(&self) -> Duration {
        Duration::from_micros(self.mean)
    }

    /// The 95th percentile, once 32 samples are in.
    pub(crate) fn p95(&self) -> Option<Duration> {
        (self.samples >= Self::ENOUGH).then(|| Duration::from_micros(self.p95 / 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_estimate_settles_near_the_95th_percentile() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut latency = Latency::default();
        assert_eq!(latency.p95(), None);
        let mut above = 0;
        for round in 0..40_000 {
            // Heavy-tailed: 1 ms divided by a uniform number.
            let sample = Duration::from_micros((1_000.0 / rng.random_range(0.01..1.0)) as u64);
            if round >= 20_000 && sample > latency.p95().unwrap() {
                above += 1;
            }
            latency.record(sample);
        }
        assert!((700..1_300).contains(&above), "{above} of 20,000 lie above");
    }

    #[test]
    fn the_largest_durations_do_not_overflow() {
        let mut latency = Latency::default();
        for _ in 0..1_000 {
            latency.record(Duration::MAX);
        }
        assert!(latency.p95().unwrap() <= Duration::from_secs(4_000));
    }
}
