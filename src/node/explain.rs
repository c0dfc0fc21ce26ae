//! Views for people: what a change waits for, and why a key lives where it lives.

use std::fmt;

use super::Node;
use super::shard::Shard;
use crate::error::Refusal;
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId};
use crate::key::Key;
use crate::storage::Storage;

/// A partition that changes hands, at one of its owners to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coming {
    /// Which.
    pub partition: PartitionId,
    /// The layout by which this node owns it, once that is decided.
    pub layout: LayoutId,
    /// What the change waits for.
    pub waits: Waiting,
}

/// What a change of a partition waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Waiting {
    /// A copy is made ahead, from this owner; from none, if none can be reached.
    Copy(Option<NodeId>),
    /// These owners to be have not said that they have a copy, and so many have to.
    Ready {
        /// Who has not.
        missing: Vec<NodeId>,
        /// How many more.
        needed: usize,
    },
    /// These owners have not promised the layout, or have not shown their state since: so many of each layout's have to.
    Collect {
        /// Who has promised and is to show its state.
        promised: Vec<NodeId>,
        /// Who has not promised.
        silent: Vec<NodeId>,
        /// Of which layouts' owners how many more.
        needed: Vec<(LayoutId, usize)>,
    },
    /// It is not known what this layout says.
    Content(LayoutId),
    /// A later layout was promised: this one is out of the running.
    Superseded(LayoutId),
    /// This node has all that counts; so many more owners have to.
    Holders(usize),
    /// These owners of earlier layouts have not given them up.
    Seals(Vec<NodeId>),
}

/// A copy that no layout names any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Going {
    /// Of which partition.
    pub partition: PartitionId,
    /// The layout that names others.
    pub layout: LayoutId,
    /// Why it is not dropped yet.
    pub kept: Kept,
}

/// Why a copy is kept that no layout names any more.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kept {
    /// It is not known here what the decided layout says, or it names this node after all.
    Unknown,
    /// This later layout was promised: whoever goes for it may come to collect.
    Promised(LayoutId),
    /// It was damaged, and what of it can be read still is being looked through.
    Salvaging,
    /// These owners have not confirmed that they have all of it.
    Unconfirmed(Vec<NodeId>),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(Some(owner)) => write!(f, "a copy is made from {owner}"),
            Self::Copy(None) => write!(f, "no owner can be reached to copy from"),
            Self::Ready { missing, needed } => write!(f, "a copy at {}, {needed} more needed", Nodes(missing)),
            Self::Collect { promised, silent, needed } => {
                write!(f, "the state of {}, the promise of {}", Nodes(promised), Nodes(silent))?;
                needed.iter().try_for_each(|(layout, count)| write!(f, ", {count} more of {layout}"))
            }
            Self::Content(layout) => write!(f, "it is not known what {layout} says"),
            Self::Superseded(layout) => write!(f, "{layout} was promised"),
            Self::Holders(count) => write!(f, "{count} more owners to hold it"),
            Self::Seals(owners) => write!(f, "the seals of {}", Nodes(owners)),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "it is not known what the decided layout says, or it names this node"),
            Self::Promised(layout) => write!(f, "{layout} was promised, and may come to collect"),
            Self::Salvaging => write!(f, "it was damaged, and is still being looked through"),
            Self::Unconfirmed(owners) => write!(f, "not confirmed by {}", Nodes(owners)),
        }
    }
}

/// Nodes, for people.
struct Nodes<'a>(&'a [NodeId]);

impl fmt::Display for Nodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => write!(f, "nobody"),
            [first, rest @ ..] => {
                write!(f, "{first}")?;
                rest.iter().try_for_each(|node| write!(f, " {node}"))
            }
        }
    }
}

/// Why a key lives where it lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The upper half of the key's position on the ring: its keyed hash.
    pub position: u64,
    /// The partition whose range that is in.
    pub partition: PartitionId,
    /// The layout that is known to be decided there, and its owners in order: reads ask R of them.
    pub decided: (LayoutId, Vec<NodeId>),
    /// Layouts that may be decided there, each with its owners: a write takes W acknowledgements in each, too.
    pub pending: Vec<(LayoutId, Vec<NodeId>)>,
    /// Who stands in for owners that can't be reached, in order: the first few.
    pub fallbacks: Vec<NodeId>,
    /// Those of all these whom this node suspects.
    pub suspected: Vec<NodeId>,
    /// Whether this node takes writes of the key for its own copy; why not.
    pub here: Result<(), Refusal>,
}

impl<S: Storage> Node<S> {
    /// The partitions that are on their way to this node, or stay here by a later layout, and what each waits for.
    #[must_use]
    pub fn coming(&self) -> Vec<Coming> {
        self.shards.iter().flat_map(Shard::coming).collect()
    }

    /// The copies that this node is to drop, and who has yet to confirm that it has all of them.
    #[must_use]
    pub fn going(&self) -> Vec<Going> {
        self.shards.iter().flat_map(Shard::going).collect()
    }

    /// Why a key lives where it lives, as far as this node knows.
    #[must_use]
    pub fn explain_route(&self, keyspace: KeyspaceId, key: &[u8]) -> Route {
        let key = Key::new(&self.shared.identity.secret, keyspace, key);
        let partition = self.shared.layout.partition_of(key.position());
        self.shards[self.shard_of(partition)].explain_route(&key, partition)
    }
}

impl<S: Storage> Shard<S> {
    fn explain_route(&self, key: &Key, partition: PartitionId) -> Route {
        const FALLBACKS: usize = 8;
        let layouts = self.topology.live(partition);
        let owners = |at: usize| layouts[at].owners(partition).to_vec();
        let mut all =
            self.topology.sets(partition).iter().enumerate().map(|(at, id)| (id, owners(at))).collect::<Vec<_>>();
        let decided = all.remove(0);
        let is_owner = |node: &NodeId| layouts.iter().any(|layout| layout.owns(*node, partition));
        let others = layouts[0].preference_list(partition).filter(|node| !is_owner(node));
        let fallbacks: Vec<_> = others.take(FALLBACKS).collect();
        let named = self.topology.all_owners(partition).into_iter().chain(fallbacks.iter().copied());
        let suspected = named.filter(|node| self.is_suspected(*node)).collect();
        let here = self.replica.owns(partition) && self.is_serving(partition);
        Route {
            position: key.upper_position(),
            partition,
            decided,
            pending: all,
            fallbacks,
            suspected,
            here: if here { Ok(()) } else { Err(Refusal::NotAnOwner) },
        }
    }
}
