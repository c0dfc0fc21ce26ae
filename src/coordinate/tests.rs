//! Every order of answers, refusals, losses, time-outs and hedges, on the machines themselves.
//!
//! A state is a machine with what is on its way to it. From each state everything that may happen next is tried; a node
//! that never answers is one whose answer stays on its way. After each step the machine's decision is compared with the
//! definition, which knows who was asked, who has answered what, and nothing of how the machine counts.

mod by_hand;
mod gets;
mod puts;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Directory, Patience, Roster};
use crate::config::{Mode, Spread};
use crate::detector::{Detector, DetectorSettings};
use crate::ids::{NodeId, PartitionId, ZoneId};
use crate::ring::{Layout, Member};
use crate::time::Time;

const PARTITION: PartitionId = PartitionId(0);
const PATIENCE: Patience = Patience { fallback: Duration::from_millis(100), suspect: Duration::from_millis(250) };
const BEGIN: Time = Time(10_000_000);

/// A cluster as a coordinator sees it: the owners are nodes 1 to n, the others stand in.
struct World {
    layout: Arc<Layout>,
    directory: Directory,
    peers: Detector,
    zones: Vec<u8>,
    me: NodeId,
}

impl World {
    fn new(n: u8, others: u8, me: u8, zones: &[u8]) -> Self {
        let nodes: Vec<NodeId> = (1..=u64::from(n + others)).map(NodeId).collect();
        let zone = |at: usize| zones.get(at).copied().unwrap_or(at as u8);
        let member = |(at, &node): (usize, &NodeId)| Member::new(node).zone(ZoneId(u32::from(zone(at))));
        let members: Vec<Member> = nodes.iter().enumerate().map(member).collect();
        let owners = vec![nodes[..usize::from(n)].to_vec()];
        let layout = Arc::new(Layout::from_owners(n, members, owners).expect("a layout"));
        let directory = Directory::new(Arc::clone(&layout));
        let zones = (0..nodes.len()).map(zone).collect();
        Self {
            layout,
            directory,
            peers: Detector::new(nodes.len(), DetectorSettings::default(), Time(0)),
            zones,
            me: NodeId(u64::from(me)),
        }
    }

    fn owners(&self) -> &[NodeId] {
        self.layout.owners(PARTITION)
    }

    fn is_owner(&self, node: NodeId) -> bool {
        self.owners().contains(&node)
    }

    /// The last `count` owners but this node have not answered for long.
    fn suspect(mut self, count: usize) -> Self {
        let silent: Vec<NodeId> =
            self.owners().iter().rev().copied().filter(|&node| node != self.me).take(count).collect();
        for node in silent {
            let peer = self.index(node);
            self.peers.suspect(peer);
        }
        self
    }

    /// The latency of a node is known.
    fn answers_after(mut self, node: NodeId, latency: Duration) -> Self {
        let peer = self.index(node);
        (0..40).for_each(|_| self.peers.answered(peer, Time(0), Time(0) + latency));
        self
    }

    fn index(&self, node: NodeId) -> usize {
        self.layout.index_of(node).expect("a member")
    }

    fn roster(&self) -> Roster<'_> {
        let slow = PATIENCE.fallback;
        let layouts = std::slice::from_ref(&self.layout);
        Roster { layouts, directory: &self.directory, peers: &self.peers, me: self.me, slow }
    }

    /// How many of these count: nodes, or their zones.
    fn count(&self, spread: Spread, nodes: impl Iterator<Item = NodeId>) -> usize {
        match spread {
            Spread::Nodes => nodes.collect::<BTreeSet<_>>().len(),
            Spread::Zones => nodes.map(|node| self.zones[self.index(node)]).collect::<BTreeSet<_>>().len(),
        }
    }
}

/// The states that were met, by a fingerprint of all that is in them.
#[derive(Default)]
struct Met(BTreeSet<u128>);

impl Met {
    /// Whether it is new.
    fn add(&mut self, state: &impl Debug) -> bool {
        let mut hasher = SipHasher13::new();
        hasher.write(format!("{state:?}").as_bytes());
        self.0.insert(hasher.finish128().as_u128())
    }
}

/// Strict, sloppy, and with every number of owners among `needed` answers.
fn modes(needed: u8) -> impl Iterator<Item = Mode> {
    [Mode::Strict, Mode::Sloppy].into_iter().chain((1..=needed).map(Mode::Owners))
}

/// Sets of owners, as bits.
fn bits(nodes: impl Iterator<Item = NodeId>) -> u64 {
    nodes.fold(0, |bits, node| bits | 1 << node.0)
}

#[test]
fn strict_reads_and_writes_share_an_owner_that_has_the_write_exactly_where_the_quorums_overlap() {
    for n in 1..=4 {
        let written: Vec<BTreeSet<u64>> = (1..=n).map(|w| puts::strict_successes(n, w)).collect();
        let read: Vec<BTreeSet<u64>> = (1..=n).map(|r| gets::strict_successes(n, r)).collect();
        for (w, written) in (1..).zip(&written) {
            for (r, read) in (1..).zip(&read) {
                assert!(!written.is_empty() && !read.is_empty());
                let meet = written.iter().all(|written| read.iter().all(|read| written & read != 0));
                assert_eq!(meet, r + w > n, "n {n}, r {r}, w {w}");
            }
        }
    }
}
