//! What predictions are made from: how long messages take, who coordinates, how often nodes are away.

use std::time::Duration;

use super::SlaError;
use super::formulas::all_but;
use super::latency::{Latency, Trip};
use crate::config::{Durability, Quorum};
use crate::histogram::Histogram;
use crate::latencies::{Latencies, PeerLatencies, Phase};

/// The way to one replica and back.
#[derive(Clone, PartialEq, Debug)]
pub struct Replica {
    /// Of a write: W and A of the WARS model. Until the replica shows the write, and until its acknowledgement has come.
    pub write: Trip,
    /// Of a read: R and S. Until the replica looks, and until its answer has come.
    pub read: Trip,
}

/// Who coordinates a request.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Coordinator {
    /// None of the replicas, as in the WARS model: no replica is nearer than it says.
    Apart,
    /// None of the replicas, but one of them is near it, another one for each request: each way to the others takes so
    /// much longer.
    Near(Duration),
    /// One of the replicas, another one for each request, by clients that know who owns what. Its own copy is read at
    /// once, and written after `stores`, which is mostly a sync; nothing is acknowledged before, however many others have
    /// answered.
    Owner {
        /// Until the coordinator's own copy of a write is durable.
        stores: Latency,
    },
    /// Any node of the cluster: where it owns a copy, as [`Coordinator::Owner`]; else it reads from others, and hands a
    /// write to an owner and its answer back, each of which takes a message.
    AnyNode {
        /// Until the coordinator's own copy of a write is durable.
        stores: Latency,
    },
}

/// Which replicas a read asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Asks {
    /// R of them, those that usually answer soonest, as this library does unless told otherwise.
    #[default]
    Fastest,
    /// All N, of which the first R to answer count, as in the paper, the WARS model, and with
    /// [`GetOptions::all`](crate::GetOptions::all).
    All,
}

/// What is known, or assumed, of a cluster.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Model {
    /// So many nodes are in the cluster: no setting has more copies. Default 16.
    pub nodes: u16,
    /// The ways to replicas. One: all are like it, and independent. Several: the copies of a key are on nodes drawn from
    /// them, each once. With a coordinator that is an owner, its own copy comes on top of those.
    pub replicas: Vec<Replica>,
    /// Who coordinates. Default [`Coordinator::Apart`].
    pub coordinator: Coordinator,
    /// Whom reads ask. Default [`Asks::Fastest`]; [`Asks::All`] in the models from the literature.
    pub asks: Asks,
    /// The share of the time that a node can be reached, independently of the others. An assumption: default 0.999.
    pub up: f64,
    /// How safe puts must be before they are acknowledged. Default [`Durability::Quorum`]. With less some copies count
    /// before they are synced: a write to these takes as long as a read of them, and what is lost depends on
    /// [`Model::crash`]. It takes a coordinator that owns a copy, since no other can waive a sync.
    pub durability: Durability,
    /// How likely a disk is lost for good while it has a write that other nodes don't have yet, independently of the
    /// others. An assumption: default 0.00001, which is a disk that lasts a year, and five minutes until the others have it.
    pub disk_loss: f64,
    /// How likely a node's process ends, by a crash or for want of power, before it syncs what it acknowledged from memory
    /// ([`Timing::flush`](crate::config::Timing::flush): a second), independently of the others. An assumption: default
    /// 0.000001, a crash in eleven days. Nodes that lose their power together do not crash independently: then what they
    /// had in memory alone is lost, however many they were.
    pub crash: f64,
    /// The share of requests that are reads. Default ½.
    pub reads: f64,
}

impl Model {
    /// Answers that a peer must have given to reads and to writes before it is taken for measured: with fewer the tail is
    /// a guess.
    pub const LEAST_ANSWERS: u64 = 100;

    /// All replicas like this one.
    #[must_use]
    pub fn alike(replica: Replica) -> Self {
        Self::of(vec![replica], Coordinator::Apart, Asks::Fastest)
    }

    fn of(replicas: Vec<Replica>, coordinator: Coordinator, asks: Asks) -> Self {
        let (nodes, durability) = (16, Durability::Quorum);
        Self { nodes, replicas, coordinator, asks, up: 0.999, durability, disk_loss: 1e-5, crash: 1e-6, reads: 0.5 }
    }

    /// What a node has measured ([`Node::latencies`](crate::Node::latencies)), in a cluster of so many nodes.
    ///
    /// Each peer's answers count as a whole: half of what they took is taken for the way there. Peers with fewer than
    /// [`Model::LEAST_ANSWERS`] to writes are left out; one with fewer to reads, since others are faster, is taken to read
    /// as slowly as it writes. The node's own copy takes a sync. The ways between two other nodes are taken to be like
    /// those from here. Acknowledgements are taken to have waited for a sync; where puts were made that waive it
    /// ([`Durability`]), what is predicted for those that don't is too fast. [`Model::up`], [`Model::disk_loss`],
    /// [`Model::crash`] and [`Model::reads`] are not measured: they keep their defaults.
    ///
    /// # Errors
    /// [`SlaError::Unmeasured`] if no peer has answered often enough.
    pub fn measured(latencies: &Latencies, nodes: u16) -> Result<Self, SlaError> {
        let whole =
            |histogram: &Histogram| Trip::Whole { took: Latency::Measured(histogram.clone().into()), there: 0.5 };
        let enough = |histogram: &Histogram| histogram.count() >= Self::LEAST_ANSWERS;
        let peers = latencies.peers().filter(|(_, peer)| enough(&peer.write));
        let replica = |peer: &PeerLatencies| {
            let read = if enough(&peer.read) { &peer.read } else { &peer.write };
            Replica { write: whole(&peer.write), read: whole(read) }
        };
        let replicas: Vec<_> = peers.map(|(_, peer)| replica(peer)).collect();
        if replicas.is_empty() {
            return Err(SlaError::Unmeasured { least: Self::LEAST_ANSWERS });
        }
        let sync = latencies.of(Phase::Sync);
        // A host that doesn't say how long its syncs take has storages that take none.
        let stores = if enough(sync) { Latency::Measured(sync.clone().into()) } else { Latency::Fixed(Duration::ZERO) };
        Ok(Self { nodes, ..Self::of(replicas, Coordinator::AnyNode { stores }, Asks::Fastest) })
    }

    /// `LinkedIn`'s Voldemort on solid-state disks, as fitted by Bailis and others (PBS, VLDB 2012, Table 3).
    #[must_use]
    pub fn linkedin_ssd() -> Self {
        Self::pbs(ssd(), ssd())
    }

    /// The same on spinning disks.
    #[must_use]
    pub fn linkedin_disk() -> Self {
        Self::pbs(fit(0.38, 1.05, 1.51, 0.183), ssd())
    }

    /// Yammer's Riak. The shape of its writes' Pareto part is 3.5, as in the authors' simulator; copies of the paper say
    /// 3.35, which does not give the paper's own figures.
    #[must_use]
    pub fn yammer() -> Self {
        Self::pbs(fit(0.939, 3.0, 3.5, 0.0028), fit(0.982, 1.5, 3.8, 0.0217))
    }

    /// As [`Model::linkedin_disk`], with one replica in each of the data centres, 75 ms apart.
    #[must_use]
    pub fn wan() -> Self {
        Self { coordinator: Coordinator::Near(Duration::from_millis(75)), ..Self::linkedin_disk() }
    }

    fn pbs(write: Latency, rest: Latency) -> Self {
        let write = Trip::Ways { there: write, back: rest.clone() };
        let read = Trip::Ways { there: rest.clone(), back: rest };
        Self::of(vec![Replica { write, read }], Coordinator::Apart, Asks::All)
    }

    /// Whether so many copies can be predicted.
    pub(super) fn knows(&self, copies: u8) -> bool {
        let others = if self.is_owner() { copies.saturating_sub(1) } else { copies };
        u16::from(copies) <= self.nodes && (self.replicas.len() == 1 || self.replicas.len() >= usize::from(others))
    }

    /// Whether a coordinator may own a copy.
    pub(super) fn is_owner(&self) -> bool {
        matches!(self.coordinator, Coordinator::Owner { .. } | Coordinator::AnyNode { .. })
    }

    /// The share of requests whose coordinator owns a copy.
    pub(super) fn owned(&self, copies: u8) -> f64 {
        match self.coordinator {
            Coordinator::Apart | Coordinator::Near(_) => 0.0,
            Coordinator::Owner { .. } => 1.0,
            Coordinator::AnyNode { .. } => f64::from(copies) / f64::from(self.nodes),
        }
    }

    /// The share of writes that are handed to an owner.
    pub(super) fn handed_on(&self, copies: u8) -> f64 {
        if self.is_owner() { 1.0 - self.owned(copies) } else { 0.0 }
    }

    /// How likely an acknowledged write outlives what is lost before others than the W have it.
    pub(super) fn durable(&self, quorum: Quorum) -> f64 {
        let disk = self.disk_loss;
        // A copy that was in memory is lost by a crash, or later with its disk.
        let memory = self.crash + disk - self.crash * disk;
        let w = i32::from(quorum.w());
        all_but(match self.durability {
            Durability::Quorum => disk.powi(w),
            Durability::Coordinator => disk * memory.powi(w - 1),
            // Who syncs it is one of the W if these are all.
            Durability::One if quorum.w() == quorum.n() => disk * memory.powi(w - 1),
            Durability::One => (1.0 - self.up * (1.0 - disk)) * memory.powi(w),
            Durability::Memory => memory.powi(w),
        })
    }

    pub(super) fn validate(&self) -> Result<(), SlaError> {
        if self.replicas.is_empty() {
            return Err(SlaError::Latency("there is no way to any replica"));
        }
        if self.durability != Durability::Quorum && !self.is_owner() {
            return Err(SlaError::Durability(self.durability));
        }
        let shares = [("up", self.up), ("disk_loss", self.disk_loss), ("crash", self.crash), ("reads", self.reads)];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(SlaError::Share { name, share });
            }
        }
        Ok(())
    }
}

/// All published fits have one form: so many are Pareto, by the shortest in milliseconds and the shape, and the others
/// exponential, so many a millisecond.
fn fit(share: f64, least: f64, shape: f64, rate: f64) -> Latency {
    let tail = Latency::exponential_per_ms(rate).expect("it was published");
    Latency::Mixture(vec![(share, Latency::pareto_ms(least, shape).expect("it was published")), (1.0 - share, tail)])
}

fn ssd() -> Latency {
    fit(0.9122, 0.235, 10.0, 1.66)
}
