//! Why an operator's act was not carried out.

use super::layouts::NotYounger;
use super::record::RecordError;
use crate::ids::{LayoutId, NodeId};
use crate::ring::Stale;

/// Why an act on the membership or the layout was not carried out. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActError {
    /// The node takes no part in gossip: who belongs to the cluster is its host's business.
    #[error("the node takes no part in gossip")]
    NoGossip,
    /// Nothing is known of the node.
    #[error("nothing is known of {0}")]
    Unknown(NodeId),
    /// The member can't become that.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The plan is no longer what the planner gives.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// Another change is not finished, and this one replaces nobody and declares nobody gone: it has to wait.
    #[error("the change to layout {0} is not finished")]
    Unfinished(LayoutId),
    /// The layout has another number of copies or partitions than the cluster's.
    #[error("layout {0} has another number of copies or partitions")]
    Shape(LayoutId),
    /// The layout can't be its parent's child.
    #[error(transparent)]
    NotYounger(#[from] NotYounger),
    /// A layout that is as high or higher is decided, or too many that are higher are proposed.
    #[error("layout {0} is superseded")]
    Superseded(LayoutId),
    /// Layouts of this cluster never change ([`crate::Setup::elastic`]).
    #[error("the layout of this cluster never changes")]
    Fixed,
    /// The node was stopped, or its storage is fenced.
    #[error("the node has stopped")]
    Stopped,
}
