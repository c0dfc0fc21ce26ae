//! Layouts that change.

use std::sync::Arc;

use super::{Process, Sim};
use crate::ids::{LayoutId, NodeId};
use crate::node::{Input, Node, Setup};
use crate::ring::{Change, Layout, Member, Plan, PlanError, plan_change};
use crate::sim::disk::SimDisk;

impl Sim {
    /// Starts a node with empty disks. It is what a layout is to name as a member.
    pub fn start_node(&mut self, node: NodeId) -> Member {
        let layout = self.decided();
        self.add(Setup { layout, ..self.newcomer(node) });
        let store = self.nodes[&node].node.as_ref().and_then(Node::store);
        Member { store, ..Member::new(node) }
    }

    /// The latest layout that a running node knows to be decided everywhere: what a host opens nodes with.
    pub(super) fn decided(&self) -> Arc<Layout> {
        let running = self.nodes.values().filter_map(|process| process.node.as_ref());
        let known = running.map(Node::layout).max_by_key(|layout| layout.id());
        Arc::clone(known.unwrap_or(&self.layouts[0]))
    }

    /// What a node that joins is opened with: what the others are.
    pub(super) fn newcomer(&self, node: NodeId) -> Setup {
        let like = self.nodes.values().next().expect("a cluster has nodes");
        Setup { node, founding: false, client: false, ..like.setup.clone() }
    }

    /// Starts a node with empty disks.
    pub(super) fn add(&mut self, setup: Setup) {
        let (node, shards) = (setup.node, self.nodes.values().next().map_or(1, |like| like.faults.len()));
        self.nodes.insert(node, Process::new(setup, (0..shards).map(|_| SimDisk::new()).collect()));
        self.restart(node);
    }

    /// Plans a change of the latest layout, and makes it known to every node that runs. Whoever starts later hears of it
    /// then.
    ///
    /// # Errors
    /// [`PlanError`] if there is no such plan. Nothing happened.
    ///
    /// # Panics
    /// If the cluster is not one whose layouts may change ([`crate::sim::SimBuilder::elastic`]).
    pub fn change(&mut self, change: &Change) -> Result<Plan, PlanError> {
        let plan = plan_change(&self.layout, change)?;
        self.propose(&Arc::new(plan.layout.clone()));
        Ok(plan)
    }

    /// Makes a layout known to every node that runs, as [`Sim::change`] does.
    ///
    /// # Panics
    /// As [`Sim::change`].
    pub fn propose(&mut self, layout: &Arc<Layout>) {
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.propose_to(layout, &all);
    }

    /// Makes every layout known to every node that runs.
    pub fn spread(&mut self) {
        for layout in self.layouts.clone() {
            self.hand(&layout, &self.nodes.keys().copied().collect::<Vec<_>>());
        }
    }

    /// Makes a layout known to these nodes alone: others hear of it when they start. It is the latest from now on if its
    /// name is.
    ///
    /// # Panics
    /// As [`Sim::change`].
    pub fn propose_to(&mut self, layout: &Arc<Layout>, nodes: &[NodeId]) {
        assert!(self.nodes.values().all(|process| process.setup.elastic), "the layouts of this cluster never change");
        self.layouts.push(Arc::clone(layout));
        self.hand(layout, nodes);
        if layout.id() > self.layout.id() {
            self.layout = Arc::clone(layout);
        }
    }

    fn hand(&mut self, layout: &Arc<Layout>, nodes: &[NodeId]) {
        for &node in nodes {
            let now = self.now_at(node);
            if let Some(running) = self.nodes.get_mut(&node).and_then(|process| process.node.as_mut()) {
                running.step(now, Input::Wake);
                // One that is known, or superseded, is none that it would go for.
                let _ = running.propose(Arc::clone(layout));
                self.after(node);
            }
        }
    }

    /// Whether all running nodes know a layout to be decided in all partitions that they have a part in, and nothing of
    /// it is left to be done.
    #[must_use]
    pub fn has_changed_to(&self, layout: LayoutId) -> bool {
        let Some(layout) = self.layouts.iter().find(|known| known.id() == layout) else { return false };
        self.nodes.values().filter_map(|process| process.node.as_ref()).all(|node| node.has_changed_to(layout))
    }
}
