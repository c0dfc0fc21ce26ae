//! A network that delays, loses, repeats, reorders, corrupts and cuts, by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::ids::NodeId;
use crate::time::{Time, micros};

/// How the network treats messages. Times are virtual, shares in percent.
#[derive(Clone, Debug)]
pub struct Network {
    /// The least time that a message takes.
    pub delay: Duration,
    /// What is added at most, evenly: with it messages overtake one another.
    pub jitter: Duration,
    /// The mean of what is added besides, exponentially: most messages are fast, a few are very late.
    pub tail: Duration,
    /// The share of messages that are lost.
    pub loss: u8,
    /// The share of messages that arrive twice.
    pub duplication: u8,
    /// The share of messages some of whose bits flip on the way.
    pub corruption: u8,
    cut: BTreeSet<(NodeId, NodeId)>,
    slow: BTreeMap<NodeId, Duration>,
    clogs: Vec<Clog>,
}

/// What gets to or from a node while it is clogged waits for the end of it.
#[derive(Clone, Copy, Debug)]
struct Clog {
    node: NodeId,
    from: Time,
    until: Time,
}

/// One arrival of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) delay: Duration,
    pub(super) corrupted: bool,
    pub(super) clogged: bool,
}

/// 0.2 to 1 ms, and nothing goes wrong: a data centre on a good day.
impl Default for Network {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(200),
            jitter: Duration::from_micros(800),
            tail: Duration::ZERO,
            loss: 0,
            duplication: 0,
            corruption: 0,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            clogs: Vec::new(),
        }
    }
}

impl Network {
    /// Nothing gets from `from` to `to`.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Everything gets through again, once, unharmed, and without delay beyond the usual.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
        self.clogs.clear();
        (self.loss, self.duplication, self.corruption, self.tail) = (0, 0, 0, Duration::ZERO);
    }

    /// All that goes to and from a node takes so much longer. Zero ends it.
    pub fn slow(&mut self, node: NodeId, by: Duration) {
        self.slow.insert(node, by);
    }

    /// All that goes to and from a node between two times waits, and arrives after the second.
    pub fn clog(&mut self, node: NodeId, from: Time, until: Time) {
        self.clogs.push(Clog { node, from, until });
    }

    /// When and how a message arrives: not at all if it is lost, twice if it is repeated.
    pub(super) fn fate(
        &self,
        rng: &mut Xoshiro256PlusPlus,
        now: Time,
        from: NodeId,
        to: NodeId,
    ) -> [Option<Delivery>; 2] {
        // The same draws whatever the outcome, so that a fault that is switched off leaves the rest as it was.
        let (lost, twice) = (rng.random_range(0..100) < self.loss, rng.random_range(0..100) < self.duplication);
        let mut jitter = || Duration::from_micros(rng.random_range(0..=micros(self.jitter)));
        let (first, second) = (jitter(), jitter());
        if lost || self.cut.contains(&(from, to)) {
            return [None, None];
        }
        let slow = |node| self.slow.get(&node).copied().unwrap_or_default();
        let mut least = self.delay + slow(from) + slow(to);
        let clogs = self.clogs.iter().filter(|clog| clog.node == from || clog.node == to);
        let until = clogs.filter(|clog| clog.from <= now && now < clog.until).map(|clog| clog.until).max();
        least += until.map_or(Duration::ZERO, |until| until.since(now));
        let clogged = until.is_some();
        let mut arrive = |delay: Duration| {
            let late = if self.tail.is_zero() { Duration::ZERO } else { exponential(rng, self.tail) };
            let corrupted = self.corruption > 0 && rng.random_range(0..100) < self.corruption;
            Delivery { delay: delay + late, corrupted, clogged }
        };
        let again = least + first + second * 10;
        [Some(arrive(least + first)), twice.then(|| arrive(again))]
    }
}

/// Drawn without a floating-point logarithm, whose last bit differs between platforms: the number of halvings until
/// a coin falls, and a part of the next.
pub(super) fn exponential(rng: &mut Xoshiro256PlusPlus, mean: Duration) -> Duration {
    let halvings = rng.random::<u64>().trailing_zeros().min(8);
    let part = rng.random_range(0..1_000);
    // The mean of a geometric number of halvings, from 0, plus half a unit is 1.5 units.
    mean * (u32::from(halvings as u8) * 1_000 + part) / 1_500
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_tail_has_the_mean_that_it_says() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let sum: Duration = (0..10_000).map(|_| exponential(&mut rng, Duration::from_millis(30))).sum();
        let mean = micros(sum / 10_000);
        assert!((28_000..32_000).contains(&mean), "{mean}");
    }

    #[test]
    fn a_clog_holds_messages_to_its_end_and_no_longer() {
        let mut network = Network::default();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        network.clog(NodeId(1), Time(100), Time(1_000_000));
        let mut at = |now, from, to| {
            let [first, _] = network.fate(&mut rng, Time(now), NodeId(from), NodeId(to));
            first.map(|delivery| Time(now) + delivery.delay).expect("nothing is lost")
        };
        assert!(at(99, 1, 2) < Time(1_200));
        assert!(at(100, 1, 2) > Time(1_000_000) && at(500_000, 2, 1) > Time(1_000_000));
        assert!(at(500_000, 2, 3) < Time(502_000));
        assert!(at(1_000_000, 1, 2) < Time(1_001_100));
    }
}
