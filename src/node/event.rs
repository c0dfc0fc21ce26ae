//! What a node reports of itself.

use std::fmt;
use std::time::Duration;

use crate::error::StorageError;
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId, Start};
use crate::latencies::Phase;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer doesn't answer; it is skipped until it does.
    Suspected(NodeId),
    /// A suspected peer was heard again.
    Recovered(NodeId),
    /// A peer works with another layout; its messages are refused.
    LayoutDiffers(NodeId),
    /// A storage call failed. What the request was is refused; nothing is acknowledged that is not there.
    StorageFailed(StorageError),
    /// A sync failed: the shard is fenced, what waited for it was dropped, and peers see a dead replica.
    Fenced(StorageError),
    /// A reconciler panicked, or picked a sibling that isn't there; its request failed.
    ReconcilerFailed(KeyspaceId),
    /// All hints for a node are home.
    HintsDelivered(NodeId),
    /// A partition has lost something that it had: its clock is forgotten, what can't be read is dropped, and it counts
    /// in no read until the other owners have filled it again.
    PartitionLost(PartitionId),
    /// A partition that had lost something has again what the others have.
    PartitionRefilled(PartitionId),
    /// A partition that changes hands is decided to be owned by that layout, this node among its owners.
    PartitionMoved(PartitionId, LayoutId),
    /// A copy that no layout names any more is gone: enough owners have confirmed that they have all of it.
    PartitionDropped(PartitionId),
    /// Owners of a partition were declared gone, and so few were left that acknowledged writes may be gone with them.
    PossibleLoss(PartitionId, LayoutId),
    /// What this store had promised of a partition can't be read any more: it takes no part in it until a layout names
    /// another store for this node.
    VoteLost(PartitionId),
    /// A member was heard of for the first time, or has joined again after it was removed.
    Joined(NodeId),
    /// A member is to leave: the next layout shall not name it.
    Leaving(NodeId),
    /// A member is gone. If it is this node itself, the cluster counts it as gone until it joins again.
    Removed(NodeId),
    /// Another start says that it is this node, and goes on saying so: a copied disk, or a name that was given twice. One
    /// of the two must be stopped.
    Doubled(Start),
    /// A peer speaks no version of the protocol that this node speaks; its messages are refused, but for the membership.
    ProtocolDiffers(NodeId),
    /// There is a layout that is not decided yet, and what it says is known here.
    Proposed(LayoutId),
    /// A layout is decided cluster-wide.
    Decided(LayoutId),
    /// A client's request took longer than [`Timing::slow`](crate::config::Timing::slow), failures included: which
    /// operation, and how long it took.
    Slow(Phase, Duration),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspected(peer) => write!(f, "{peer} doesn't answer"),
            Self::Recovered(peer) => write!(f, "{peer} is heard again"),
            Self::LayoutDiffers(peer) => write!(f, "{peer} works with another layout, and is refused"),
            Self::StorageFailed(error) => write!(f, "a storage call failed: {error}"),
            Self::Fenced(error) => write!(f, "nothing is served any more: {error}"),
            Self::ReconcilerFailed(keyspace) => write!(f, "the reconciler of {keyspace} failed"),
            Self::HintsDelivered(peer) => write!(f, "all hints for {peer} are home"),
            Self::PartitionLost(partition) => write!(f, "{partition} has lost something, and is to be filled"),
            Self::PartitionRefilled(partition) => write!(f, "{partition} is filled again"),
            Self::PartitionMoved(partition, layout) => write!(f, "{partition} has come, by layout {layout}"),
            Self::PartitionDropped(partition) => write!(f, "the copy of {partition} that no layout names is dropped"),
            Self::PossibleLoss(partition, layout) => {
                write!(f, "acknowledged writes to {partition} may be gone with the owners that layout {layout} gave up")
            }
            Self::VoteLost(partition) => write!(f, "what was promised of {partition} can't be read any more"),
            Self::Joined(node) => write!(f, "{node} has joined"),
            Self::Leaving(node) => write!(f, "{node} is to leave"),
            Self::Removed(node) => write!(f, "{node} is removed"),
            Self::Doubled(start) => write!(f, "another start says that it is this node: {start}"),
            Self::ProtocolDiffers(peer) => write!(f, "{peer} speaks no version of the protocol that is spoken here"),
            Self::Proposed(layout) => write!(f, "layout {layout} is proposed"),
            Self::Decided(layout) => write!(f, "layout {layout} is decided"),
            Self::Slow(phase, took) => write!(f, "a {} took {took:?}", phase.name()),
        }
    }
}
