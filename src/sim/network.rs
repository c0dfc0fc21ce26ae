//! A network that delays, loses, repeats, reorders and cuts, by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::ids::NodeId;
use crate::time::micros;

/// How the network treats messages. Times are virtual.
#[derive(Clone, Debug)]
pub struct Network {
    /// The least time that a message takes.
    pub delay: Duration,
    /// What is added at most, evenly: with it messages overtake one another.
    pub jitter: Duration,
    /// The share of messages that are lost, in percent.
    pub loss: u8,
    /// The share of messages that arrive twice, in percent.
    pub duplication: u8,
    cut: BTreeSet<(NodeId, NodeId)>,
    slow: BTreeMap<NodeId, Duration>,
}

/// 0.2 to 1 ms, and nothing goes wrong: a data centre on a good day.
impl Default for Network {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(200),
            jitter: Duration::from_micros(800),
            loss: 0,
            duplication: 0,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
        }
    }
}

impl Network {
    /// Nothing gets from `from` to `to`.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Everything gets through again, at full speed, once.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
        (self.loss, self.duplication) = (0, 0);
    }

    /// All that goes to and from a node takes so much longer. Zero ends it.
    pub fn slow(&mut self, node: NodeId, by: Duration) {
        self.slow.insert(node, by);
    }

    /// After which delays a message arrives: none if it is lost, two if it is repeated.
    pub(super) fn fate(&self, rng: &mut Xoshiro256PlusPlus, from: NodeId, to: NodeId) -> Vec<Duration> {
        // The same draws whatever the outcome, so that a fault that is switched off leaves the rest as it was.
        let (lost, twice) = (rng.random_range(0..100) < self.loss, rng.random_range(0..100) < self.duplication);
        let mut jitter = || Duration::from_micros(rng.random_range(0..=micros(self.jitter)));
        let (first, second) = (jitter(), jitter());
        if lost || self.cut.contains(&(from, to)) {
            return Vec::new();
        }
        let slow = |node| self.slow.get(&node).copied().unwrap_or_default();
        let least = self.delay + slow(from) + slow(to);
        let mut delays = vec![least + first];
        if twice {
            delays.push(least + first + second * 10);
        }
        delays
    }
}
