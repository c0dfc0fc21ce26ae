//! How a simulated cluster is made.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use siphasher::sip128::SipHasher24;

use super::membership::introduce;
use super::{DiskTime, Ledger, Process, ServiceTime, Sim};
use crate::causality::{Identity, Secret};
use crate::codec::Codec;
use crate::config::{Limits, Mode, Quorum, Timing};
use crate::ids::{ClusterId, NodeId};
use crate::node::{Keyspace, Setup};
use crate::ring::{Member, plan_first};
use crate::sim::disk::SimDisk;
use crate::sim::network::Network;
use crate::time::Time;

/// How a simulated cluster is made.
#[derive(Clone, Debug)]
pub struct SimBuilder {
    members: Vec<Member>,
    partitions: u32,
    shards: usize,
    keyspaces: Vec<Keyspace>,
    limits: Limits,
    timing: Timing,
    seed: u64,
    encode: bool,
    elastic: bool,
    service: Option<ServiceTime>,
    disk: Option<DiskTime>,
    record: Option<NodeId>,
    gossip: bool,
}

impl SimBuilder {
    /// Nodes with these names, zones and weights instead of n1, n2, ….
    #[must_use]
    pub fn members(mut self, members: Vec<Member>) -> Self {
        self.members = members;
        self
    }

    /// So many partitions. Default 64.
    #[must_use]
    pub const fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// So many shards in each node. Default 1.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// These keyspaces instead of one called "default". The calls of a story work on the first.
    #[must_use]
    pub fn keyspaces(mut self, keyspaces: Vec<Keyspace>) -> Self {
        self.keyspaces = keyspaces;
        self
    }

    /// One keyspace with this quorum and mode.
    ///
    /// # Panics
    /// If there is no such quorum.
    #[must_use]
    pub fn quorum(self, n: u8, r: u8, w: u8, mode: Mode) -> Self {
        let quorum = Quorum::new(n, r, w).expect("a story names a quorum that exists");
        self.keyspaces(vec![Keyspace::new("default").quorum(quorum).mode(mode)])
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

    /// Whether messages go through their bytes. Default true; without it a run is faster.
    #[must_use]
    pub const fn encode(mut self, encode: bool) -> Self {
        self.encode = encode;
        self
    }

    /// Layouts may change ([`Sim::propose`]). Default false.
    #[must_use]
    pub const fn elastic(mut self) -> Self {
        self.elastic = true;
        self
    }

    /// Each process takes so long for what it gets. Default: no time at all.
    #[must_use]
    pub const fn service_time(mut self, service: ServiceTime) -> Self {
        self.service = Some(service);
        self
    }

    /// Each process waits for its disk so long. Default: a sync takes 300 µs, in which the process goes on, and reads take no
    /// time.
    #[must_use]
    pub const fn disk_time(mut self, disk: DiskTime) -> Self {
        self.disk = Some(disk);
        self
    }

    /// With a recording of what goes into this node: [`Sim::recording`].
    #[must_use]
    pub const fn record(mut self, node: NodeId) -> Self {
        self.record = Some(node);
        self
    }

    /// Whether nodes take part in gossip, with the first two for seeds. Default false: the membership stays as it is.
    #[must_use]
    pub const fn gossip(mut self, on: bool) -> Self {
        self.gossip = on;
        self
    }

    /// Starts the cluster.
    ///
    /// # Panics
    /// If the settings don't go together: a story is wrong then.
    #[must_use]
    pub fn build(self) -> Sim {
        let n = self.keyspaces[0].quorum.n();
        let layout = Arc::new(plan_first(&self.members, n, self.partitions).expect("a layout").layout);
        let identity = Identity { cluster: ClusterId(0x51), secret: Secret::new(*b"simulated secret") };
        let codec = Codec::new(identity, self.limits.frame);
        let mut sim = Sim {
            network: Network::default(),
            now: Time(1_000_000),
            queue: BinaryHeap::new(),
            sequence: 0,
            steps: 0,
            in_transit: 0,
            nodes: BTreeMap::new(),
            layout: Arc::clone(&layout),
            layouts: vec![Arc::clone(&layout)],
            identity,
            codec,
            encode: self.encode,
            service: self.service.or(self.disk.map(|_| ServiceTime::default())),
            disk: self.disk,
            rng: Xoshiro256PlusPlus::seed_from_u64(self.seed),
            next_ticket: 0,
            asked: BTreeSet::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            trace: SipHasher24::new(),
            keyspace: self.keyspaces[0].clone(),
            ledger: Ledger::default(),
            recording: None,
            to_record: self.record,
        };
        for member in layout.members() {
            let setup = Setup {
                identity,
                node: member.node,
                layout: Arc::clone(&layout),
                keyspaces: self.keyspaces.clone(),
                founding: true,
                elastic: self.elastic,
                client: false,
                membership: self.gossip.then(|| introduce(member, &layout)),
                limits: self.limits.clone(),
                timing: self.timing.clone(),
            };
            let disks: Vec<_> = (0..self.shards).map(|_| SimDisk::new()).collect();
            let node = Process::new(setup, disks);
            sim.nodes.insert(member.node, node);
            sim.restart(member.node);
        }
        sim
    }
}

impl Sim {
    /// As [`Sim::new`], with more to choose.
    #[must_use]
    pub fn builder(count: u64, seed: u64) -> SimBuilder {
        let n = count.min(3) as u8;
        SimBuilder {
            members: (1..=count).map(|node| Member::new(NodeId(node))).collect(),
            partitions: 64,
            shards: 1,
            keyspaces: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            seed,
            encode: true,
            elastic: false,
            service: None,
            disk: None,
            record: None,
            gossip: false,
        }
        .quorum(n, n.min(2), n.min(2), Mode::Sloppy)
    }
}
