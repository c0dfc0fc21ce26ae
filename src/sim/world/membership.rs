//! Nodes that gossip, and those that join.

use super::Sim;
use crate::ids::NodeId;
use crate::members::Introduce;
use crate::node::{Node, Setup};
use crate::ring::{Layout, Member};
use crate::sim::disk::SimDisk;

/// The first two members are everybody's seeds.
pub(super) fn introduce(member: &Member, layout: &Layout) -> Introduce {
    let seeds = layout.members().iter().take(2).map(|member| member.node).collect();
    Introduce { zone: member.zone, weight: member.weight, ..Introduce::new(format!("sim-{}", member.node.0), seeds) }
}

impl Sim {
    /// Starts a node that no layout names yet, with empty disks: it takes part in the gossip, and knows the first two
    /// members as seeds. The name must be a new one.
    ///
    /// # Panics
    /// If there is such a node, or the settings don't go together.
    pub fn join(&mut self, member: Member) {
        assert!(!self.nodes.contains_key(&member.node), "{} is there", member.node);
        let membership = Some(introduce(&member, &self.layout));
        self.add(Setup { membership, ..self.newcomer(member.node) });
    }

    /// Starts a client that coordinates for itself ([`Setup::client`]): with the layout that is decided, and with gossip
    /// where others have it. The name must be a new one. It is none of [`Sim::members`]; what is asked of it comes to the
    /// nodes over the network.
    ///
    /// # Panics
    /// As [`Sim::join`].
    pub fn start_client(&mut self, node: NodeId) {
        assert!(!self.nodes.contains_key(&node), "{node} is there");
        let newcomer = self.newcomer(node);
        let membership = newcomer.membership.is_some().then(|| introduce(&Member::new(node), &self.layout));
        let layout = self.decided();
        self.add(Setup { client: true, membership, layout, ..newcomer });
    }

    /// Does something to a running node beside what clients and peers ask of it: an operator's act. It is in no
    /// [`Recording`](crate::sim::Recording).
    ///
    /// # Panics
    /// If the node doesn't run.
    pub fn act<T>(&mut self, node: NodeId, act: impl FnOnce(&mut Node<SimDisk>) -> T) -> T {
        let running = self.nodes.get_mut(&node).and_then(|process| process.node.as_mut());
        let done = act(running.expect("it runs"));
        self.after(node);
        done
    }

    /// Whether all running nodes know the same members and layouts; those that take no part in gossip aren't asked.
    #[must_use]
    pub fn memberships_agree(&self) -> bool {
        let mut all = self.nodes.values().filter_map(|process| process.node.as_ref()?.membership());
        let Some(first) = all.next() else { return true };
        all.all(|other| other == first)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::members::Phase;
    use crate::node::Event;
    use crate::ring::{Change, plan_change};

    #[test]
    fn all_converge_though_a_third_is_lost_and_a_third_comes_twice() {
        for seed in 0..8 {
            let mut sim = Sim::builder(5, seed).gossip(true).shards(2).build();
            (sim.network.loss, sim.network.duplication) = (33, 33);
            sim.join(Member::new(NodeId(6)));
            sim.join(Member::new(NodeId(7)));
            sim.run_for(Duration::from_secs(20));
            let staged = sim.act(NodeId(3), |node| node.staged()).unwrap();
            let id = sim.act(NodeId(3), |node| node.preview(&staged).map(|plan| node.commit_plan(&plan))).unwrap();
            let id = id.unwrap();
            sim.act(NodeId(2), |node| node.leave(NodeId(1))).unwrap();
            sim.crash(NodeId(4));
            sim.run_for(Duration::from_secs(10));
            sim.restart(NodeId(4));
            sim.run_for(Duration::from_secs(40));
            assert!(sim.memberships_agree(), "seed {seed}");
            for node in (1..=7).map(NodeId) {
                let running = sim.node(node).unwrap();
                assert_eq!(running.latest().id(), id, "seed {seed}, {node}");
                let membership = running.membership().unwrap();
                assert_eq!(membership.len(), 7);
                assert_eq!(membership.record(NodeId(1)).unwrap().phase(), Phase::Leaving);
            }
        }
    }

    #[test]
    fn sides_of_a_cut_network_propose_rivals_and_end_with_the_same_one() {
        let mut sim = Sim::builder(6, 1).gossip(true).build();
        sim.run_for(Duration::from_secs(5));
        let layout = Arc::clone(sim.layout());
        sim.split(&[1, 2, 3].map(NodeId), &[4, 5, 6].map(NodeId));
        let mut proposed = Vec::new();
        for (node, new) in [(1, 8), (5, 9)] {
            let change = Change::of(&layout).join(Member::new(NodeId(new)));
            let plan = plan_change(&layout, &change).unwrap();
            proposed.push(sim.act(NodeId(node), |node| node.commit_plan(&plan)).unwrap());
        }
        sim.run_for(Duration::from_secs(30));
        assert!(!sim.memberships_agree());
        sim.heal();
        sim.run_for(Duration::from_secs(30));
        assert!(sim.memberships_agree());
        let highest = proposed.iter().max().copied();
        let membership = sim.node(NodeId(2)).unwrap().membership().unwrap();
        assert_eq!(Some(membership.layouts().highest()), highest);
        // The nodes that they name aren't there, and the others don't need them: the higher is decided by now.
        assert_eq!((membership.layouts().decided(), membership.layouts().proposed().count()), (highest.unwrap(), 0));
        let told = sim.events().iter().filter(|(_, _, event)| matches!(event, Event::Proposed(_))).count();
        assert_eq!(told, 12, "each node was told of both");
    }

    #[test]
    fn what_a_node_has_not_synced_of_the_membership_it_hears_again() {
        let mut sim = Sim::builder(3, 1).gossip(true).build();
        sim.run_for(Duration::from_secs(5));
        for round in 0..20 {
            sim.act(NodeId(1), |node| node.seat(NodeId(2), crate::ids::ZoneId(round), 1)).unwrap();
            sim.run_for(Duration::from_millis(u64::from(round) * 40));
            sim.crash(NodeId(3));
            sim.restart(NodeId(3));
        }
        sim.run_for(Duration::from_secs(10));
        assert!(sim.memberships_agree());
        let starts = sim.node(NodeId(1)).unwrap().membership().unwrap().record(NodeId(3)).unwrap().presence();
        assert!(starts.unwrap().ordinal >= 2);
    }
}
