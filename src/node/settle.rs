//! When a layout is decided in all partitions: each owner tells its part, one member counts, and tells all.
//!
//! Nothing waits for it: a request that names too early a layout of a partition is told so. It ends the change for those
//! who look at the whole, lets earlier layouts be forgotten, and tells planners that the next may come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Node, Output};
use crate::ids::{LayoutId, NodeId};
use crate::message::{Message, Settled};
use crate::ring::Layout;
use crate::storage::Storage;
use crate::time::Time;

/// What was heard of layouts that are not decided everywhere.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Who has told that its part of a layout is decided.
    told: BTreeMap<LayoutId, BTreeSet<NodeId>>,
    /// When this node looks at its own part again; none if all is decided.
    due: Option<Time>,
    /// Which members were asked last whether all is decided.
    turn: usize,
}

impl Settling {
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.due
    }
}

impl<S: Storage> Node<S> {
    /// A layout has become known.
    pub(super) fn watch_change(&mut self) {
        self.settling.due = Some(self.now.time);
    }

    /// Tells the member that counts whether this node's part of the latest layout is decided.
    pub(super) fn settle(&mut self) {
        if self.settling.due.is_none_or(|due| self.now.time < due) {
            return;
        }
        self.settling.due = None;
        let Some(latest) = self.shards.first().map(|shard| Arc::clone(shard.topology.latest())) else { return };
        if latest.id() == self.layout().id() {
            return;
        }
        self.settling.due = Some(self.now.time + self.shared.timing.handoff * 4);
        if !self.shards.iter().all(|shard| shard.has_decided(&latest)) {
            return;
        }
        let Some(counter) = self.counter(&latest) else { return };
        if counter == self.shared.node {
            self.part_is_settled(counter, &latest);
            self.ask_some(&latest);
        } else {
            self.tell_part(counter, latest.id());
        }
    }

    fn tell_part(&mut self, to: NodeId, layout: LayoutId) {
        self.control_out.push(Output::Send(to, Message::Settled(Settled { layout, everywhere: false })));
    }

    /// Who has forgotten by a start that a layout is decided, and counts, waits for parts that nobody tells any more: some
    /// members at a time hear its own, and whoever knows the whole tells it.
    fn ask_some(&mut self, layout: &Layout) {
        const AT_ONCE: usize = 3;
        if layout.id() == self.layout().id() {
            return;
        }
        let members = layout.members();
        for _ in 0..AT_ONCE.min(members.len()) {
            self.settling.turn = (self.settling.turn + 1) % members.len();
            let node = members[self.settling.turn].node;
            if node != self.shared.node {
                self.tell_part(node, layout.id());
            }
        }
    }

    /// The first member that is not suspected. Two that count at a time do no harm.
    fn counter(&self, layout: &Layout) -> Option<NodeId> {
        let suspects = self.suspects();
        let mut members = layout.members().iter().map(|member| member.node);
        members.find(|node| !suspects.contains(node))
    }

    pub(super) fn on_settled(&mut self, from: NodeId, settled: Settled) {
        if settled.everywhere {
            return self.is_settled(settled.layout);
        }
        if settled.layout <= self.layout().id() {
            let settled = Settled { layout: self.layout().id(), everywhere: true };
            return self.control_out.push(Output::Send(from, Message::Settled(settled)));
        }
        let known = self.shards.first().and_then(|shard| shard.topology.layout_by_id(settled.layout));
        if let Some(layout) = known.cloned() {
            self.part_is_settled(from, &layout);
        }
    }

    /// One owner of a partition knows whether it is decided there: all partitions are when one of each has told so.
    fn part_is_settled(&mut self, node: NodeId, layout: &Arc<Layout>) {
        if layout.index_of(node).is_none() {
            return;
        }
        let told = self.settling.told.entry(layout.id()).or_default();
        told.insert(node);
        let has_told = |partition| layout.owners(partition).iter().any(|owner| told.contains(owner));
        if !(0..layout.partitions()).map(crate::ids::PartitionId).all(has_told) {
            return;
        }
        let id = layout.id();
        for member in layout.members().iter().filter(|member| member.node != self.shared.node) {
            let settled = Settled { layout: id, everywhere: true };
            self.control_out.push(Output::Send(member.node, Message::Settled(settled)));
        }
        self.is_settled(id);
    }

    /// A layout is decided in all partitions.
    fn is_settled(&mut self, id: LayoutId) {
        self.settling.told.retain(|told, _| *told > id);
        self.control.decide(id, self.now.time);
    }
}
