//! A plan as a value: to be looked at first and committed after.

use crate::ids::{LayoutId, NodeId, PartitionId, ZoneId};

use super::change::Change;
use super::layout::Layout;
use super::plan::PlanWarning;

/// What a change would do, made by [`plan_change`](super::plan_change): to be shown before it is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The next layout: one version on, with the current one as its parent.
    pub layout: Layout,
    /// Which copies are made, by partition.
    pub moves: Vec<Move>,
    /// The bytes of all moves together; `None` until [`sized`](Self::sized).
    pub bytes: Option<u64>,
    /// What each node owns before and after, sorted by node: all members of both layouts.
    pub shares: Vec<Share>,
    /// How evenly copies are spread over the members before.
    pub before: Balance,
    /// And after.
    pub after: Balance,
    /// The node that needs most room on the way, beyond what it needs at either end; `None` if none does. A copy is
    /// kept by its old owner until the new one is sure to have it.
    pub overhead: Option<Overhead>,
    /// How many partitions keep their owners, but in another order: nothing is copied for that.
    pub reordered: u32,
    /// The nodes declared gone: nothing is copied from them.
    pub gone: Vec<NodeId>,
    /// The members that keep their names and get other stores: nothing is copied from them either.
    pub renewed: Vec<NodeId>,
    /// Partitions of which less than a majority of the owners is left, the others being declared gone or renewed.
    pub possible_loss: Vec<Loss>,
    /// What is not as the members' weights and zones ask for, and why.
    pub warnings: Vec<PlanWarning>,
    /// What could have been done and wasn't, and why.
    pub left_alone: Vec<LeftAlone>,
    pub(super) change: Change,
    pub(super) same_members: bool,
    /// Whether nobody is declared gone whom the layout before did not.
    pub(super) same_gone: bool,
}

/// A copy of a partition that is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Move {
    /// Of which partition.
    pub partition: PartitionId,
    /// Who gives up its place among the owners; or, the same as `to`, a member that keeps it and gets another store.
    pub instead_of: NodeId,
    /// Whose copy is read: that of `instead_of`, or another old owner's if that one is declared gone or gets another
    /// store; `None` if all do.
    pub from: Option<NodeId>,
    /// The new owner.
    pub to: NodeId,
    /// How large the partition is; `None` until [`Plan::sized`].
    pub bytes: Option<u64>,
}

/// How many partitions a node owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Share {
    /// Which node.
    pub node: NodeId,
    /// How many it owns in the current layout; 0 if it isn't a member.
    pub before: u32,
    /// How many it owns in the next layout; 0 if it isn't a member.
    pub after: u32,
    /// Of how many it is the first owner in the next layout.
    pub first: u32,
}

/// How evenly a layout's copies are spread over its members, by weight: the load-balancing efficiency of Dynamo §6.2,
/// the mean load over the load of the busiest, for requests that fall evenly on partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Balance {
    /// All copies.
    pub copies: u64,
    /// The weights of all members together.
    pub weights: u64,
    /// The member with the most copies for its weight.
    pub busiest: NodeId,
    /// How many it has.
    pub share: u32,
    /// Its weight.
    pub weight: u32,
}

impl Balance {
    /// Of a layout.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let shares = owned(layout);
        let members = layout.members().iter().zip(&shares);
        let key = |share: u32, weight: u32| (u64::from(share), u64::from(weight));
        let busiest = members.max_by(|(a, a_share), (b, b_share)| {
            let ((a_share, a_weight), (b_share, b_weight)) = (key(a_share.0, a.weight), key(b_share.0, b.weight));
            // Of equal ones the first.
            (a_share * b_weight).cmp(&(b_share * a_weight)).then(b.node.cmp(&a.node))
        });
        let (busiest, share) = busiest.expect("a layout has owners, and they are members");
        Self {
            copies: shares.iter().map(|share| u64::from(share.0)).sum(),
            weights: layout.members().iter().map(|member| u64::from(member.weight)).sum(),
            busiest: busiest.node,
            share: share.0,
            weight: busiest.weight,
        }
    }

    /// The mean load over that of the busiest member, from 0 to 1. Even shares can't be better than whole partitions
    /// allow: ten copies on four members give 10/4 over 3.
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        let mean = self.copies as f64 / self.weights as f64;
        mean / (f64::from(self.share) / f64::from(self.weight))
    }
}

/// Room that a node needs on the way only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Overhead {
    /// Which node.
    pub node: NodeId,
    /// How many copies it holds, at worst, beyond the larger of its old and its new share.
    pub copies: u32,
    /// The same in bytes; `None` until [`Plan::sized`].
    pub bytes: Option<u64>,
}

/// A partition of which acknowledged writes may be lost, its owners being declared gone or renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Loss {
    /// Which.
    pub partition: PartitionId,
    /// How many of its owners are neither gone nor renewed. With none everything is lost that isn't in a hint or a
    /// backup. With some, those writes are lost that only the others had acknowledged: none where more are left than a
    /// write may miss.
    pub owners_left: u8,
}

/// What a plan could have done and didn't.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeftAlone {
    /// A share is rounded the other way than a first layout would: this way fewer partitions move.
    #[error("member {node} gets {share} partitions and not {afresh}, for fewer moves")]
    Rounding {
        /// Which member.
        node: NodeId,
        /// How many partitions it gets.
        share: u32,
        /// How many a first layout for the same members would give it.
        afresh: u32,
    },
    /// A member keeps more or less than its share, as only a replacement of a node or of its store was
    /// asked for, which moves nothing else.
    #[error("member {node} keeps {share} partitions instead of {fair}: only a replacement was asked for")]
    UnevenShare {
        /// Which member.
        node: NodeId,
        /// How many partitions it owns.
        share: u32,
        /// How many it would get.
        fair: u32,
    },
    /// A partition keeps more copies in a zone than the zone rule has, as only a replacement of a node or of its
    /// store was asked for, which moves nothing else.
    #[error("{partition} keeps {copies} copies in zone {zone}: only a replacement was asked for")]
    ZoneRule {
        /// Which partition.
        partition: PartitionId,
        /// The zone.
        zone: ZoneId,
        /// How many copies are in it.
        copies: u32,
    },
}

/// Why a plan can't be committed any more. Nothing was changed; plan again and look at the new plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stale {
    /// The layout that it was made for isn't the current one any more.
    #[error("the plan was made for layout {planned}, and the layout is {current} now")]
    OtherLayout {
        /// The one it was made for.
        planned: LayoutId,
        /// The current one.
        current: LayoutId,
    },
    /// What is wanted isn't what was planned.
    #[error("what is wanted has changed since the plan was made")]
    OtherChange,
    /// The planner gives another plan for the same: it was made by another version of this crate, or altered.
    #[error("the planner now makes layout {now} of this, and not {planned}")]
    OtherPlan {
        /// The layout of the plan.
        planned: LayoutId,
        /// What the planner makes now.
        now: LayoutId,
    },
}

impl Plan {
    /// Its name: that of the layout that it leads to, which also names the layout that it was made for.
    #[must_use]
    pub const fn id(&self) -> LayoutId {
        self.layout.id()
    }

    /// What was asked for, in its one spelling.
    #[must_use]
    pub const fn change(&self) -> &Change {
        &self.change
    }

    /// Whether nothing would change: no owner, no order, no member, nobody who is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.reordered == 0 && self.same_members && self.same_gone
    }

    /// Whether it may be committed while the change before it isn't finished: only if that can't finish otherwise,
    /// for owners that are gone, or members that are replaced or renewed. Other changes wait, since a layout that is
    /// superseded again and again is never reached.
    #[must_use]
    pub fn may_supersede(&self) -> bool {
        !(self.same_gone && self.change.replaced().is_empty())
    }

    /// The same plan with sizes: `sizes[p]` are the bytes of partition `p`. They change nothing about what is
    /// planned, or else nodes with different estimates would plan differently.
    ///
    /// # Panics
    ///
    /// If there isn't exactly one size for each partition.
    #[must_use]
    pub fn sized(mut self, sizes: &[u64]) -> Self {
        assert_eq!(sizes.len(), self.layout.partitions() as usize, "one size for each partition");
        let mut all = 0_u64;
        for item in &mut self.moves {
            let bytes = sizes[item.partition.0 as usize];
            item.bytes = Some(bytes);
            all = all.saturating_add(bytes);
        }
        self.bytes = Some(all);
        self.overhead = overhead(&self.moves);
        self
    }
}

/// How many partitions each member owns, and of how many it is the first owner.
pub(super) fn owned(layout: &Layout) -> Vec<(u32, u32)> {
    let mut owned = vec![(0, 0); layout.members().len()];
    for partition in (0..layout.partitions()).map(PartitionId) {
        for (place, &owner) in layout.owners(partition).iter().enumerate() {
            let counts = &mut owned[layout.index_of(owner).expect("owners are members")];
            counts.0 += 1;
            counts.1 += u32::from(place == 0);
        }
    }
    owned
}

/// Who needs most room on the way. While a node gains some copies and loses others it may hold both: that is the
/// smaller number of the two beyond what it holds at its fuller end. What isn't read from it, it doesn't hold: it is gone,
/// or its disk is another.
pub(super) fn overhead(moves: &[Move]) -> Option<Overhead> {
    // Node, copies gained and lost, bytes gained and lost.
    let gains = moves.iter().map(|item| (item.to, item.bytes, true));
    let held = moves.iter().filter(|item| item.from == Some(item.instead_of));
    let losses = held.map(|item| (item.instead_of, item.bytes, false));
    let mut sides: Vec<(NodeId, Option<u64>, bool)> = gains.chain(losses).collect();
    sides.sort_unstable_by_key(|&(node, ..)| node);
    let of_node = |sides: &[(NodeId, Option<u64>, bool)]| {
        let side = |gains: bool| sides.iter().filter(move |side| side.2 == gains);
        let bytes = |gains: bool| side(gains).try_fold(0_u64, |sum, &(_, bytes, _)| Some(sum.saturating_add(bytes?)));
        let copies = side(true).count().min(side(false).count()) as u32;
        let bytes = bytes(true).zip(bytes(false)).map(|(gained, lost)| gained.min(lost));
        Overhead { node: sides[0].0, copies, bytes }
    };
    let all = sides.chunk_by(|a, b| a.0 == b.0).map(of_node).filter(|overhead| overhead.copies > 0);
    all.max_by(|a, b| (a.bytes, a.copies).cmp(&(b.bytes, b.copies)).then(b.node.cmp(&a.node)))
}
