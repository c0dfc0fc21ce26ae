//! What a node knows of itself and of how far its cluster has healed: plain data.

mod counters;
mod snapshot;

pub use counters::Counters;
pub use snapshot::{
    AdmissionStatus, ClusterStatus, ComingStatus, DebtStatus, GoingStatus, HintStatus, HintTarget, IdentityStatus,
    MemberStatus, PeerStatus, QueueStatus, RepairStatus, Shown, Status, StorageStatus, TransferStatus,
};

use crate::ids::{NodeId, PartitionId, Start};
use crate::time::Time;

/// How far this node and another owner of a partition have become equal, as far as this node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Agreement {
    /// When both were last found to hold the same; nothing if they never were since this node started.
    pub agreed: Option<Time>,
    /// Whether they were found to differ since.
    pub apart: bool,
    /// Records that came from the other owner.
    pub moved: u64,
    /// How many of these changed anything here.
    pub needed: u64,
    /// The state that was told last, and the latest that was found equal.
    pub(crate) told: u64,
    pub(crate) equal: u64,
}

/// Something that is not known to be at all its owners. No debt at any node is what "healed" means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Debt {
    /// This node keeps writes for another.
    Hints {
        /// For whom.
        target: NodeId,
        /// How many.
        count: u64,
    },
    /// This node has lost something of a partition, and is not filled again.
    Refilling(PartitionId),
    /// This node and another owner of a partition were found to hold different states, and not found equal since.
    Apart(PartitionId, NodeId),
    /// This node and another owner of a partition have not been compared since this node's state changed last, or since
    /// it started.
    Unknown(PartitionId, NodeId),
    /// This node had to leave a write of a partition for another owner and had no room, or held one and its disk has
    /// garbled it; and they were not found equal since. Known to this start alone: the next one knows nothing of any
    /// owner, which is [`Debt::Unknown`].
    Dirty(PartitionId, NodeId),
}

/// A moment in the life of a node's hints: those that it held then are told from later ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HintMark {
    pub(crate) start: Start,
    /// By shard.
    pub(crate) next: Vec<u64>,
}

/// What background work a node has left, of each kind that goes by slices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Backlog {
    /// Hints that it holds for others, whether or not these can be reached.
    pub hints: u64,
    /// Exchanges with other owners that it has begun, or is to begin.
    pub exchanges: u64,
    /// Records that are still to be read, for a digest tree or a scrub. Those of a partition that was lost are not
    /// counted: how many of them there are shows only when they have been taken over.
    pub records_to_read: u64,
    /// Records whose residual the clock doesn't cover yet.
    pub unsettled: u64,
}
