//! The next layout of a cluster.

use crate::ids::{NodeId, PartitionId};

use super::change::Change;
use super::content::Content;
use super::layout::{Layout, Member};
use super::nearest;
use super::partners;
use super::placing::{NOBODY, Task};
use super::plan::{Frame, PlanError, PlanWarning};
use super::planned::{Balance, LeftAlone, Loss, Move, Plan, Share, Stale, overhead, owned};
use super::spread;

/// Plans a change of a layout: joins, leaves, replacements and new weights and zones, all in one step (Dynamo §4.9,
/// §6.2 strategy 3).
///
/// In this order: the owners of a partition are different members, in different zones as far as there are zones;
/// each member owns its share by weight, rounded down or up, and is the first owner of an `n`-th of it, rounded down
/// or up; as few copies as can be get new owners; what a lost member did, and the partners that it is rebuilt from,
/// are spread evenly over the others; where that leaves a choice, partitions have the same owners as others.
///
/// Members of equal weight who join get their shares and nothing else moves; of those who leave moves what they had. A
/// replacement takes the old member's partitions, in their places. A member with another store keeps its partitions,
/// and each of them is copied to it anew.
///
/// It is a pure function: every node that plans the same change of the same layout makes the same plan. It takes
/// time in proportion to partitions times `n`, and for each copy that moves to the number of members: less than a
/// second for one join to 1,000 members with 65,536 partitions (`benches/ring.rs`).
///
/// # Errors
///
/// [`PlanError`] if the change doesn't fit the layout, asks for another number of copies or partitions, leaves fewer
/// members than copies, names members twice or without weight, or has a member that is gone with its store. Nothing was
/// made.
pub fn plan_change(current: &Layout, change: &Change) -> Result<Plan, PlanError> {
    let change = change.checked(current)?;
    let version = current.id().version.checked_add(1).ok_or(PlanError::LastVersion)?;
    let frame = Frame::new(change.members().to_vec(), current.n(), current.partitions())?;
    let before = before(current, &change, &frame.members);
    let mut had = vec![0; frame.members.len()];
    before.iter().filter(|&&owner| owner != NOBODY).for_each(|&owner| had[owner as usize] += 1);
    let fair = frame.shares(&had);
    let n = usize::from(frame.n);
    let in_place = only_renames(current, &change);
    let owners = if in_place {
        before
    } else {
        let task = Task { zone_of: &frame.zone_of, bounds: &frame.bounds, shares: &fair, n, before: &before };
        let mut placing = nearest::assign(&task);
        partners::even_out(&mut placing);
        let mut owners = placing.owners;
        let changed: Vec<bool> =
            owners.chunks(n).zip(before.chunks(n)).map(|(new, old)| new.iter().any(|m| !old.contains(m))).collect();
        let task = spread::Task { zone_of: &frame.zone_of, shares: &fair, n, q: frame.q };
        spread::reorder(&task, &mut owners, &changed);
        owners
    };
    let left_alone = left_alone(&frame, &owners, &had, &fair, in_place);
    let warnings = frame.warnings(if in_place { &had } else { &fair });
    let layout = Layout::from_content(Content::child(current, version, frame.members, owners, change.lost()))?;
    Ok(describe(current, layout, change, warnings, left_alone))
}

impl Plan {
    /// Whether the planner still makes this plan of the same wish: to be asked before it is committed, so that what
    /// is done is what was shown.
    ///
    /// # Errors
    ///
    /// [`Stale`] if the layout, the wish or the planner's answer is another than when the plan was made.
    pub fn check(&self, current: &Layout, change: &Change) -> Result<(), Stale> {
        if self.layout.parent() != current.id() {
            return Err(Stale::OtherLayout { planned: self.layout.parent(), current: current.id() });
        }
        if change.checked(current) != Ok(self.change.clone()) {
            return Err(Stale::OtherChange);
        }
        match plan_change(current, change) {
            Ok(plan) if plan.id() == self.id() => Ok(()),
            Ok(plan) => Err(Stale::OtherPlan { planned: self.id(), now: plan.id() }),
            Err(_) => Err(Stale::OtherChange),
        }
    }
}

/// The owners so far as indices of the next members; a replacement stands for the one that it replaces.
fn before(current: &Layout, change: &Change, members: &[Member]) -> Vec<u32> {
    let index = |member: &Member| {
        let node = change.replacement(member.node).unwrap_or(member.node);
        members.binary_search_by_key(&node, |member| member.node).map_or(NOBODY, |at| at as u32)
    };
    let indices: Vec<u32> = current.members().iter().map(index).collect();
    let index_of = |node: &NodeId| indices[current.index_of(*node).expect("owners are members")];
    all(current).flat_map(|partition| current.owners(partition)).map(index_of).collect()
}

/// Whether nothing but names of members and of their stores differs.
fn only_renames(current: &Layout, change: &Change) -> bool {
    let mut renamed: Vec<Member> = current.members().to_vec();
    for member in &mut renamed {
        member.node = change.replacement(member.node).unwrap_or(member.node);
    }
    renamed.sort_by_key(|member| member.node);
    // Whoever replaces a node has a store of its own.
    let place = |member: &Member| (member.node, member.zone, member.weight);
    let renames = !change.replaced().is_empty() || current.members() != change.members();
    renames && renamed.iter().map(place).eq(change.members().iter().map(place))
}

fn all(layout: &Layout) -> impl Iterator<Item = PartitionId> + use<> {
    (0..layout.partitions()).map(PartitionId)
}

fn left_alone(frame: &Frame, owners: &[u32], had: &[u32], fair: &[u32], in_place: bool) -> Vec<LeftAlone> {
    let node = |at: usize| frame.members[at].node;
    if !in_place {
        let afresh = frame.shares(&vec![0; frame.members.len()]);
        return (0..fair.len())
            .filter(|&at| fair[at] != afresh[at])
            .map(|at| LeftAlone::Rounding { node: node(at), share: fair[at], afresh: afresh[at] })
            .collect();
    }
    let mut left: Vec<LeftAlone> = (0..fair.len())
        .filter(|&at| had[at] != fair[at])
        .map(|at| LeftAlone::UnevenShare { node: node(at), share: had[at], fair: fair[at] })
        .collect();
    let mut copies = vec![0_u32; frame.bounds.len()];
    for (partition, row) in (0..).map(PartitionId).zip(owners.chunks(usize::from(frame.n))) {
        copies.fill(0);
        row.iter().for_each(|&owner| copies[frame.zone_of[owner as usize]] += 1);
        for (zone, (&copies, bounds)) in copies.iter().zip(&frame.bounds).enumerate() {
            if copies > bounds.most {
                left.push(LeftAlone::ZoneRule { partition, zone: frame.names[zone], copies });
            }
        }
    }
    left
}

/// The plan that leads from one layout to the other.
fn describe(
    current: &Layout,
    layout: Layout,
    change: Change,
    warnings: Vec<PlanWarning>,
    left_alone: Vec<LeftAlone>,
) -> Plan {
    let mut moves = Vec::new();
    let mut possible_loss = Vec::new();
    let mut reordered = 0;
    let at = |node: NodeId| current.index_of(node).expect("owners are members");
    let is_renewed = |before: &Member| layout.member(before.node).is_some_and(|member| member.store != before.store);
    let renewed: Vec<bool> = current.members().iter().map(is_renewed).collect();
    let is_lost = |node: NodeId| renewed[at(node)] || change.is_gone(node);
    // How many copies are read from each member in the place of one whose copies are lost.
    let mut read = vec![0_u32; current.members().len()];
    for partition in all(current) {
        let (old, new) = (current.owners(partition), layout.owners(partition));
        let left = old.iter().filter(|&&node| !is_lost(node));
        let owners_left = left.clone().count();
        if owners_left < old.len() / 2 + 1 {
            possible_loss.push(Loss { partition, owners_left: owners_left as u8 });
        }
        let mut source = |instead_of: NodeId| {
            if !is_lost(instead_of) {
                return Some(instead_of);
            }
            let from = left.clone().copied().min_by_key(|&node| read[at(node)]);
            from.inspect(|&node| read[at(node)] += 1)
        };
        let mut gained: Vec<NodeId> = new.iter().copied().filter(|node| !old.contains(node)).collect();
        reordered += u32::from(gained.is_empty() && old != new);
        let mut lost: Vec<NodeId> = old.iter().copied().filter(|node| !new.contains(node)).collect();
        // Whoever is replaced gives to the one who replaces it.
        lost.sort_by_key(|&node| change.replacement(node).is_none_or(|to| !gained.contains(&to)));
        for instead_of in lost {
            let replacement = change.replacement(instead_of).and_then(|to| gained.iter().position(|&node| node == to));
            let to = gained.remove(replacement.unwrap_or(0));
            moves.push(Move { partition, instead_of, from: source(instead_of), to, bytes: None });
        }
        for &node in old.iter().filter(|&&node| renewed[at(node)] && new.contains(&node)) {
            moves.push(Move { partition, instead_of: node, from: source(node), to: node, bytes: None });
        }
    }
    let shares = shares(current, &layout);
    Plan {
        overhead: overhead(&moves),
        moves,
        bytes: None,
        shares,
        before: Balance::of(current),
        after: Balance::of(&layout),
        reordered,
        gone: change.gone_nodes().to_vec(),
        renewed: current.members().iter().filter(|member| is_renewed(member)).map(|member| member.node).collect(),
        possible_loss,
        warnings,
        left_alone,
        same_members: current.members() == layout.members(),
        same_gone: current.gone() == layout.gone(),
        change,
        layout,
    }
}

/// Of all members of both layouts.
fn shares(current: &Layout, layout: &Layout) -> Vec<Share> {
    let (old, new) = (owned(current), owned(layout));
    let mut nodes: Vec<NodeId> = current.members().iter().chain(layout.members()).map(|member| member.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let share = |node| {
        let before = current.index_of(node).map_or(0, |at| old[at].0);
        let (after, first) = layout.index_of(node).map_or((0, 0), |at| new[at]);
        Share { node, before, after, first }
    };
    nodes.into_iter().map(share).collect()
}
