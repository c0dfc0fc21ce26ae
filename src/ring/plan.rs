//! The first layout of a cluster.

use crate::ids::{NodeId, ZoneId};

use super::content::Content;
use super::layout::{Layout, LayoutError, Member, checked_members};
use super::shares::{self, Bounds};
use super::spread;

/// What [`plan_first`] gives: a layout to look at before it is taken, and what it could not do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FirstPlan {
    /// The layout: version 1, without a parent.
    pub layout: Layout,
    /// How many partitions each member owns, sorted by node.
    pub shares: Vec<(NodeId, u32)>,
    /// What is not as the members' weights and zones ask for, and why.
    pub warnings: Vec<PlanWarning>,
}

/// Why nothing can be planned. Nothing was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Copies of a partition go to different members, and there are fewer of them than copies.
    #[error("{members} members can't keep {n} copies")]
    TooFewMembers {
        /// How many members there are.
        members: usize,
        /// How many copies were asked for.
        n: u8,
    },
    /// A layout keeps its number of copies.
    #[error("the layout keeps {n} copies, and that never changes: {asked} were asked for")]
    CopiesAreFixed {
        /// How many it keeps.
        n: u8,
        /// How many were asked for.
        asked: u8,
    },
    /// A layout keeps its number of partitions.
    #[error("the layout has {partitions} partitions, and that never changes: {asked} were asked for")]
    PartitionsAreFixed {
        /// How many it has.
        partitions: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// A node is to leave, to be adjusted, to be renewed, to be replaced or declared gone that is no member of the
    /// current layout; or one is to be renewed that leaves.
    #[error("{node} is not a member")]
    NotAMember {
        /// Which.
        node: NodeId,
    },
    /// A node that is replaced or declared gone is a member of the next layout. It comes back under a new name; one that
    /// is gone may also come back with another store.
    #[error("{node} is replaced or gone, and wanted")]
    StillWanted {
        /// Which.
        node: NodeId,
    },
    /// A node that replaces another is a member already.
    #[error("{node} can't replace another: it is a member already")]
    ReplacementIsMember {
        /// Which.
        node: NodeId,
    },
    /// A node is replaced twice, replaces two, or both.
    #[error("{node} is named in two replacements")]
    RepeatedReplacement {
        /// Which.
        node: NodeId,
    },
    /// The current layout has the last version that there is. Only a forged one can have it.
    #[error("there are no more versions of layouts")]
    LastVersion,
    /// No layout can be like this.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// What a plan could not do as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanWarning {
    /// There are fewer zones than copies: some zone holds several copies of each partition, spread as evenly as the
    /// zones' members allow.
    #[error("{n} copies are kept in only {zones} zones")]
    TooFewZones {
        /// How many zones have members.
        zones: usize,
        /// How many copies are kept.
        n: u8,
    },
    /// A member's weight asks for more than one copy of everything, which is all that it can hold. The others get the
    /// rest, in proportion to their weights.
    #[error("member {node} gets {share} partitions, less than its weight asks for")]
    MemberBeyondShare {
        /// Which.
        node: NodeId,
        /// How many partitions it gets.
        share: u32,
    },
    /// A zone's weight asks for more copies of a partition than a zone may hold. The other zones get the rest.
    #[error("zone {zone} gets {share} copies of partitions, less than its weight asks for")]
    ZoneBeyondShare {
        /// Which.
        zone: ZoneId,
        /// How many copies its members get together.
        share: u64,
    },
    /// A zone's weight asks for fewer copies of a partition than a zone must hold, there being too few zones.
    #[error("zone {zone} gets {share} copies of partitions, more than its weight asks for")]
    ZoneBelowShare {
        /// Which.
        zone: ZoneId,
        /// How many copies its members get together.
        share: u64,
    },
    /// A member gets nothing: there are too few partitions for so many members, or its weight is too small.
    #[error("member {node} gets no partition")]
    MemberWithoutShare {
        /// Which.
        node: NodeId,
    },
}

/// Plans the first layout: `n` copies of `partitions` partitions on `members`, in whatever order these are given
/// (Dynamo §4.2, §4.3, §4.6, §6.2 strategy 3).
///
/// In this order: the owners of a partition are different members, in different zones as far as there are zones;
/// each member owns its share by weight, rounded down or up, and is the first owner of an `n`-th of it, rounded down
/// or up; what a lost member did, and the partners that it is rebuilt from, are spread evenly over the others.
///
/// The result is the same for the same arguments on every machine. It takes time in proportion to members times
/// partitions times `n`: about two seconds for 1,000 members and 65,536 partitions.
///
/// # Errors
///
/// [`PlanError`] if there are fewer members than copies, members named twice or without weight, no copies, no
/// partitions, or too many of anything. Nothing was made.
pub fn plan_first(members: &[Member], n: u8, partitions: u32) -> Result<FirstPlan, PlanError> {
    let members = checked_members(members.to_vec())?;
    if n == 0 {
        return Err(LayoutError::NoCopies.into());
    }
    if partitions == 0 {
        return Err(LayoutError::NoPartitions.into());
    }
    if partitions > Layout::MAX_PARTITIONS {
        return Err(LayoutError::TooManyPartitions { partitions: partitions as usize }.into());
    }
    let frame = Frame::new(members, n, partitions)?;
    let shares = frame.shares(&vec![0; frame.members.len()]);
    let warnings = frame.warnings(&shares);
    let task = spread::Task { zone_of: &frame.zone_of, shares: &shares, n: usize::from(n), q: partitions };
    let owners = spread::owners(&task);
    let shares = frame.members.iter().map(|member| member.node).zip(shares).collect();
    let layout = Layout::from_content(Content::first(n, frame.members, partitions as usize, owners))?;
    Ok(FirstPlan { layout, shares, warnings })
}

/// What is to be placed on whom.
pub(super) struct Frame {
    /// Sorted by node.
    pub(super) members: Vec<Member>,
    /// The zones, sorted.
    pub(super) names: Vec<ZoneId>,
    /// The zone of each member, as an index into `names`.
    pub(super) zone_of: Vec<usize>,
    /// The weights of each zone's members.
    weights: Vec<Vec<u32>>,
    /// The zone rule.
    pub(super) bounds: Vec<Bounds>,
    pub(super) n: u8,
    pub(super) q: u32,
}

impl Frame {
    /// Of members that passed [`checked_members`].
    pub(super) fn new(members: Vec<Member>, n: u8, q: u32) -> Result<Self, PlanError> {
        if members.len() < usize::from(n) {
            return Err(PlanError::TooFewMembers { members: members.len(), n });
        }
        let mut names: Vec<ZoneId> = members.iter().map(|member| member.zone).collect();
        names.sort_unstable();
        names.dedup();
        let zone_of: Vec<usize> =
            members.iter().map(|member| names.partition_point(|name| *name < member.zone)).collect();
        let mut weights: Vec<Vec<u32>> = vec![Vec::new(); names.len()];
        for (member, &zone) in members.iter().zip(&zone_of) {
            weights[zone].push(member.weight);
        }
        let sizes: Vec<u32> = weights.iter().map(|weights| weights.len() as u32).collect();
        let bounds = shares::bounds(&sizes, u32::from(n));
        Ok(Self { members, names, zone_of, weights, bounds, n, q })
    }

    /// How many partitions each member owns, as near as can be to the `now` that it owns already.
    pub(super) fn shares(&self, now: &[u32]) -> Vec<u32> {
        let mut by_zone: Vec<Vec<u32>> = vec![Vec::new(); self.names.len()];
        for (&zone, &now) in self.zone_of.iter().zip(now) {
            by_zone[zone].push(now);
        }
        let by_zone = shares::shares(&self.weights, &self.bounds, u32::from(self.n), self.q, &by_zone);
        let mut next = vec![0; self.names.len()];
        let share = |&zone: &usize| {
            next[zone] += 1;
            by_zone[zone][next[zone] - 1]
        };
        self.zone_of.iter().map(share).collect()
    }

    pub(super) fn warnings(&self, shares: &[u32]) -> Vec<PlanWarning> {
        warnings(&self.members, shares, &self.names, &self.zone_of, &self.bounds, self.n)
    }
}

fn warnings(
    members: &[Member],
    shares: &[u32],
    names: &[ZoneId],
    zone_of: &[usize],
    bounds: &[Bounds],
    n: u8,
) -> Vec<PlanWarning> {
    let mut warnings = Vec::new();
    if names.len() < usize::from(n) {
        warnings.push(PlanWarning::TooFewZones { zones: names.len(), n });
    }
    let copies = u128::from(n);
    let all: u128 = members.iter().map(|member| u128::from(member.weight)).sum();
    // Per zone: members, weight, share.
    let mut sums = vec![(0_u32, 0_u128, 0_u64); names.len()];
    for ((member, &share), &zone) in members.iter().zip(shares).zip(zone_of) {
        let weight = u128::from(member.weight);
        sums[zone] = (sums[zone].0 + 1, sums[zone].1 + weight, sums[zone].2 + u64::from(share));
        if weight * copies > all {
            warnings.push(PlanWarning::MemberBeyondShare { node: member.node, share });
        } else if share == 0 {
            warnings.push(PlanWarning::MemberWithoutShare { node: member.node });
        }
    }
    for ((&zone, bounds), (size, weight, share)) in names.iter().zip(bounds).zip(sums) {
        // Where all members of a zone hold everything, the zone rule isn't what holds it back.
        if weight * copies > all * u128::from(bounds.most) && bounds.most < size {
            warnings.push(PlanWarning::ZoneBeyondShare { zone, share });
        } else if weight * copies < all * u128::from(bounds.least) {
            warnings.push(PlanWarning::ZoneBelowShare { zone, share });
        }
    }
    warnings
}
