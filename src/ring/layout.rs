//! The layout: a value that says which members own each partition.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::hash::{Purpose, keyless};
use crate::ids::{LayoutId, NodeId, PartitionId, StoreId, ZoneId};

use super::codec;
use super::content::Content;
use super::fallbacks::{self, FALLBACKS};
use super::preference::PreferenceList;

/// Which members own each partition: an immutable value, the same on every node (Dynamo §4.2, §6.2 strategy 3).
///
/// The hash space is cut into equal partitions; each has `n` owners in order, all different. The first is the one
/// that a request is best sent to. A copy of a layout shares its tables: cloning is cheap.
///
/// Through serde it is one run of bytes, those of [`encode`](Self::encode), and what comes is checked as
/// [`decode`](Self::decode) does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Layout {
    id: LayoutId,
    parent: LayoutId,
    n: u8,
    partitions: u32,
    /// Sorted by node.
    members: Arc<[Member]>,
    /// A row for each partition: its owners, then its first fallbacks.
    table: Arc<[NodeId]>,
    row: usize,
    /// Sorted, each once.
    gone: Arc<[(NodeId, Option<StoreId>)]>,
    /// Those earlier layouts that are the ballot of a partition, ascending.
    earlier: Arc<[LayoutId]>,
    /// For each partition 0, or one more than where in `earlier` its ballot stands.
    ballots: Arc<[u32]>,
}

/// A node in a layout: where it stands and how much it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// Its failure domain: the owners of a partition are in different zones as far as zones allow (Dynamo §4.6).
    pub zone: ZoneId,
    /// How much it takes in proportion to the others, at least 1 (Dynamo §4.2: the number of virtual nodes).
    pub weight: u32,
    /// Which of the node's stores owns what the node owns. `None` is the one that the node was founded with.
    ///
    /// A disk that was wiped or exchanged has another store than the one named here. That is another owner: it doesn't
    /// have what the named one acknowledged, and has no vote until a layout names it.
    pub store: Option<StoreId>,
}

/// Why a layout can't be. Nothing was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A layout must keep at least one copy of each partition.
    #[error("a layout must keep at least one copy")]
    NoCopies,
    /// A layout must have at least one partition.
    #[error("a layout must have at least one partition")]
    NoPartitions,
    /// More partitions than [`Layout::MAX_PARTITIONS`].
    #[error("{partitions} partitions are more than {}", Layout::MAX_PARTITIONS)]
    TooManyPartitions {
        /// How many were asked for.
        partitions: usize,
    },
    /// More members than [`Layout::MAX_MEMBERS`].
    #[error("{members} members are more than {}", Layout::MAX_MEMBERS)]
    TooManyMembers {
        /// How many were given.
        members: usize,
    },
    /// A member is named twice.
    #[error("member {node} is named twice")]
    DuplicateMember {
        /// Which.
        node: NodeId,
    },
    /// A member's weight is zero. A node that is to take nothing is not a member.
    #[error("member {node} has weight zero")]
    ZeroWeight {
        /// Which.
        node: NodeId,
    },
    /// A partition has more or fewer owners than copies.
    #[error("{partition} has {owners} owners, not {n}")]
    OwnerCount {
        /// Which.
        partition: PartitionId,
        /// How many were given for it.
        owners: usize,
        /// How many it must have.
        n: u8,
    },
    /// A partition's owner isn't a member.
    #[error("{partition} is owned by {node}, which is not a member")]
    UnknownOwner {
        /// Which partition.
        partition: PartitionId,
        /// Which owner.
        node: NodeId,
    },
    /// A partition names an owner twice.
    #[error("{partition} names its owner {node} twice")]
    RepeatedOwner {
        /// Which partition.
        partition: PartitionId,
        /// Which owner.
        node: NodeId,
    },
    /// A layout has as many partitions as its parent.
    #[error("{partitions} partitions after a layout of {expected}")]
    PartitionCount {
        /// How many were given.
        partitions: usize,
        /// How many the parent has.
        expected: u32,
    },
    /// A member is declared gone with the very store that is named for it. It may come back with another.
    #[error("member {node} is gone for good, with the store that is named for it")]
    Gone {
        /// Which.
        node: NodeId,
    },
    /// The parent has the last version that there is. Only a forged one can have it.
    #[error("there are no more versions of layouts")]
    LastVersion,
}

impl Member {
    /// A member of weight 1 in zone 0, with the store that it was founded with.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, zone: ZoneId(0), weight: 1, store: None }
    }

    /// The same member in `zone`.
    #[must_use]
    pub const fn zone(self, zone: ZoneId) -> Self {
        Self { zone, ..self }
    }

    /// The same member with `weight`, at least 1: a layout refuses a weight of zero.
    #[must_use]
    pub const fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// The same member with `store` in the place of the one that it was founded with.
    #[must_use]
    pub const fn store(self, store: StoreId) -> Self {
        Self { store: Some(store), ..self }
    }
}

impl Layout {
    /// The most partitions that a layout may have.
    pub const MAX_PARTITIONS: u32 = 1 << 20;
    /// The most members that a layout may have.
    pub const MAX_MEMBERS: usize = 1 << 16;

    /// The first layout (version 1, no parent) as a host wants it: `owners[p]` are the owners of partition `p`, in
    /// order.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if a member is named twice or weighs nothing, if a partition doesn't have exactly `n`
    /// different members as its owners, or if there are no copies, no partitions, or too many of anything. Zones
    /// aren't checked: the host may know better. Nothing was made.
    pub fn from_owners(n: u8, members: Vec<Member>, owners: Vec<Vec<NodeId>>) -> Result<Self, LayoutError> {
        let members = checked_members(members)?;
        if owners.len() > Self::MAX_PARTITIONS as usize {
            return Err(LayoutError::TooManyPartitions { partitions: owners.len() });
        }
        let indices = indices(n, &members, &owners)?;
        Self::from_content(Content::first(n, members, owners.len(), indices))
    }

    /// The child of this layout as a host wants it: one version on, with as many copies and partitions. `owners[p]`
    /// are the owners of partition `p`, in order. The owners that this layout declares gone are gone in the child too.
    ///
    /// [`plan_change`](super::plan_change) makes children that move little and are even; this takes any.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if there aren't as many partitions as here, if a partition doesn't have exactly
    /// [`n`](Self::n) different members as its owners, if a member is named twice, weighs nothing or is gone with the
    /// store that is named for it, or if there are too many members or no more versions. Zones aren't checked.
    /// Nothing was made.
    pub fn next(&self, members: Vec<Member>, owners: Vec<Vec<NodeId>>) -> Result<Self, LayoutError> {
        let version = self.id.version.checked_add(1).ok_or(LayoutError::LastVersion)?;
        let members = checked_members(members)?;
        if owners.len() != self.partitions as usize {
            return Err(LayoutError::PartitionCount { partitions: owners.len(), expected: self.partitions });
        }
        let owners = indices(self.n, &members, &owners)?;
        Self::from_content(Content::child(self, version, members, owners, &[]))
    }

    /// A layout of what it says; the caller has seen to it that the partitions are not too many, and that all indices
    /// are some of what they count.
    pub(super) fn from_content(content: Content) -> Result<Self, LayoutError> {
        let Content { members, owners, .. } = &content;
        let copies = usize::from(content.n);
        if copies == 0 {
            return Err(LayoutError::NoCopies);
        }
        if content.ballots.is_empty() {
            return Err(LayoutError::NoPartitions);
        }
        if let Some(member) = gone_member(members, &content.gone) {
            return Err(LayoutError::Gone { node: member.node });
        }
        // The last partition that named a member as its owner, plus one.
        let mut seen = vec![0_u32; members.len()];
        for (partition, list) in (0..).zip(owners.chunks(copies)) {
            for &owner in list {
                if seen[owner as usize] == partition + 1 {
                    let node = members[owner as usize].node;
                    return Err(LayoutError::RepeatedOwner { partition: PartitionId(partition), node });
                }
                seen[owner as usize] = partition + 1;
            }
        }
        let stand_ins = fallbacks::choose(members, copies, owners);
        let extra = FALLBACKS.min(members.len() - copies);
        let row = copies + extra;
        let mut table = Vec::with_capacity(content.ballots.len() * row);
        for (partition, list) in owners.chunks(copies).enumerate() {
            let stand_ins = &stand_ins[partition * extra..][..extra];
            table.extend(list.iter().chain(stand_ins).map(|&index| members[index as usize].node));
        }
        let hash = keyless(Purpose::Layout, &[&codec::content(&content)]) as u64;
        let Content { version, parent, n, members, gone, earlier, ballots, .. } = content;
        Ok(Self {
            id: LayoutId { version, hash },
            parent,
            n,
            partitions: ballots.len() as u32,
            members: members.into(),
            table: table.into(),
            row,
            gone: gone.into(),
            earlier: earlier.into(),
            ballots: ballots.into(),
        })
    }

    /// All that it says.
    pub(super) fn to_content(&self) -> Content {
        let index = |node: &NodeId| self.index_of(*node).expect("owners were checked to be members") as u32;
        Content {
            version: self.id.version,
            parent: self.parent,
            n: self.n,
            members: self.members.to_vec(),
            gone: self.gone.to_vec(),
            earlier: self.earlier.to_vec(),
            ballots: self.ballots.to_vec(),
            owners: self.all_owners().flatten().map(index).collect(),
        }
    }

    /// Its name: the version, then a hash of all that it says and of its parent's name.
    #[must_use]
    pub const fn id(&self) -> LayoutId {
        self.id
    }

    /// The name of the layout that it was made from; version 0 and hash 0 for a first layout.
    #[must_use]
    pub const fn parent(&self) -> LayoutId {
        self.parent
    }

    /// How many copies of each partition are kept: the paper's N.
    #[must_use]
    pub const fn n(&self) -> u8 {
        self.n
    }

    /// Into how many equal parts the hash space is cut: the paper's Q.
    #[must_use]
    pub const fn partitions(&self) -> u32 {
        self.partitions
    }

    /// All members, sorted by node.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where in [`members`](Self::members) a node stands; `None` if it isn't a member.
    #[must_use]
    pub fn index_of(&self, node: NodeId) -> Option<usize> {
        position(&self.members, node)
    }

    /// The member of that name.
    pub(super) fn member(&self, node: NodeId) -> Option<&Member> {
        self.index_of(node).map(|at| &self.members[at])
    }

    /// The owners that an operator has declared gone for good, here or in a layout before: a node, and the store that
    /// was named for it then. Sorted, each once. They are refused by all for ever.
    #[must_use]
    pub fn gone(&self) -> &[(NodeId, Option<StoreId>)] {
        &self.gone
    }

    /// Whether a node is declared gone for good with that store, named as [`Member::store`] does.
    #[must_use]
    pub fn is_gone(&self, node: NodeId, store: Option<StoreId>) -> bool {
        self.gone.binary_search(&(node, store)).is_ok()
    }

    /// The partition of a position on the ring (the keyed 128-bit hash of a key).
    ///
    /// Partition `p` of Q holds the positions from ⌈p·2⁶⁴/Q⌉ up to and without ⌈(p+1)·2⁶⁴/Q⌉ in the position's upper
    /// 64 bits. The start of a range belongs to it, the end does not: Dynamo §4.2 takes the first node whose position
    /// is *larger* than the item's.
    #[must_use]
    pub const fn partition_of(&self, position: u128) -> PartitionId {
        PartitionId((((position >> 64) * self.partitions as u128) >> 64) as u32)
    }

    /// The positions of a partition, in their upper 64 bits: [`partition_of`](Self::partition_of) read backwards.
    ///
    /// # Panics
    ///
    /// If there is no such partition.
    #[must_use]
    pub fn positions_of(&self, partition: PartitionId) -> RangeInclusive<u64> {
        assert!(partition.0 < self.partitions, "there is no such partition");
        let start = |partition: u32| (u128::from(partition) << 64).div_ceil(u128::from(self.partitions));
        start(partition.0) as u64..=(start(partition.0 + 1) - 1) as u64
    }

    /// The `n` owners of a partition, in order, all different. A look-up.
    ///
    /// # Panics
    ///
    /// If there is no such partition. [`partition_of`](Self::partition_of) gives none such.
    #[must_use]
    pub fn owners(&self, partition: PartitionId) -> &[NodeId] {
        &self.table_row(partition)[..usize::from(self.n)]
    }

    /// Whether `node` is one of the owners of a partition.
    ///
    /// # Panics
    ///
    /// If there is no such partition.
    #[must_use]
    pub fn owns(&self, node: NodeId, partition: PartitionId) -> bool {
        self.owners(partition).contains(&node)
    }

    /// The ballot of a partition: the last layout, of this one and those that it comes from, that changed the
    /// partition's owners or the store that is named for one of them. A look-up.
    ///
    /// The order of owners is nothing. Of a first layout it is that layout. Where it is an earlier one, nobody has to
    /// promise or copy anything for this layout.
    ///
    /// # Panics
    ///
    /// If there is no such partition.
    #[must_use]
    pub fn ballot(&self, partition: PartitionId) -> LayoutId {
        assert!(partition.0 < self.partitions, "{partition} of {} partitions", self.partitions);
        match self.ballots[partition.0 as usize] {
            0 => self.id,
            index => self.earlier[index as usize - 1],
        }
    }

    /// Those earlier layouts that are the ballot of a partition, ascending.
    pub(super) fn earlier(&self) -> &[LayoutId] {
        &self.earlier
    }

    /// For each partition 0, or one more than where in [`earlier`](Self::earlier) its ballot stands.
    pub(super) fn ballot_indices(&self) -> &[u32] {
        &self.ballots
    }

    /// The owners of all partitions.
    pub(super) fn all_owners(&self) -> impl Iterator<Item = &[NodeId]> {
        self.table.chunks(self.row).map(|row| &row[..usize::from(self.n)])
    }

    /// All members in the order in which they are asked to serve a partition, each once: the owners, then those who
    /// stand in for owners that can't be reached (Dynamo §4.3, §4.6).
    ///
    /// Stand-ins from zones without an owner come first, one zone after the other. The owners and the first two
    /// stand-ins are looked up; the rest is worked out, in one allocation, when the third is asked for.
    ///
    /// # Panics
    ///
    /// If there is no such partition.
    #[must_use]
    pub fn preference_list(&self, partition: PartitionId) -> PreferenceList<'_> {
        PreferenceList::new(self, partition)
    }

    /// The owners and the first fallbacks.
    pub(super) fn table_row(&self, partition: PartitionId) -> &[NodeId] {
        assert!(partition.0 < self.partitions, "{partition} of {} partitions", self.partitions);
        &self.table[partition.0 as usize * self.row..][..self.row]
    }
}

/// Members sorted by node, if no two are alike and all have a weight.
pub(super) fn checked_members(mut members: Vec<Member>) -> Result<Vec<Member>, LayoutError> {
    if members.len() > Layout::MAX_MEMBERS {
        return Err(LayoutError::TooManyMembers { members: members.len() });
    }
    members.sort_by_key(|member| member.node);
    if let Some(pair) = members.windows(2).find(|pair| pair[0].node == pair[1].node) {
        return Err(LayoutError::DuplicateMember { node: pair[0].node });
    }
    if let Some(member) = members.iter().find(|member| member.weight == 0) {
        return Err(LayoutError::ZeroWeight { node: member.node });
    }
    Ok(members)
}

/// A member that is declared gone with the store that is named for it.
pub(super) fn gone_member<'a>(members: &'a [Member], gone: &[(NodeId, Option<StoreId>)]) -> Option<&'a Member> {
    members.iter().find(|member| gone.binary_search(&(member.node, member.store)).is_ok())
}

/// The owners of partitions as indices of members, if each partition has `n` members for owners.
fn indices(n: u8, members: &[Member], owners: &[Vec<NodeId>]) -> Result<Vec<u32>, LayoutError> {
    let mut flat = Vec::with_capacity(owners.len() * usize::from(n));
    for (partition, list) in (0..).map(PartitionId).zip(owners) {
        if list.len() != usize::from(n) {
            return Err(LayoutError::OwnerCount { partition, owners: list.len(), n });
        }
        for &node in list {
            let index = position(members, node).ok_or(LayoutError::UnknownOwner { partition, node })?;
            flat.push(index as u32);
        }
    }
    Ok(flat)
}

fn position(members: &[Member], node: NodeId) -> Option<usize> {
    // Members that are numbered in a row, as most are, stand where their number says.
    let guess = node.0.wrapping_sub(members.first()?.node.0);
    if usize::try_from(guess).ok().and_then(|at| members.get(at)).is_some_and(|member| member.node == node) {
        return Some(guess as usize);
    }
    members.binary_search_by_key(&node, |member| member.node).ok()
}

// The table of a large cluster fills screens.
impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("id", &self.id)
            .field("parent", &self.parent)
            .field("n", &self.n)
            .field("partitions", &self.partitions)
            .field("members", &self.members)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}
