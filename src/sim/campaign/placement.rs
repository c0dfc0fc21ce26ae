//! Where acknowledged writes are, and what stores have promised: looked up on all disks, whether or not their nodes run.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Number;
use super::player::Player;
use super::property::{Property, Violation, broken};
use super::story::Reconciling;
use super::values::{members, name};
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::ring::Layout;

/// What was seen of ballots so far.
#[derive(Default)]
pub(super) struct Placement {
    /// The floor and the promise of each store.
    stores: BTreeMap<(NodeId, PartitionId), (LayoutId, LayoutId)>,
    /// Whom each ballot that somebody took for decided names.
    owners: BTreeMap<(PartitionId, LayoutId), Vec<NodeId>>,
}

impl Placement {
    /// A node has lost what it knew, or a part of it.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.stores.retain(|(of, _), _| *of != node);
    }
}

impl Player {
    /// See [`Property::Placement`] and [`Property::OneChain`].
    pub(super) fn placed(&mut self) -> Result<(), Violation> {
        if self.settings.elastic == 0 {
            return Ok(());
        }
        let mut decided = BTreeMap::new();
        for partition in (0..self.sim.layout().partitions()).map(PartitionId) {
            decided.insert(partition, self.one_chain(partition)?);
        }
        self.one_view()?;
        let may_merge = self.settings.siblings <= 3 || self.settings.large == 1;
        let is_told = match self.settings.reconciling() {
            Reconciling::Keep => true,
            // What is merged at the cap is written anew, under another's name.
            Reconciling::Union => !may_merge,
            // Who puts has not seen all that its context covers.
            Reconciling::Latest => false,
        };
        if self.settings.strict == 0 || self.set_back || !is_told {
            return Ok(());
        }
        let needed = (self.settings.w - u64::from(self.amnesia && self.settings.w > 0)) as usize;
        for key in 0..self.settings.keys as usize {
            let partition = self.sim.partition_of(&name(key));
            self.is_at_owners(key, partition, decided[&partition], needed)?;
        }
        Ok(())
    }

    /// The latest ballot that a store durably knows to be decided.
    fn one_chain(&mut self, partition: PartitionId) -> Result<LayoutId, Violation> {
        let mut latest = self.sim.layouts()[0].ballot(partition);
        for node in self.sim.members() {
            let Some(ballots) = self.sim.durable_ballots(node, partition) else { continue };
            let now = (ballots.floor(), ballots.promise());
            let before = self.placement.stores.insert((node, partition), now).unwrap_or(now);
            if now.0 < before.0 || now.1 < before.1 || now.1 < now.0 {
                let message = format!("{node} {partition}: floor and promise were {before:?} and are {now:?}");
                return broken(Property::OneChain, message);
            }
            latest = latest.max(ballots.floor());
        }
        Ok(latest)
    }

    /// Coordinators that go by one ballot go to the same owners.
    fn one_view(&mut self) -> Result<(), Violation> {
        for key in 0..self.settings.keys as usize {
            for id in self.sim.members() {
                let Some(node) = self.sim.node(id) else { continue };
                let route = node.explain_route(self.keyspace.id(), name(key).as_bytes());
                for (ballot, mut owners) in [route.decided].into_iter().chain(route.pending) {
                    owners.sort_unstable();
                    let known =
                        self.placement.owners.entry((route.partition, ballot)).or_insert_with(|| owners.clone());
                    if *known != owners {
                        let message = format!("{id} {}: by {ballot} {owners:?}, by others {known:?}", route.partition);
                        return broken(Property::OneChain, message);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether every acknowledged write is durable at enough owners.
    fn is_at_owners(
        &self,
        key: usize,
        partition: PartitionId,
        decided: LayoutId,
        needed: usize,
    ) -> Result<(), Violation> {
        let of_key = || self.history.of_key(key).filter(|(_, write)| write.acked.is_some() && !write.is_relaxed);
        // Where what supersedes a write is, the write is accounted for.
        let superseded: BTreeSet<Number> = of_key().flat_map(|(_, write)| write.seen.iter().copied()).collect();
        let Some(owners) = self.sim.owners_by(partition, decided) else {
            return broken(Property::OneChain, format!("{partition}: {decided} is decided, and nobody has made it"));
        };
        let shown = |owner: &NodeId| -> BTreeSet<Number> {
            let entries = self.sim.durable_versions(*owner, &name(key));
            entries.iter().flat_map(|entry| members(&entry.value)).collect()
        };
        let all: Vec<(NodeId, BTreeSet<Number>)> = owners.iter().map(|owner| (*owner, shown(owner))).collect();
        for (number, write) in of_key().filter(|(number, write)| !write.is_delete && !superseded.contains(number)) {
            let have = all.iter().filter(|(_, shown)| self.history.is_accounted_for(number, shown)).count();
            if have < needed.min(owners.len()) {
                let message = format!(
                    "w{number} {write:?} was acknowledged, and {have} of the owners by {decided} have it, not {needed}: {all:?}"
                );
                return broken(Property::Placement, message);
            }
        }
        Ok(())
    }

    /// The latest layout's owners are those that are decided, in every partition.
    pub(super) fn latest_is_decided(&mut self, latest: &Layout) -> Result<(), Violation> {
        for partition in (0..latest.partitions()).map(PartitionId) {
            let decided = self.one_chain(partition)?;
            let mut wanted = latest.owners(partition).to_vec();
            wanted.sort_unstable();
            if self.sim.owners_by(partition, decided).as_ref() != Some(&wanted) {
                let message = format!("{partition}: {decided} is decided, and {} says {wanted:?}", latest.id());
                return broken(Property::Placement, message);
            }
        }
        Ok(())
    }
}
