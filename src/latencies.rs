//! How long the parts of requests take at one node: histograms of the past since it was opened.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::ids::NodeId;

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// A client's get, from when the node takes it up to its answer, failures included. What is refused unread is in none
    /// of these.
    Get,
    /// A client's put, likewise, with the read that comes before a conditional one, and forwarding.
    Put,
    /// A client's delete, likewise.
    Delete,
    /// A page of keys.
    List,
    /// Until the node takes a request up: what it waited in the host's queue ([`crate::Node::queued`]).
    Queued,
    /// A read that this node coordinates, until the first answer of another node.
    ReadFirst,
    /// A read that this node coordinates, until it has its answer: R owners, or as many as could be reached.
    ReadQuorum,
    /// A write that this node coordinates, until the first answer of another node.
    WriteFirst,
    /// A write that this node coordinates, until W nodes have it.
    WriteQuorum,
    /// A write that this node handed to an owner, until that one's answer.
    Forward,
    /// A sync of all shards: what acknowledgements wait for ([`crate::Node::synced`]).
    Sync,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::List,
        Self::Queued,
        Self::ReadFirst,
        Self::ReadQuorum,
        Self::WriteFirst,
        Self::WriteQuorum,
        Self::Forward,
        Self::Sync,
    ];

    /// Its name in statuses and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Queued => "queued",
            Self::ReadFirst => "read_first",
            Self::ReadQuorum => "read_quorum",
            Self::WriteFirst => "write_first",
            Self::WriteQuorum => "write_quorum",
            Self::Forward => "forward",
            Self::Sync => "sync",
        }
    }
}

/// One histogram for each [`Phase`], and two for each peer that has answered: 3 KiB each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Latencies {
    phases: [Histogram; Phase::ALL.len()],
    peers: BTreeMap<NodeId, PeerLatencies>,
}

/// How long one peer takes to answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerLatencies {
    /// From a read that leaves to its answer.
    pub read: Histogram,
    /// From a write that leaves, or a hint that it is to keep, to its acknowledgement.
    pub write: Histogram,
}

impl Latencies {
    /// Of one phase.
    #[must_use]
    pub const fn of(&self, phase: Phase) -> &Histogram {
        &self.phases[phase as usize]
    }

    /// Of one peer; none if it has answered nothing yet.
    #[must_use]
    pub fn of_peer(&self, peer: NodeId) -> Option<&PeerLatencies> {
        self.peers.get(&peer)
    }

    /// Of all peers that have answered, in order.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &PeerLatencies)> {
        self.peers.iter().map(|(&node, latencies)| (node, latencies))
    }

    /// Adds what another node or shard has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, others) in self.phases.iter_mut().zip(&other.phases) {
            own.merge(others);
        }
        for (&node, others) in &other.peers {
            self.merge_peer(node, others);
        }
    }

    pub(crate) fn merge_peer(&mut self, node: NodeId, others: &PeerLatencies) {
        let own = self.peers.entry(node).or_default();
        own.read.merge(&others.read);
        own.write.merge(&others.write);
    }

    #[inline]
    pub(crate) fn record(&mut self, phase: Phase, took: Duration) {
        self.phases[phase as usize].record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_a_histogram_and_a_name_of_its_own() {
        let mut latencies = Latencies::default();
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, at);
            latencies.record(phase, Duration::from_micros(at as u64 + 1));
        }
        let seen: Vec<u64> = Phase::ALL.iter().map(|phase| latencies.of(*phase).sum()).collect();
        assert_eq!(seen, (1..=11).collect::<Vec<_>>());
        let names: std::collections::BTreeSet<_> = Phase::ALL.iter().map(|phase| phase.name()).collect();
        assert_eq!(names.len(), Phase::ALL.len());
    }

    #[test]
    fn what_two_have_counted_adds_up() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(Phase::Get, Duration::from_millis(1));
        other.record(Phase::Get, Duration::from_millis(2));
        let mut peer = PeerLatencies::default();
        peer.write.record(Duration::from_millis(3));
        other.merge_peer(NodeId(2), &peer);
        other.merge_peer(NodeId(2), &peer);
        one.merge(&other);
        assert_eq!((one.of(Phase::Get).count(), one.of(Phase::Get).sum()), (2, 3_000));
        assert_eq!(
            one.peers().map(|(node, it)| (node, it.write.count(), it.read.count())).next(),
            Some((NodeId(2), 2, 0))
        );
        assert_eq!(one.of_peer(NodeId(3)), None);
    }
}
