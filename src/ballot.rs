//! The words of a layout change: what requests and refusals say of layouts, and which quorums it takes.
//!
//! Each layout is a ballot and a value at once: whoever promises one has promised all that it says.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::ids::{LayoutId, NodeId, StoreId};
use crate::mutant::{self, Mutant};
use crate::wire::list;

/// Some layouts, in order. There is rarely more than one.
pub(crate) type Ids = SmallVec<[LayoutId; 2]>;

/// Who votes, acknowledges and answers: a node's copy of a partition, in one life of it at one store.
///
/// A node that has lost its disk, was set back to a backup, or has dropped a damaged partition is another owner: what
/// the one before it acknowledged, it may not have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// Its name in layouts.
    pub node: NodeId,
    /// The store that it has there.
    pub store: StoreId,
    /// The partition's life at that store.
    pub life: u32,
}

/// The layouts that a write names: one that is decided, and every later one of which its coordinator has heard that a
/// replica promised it or sealed for it. In each of them it takes W acknowledgements.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Sets(Ids);

impl Sets {
    /// The most that a request names.
    pub const MAX: usize = 32;

    /// A decided one alone.
    #[must_use]
    pub fn of(floor: LayoutId) -> Self {
        Self(SmallVec::from_slice(&[floor]))
    }

    /// The one that is decided.
    #[must_use]
    pub fn floor(&self) -> LayoutId {
        self.0[0]
    }

    /// The latest.
    #[must_use]
    pub fn top(&self) -> LayoutId {
        self.0[self.0.len() - 1]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = LayoutId> {
        self.0.iter().copied()
    }

    /// Whether it is named.
    #[must_use]
    pub fn contains(&self, layout: LayoutId) -> bool {
        self.0.contains(&layout)
    }

    /// Names a layout above the floor too. Tells whether it didn't before.
    pub fn add(&mut self, layout: LayoutId) -> bool {
        layout > self.floor() && insert(&mut self.0, layout)
    }

    /// A later layout is known to be decided: those below it are out of use. Tells whether anything changed.
    pub fn raise(&mut self, floor: LayoutId) -> bool {
        if floor <= self.floor() {
            return false;
        }
        self.0.retain(|layout| *layout >= floor);
        insert(&mut self.0, floor);
        true
    }
}

/// Adds to an ordered list. Tells whether it was not there.
pub(crate) fn insert(ids: &mut Ids, layout: LayoutId) -> bool {
    let Err(at) = ids.binary_search(&layout) else { return false };
    ids.insert(at, layout);
    true
}

#[derive(Serialize, Deserialize)]
struct Wire(#[serde(deserialize_with = "list")] Vec<LayoutId>);

impl From<Sets> for Wire {
    fn from(sets: Sets) -> Self {
        Self(sets.0.into_vec())
    }
}

impl TryFrom<Wire> for Sets {
    type Error = &'static str;
    fn try_from(Wire(ids): Wire) -> Result<Self, Self::Error> {
        if ids.len() > Self::MAX {
            return Err("too many layouts");
        }
        if ids.is_empty() || !ids.is_sorted_by(|one, next| one < next) {
            return Err("layouts out of order");
        }
        Ok(Self(ids.into()))
    }
}

/// Why a replica refused, with all that it knows of later layouts: what the request has to name, or who is to give up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// What was lacking.
    pub reason: Reason,
    /// The latest layout that it knows to be decided.
    pub floor: LayoutId,
    /// The latest that it has promised.
    pub promise: LayoutId,
    /// Those above its floor for which it has sealed the earlier ones.
    #[serde(deserialize_with = "list")]
    pub seals: Vec<LayoutId>,
}

/// What the request lacks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// A later layout is decided than the request knows.
    Floor,
    /// The replica has sealed for a layout that the request doesn't name.
    Seals,
    /// The replica has promised a layout that the request doesn't name, or a later one than is asked for.
    Promise,
}

/// The most answers that it takes of the `n` owners of a layout to change it, where strict reads take at least `r`
/// answers of them, and strict writes at least `w`.
///
/// So many meet every majority (two changes), every write that was acknowledged, and every read that may still be
/// answered.
#[must_use]
pub const fn quorum(n: usize, r: usize, w: usize) -> usize {
    let (r, w) = (if r < n { r } else { n }, if w < n { w } else { n });
    let (majority, reads, writes) = (n / 2 + 1, n - r + 1, n - w + 1);
    let most = if reads > writes { reads } else { writes };
    if most > majority { most } else { majority }
}

/// The owners of one partition in one layout, and what strict requests take of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    layout: LayoutId,
    owners: SmallVec<[Owner; 3]>,
    r: usize,
    w: usize,
    most_w: usize,
}

impl Group {
    /// `r` and `w` are the smallest strict ones that the layout allows, `most_w` is the largest strict W.
    #[must_use]
    pub fn new(layout: LayoutId, owners: &[Owner], r: u8, w: u8, most_w: u8) -> Self {
        Self { layout, owners: owners.into(), r: r.into(), w: w.into(), most_w: most_w.into() }
    }

    /// The layout whose owners these are.
    #[must_use]
    pub fn layout(&self) -> LayoutId {
        self.layout
    }

    /// Who owns the partition in it.
    #[must_use]
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }

    /// How many answers a read takes that asks for `r`.
    #[must_use]
    pub fn reads(&self, r: u8) -> usize {
        usize::from(r).min(self.owners.len())
    }

    /// How many acknowledgements a write takes that asks for `w`.
    #[must_use]
    pub fn writes(&self, w: u8) -> usize {
        usize::from(w).min(self.owners.len())
    }

    /// How many must hold the layout before earlier ones are sealed: as many as the largest strict write takes.
    #[must_use]
    pub fn holders(&self) -> usize {
        if mutant::is(Mutant::OneHolder) { 1 } else { self.most_w.min(self.owners.len()) }
    }

    /// How many of its owners have to confirm before a former owner drops what it has.
    #[must_use]
    pub fn confirmations(&self) -> usize {
        self.holders()
    }

    /// Whether the owners are the same, in whatever order, down to their stores.
    #[must_use]
    pub fn has_owners_of(&self, other: &Self) -> bool {
        self.owners.len() == other.owners.len() && self.owners.iter().all(|owner| other.owners.contains(owner))
    }

    fn quorum(&self) -> usize {
        quorum(self.owners.len(), self.r, self.w)
    }
}

/// What is known of the layouts of one partition, and which owners are gone for good.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Groups {
    groups: Vec<Group>,
    /// Declared gone by an operator, in a layout: their votes and answers count nowhere any more.
    gone: Vec<Owner>,
}

/// What can be said of a layout's change quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needed {
    /// So many owners must have promised, or sealed.
    pub answers: usize,
    /// Fewer are left than it takes to meet every write and every read: all of them must answer, and what only those
    /// that are gone had acknowledged is lost.
    pub possible_loss: bool,
}

impl Groups {
    /// These layouts, nobody gone.
    #[must_use]
    pub fn new(groups: Vec<Group>) -> Self {
        Self { groups, gone: Vec::new() }
    }

    /// The same where these owners are declared gone.
    #[must_use]
    pub fn with_gone(self, gone: Vec<Owner>) -> Self {
        Self { gone, ..self }
    }

    /// A layout's owners; none if its content has not come yet.
    #[must_use]
    pub fn get(&self, layout: LayoutId) -> Option<&Group> {
        self.groups.iter().find(|group| group.layout == layout)
    }

    /// Whether it was declared gone.
    #[must_use]
    pub fn is_gone(&self, owner: Owner) -> bool {
        self.gone.contains(&owner)
    }

    /// The owners of a group that may answer.
    pub fn remaining<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = Owner> + 'a {
        group.owners.iter().copied().filter(|owner| !self.is_gone(*owner))
    }

    /// How many owners of a group must have promised, or sealed.
    #[must_use]
    pub fn needed(&self, group: &Group) -> Needed {
        let (quorum, remaining) = (group.quorum(), self.remaining(group).count());
        Needed { answers: quorum.min(remaining), possible_loss: remaining < quorum }
    }

    /// How many of these are owners of a group and not gone.
    #[must_use]
    pub fn count(&self, group: &Group, of: impl Fn(Owner) -> bool) -> usize {
        self.remaining(group).filter(|owner| of(*owner)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: u64) -> LayoutId {
        LayoutId { version, hash: 7 }
    }

    /// Whatever is chosen, a quorum of it meets every other, every write of `w`, and leaves fewer than `r` for a read.
    #[test]
    fn a_quorum_meets_what_it_must_meet_and_is_no_larger() {
        for n in 1..=7 {
            for r in 1..=n + 1 {
                for w in 1..=n + 1 {
                    let (least_r, least_w) = (r.min(n), w.min(n));
                    let sound = |q: usize| 2 * q > n && q + least_w > n && q + least_r > n;
                    let q = quorum(n, r, w);
                    assert!(sound(q) && !sound(q - 1), "n {n} r {r} w {w}: {q}");
                }
            }
        }
        let table = [(1, 1, 1, 1), (2, 2, 2, 2), (3, 2, 2, 2), (3, 1, 3, 3), (3, 3, 1, 3), (5, 3, 3, 3), (2, 1, 2, 2)];
        for (n, r, w, expected) in table {
            assert_eq!(quorum(n, r, w), expected, "n {n} r {r} w {w}");
        }
    }

    #[test]
    fn a_request_names_layouts_in_order_above_a_decided_one() {
        let mut sets = Sets::of(id(3));
        assert!(!sets.add(id(2)) && !sets.add(id(3)), "what is below the floor is out of use");
        assert!(sets.add(id(7)) && sets.add(id(5)) && !sets.add(id(5)));
        assert_eq!((sets.floor(), sets.top()), (id(3), id(7)));
        assert!(!sets.raise(id(3)) && sets.raise(id(5)));
        assert!(sets.iter().eq([id(5), id(7)]));
        assert!(sets.raise(id(6)) && sets.iter().eq([id(6), id(7)]), "decided without having been named");
        assert!(sets.raise(id(9)) && sets.iter().eq([id(9)]));
    }

    #[test]
    fn what_comes_from_outside_is_in_order_and_not_empty() {
        let read = |ids: &[u64]| Sets::try_from(Wire(ids.iter().copied().map(id).collect()));
        assert_eq!(read(&[1]), Ok(Sets::of(id(1))));
        assert!(read(&[1, 4]).is_ok_and(|sets| sets.top() == id(4)));
        for wrong in [&[][..], &[1, 1], &[2, 1]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn where_owners_are_gone_all_that_remain_must_answer_and_loss_is_told() {
        let owner = |node| Owner { node: NodeId(node), store: StoreId(1), life: 1 };
        let owners = [owner(0), owner(1), owner(2)];
        let group = Group::new(id(1), &owners, 2, 2, 2);
        let known = Groups::new(vec![group.clone()]);
        assert_eq!(known.needed(&group), Needed { answers: 2, possible_loss: false });
        let one = known.clone().with_gone(vec![owner(0)]);
        assert_eq!(one.needed(&group), Needed { answers: 2, possible_loss: false });
        assert_eq!(one.count(&group, |_| true), 2);
        let two = known.with_gone(vec![owner(0), owner(2)]);
        assert_eq!(two.needed(&group), Needed { answers: 1, possible_loss: true });
    }
}
