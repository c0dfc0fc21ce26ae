//! What can be seen of a cluster.

use std::sync::Arc;

use siphasher::sip128::Hasher128;

use super::faults::without_twin;
use super::{Process, Sim, Traffic, texts};
use crate::causality::Entry;
use crate::ids::{Dot, NodeId};
use crate::key::Key;
use crate::message::Message;
use crate::node::{Counters, Event, Input, Node, Setup};
use crate::ring::Layout;
use crate::sim::disk::SimDisk;
use crate::sim::recording::Recording;
use crate::storage::Space;
use crate::time::{Now, Time, WallTime};

impl Sim {
    /// All nodes that are members or were.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let is_member = |(id, process): &(&NodeId, &Process)| without_twin(**id) == **id && !process.setup.client;
        self.nodes.iter().filter(is_member).map(|(id, _)| *id).collect()
    }

    /// The owners of a key, in order.
    #[must_use]
    pub fn owners(&self, key: &str) -> Vec<NodeId> {
        let key = Key::new(&self.identity.secret, self.keyspace.id(), key.as_bytes());
        self.layout.owners(self.layout.partition_of(key.position())).to_vec()
    }

    /// The members that don't own a key, in the order in which they stand in.
    #[must_use]
    pub fn bystanders(&self, key: &str) -> Vec<NodeId> {
        let key = Key::new(&self.identity.secret, self.keyspace.id(), key.as_bytes());
        let list = self.layout.preference_list(self.layout.partition_of(key.position()));
        list.skip(usize::from(self.layout.n())).collect()
    }

    /// Whether a node runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes[&node].node.is_some()
    }

    /// The values that a running owner's disk holds of a key, in order; nothing for others.
    #[must_use]
    pub fn stored(&self, node: NodeId, key: &str) -> Vec<String> {
        let values: Vec<_> = self.versions(node, key).into_iter().map(|entry| entry.value).collect();
        texts(&values)
    }

    /// The versions that a running owner's disk holds of a key, with their names; nothing for others.
    #[must_use]
    pub fn versions(&self, node: NodeId, key: &str) -> Vec<Entry> {
        let held = self.nodes[&node].node.as_ref().map(|node| node.inspect(self.keyspace.id(), key.as_bytes()));
        match held {
            Some(Ok(Some(versions))) => versions,
            _ => Vec::new(),
        }
    }

    /// The running nodes whose disks hold the key, as owners or as hints.
    #[must_use]
    pub fn holders(&self, key: &str) -> Vec<NodeId> {
        let holds = |(id, node): (&NodeId, &Process)| {
            let hints = node.node.as_ref().is_some_and(|node| !node.hints().is_empty());
            (!self.stored(*id, key).is_empty() || (hints && !self.owners(key).contains(id))).then_some(*id)
        };
        self.nodes.iter().filter_map(holds).collect()
    }

    /// Whether a failed sync has ended what a running node does.
    #[must_use]
    pub fn is_fenced(&self, node: NodeId) -> bool {
        self.nodes[&node].node.as_ref().is_some_and(Node::is_fenced)
    }

    /// How many batches the disks of a running node have not synced yet; of the shard that has most of them.
    #[must_use]
    pub fn unsynced(&self, node: NodeId) -> usize {
        let running = self.nodes[&node].node.as_ref();
        running.and_then(|node| node.storages().map(SimDisk::unsynced).max()).unwrap_or(0)
    }

    /// Whether [`Sim::restore`] has something to restore.
    #[must_use]
    pub fn has_backup(&self, node: NodeId) -> bool {
        !self.nodes[&node].backup.is_empty()
    }

    /// How many bytes of hints each shard of each running node holds, by target. Counted on the disks, whatever the
    /// nodes believe.
    #[must_use]
    pub fn hint_bytes(&self) -> Vec<(NodeId, NodeId, u64)> {
        let running = self.nodes.iter().filter_map(|(&id, process)| Some((id, process.node.as_ref()?)));
        let disks = running.flat_map(|(id, node)| node.storages().map(move |disk| (id, disk)));
        disks
            .flat_map(|(id, disk)| disk.hint_bytes().into_iter().map(move |(target, bytes)| (id, target, bytes)))
            .collect()
    }

    /// How many hints the disks of a running node hold, whatever it believes. A hint is all that is kept of a key for
    /// one node.
    #[must_use]
    pub fn hint_lines(&self, node: NodeId) -> u64 {
        let running = self.nodes[&node].node.as_ref();
        running.map_or(0, |node| node.storages().map(|disk| disk.len(Space::Hints) as u64).sum())
    }

    /// What has gone into the node that [`SimBuilder::record`](crate::sim::SimBuilder::record) named, until it first ended;
    /// none if there is no such node.
    #[must_use]
    pub const fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// What a node is opened with.
    #[must_use]
    pub fn setup(&self, node: NodeId) -> Setup {
        self.nodes[&node].setup.clone()
    }

    /// What the node's wall clock shows.
    #[must_use]
    pub fn wall(&self, node: NodeId) -> WallTime {
        self.now_at(node).wall
    }

    /// A running node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Node<SimDisk>> {
        self.nodes[&node].node.as_ref()
    }

    /// How many messages of nodes and requests of clients a node has handled, in all its lives.
    #[must_use]
    pub fn handled(&self, node: NodeId) -> u64 {
        self.nodes[&node].handled
    }

    /// What all running nodes have done, in one sum.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for node in self.nodes.values().filter_map(|node| node.node.as_ref()) {
            sum.add(&node.counters());
        }
        sum
    }

    /// What nodes have reported, and when.
    #[must_use]
    pub fn events(&self) -> &[(Time, NodeId, Event)] {
        &self.events
    }

    /// What became of the messages.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.ledger.traffic
    }

    /// The dots that were seen to name two different writes. There must be none.
    #[must_use]
    pub fn ambiguous_dots(&self) -> &[Dot] {
        &self.ledger.conflicts
    }

    /// How many things have happened: arrivals, syncs, wake-ups.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// A fingerprint of everything that has happened.
    #[must_use]
    pub fn trace(&self) -> u128 {
        self.trace.finish128().as_u128()
    }

    /// The time as a node sees it.
    #[must_use]
    pub fn now_of(&self, node: NodeId) -> Now {
        self.now_at(node)
    }

    /// The latest layout of the cluster, decided or not.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Hands a message to a node as if it came from a peer: for what no honest peer would send.
    pub fn inject(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.step(to, Input::Message(from, message));
    }
}
