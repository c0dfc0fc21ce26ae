//! How long the parts of requests take. It is on the path of every request: an addition or two each.

use std::time::Duration;

use super::shard::Shard;
use super::{Event, Node, Output};
use crate::latencies::{Latencies, PeerLatencies, Phase};
use crate::storage::Storage;
use crate::time::Time;

/// What a shard has counted. On the heap: the shard itself is moved.
#[derive(Debug, Default)]
pub(super) struct Measured {
    phases: Box<Latencies>,
    /// By the peer's number; none before its first answer.
    peers: Vec<Option<Box<PeerLatencies>>>,
}

impl Measured {
    #[inline]
    pub(super) fn record(&mut self, phase: Phase, took: Duration) {
        self.phases.record(phase, took);
    }

    #[inline]
    pub(super) fn read_answered(&mut self, peer: usize, took: Duration) {
        self.peer(peer).read.record(took);
    }

    #[inline]
    pub(super) fn write_answered(&mut self, peer: usize, took: Duration) {
        self.peer(peer).write.record(took);
    }

    #[inline]
    fn peer(&mut self, peer: usize) -> &mut PeerLatencies {
        if peer >= self.peers.len() {
            self.peers.resize(peer + 1, None);
        }
        self.peers[peer].get_or_insert_default()
    }
}

impl<S: Storage> Shard<S> {
    /// A part of a request ends that began then.
    #[inline]
    pub(super) fn took(&mut self, phase: Phase, began: Time) {
        self.measured.record(phase, self.now.time.since(began));
    }

    /// A client's request ends that was taken up then.
    pub(super) fn ended(&mut self, operation: Phase, asked: Time) {
        let took = self.now.time.since(asked);
        self.measured.record(operation, took);
        if took > self.shared.timing.slow {
            self.lanes.say(Output::Event(Event::Slow(operation, took)));
        }
    }

    fn add_latencies(&self, sum: &mut Latencies) {
        sum.merge(&self.measured.phases);
        for (peer, latencies) in self.measured.peers.iter().enumerate() {
            if let Some(latencies) = latencies {
                sum.merge_peer(self.topology.directory.node(peer), latencies);
            }
        }
    }
}

impl<S: Storage> Node<S> {
    /// How long what it did took, since it was opened.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        let mut sum = Latencies::default();
        self.shards.iter().for_each(|shard| shard.add_latencies(&mut sum));
        sum
    }

    /// The host says how long a request has waited in a queue of its own before [`Node::step`]. The node itself keeps none.
    pub fn queued(&mut self, waited: Duration) {
        self.shards[0].measured.record(Phase::Queued, waited);
    }

    /// The host says how long [`Node::commit`] took, which is told no time.
    pub fn synced(&mut self, took: Duration) {
        self.shards[0].measured.record(Phase::Sync, took);
    }
}
