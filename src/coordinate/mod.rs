//! The coordinator of one request: whom to ask, when to ask another, when to answer.
//!
//! Pure machines: they are told what was answered and what time it is, and return what to do. They touch no storage
//! and send nothing (Dynamo §4.5, §5: one state machine per request).

mod directory;
mod get;
mod put;

pub(crate) use directory::Directory;

pub(crate) use get::{GetRule, Getting, Outcome as GetOutcome};
pub(crate) use put::{Order, Outcome as PutOutcome, Putting};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Spread;
use crate::detector::Detector;
use crate::ids::{NodeId, PartitionId};
use crate::ring::Layout;
use crate::time::{Time, micros};
use crate::trace::Step;

/// How long a node that was asked has kept the coordinator waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// It may answer any moment.
    Fresh,
    /// Another was asked in its stead; its answer still counts.
    Late,
    /// It was looked at whether it is to be suspected.
    Silent,
}

impl Wait {
    /// The next look at a node that was asked at `since`.
    fn due(self, since: Time, patience: Patience) -> Option<Time> {
        match self {
            Self::Fresh => Some(since + patience.fallback),
            Self::Late => Some(since + patience.suspect),
            Self::Silent => None,
        }
    }

    /// Where it stands at `now`.
    fn at(self, since: Time, now: Time, patience: Patience) -> Self {
        let waited = now.since(since);
        if waited >= patience.suspect {
            Self::Silent
        } else if waited >= patience.fallback {
            Self::Late
        } else {
            self
        }
    }
}

/// How long nodes are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Then another is asked in its stead.
    pub(crate) fallback: Duration,
    /// Then it is looked at whether it is to be suspected. Not before `fallback`.
    pub(crate) suspect: Duration,
}

/// What a coordinator sees of the cluster.
#[derive(Clone, Copy)]
pub(crate) struct Roster<'a> {
    /// The layouts that count in the partition: the decided one, then those that may be. A write takes W places in each,
    /// a read asks the owners of the first.
    pub(crate) layouts: &'a [Arc<Layout>],
    pub(crate) directory: &'a Directory,
    pub(crate) peers: &'a Detector,
    pub(crate) me: NodeId,
    /// A peer that usually takes longer is not waited for alone.
    pub(crate) slow: Duration,
}

impl<'a> Roster<'a> {
    /// The one that is decided.
    pub(crate) fn layout(&self) -> &'a Layout {
        &self.layouts[0]
    }

    /// The owners of a partition in each layout that counts, each node once.
    fn owners(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> + 'a {
        let layouts = self.layouts;
        layouts.iter().enumerate().flat_map(move |(at, layout)| {
            let is_first = move |node: &NodeId| layouts[..at].iter().all(|earlier| !earlier.owns(*node, partition));
            layout.owners(partition).iter().copied().filter(is_first)
        })
    }

    fn index(&self, node: NodeId) -> usize {
        self.directory.index_of(node).expect("preference lists are made of members")
    }

    fn is_suspected(&self, node: NodeId) -> bool {
        node != self.me && self.peers.is_suspected(self.index(node))
    }

    fn is_slow(&self, node: NodeId) -> bool {
        node != self.me && self.peers.is_slow(self.index(node), self.slow)
    }

    fn zone(&self, node: NodeId) -> u8 {
        self.directory.zone(self.index(node))
    }

    /// How many answers of these nodes would count.
    fn reach(&self, spread: Spread, nodes: impl Iterator<Item = NodeId>) -> usize {
        match spread {
            Spread::Nodes => nodes.count(),
            Spread::Zones => nodes.map(|node| self.zone(node)).collect::<BTreeSet<_>>().len(),
        }
    }

    /// The nodes after the owners that are not suspected, in order, without this node.
    fn fallbacks(&self, partition: PartitionId) -> impl Iterator<Item = NodeId> {
        self.layout()
            .preference_list(partition)
            .skip(usize::from(self.layout().n()))
            .filter(|&node| node != self.me && !self.is_suspected(node))
    }

    /// The owner to send a write to: the one that the context names, else the fastest that is not suspected.
    pub(crate) fn best_owner(&self, partition: PartitionId, route: Option<NodeId>, tried: &[NodeId]) -> Option<NodeId> {
        let eligible = |node: &NodeId| !tried.contains(node) && !self.is_suspected(*node);
        let owners = self.layout().owners(partition);
        if let Some(node) = route.filter(|node| owners.contains(node) && eligible(node)) {
            return Some(node);
        }
        owners.iter().copied().filter(eligible).min_by_key(|&node| (self.typical(node), node != self.me))
    }

    /// Why a node is passed over.
    fn skipped(&self, node: NodeId, now: Time) -> Step {
        let peer = self.index(node);
        Step::Skipped { node, silent_us: micros(self.peers.silent(peer, now)), phi: self.peers.phi(peer, now) }
    }

    /// How long a node usually takes; zero for this one, and for one of which nothing is known.
    pub(crate) fn typical(&self, node: NodeId) -> Duration {
        if node == self.me { Duration::ZERO } else { self.peers.typical(self.index(node)) }
    }

    /// After how long another replica may be asked too.
    fn hedge_after(&self, node: NodeId) -> Option<Duration> {
        // Below this the timer costs more than the wait.
        const LEAST: Duration = Duration::from_millis(1);
        // This node may be in no layout that it has heard of, and asks itself all the same.
        let peer = self.directory.index_of(node)?;
        self.peers.p95(peer).map(|p95| p95.max(LEAST))
    }
}

#[cfg(test)]
mod tests;
