//! What a layout says, before it has a name.

use crate::ids::{LayoutId, NodeId, StoreId};

use super::layout::{Layout, Member};

/// The parent of a first layout.
pub(super) const NO_PARENT: LayoutId = LayoutId { version: 0, hash: 0 };

/// All that a layout's bytes hold, and that its name is the hash of.
pub(super) struct Content {
    pub(super) version: u64,
    pub(super) parent: LayoutId,
    pub(super) n: u8,
    /// Sorted by node; they passed [`checked_members`](super::layout::checked_members).
    pub(super) members: Vec<Member>,
    /// Owners that are declared gone for good: sorted, each once.
    pub(super) gone: Vec<(NodeId, Option<StoreId>)>,
    /// Those earlier layouts that are the ballot of a partition: ascending, each once.
    pub(super) earlier: Vec<LayoutId>,
    /// The ballot of each partition: 0 for this layout itself, `i + 1` for the `i`-th earlier one. The layout's own
    /// name can't stand here, since that is the hash over this.
    pub(super) ballots: Vec<u32>,
    /// For each partition `n` indices of members.
    pub(super) owners: Vec<u32>,
}

impl Content {
    /// Of a first layout.
    pub(super) fn first(n: u8, members: Vec<Member>, partitions: usize, owners: Vec<u32>) -> Self {
        let (gone, earlier, ballots) = (Vec::new(), Vec::new(), vec![0; partitions]);
        Self { version: 1, parent: NO_PARENT, n, members, gone, earlier, ballots, owners }
    }

    /// Of a child with as many owners as its parent; `gone` are owners that it declares gone beside those that its
    /// parent did.
    pub(super) fn child(
        parent: &Layout,
        version: u64,
        members: Vec<Member>,
        owners: Vec<u32>,
        gone: &[(NodeId, Option<StoreId>)],
    ) -> Self {
        let mut gone = [parent.gone(), gone].concat();
        gone.sort_unstable();
        gone.dedup();
        let (earlier, ballots) = ballots(parent, &members, &owners);
        Self { version, parent: parent.id(), n: parent.n(), members, gone, earlier, ballots, owners }
    }
}

/// The earlier layouts that are still the ballot of a partition, and for each partition the index of its ballot.
fn ballots(parent: &Layout, members: &[Member], owners: &[u32]) -> (Vec<LayoutId>, Vec<u32>) {
    let is_kept = |member: &Member| parent.member(member.node).is_some_and(|before| before.store == member.store);
    let kept: Vec<bool> = members.iter().map(is_kept).collect();
    let of_parent = parent.ballot_indices();
    // As many owners as before, all different: if each was one before, it is the same set.
    let is_same = |before: &[NodeId], now: &[u32]| {
        now.iter().all(|&at| kept[at as usize] && before.contains(&members[at as usize].node))
    };
    let now = owners.chunks(usize::from(parent.n()));
    let same: Vec<bool> = parent.all_owners().zip(now).map(|(before, now)| is_same(before, now)).collect();
    // Where in the new list each of the parent's ballots stands, if it stays one; the parent itself is the last.
    let mut earlier = parent.earlier().to_vec();
    earlier.push(parent.id());
    let place = |ballot: u32| (ballot as usize).checked_sub(1).unwrap_or(earlier.len() - 1);
    let mut index = vec![0; earlier.len()];
    of_parent.iter().zip(&same).filter(|&(_, &same)| same).for_each(|(&ballot, _)| index[place(ballot)] = 1);
    let mut count = 0;
    for index in index.iter_mut().filter(|index| **index > 0) {
        count += 1;
        *index = count;
    }
    let ballots = of_parent.iter().zip(&same).map(|(&ballot, &same)| if same { index[place(ballot)] } else { 0 });
    let ballots = ballots.collect();
    let earlier = earlier.into_iter().zip(index).filter(|&(_, index)| index > 0).map(|(id, _)| id).collect();
    (earlier, ballots)
}
