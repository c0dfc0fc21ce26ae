//! An operator's acts on a running node.

use std::sync::Arc;

use super::server::Server;
use crate::ids::{LayoutId, NodeId, ZoneId};
use crate::members::{ActError, Membership};
use crate::node::Node;
use crate::ring::{Change, Layout, Plan, PlanError};
use crate::storage::Storage;

/// The membership and the layout.
impl<S: Storage + 'static> Server<S> {
    /// Who belongs to the cluster, as far as the node knows; `None` if it takes no part in gossip.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        self.with_node(|node| node.membership().cloned()).flatten()
    }

    /// Lets a member go: the next layout shall not name it. It serves until one without it is decided.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn leave(&self, node: NodeId) -> Result<(), ActError> {
        self.act(|own| own.leave(node)).unwrap_or(Err(ActError::Stopped))
    }

    /// Removes a member: it is gone, and comes back by [`Server::rejoin`] alone.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn remove(&self, node: NodeId) -> Result<(), ActError> {
        self.act(|own| own.remove(node)).unwrap_or(Err(ActError::Stopped))
    }

    /// Gives a member another zone and weight, at least 1, for the next layout.
    ///
    /// # Errors
    /// [`ActError`]; nothing was changed.
    pub fn seat(&self, node: NodeId, zone: ZoneId, weight: u32) -> Result<(), ActError> {
        self.act(|own| own.seat(node, zone, weight)).unwrap_or(Err(ActError::Stopped))
    }

    /// This node, having been removed, joins again as one that is new.
    ///
    /// # Errors
    /// [`ActError`] if it isn't removed; nothing was changed.
    pub fn rejoin(&self) -> Result<(), ActError> {
        self.act(Node::rejoin).unwrap_or(Err(ActError::Stopped))
    }

    /// The change that the membership asks for; `None` if there is nothing to do.
    #[must_use]
    pub fn staged(&self) -> Option<Change> {
        self.with_node(Node::staged).flatten()
    }

    /// What a change would do to the highest layout that is known. Nothing is changed. The node stands still while that
    /// is planned: up to a second with a thousand members.
    ///
    /// # Errors
    /// [`PlanError`] if it can't be made.
    pub fn preview(&self, change: &Change) -> Result<Plan, PlanError> {
        self.with_node(|node| node.preview(change)).expect("it is there until the server has ended")
    }

    /// Commits a plan: its layout is proposed here, and told to all. It is decided when the data has moved.
    ///
    /// # Errors
    /// [`ActError::Stale`] if the planner doesn't give this plan any more, [`ActError::Unfinished`] if another change is
    /// on its way that this one has no reason to supersede; nothing was changed.
    pub fn commit_plan(&self, plan: &Plan) -> Result<LayoutId, ActError> {
        self.act(|own| own.commit_plan(plan)).unwrap_or(Err(ActError::Stopped))
    }

    /// Proposes a layout that the host hands in, gossip or not. One that is known already changes nothing.
    ///
    /// # Errors
    /// [`ActError`] if it has another number of copies or partitions, or is superseded; nothing was changed.
    pub fn propose(&self, layout: Arc<Layout>) -> Result<(), ActError> {
        self.act(|own| own.propose(layout)).unwrap_or(Err(ActError::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::clock::wait_until;
    use crate::causality::Context;
    use crate::config::{ConfigError, Timing};
    use crate::error::OpenError;
    use crate::ids::{NodeId, ZoneId};
    use crate::ring::{Member, Plan};
    use crate::runtime::{Cluster, Server};
    use crate::storage::MemoryStorage;

    #[test]
    fn what_one_server_is_told_all_learn() {
        let timing = Timing { gossip: Duration::from_millis(20), ..Timing::default() };
        let cluster = Cluster::builder(4).partitions(16).timing(timing).gossip(true).start().unwrap();
        let knows = |node: u64| cluster.with_server(NodeId(node), Server::membership).flatten().unwrap();
        let long = Duration::from_secs(60);
        assert!(wait_until(long, || (1..=4).all(|node| knows(node).len() == 4)));
        let plan = cluster.with_server(NodeId(2), |server| {
            server.seat(NodeId(1), ZoneId(1), 2).unwrap();
            let plan = server.preview(&server.staged().unwrap()).unwrap();
            server.commit_plan(&plan).unwrap();
            plan
        });
        let id = plan.unwrap().id();
        assert!(wait_until(long, || (1..=4).all(|node| knows(node).layouts().highest() == id)));
        assert!(cluster.with_server(NodeId(9), |_| ()).is_none());
    }

    #[test]
    fn a_node_joins_and_another_leaves_while_the_cluster_serves() {
        let timing = Timing { gossip: Duration::from_millis(20), ..Timing::default() };
        let cluster = Cluster::builder(3).partitions(16).timing(timing).gossip(true).start().unwrap();
        let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
        for key in 0..100 {
            let _ = bucket.put(format!("k{key}"), "value", &Context::empty()).wait().unwrap();
        }
        let taken = cluster.join(Member::new(NodeId(3)), vec![MemoryStorage::new()]);
        assert!(matches!(taken, Err(OpenError::Config(ConfigError::NotAMember(NodeId(3))))), "{taken:?}");
        cluster.join(Member::new(NodeId(4)), vec![MemoryStorage::new()]).unwrap();
        let long = Duration::from_secs(60);
        let on = |node: u64, act: &dyn Fn(&Server<MemoryStorage>) -> Plan| {
            cluster.with_server(NodeId(node), |server| act(server)).unwrap()
        };
        assert!(wait_until(long, || cluster.with_server(NodeId(2), |server| server.staged().is_some()).unwrap()));
        let commit = |server: &Server<MemoryStorage>| {
            let plan = server.preview(&server.staged().unwrap()).unwrap();
            server.commit_plan(&plan).unwrap();
            plan
        };
        let plan = on(2, &commit);
        assert_eq!(plan.layout.members().len(), 4);
        assert!(cluster.has_changed_to(&plan.layout, long));
        // No successor while this one is not known to be finished.
        let is_known = |server: &Server<MemoryStorage>| server.membership().unwrap().layouts().decided() == plan.id();
        assert!(wait_until(long, || cluster.with_server(NodeId(2), is_known).unwrap()));
        cluster.with_server(NodeId(2), |server| server.leave(NodeId(1))).unwrap().unwrap();
        let plan = on(2, &commit);
        assert!(cluster.has_changed_to(&plan.layout, long));
        cluster.stop(NodeId(1));
        let bucket = cluster.client(NodeId(4)).unwrap().bucket("default").unwrap();
        for key in 0..100 {
            assert_eq!(bucket.get(format!("k{key}")).wait().unwrap().values, ["value"], "k{key}");
        }
    }
}
