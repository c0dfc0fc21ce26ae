//! What a node says of itself, as plain data: what an operator's tools take in.
//!
//! Names of fields don't change within [`Status::FORMAT`]; further ones may come. Durations are in microseconds (`_us`).
//! Identities beyond 53 bits are text, for readers whose numbers are floating-point.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Counters;
use crate::histogram::Summary;
use crate::ids::{NodeId, PartitionId};

/// A node at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// [`Status::FORMAT`] of the program that made it.
    pub format: u32,
    /// Who it is.
    pub identity: IdentityStatus,
    /// What it knows of the cluster.
    pub cluster: ClusterStatus,
    /// How it sees the others: suspects first, then those of whom nothing was heard for longest.
    pub peers: Shown<PeerStatus>,
    /// What it keeps for others.
    pub hints: HintStatus,
    /// What is not known to be at all its owners. All zero at every node: the cluster is healed.
    pub debt: DebtStatus,
    /// How owners become equal.
    pub repair: RepairStatus,
    /// Partitions that change hands.
    pub transfers: TransferStatus,
    /// How fast background work may go, shard by shard.
    pub admission: Vec<AdmissionStatus>,
    /// Its storages.
    pub storage: StorageStatus,
    /// What waits in it.
    pub queues: QueueStatus,
    /// What it has done since it was opened.
    pub counters: Counters,
    /// How long that took, by the name of the phase ([`crate::latencies::Phase::name`]).
    pub latencies: BTreeMap<String, Summary>,
}

/// The first few of a list, and how many there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shown<T> {
    /// How many there are.
    pub total: u64,
    /// The first of them, in the order that the field's documentation says.
    pub first: Vec<T>,
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self { total: 0, first: Vec::new() }
    }
}

impl<T> Shown<T> {
    /// The first `most` of them.
    pub(crate) fn of(all: impl IntoIterator<Item = T>, most: usize) -> Self {
        let (mut total, mut first) = (0, Vec::new());
        for one in all {
            total += 1;
            if first.len() < most {
                first.push(one);
            }
        }
        Self { total, first }
    }
}

/// Who a node is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IdentityStatus {
    /// The cluster, in hexadecimal.
    pub cluster: String,
    /// The node.
    pub node: u64,
    /// By which store a layout names it, in hexadecimal; none: the one that it was founded with.
    pub store: Option<String>,
    /// This start of it, in hexadecimal.
    pub start: String,
    /// The lowest and the highest version of the protocol that it speaks.
    pub protocols: [u16; 2],
    /// The highest version that all members speak, where it takes part in gossip.
    pub spoken_by_all: Option<u16>,
    /// So many shards share its partitions.
    pub shards: u64,
    /// For how long it has been open.
    pub open_us: u64,
}

/// What a node knows of its cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// How many layouts came before the decided one.
    pub epoch: u64,
    /// The layout that is known to be decided in all partitions: its version and hash.
    pub decided: String,
    /// The latest that is known: the one that partitions go for. The same as `decided` while none changes.
    pub latest: String,
    /// Those that are known above the decided one, ascending; at most [`Status::FIRST`].
    pub pending: Vec<String>,
    /// Copies of each partition.
    pub copies: u8,
    /// Partitions.
    pub partitions: u64,
    /// Partitions in which more than the decided layout counts, as far as is known here.
    pub undecided: u64,
    /// Members of the decided or the latest layout, and whom gossip knows, by name.
    pub members: Shown<MemberStatus>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Who.
    pub node: u64,
    /// `joining`, `active`, `leaving`, `removed`, or `client`, where there is gossip; else `active`.
    pub phase: String,
    /// Its failure domain.
    pub zone: u32,
    /// How much it takes in proportion to the others.
    pub weight: u32,
    /// Partitions that it owns by the decided layout.
    pub owned: u64,
    /// Partitions that it owns by the latest.
    pub to_own: u64,
}

/// How one peer is seen from here. Each shard judges by itself: the gravest counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Who.
    pub node: u64,
    /// It is skipped until it answers.
    pub suspected: bool,
    /// How long an answer has been waited for since anything was heard of it; zero while none is.
    pub silent_us: u64,
    /// What speaks against it, in thousandths of φ.
    pub phi: u32,
    /// The mean of its latest answers' times; zero while none is known.
    pub typical_us: u64,
    /// Their 95th percentile, once enough is known.
    pub p95_us: Option<u64>,
    /// Requests, batches of hints and questions that it has not answered.
    pub in_flight: u64,
    /// How long its answers to reads took, since this node was opened.
    pub reads: Summary,
    /// How long its acknowledgements of writes took.
    pub writes: Summary,
}

/// What a node keeps for others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HintStatus {
    /// How many hints.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For whom; those with most hints first.
    pub targets: Shown<HintTarget>,
}

/// What is kept for one node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HintTarget {
    /// For whom.
    pub node: u64,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the oldest has been kept: never too short, unless it is from before; while hints come steadily no more
    /// than a sixteenth of the time since the node was opened too long, or a second.
    pub oldest_us: u64,
    /// The oldest is from an earlier start, and older than this one.
    pub from_before: bool,
    /// Whether a batch is on its way.
    pub delivering: bool,
}

/// What is not known to be at all its owners ([`Debt`](super::Debt)).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DebtStatus {
    /// Hints.
    pub hints: u64,
    /// Partitions that have lost something here and are not filled again, by name.
    pub refilling: Shown<PartitionId>,
    /// Partitions found to differ from another owner's and not found equal since.
    pub apart: Shown<(PartitionId, NodeId)>,
    /// Partitions not compared with another owner since they changed last here.
    pub unknown: Shown<(PartitionId, NodeId)>,
    /// Partitions of which another owner has missed a write that is kept for it nowhere.
    pub dirty: Shown<(PartitionId, NodeId)>,
}

impl DebtStatus {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.hints + self.refilling.total + self.apart.total + self.unknown.total + self.dirty.total == 0
    }
}

/// How far owners have become equal.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RepairStatus {
    /// Exchanges that this node has begun and that are not over.
    pub running: u64,
    /// Exchanges that wait for room.
    pub waiting: u64,
    /// Pairs of a partition that this node owns and another owner of it.
    pub pairs: u64,
    /// Pairs that were found equal at least once since this node was opened.
    pub agreed: u64,
    /// How long ago the last pair was found equal.
    pub last_us: Option<u64>,
    /// Of all pairs that ever were, how long ago the one was that was found equal least recently.
    pub longest_us: Option<u64>,
    /// Records sent to owners that were behind.
    pub sent: u64,
    /// Records that came from other owners.
    pub received: u64,
    /// How many of these changed anything.
    pub needed: u64,
}

/// Partitions that change hands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferStatus {
    /// On their way to this node, or staying here by a later layout; by name.
    pub coming: Shown<ComingStatus>,
    /// Copies that no layout names any more, by name.
    pub going: Shown<GoingStatus>,
    /// Partitions that have come, since this node was opened.
    pub came: u64,
    /// Copies that were dropped.
    pub dropped: u64,
    /// Records that came for partitions on their way here.
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

/// A partition on its way here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComingStatus {
    /// Which.
    pub partition: u32,
    /// The layout by which this node owns it, once that is decided.
    pub layout: String,
    /// Records that have come of it.
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// What it waits for, for people ([`crate::Node::coming`] has it as data).
    pub waits: String,
}

/// A copy that is to be dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GoingStatus {
    /// Of which partition.
    pub partition: u32,
    /// The layout that names others.
    pub layout: String,
    /// Why it is not dropped yet, for people ([`crate::Node::going`] has it as data).
    pub kept: String,
}

/// How fast background work of one shard may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdmissionStatus {
    /// Between two slices of a kind; zero is full speed.
    pub pause_us: u64,
    /// Above this it grows: [`Timing::foreground`](crate::config::Timing::foreground).
    pub threshold_us: u64,
    /// The 99th percentile of requests by which it was judged last, at most an eighth too high; none if there were none.
    pub p99_us: Option<u64>,
}

/// The storages of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StorageStatus {
    /// Why the node serves nothing any more, if a sync has failed.
    pub fenced: Option<String>,
    /// Partitions of which it has a copy.
    pub partitions: u64,
    /// Partitions in which its vote was lost with what its disk had.
    pub votes_lost: u64,
    /// Records that are still to be read, for a digest tree or a scrub.
    pub to_read: u64,
    /// Records whose residual the clock doesn't cover yet.
    pub unsettled: u64,
}

/// What waits in a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Requests in progress, its clients' and other nodes'.
    pub in_flight: u64,
    /// The most that may be: [`Limits::in_flight`](crate::config::Limits::in_flight), for each shard.
    pub in_flight_limit: u64,
    /// Answers and acknowledgements that wait for a sync.
    pub unsynced: u64,
    /// What may leave and was not taken out.
    pub ready: u64,
    /// Inputs in the host's queue, where it is this library's [`Server`](crate::runtime).
    pub inbox: Option<u64>,
}

impl Status {
    /// Raised when a field's name or meaning changes.
    pub const FORMAT: u32 = 1;
    /// So many members and peers are shown at most.
    pub const NODES: usize = 256;
    /// So many of any other list are shown at most.
    pub const FIRST: usize = 32;
}
