//! Which peers answer, and how fast: local knowledge, never told to others as a fact (Dynamo §4.8.3).

use std::time::Duration;

use crate::mutant::{self, Mutant};
use crate::time::{Time, micros};

/// What a node knows of its peers' health, by their index in the layout. Fed with times, owns no timer.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    list: Vec<Peer>,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    suspected: bool,
    /// When the first request went out that nothing has been heard since.
    waiting: Option<Time>,
    latency: Latency,
}

impl Peers {
    /// Nothing is known of any of `count` peers: they are taken to be well.
    pub(crate) fn new(count: usize) -> Self {
        Self { list: vec![Peer::default(); count] }
    }

    /// A request that wants an answer goes out.
    pub(crate) fn asked(&mut self, peer: usize, now: Time) {
        self.list[peer].waiting.get_or_insert(now);
    }

    /// Something arrived from the peer. True if it was suspected and is no more.
    pub(crate) fn heard(&mut self, peer: usize) -> bool {
        let peer = &mut self.list[peer];
        peer.waiting = None;
        if mutant::is(Mutant::SuspectForEver) {
            return false;
        }
        std::mem::take(&mut peer.suspected)
    }

    /// An answer arrived to a request that went out at `sent`.
    pub(crate) fn answered(&mut self, peer: usize, sent: Time, now: Time) {
        self.list[peer].latency.record(now.since(sent));
    }

    /// Suspects the peer if it has been silent for `limit` since it was asked something. True if that is new.
    pub(crate) fn check(&mut self, peer: usize, now: Time, limit: Duration) -> bool {
        let peer = &mut self.list[peer];
        let silent = peer.waiting.is_some_and(|since| now.since(since) >= limit);
        silent && !std::mem::replace(&mut peer.suspected, true)
    }

    /// When the peer that has been silent longest, and is not suspected for it, was asked.
    pub(crate) fn waiting(&self) -> Option<Time> {
        self.list.iter().filter(|peer| !peer.suspected).filter_map(|peer| peer.waiting).min()
    }

    /// Whether the peer is suspected to be down.
    pub(crate) fn is_suspected(&self, peer: usize) -> bool {
        self.list[peer].suspected
    }

    /// Whether the peer answers, but usually later than `limit`.
    pub(crate) fn is_slow(&self, peer: usize, limit: Duration) -> bool {
        self.list[peer].latency.typical() > limit
    }

    /// The peer's typical latency in microseconds: what reads order replicas by. Zero while nothing is known.
    pub(crate) fn typical(&self, peer: usize) -> u64 {
        self.list[peer].latency.mean
    }

    /// The peer's 95th percentile of latency: after this another replica may be asked. None until enough is known.
    pub(crate) fn p95(&self, peer: usize) -> Option<Duration> {
        self.list[peer].latency.p95()
    }
}

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

    const LIMIT: Duration = Duration::from_millis(250);

    #[test]
    fn silence_after_a_request_is_suspected_once_and_a_word_clears_it() {
        let mut peers = Peers::new(2);
        assert!(!peers.check(0, Time(10_000_000), LIMIT), "a peer that was asked nothing is not silent");
        peers.asked(0, Time(1_000_000));
        peers.asked(0, Time(1_200_000));
        assert!(!peers.check(0, Time(1_249_999), LIMIT));
        assert!(peers.check(0, Time(1_250_000), LIMIT));
        assert!(!peers.check(0, Time(1_260_000), LIMIT), "known already");
        assert!(peers.is_suspected(0) && !peers.is_suspected(1));
        assert!(peers.heard(0) && !peers.heard(0));
        assert!(!peers.is_suspected(0));
    }

    #[test]
    fn a_slow_peer_is_not_a_silent_one() {
        let mut peers = Peers::new(1);
        for second in 1..20 {
            let sent = Time(second * 1_000_000);
            peers.asked(0, sent);
            let now = sent + Duration::from_millis(200);
            assert!(!peers.check(0, now, LIMIT));
            peers.heard(0);
            peers.answered(0, sent, now);
        }
        assert!(peers.is_slow(0, Duration::from_millis(100)) && !peers.is_slow(0, Duration::from_millis(300)));
    }

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
