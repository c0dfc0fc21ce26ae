//! Several nodes in one process: for examples, tests, and programs that are a cluster by themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::TryRng;
use rand::rngs::SysRng;

use super::client::Client;
use super::clock::wait_until;
use super::local::LocalNetwork;
use super::server::{Server, Stopped};
use crate::causality::{Identity, Secret};
use crate::config::{ConfigError, Limits, Timing};
use crate::error::OpenError;
use crate::ids::{ClusterId, NodeId};
use crate::members::Introduce;
use crate::node::{Counters, Event, Keyspace, Node, Setup};
use crate::ring::{Layout, Member, plan_first};
use crate::storage::{MemoryStorage, Storage};

/// Nodes of one process, connected within it. Each can be stopped, crashed, restarted, isolated and slowed.
pub struct Cluster<S: Storage + 'static = MemoryStorage> {
    setups: Mutex<BTreeMap<NodeId, Setup>>,
    nodes: Mutex<BTreeMap<NodeId, Place<S>>>,
    network: LocalNetwork,
    layout: Arc<Layout>,
    on_event: EventSink,
    /// What nodes had done before they went down.
    past: Mutex<Counters>,
}

type EventSink = Arc<dyn Fn(NodeId, Event) + Send + Sync>;

enum Place<S: Storage + 'static> {
    Up(Server<S>),
    Down(Vec<S>),
}

/// How a cluster is made.
pub struct ClusterBuilder {
    members: Vec<Member>,
    partitions: u32,
    shards: usize,
    keyspaces: Vec<Keyspace>,
    limits: Limits,
    timing: Timing,
    gossip: bool,
    on_event: EventSink,
}

impl Cluster {
    /// `count` nodes named n1, n2, … in memory, 256 partitions, with N = 3 (or `count`, if that is less), and one
    /// keyspace, "default".
    #[must_use]
    pub fn builder(count: u64) -> ClusterBuilder {
        ClusterBuilder {
            members: (1..=count).map(|node| Member::new(NodeId(node))).collect(),
            partitions: 256,
            shards: 1,
            keyspaces: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            gossip: false,
            on_event: Arc::new(|_, _| {}),
        }
    }
}

impl ClusterBuilder {
    /// Nodes with these names, zones and weights.
    #[must_use]
    pub fn members(mut self, members: Vec<Member>) -> Self {
        self.members = members;
        self
    }

    /// So many partitions.
    #[must_use]
    pub const fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// So many shards in each node, each with a storage of its own.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Adds a keyspace; the first one replaces "default".
    #[must_use]
    pub fn keyspace(mut self, keyspace: Keyspace) -> Self {
        self.keyspaces.push(keyspace);
        self
    }

    /// These bounds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// These durations.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Whether the nodes tell each other who belongs to the cluster, with the first for a seed. Default false: the
    /// membership stays as it is.
    #[must_use]
    pub const fn gossip(mut self, on: bool) -> Self {
        self.gossip = on;
        self
    }

    /// Calls this with what the nodes report. It must not block, nor call the cluster.
    #[must_use]
    pub fn on_event(mut self, on_event: impl Fn(NodeId, Event) + Send + Sync + 'static) -> Self {
        self.on_event = Arc::new(on_event);
        self
    }

    /// Starts the cluster with storages in memory.
    ///
    /// # Errors
    /// [`OpenError`] for settings that don't go together. Nothing was started.
    pub fn start(self) -> Result<Cluster, OpenError> {
        self.start_with(|_, _| MemoryStorage::new())
    }

    /// Starts the cluster with the storages that `storage` makes, for each node and shard.
    ///
    /// # Errors
    /// [`OpenError`] for settings that don't go together, or a storage that can't be opened.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn start_with<S: Storage + 'static>(
        self,
        mut storage: impl FnMut(NodeId, usize) -> S,
    ) -> Result<Cluster<S>, OpenError> {
        let default = match self.members.len() {
            0 => return Err(ConfigError::Nothing("member").into()),
            count @ 1..3 => crate::config::Quorum::new(count as u8, count as u8, count as u8)?,
            _ => crate::config::Quorum::default(),
        };
        let keyspaces =
            if self.keyspaces.is_empty() { vec![Keyspace::new("default").quorum(default)] } else { self.keyspaces };
        let n = keyspaces[0].quorum.n();
        let layout = match plan_first(&self.members, n, self.partitions) {
            Ok(plan) => Arc::new(plan.layout),
            Err(error) => return Err(ConfigError::Layout(error.to_string()).into()),
        };
        let mut random = [0; 32];
        SysRng.try_fill_bytes(&mut random).expect("the system has randomness");
        let (cluster, secret) = random.split_at(16);
        let identity = Identity {
            cluster: ClusterId(u128::from_le_bytes(cluster.try_into().expect("16 bytes"))),
            secret: Secret::new(secret.try_into().expect("16 bytes")),
        };
        let introduce = |member: &Member| {
            let seeds = layout.members().iter().take(1).map(|member| member.node).collect();
            Introduce { zone: member.zone, weight: member.weight, ..Introduce::new("", seeds) }
        };
        let setup = |member: &Member| Setup {
            elastic: false,
            client: false,
            identity,
            node: member.node,
            layout: Arc::clone(&layout),
            keyspaces: keyspaces.clone(),
            founding: false,
            membership: self.gossip.then(|| introduce(member)),
            limits: self.limits.clone(),
            timing: self.timing.clone(),
        };
        let cluster = Cluster {
            setups: Mutex::new(layout.members().iter().map(|member| (member.node, setup(member))).collect()),
            nodes: Mutex::new(BTreeMap::new()),
            network: LocalNetwork::new(),
            layout: Arc::clone(&layout),
            on_event: self.on_event,
            past: Mutex::default(),
        };
        for member in layout.members() {
            let storages = (0..self.shards).map(|shard| storage(member.node, shard)).collect();
            cluster.open(member.node, storages, true)?;
        }
        Ok(cluster)
    }
}

impl<S: Storage + 'static> Cluster<S> {
    fn open(&self, node: NodeId, storages: Vec<S>, founding: bool) -> Result<(), OpenError> {
        let sink = Arc::clone(&self.on_event);
        let setup = self.setups.lock()[&node].clone();
        let server = Server::open_local(Setup { founding, ..setup }, storages, &self.network, move |event| {
            sink(node, event);
        })?;
        self.nodes.lock().insert(node, Place::Up(server));
        Ok(())
    }

    /// Starts a node that no layout names yet. It becomes known by gossip ([`ClusterBuilder::gossip`]), and owns something
    /// when a plan that names it is committed: [`Server::staged`], [`Server::preview`], [`Server::commit_plan`].
    ///
    /// # Errors
    /// [`OpenError`] for a storage that can't be opened, and for a name that is taken or a cluster without gossip
    /// ([`ConfigError::NotAMember`]). Nothing was started.
    pub fn join(&self, member: Member, storages: Vec<S>) -> Result<(), OpenError> {
        let refused = ConfigError::NotAMember(member.node);
        let setup = {
            let mut setups = self.setups.lock();
            let like = setups.values().next().cloned().ok_or_else(|| refused.clone())?;
            let Some(introduce) = like.membership.clone().filter(|_| !setups.contains_key(&member.node)) else {
                return Err(refused.into());
            };
            let introduce = Introduce { zone: member.zone, weight: member.weight, ..introduce };
            let setup = Setup { node: member.node, membership: Some(introduce), ..like };
            setups.insert(member.node, setup.clone());
            setup
        };
        let opened = self.open(setup.node, storages, false);
        if opened.is_err() {
            self.setups.lock().remove(&member.node);
        }
        opened
    }

    /// Starts a client that coordinates for itself ([`Setup::client`]), a hop less for each request than through a node that
    /// does not own the key. It is the caller's, and none of [`Cluster::members`].
    ///
    /// # Errors
    /// [`OpenError`] for a name that is taken ([`ConfigError::Client`]). Nothing was started.
    pub fn start_client(&self, node: NodeId) -> Result<Server<MemoryStorage>, OpenError> {
        let setup = {
            let setups = self.setups.lock();
            let like = setups.values().next().cloned().filter(|_| !setups.contains_key(&node));
            Setup { node, client: true, ..like.ok_or(ConfigError::Client(node))? }
        };
        let sink = Arc::clone(&self.on_event);
        Server::open_local(setup, vec![MemoryStorage::new()], &self.network, move |event| sink(node, event))
    }

    /// Waits until every node that is up knows the layout to be decided in all that it has a part in, and has neither a
    /// copy left to fill nor one to drop. False if that takes longer than `timeout`: [`Node::coming`] and
    /// [`Node::going`] say why.
    #[must_use]
    pub fn has_changed_to(&self, layout: &Layout, timeout: Duration) -> bool {
        wait_until(timeout, || {
            self.nodes.lock().values().all(|place| match place {
                Place::Up(server) => server.with_node(|node| node.has_changed_to(layout)).unwrap_or(true),
                Place::Down(_) => true,
            })
        })
    }

    /// All nodes that are members or are to become ones.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        self.setups.lock().keys().copied().collect()
    }

    /// Who owned what when the cluster was made.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// A handle for requests through `node`; none while it is down.
    #[must_use]
    pub fn client(&self, node: NodeId) -> Option<Client> {
        match self.nodes.lock().get(&node)? {
            Place::Up(server) => Some(server.client()),
            Place::Down(_) => None,
        }
    }

    /// Looks at the server of `node`, or acts through it; none while it is down.
    pub fn with_server<T>(&self, node: NodeId, look: impl FnOnce(&Server<S>) -> T) -> Option<T> {
        match self.nodes.lock().get(&node)? {
            Place::Up(server) => Some(look(server)),
            Place::Down(_) => None,
        }
    }

    /// Stops a node in good order; its storages wait for a restart. Does nothing if it is down.
    pub fn stop(&self, node: NodeId) {
        self.take_down(node, Server::stop, |_| {});
    }

    /// Kills a node; then `power_cut` does to each of its storages what a crash does to a disk.
    pub fn crash(&self, node: NodeId, power_cut: impl FnMut(&mut S)) {
        self.take_down(node, Server::kill, power_cut);
    }

    fn take_down(&self, node: NodeId, end: fn(Server<S>) -> Stopped<S>, mut then: impl FnMut(&mut S)) {
        let mut nodes = self.nodes.lock();
        let Some(place) = nodes.remove(&node) else { return };
        let Place::Up(server) = place else {
            nodes.insert(node, place);
            return;
        };
        drop(nodes);
        // What it still holds is on its disk, and counted again when it is back.
        let counters = Counters { hints_pending: 0, unsettled: 0, ..server.counters() };
        self.past.lock().add(&counters);
        let mut storages = end(server).storages;
        storages.iter_mut().for_each(&mut then);
        self.nodes.lock().insert(node, Place::Down(storages));
    }

    /// Starts a node that is down, with what its storages hold. Does nothing if it is up.
    ///
    /// # Errors
    /// [`OpenError`]; its storages are gone then.
    pub fn restart(&self, node: NodeId) -> Result<(), OpenError> {
        let mut nodes = self.nodes.lock();
        match nodes.remove(&node) {
            Some(Place::Down(storages)) => {
                drop(nodes);
                self.open(node, storages, false)
            }
            Some(up) => {
                nodes.insert(node, up);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Nothing gets to or from the node, or everything does again.
    pub fn isolate(&self, node: NodeId, on: bool) {
        self.network.isolate(node, on);
    }

    /// All that goes to or from the node takes so much longer; zero ends it.
    pub fn slow(&self, node: NodeId, by: Duration) {
        self.network.slow(node, by);
    }

    /// Waits until no node that is up has a request in progress, or holds hints for another that is up. False if that
    /// takes longer than `timeout`.
    #[must_use]
    pub fn settle(&self, timeout: Duration) -> bool {
        wait_until(timeout, || self.is_settled())
    }

    /// Waits until all hints that nodes which are up hold now are home. False if that takes longer than `timeout`: a
    /// target may be down. What is kept meanwhile isn't waited for.
    #[must_use]
    pub fn hints_settled(&self, timeout: Duration) -> bool {
        let look = |look: &dyn Fn(NodeId, &Node<S>)| {
            for (&id, place) in self.nodes.lock().iter() {
                if let Place::Up(server) = place {
                    server.with_node(|node| look(id, node));
                }
            }
        };
        let marks = Mutex::new(BTreeMap::new());
        look(&|id, node| _ = marks.lock().insert(id, node.hint_mark()));
        wait_until(timeout, || {
            look(&|id, node| marks.lock().retain(|at, mark| *at != id || !node.hints_settled(mark)));
            marks.lock().is_empty()
        })
    }

    fn is_settled(&self) -> bool {
        let nodes = self.nodes.lock();
        let is_up = |node: &NodeId| matches!(nodes.get(node), Some(Place::Up(_)));
        nodes.values().all(|place| match place {
            Place::Up(server) => server
                .with_node(|node| node.in_flight() == 0 && node.hints().iter().all(|(target, _)| !is_up(target)))
                .unwrap_or(true),
            Place::Down(_) => true,
        })
    }

    /// What the nodes have done in all their starts, in one sum.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = *self.past.lock();
        for place in self.nodes.lock().values() {
            if let Place::Up(server) = place {
                sum.add(&server.counters());
            }
        }
        sum
    }
}

impl<S: Storage + 'static> fmt::Debug for Cluster<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({:?})", self.members())
    }
}
impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterBuilder({:?})", self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;

    #[test]
    fn a_client_of_its_own_reads_and_writes_what_the_nodes_keep() {
        let cluster = Cluster::builder(5).start().unwrap();
        let client = cluster.start_client(NodeId(99)).unwrap();
        let (own, other) = (client.client(), cluster.client(NodeId(1)).unwrap());
        let (own, other) = (own.bucket("default").unwrap(), other.bucket("default").unwrap());
        let written = own.put("k", "v", &Context::empty()).wait().unwrap();
        assert_eq!(other.get("k").wait().unwrap().values, ["v"]);
        let _ = other.put("k", "w", &written.context).wait().unwrap();
        assert!(cluster.settle(Duration::from_secs(60)));
        assert_eq!(own.get("k").wait().unwrap().values, ["w"]);
        assert!(matches!(cluster.start_client(NodeId(2)), Err(OpenError::Config(ConfigError::Client(NodeId(2))))));
        assert!(!cluster.members().contains(&NodeId(99)));
    }

    #[test]
    fn hints_are_settled_when_their_target_is_back_and_has_them() {
        let long = Duration::from_secs(60);
        let cluster = Cluster::builder(3).start().unwrap();
        cluster.stop(NodeId(3));
        let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
        let _ = bucket.put("k", "v", &Context::empty()).wait().unwrap();
        assert!(cluster.settle(long) && !cluster.hints_settled(Duration::ZERO));
        let nodes = cluster.nodes.lock();
        let Some(Place::Up(holder)) = nodes.get(&NodeId(1)) else { panic!("it is up") };
        assert!(!holder.hints_settled(Duration::ZERO));
        drop(nodes);
        cluster.restart(NodeId(3)).unwrap();
        assert!(cluster.hints_settled(long));
        assert_eq!(cluster.counters().hints_pending, 0);
    }
}
