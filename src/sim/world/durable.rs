//! What is durable at a node, whether or not it runs, and whatever it believes.

use std::sync::Arc;

use super::Sim;
use crate::causality::Entry;
use crate::change::Ballots;
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::key::Key;
use crate::replica::record_in;
use crate::ring::Layout;
use crate::sim::disk::{Durable, SimDisk};

impl Sim {
    /// All layouts that were made, in the order in which they were.
    #[must_use]
    pub fn layouts(&self) -> &[Arc<Layout>] {
        &self.layouts
    }

    fn key(&self, key: &str) -> Key {
        Key::new(&self.identity.secret, self.keyspace.id(), key.as_bytes())
    }

    /// The partition of a key.
    pub(in crate::sim) fn partition_of(&self, key: &str) -> PartitionId {
        self.layout.partition_of(self.key(key).position())
    }

    fn disk_of(&self, node: NodeId, partition: PartitionId) -> Option<&SimDisk> {
        let process = &self.nodes[&node];
        let shard = partition.0 as usize % process.faults.len();
        match &process.node {
            Some(running) => running.storages().nth(shard),
            None => process.disks.get(shard),
        }
    }

    /// What a node has durably promised of a partition; nothing if it has no ballots there, or can't read them.
    pub(in crate::sim) fn durable_ballots(&self, node: NodeId, partition: PartitionId) -> Option<Ballots> {
        let disk = self.disk_of(node, partition)?;
        Ballots::load(&Durable(disk), partition).ok().flatten()
    }

    /// The versions of a key that are durable at a node.
    pub(in crate::sim) fn durable_versions(&self, node: NodeId, key: &str) -> Vec<Entry> {
        let (key, partition) = (self.key(key), self.partition_of(key));
        let record = self.disk_of(node, partition).and_then(|disk| record_in(&Durable(disk), partition, &key).ok());
        record.map(|record| record.live).unwrap_or_default()
    }

    /// Who owns a partition by a ballot, in any order.
    pub(in crate::sim) fn owners_by(&self, partition: PartitionId, ballot: LayoutId) -> Option<Vec<NodeId>> {
        let says_so = |layout: &&Arc<Layout>| layout.id() == ballot || layout.ballot(partition) == ballot;
        let mut owners = self.layouts.iter().find(says_so)?.owners(partition).to_vec();
        owners.sort_unstable();
        Some(owners)
    }
}
