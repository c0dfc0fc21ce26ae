//! Layouts of a story that change, and how that must come to an end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::action::Action;
use super::finale::EXCHANGE;
use super::player::{Player, timing};
use super::property::{Property, Violation, broken};
use crate::ids::{NodeId, PartitionId, StoreId, ZoneId};
use crate::node::Node;
use crate::ring::{Change, Layout, Member, plan_change};
use crate::status::Debt;

/// After the faults have ended a change takes no longer.
const LIMIT: Duration = Duration::from_secs(60);

impl Player {
    /// The zone that a node stands in.
    pub(super) fn zone(zones: u64, node: u64) -> ZoneId {
        ZoneId((node % zones.max(1)) as u32)
    }

    fn told(&self, nodes: u64) -> Vec<NodeId> {
        let is_told = |node: &NodeId| nodes >> (node.0 - 1) & 1 == 1;
        self.sim.members().into_iter().filter(is_told).collect()
    }

    fn start_new(&mut self, node: u64) -> Option<Member> {
        if self.sim.members().contains(&NodeId(node)) {
            return None;
        }
        Some(self.sim.start_node(NodeId(node)).zone(Self::zone(self.settings.zones, node)))
    }

    /// Somebody makes another layout. Whether it took effect.
    pub(super) fn rearrange(&mut self, action: Action) -> bool {
        if self.settings.elastic == 0 {
            return false;
        }
        let latest = Arc::clone(self.sim.layout());
        let change = Change::of(&latest);
        let (change, told) = match action {
            Action::Join { node, other, told } => {
                let new: Vec<Member> = [node, other].into_iter().filter_map(|node| self.start_new(node)).collect();
                if new.is_empty() {
                    return false;
                }
                (new.into_iter().fold(change, Change::join), told)
            }
            Action::Leave { node, told } => (change.leave(NodeId(node)), told),
            Action::Replace { node, by, told } => {
                let Some(new) = self.start_new(by) else { return false };
                (change.replace(NodeId(node), new), told)
            }
            Action::Renew { node, told } => match self.renewed(&latest, NodeId(node), change) {
                Some(change) => (change, told),
                None => return false,
            },
            Action::Abort { told } => {
                let Some(next) = self.earlier_owners(&latest) else { return false };
                self.sim.propose_to(&Arc::new(next), &self.told(told));
                return true;
            }
            Action::Rivals { nodes, node, leaver } => {
                let Some(new) = self.start_new(node) else { return false };
                let left = self.told(nodes);
                let right = self.told(!nodes);
                let one = self.commit(&latest, &change.join(new), &left);
                return self.commit(&latest, &Change::of(&latest).leave(NodeId(leaver)), &right) || one;
            }
            _ => unreachable!("a change of the layout"),
        };
        self.commit(&latest, &change, &self.told(told))
    }

    fn commit(&mut self, parent: &Layout, change: &Change, told: &[NodeId]) -> bool {
        let Ok(plan) = plan_change(parent, change) else { return false };
        self.sim.propose_to(&Arc::new(plan.layout), told);
        true
    }

    /// The change that gives a node the store that it has now, if that is another than its layout says.
    fn renewed(&self, latest: &Layout, node: NodeId, change: Change) -> Option<Change> {
        let store = self.sim.members().contains(&node).then(|| self.sim.node(node)).flatten()?.store()?;
        let named = latest.members()[latest.index_of(node)?].store;
        (named != Some(store)).then(|| change.renew(node, store))
    }

    /// Who has been named by a layout with a store that it has not any more, and is not known to be gone.
    fn lost_owners(&self, latest: &Layout) -> BTreeSet<(NodeId, Option<StoreId>)> {
        let members = self.sim.layouts().iter().flat_map(|layout| layout.members());
        let is_lost = |member: &&Member| {
            let store = self.sim.node(member.node).map(Node::store);
            store.is_some_and(|store| store != member.store) && !latest.is_gone(member.node, member.store)
        };
        members.filter(is_lost).map(|member| (member.node, member.store)).collect()
    }

    /// A layout with the owners of the one before the latest.
    fn earlier_owners(&self, latest: &Layout) -> Option<Layout> {
        let earlier = self.sim.layouts().iter().find(|layout| layout.id() == latest.parent())?;
        let is_now = |member: &Member| latest.index_of(member.node).map(|at| latest.members()[at]);
        let members = earlier.members().iter().map(|member| is_now(member).unwrap_or(*member)).collect();
        let partitions = (0..earlier.partitions()).map(PartitionId);
        latest.next(members, partitions.map(|partition| earlier.owners(partition).to_vec()).collect()).ok()
    }

    /// Faults stop, everybody hears of all layouts, and who has lost its store gets a new place: the latest layout must
    /// come to be decided in every partition, and nothing may be left to be done.
    pub(super) fn changes_end(&mut self) -> Result<(), Violation> {
        if self.settings.elastic == 0 {
            return Ok(());
        }
        let nodes = self.sim.members();
        if self.settings.exchange == 0 && self.amnesia {
            // Who has lost something is filled by exchanges, and those were off.
            for &node in &nodes {
                self.stop(node)?;
            }
        }
        self.sim.set_timing(&timing(EXCHANGE));
        self.recover(&nodes)?;
        for &node in &nodes {
            let latest = Arc::clone(self.sim.layout());
            if let Some(change) = self.renewed(&latest, node, Change::of(&latest)) {
                self.commit(&latest, &change, &nodes);
            }
        }
        let latest = Arc::clone(self.sim.layout());
        let lost = self.lost_owners(&latest);
        if !lost.is_empty() {
            self.coverage.count("former owner declared gone", lost.len() as u64);
            let declare = |change: Change, (node, store)| change.gone_with(node, store);
            let change = lost.into_iter().fold(Change::of(&latest), declare);
            self.commit(&latest, &change, &nodes);
        }
        self.sim.spread();
        let latest = Arc::clone(self.sim.layout());
        let (began, before) = (self.sim.now(), self.sim.counters().move_exchanges);
        while !self.has_changed(&latest) {
            if self.sim.now() > began + LIMIT {
                return broken(Property::ChangesEnd, format!("{} is not all there is: {}", latest.id(), self.waits()));
            }
            // Most are through in seconds, and what is stuck after ten stays as it is.
            let waited = self.sim.now().since(began);
            self.sim.run_for((waited / 4).max(Duration::from_millis(250)));
            self.collect()?;
            self.placed()?;
        }
        let took = self.sim.counters().move_exchanges - before;
        // Each owner to be copies ahead, and then collects from the owners of what is decided and of rivals; some of it
        // may have been for a layout that was superseded.
        let most = u64::from(latest.partitions()) * self.settings.n * (2 + 4 * self.settings.n);
        if took > most {
            return broken(
                Property::ChangesEnd,
                format!("{took} exchanges for one change, at most {most} were expected"),
            );
        }
        self.coverage.count("all changes came to an end", u64::from(self.sim.layouts().len() > 1));
        self.latest_is_decided(&latest)
    }

    fn has_changed(&self, latest: &Layout) -> bool {
        let mut running = self.sim.members().into_iter().filter_map(|node| self.sim.node(node));
        self.sim.has_changed_to(latest.id()) && running.all(|node| node.coming().is_empty() && node.going().is_empty())
    }

    pub(super) fn waits(&self) -> String {
        let latest = self.sim.layout();
        let mut text = String::new();
        for id in self.sim.members() {
            let Some(node) = self.sim.node(id) else { continue };
            let (coming, going) = (node.coming(), node.going());
            if !node.has_changed_to(latest) || !coming.is_empty() || !going.is_empty() {
                let has_changed = node.has_changed_to(latest);
                let refilling: Vec<_> =
                    node.debt().into_iter().filter(|debt| matches!(debt, Debt::Refilling(_))).collect();
                let _ =
                    write!(text, "\n{id}: has changed {has_changed}, coming {coming:?} going {going:?} {refilling:?}");
            }
        }
        for partition in (0..latest.partitions()).map(PartitionId) {
            let (ballot, owners) = (latest.ballot(partition), latest.owners(partition));
            let _ = write!(text, "\n{partition}: {ballot} {owners:?}");
            for id in self.sim.members() {
                let Some(ballots) = self.sim.durable_ballots(id, partition) else { continue };
                let (floor, promise, seals) = (ballots.floor(), ballots.promise(), ballots.seals());
                let held: Vec<_> = ballots.held().iter().map(|held| held.layout).collect();
                let _ = write!(text, "\n  {id}: floor {floor} promise {promise} seals {seals:?} held {held:?}");
            }
        }
        text
    }

    /// Who has left may stop for ever when it owes nothing to anybody; who remains.
    pub(super) fn stop_leavers(&mut self) -> Result<Vec<NodeId>, Violation> {
        let latest = Arc::clone(self.sim.layout());
        let (members, leavers): (Vec<_>, Vec<_>) =
            self.sim.members().into_iter().partition(|node| latest.index_of(*node).is_some());
        for leaver in leavers {
            self.stop(leaver)?;
            self.coverage.count("leaver stopped for good", 1);
        }
        Ok(members)
    }
}
