//! What a shard knows of layouts: what they say, and which of them count in each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ballot::{Group, Groups, Owner, Refused, Sets};
use crate::coordinate::Directory;
use crate::ids::{LayoutId, NodeId, PartitionId, StoreId};
use crate::ring::Layout;

/// The layouts that are known, and what was heard of them for each partition.
///
/// What a layout is to a partition is its *ballot*: the last layout up to it that has changed who owns the partition. A
/// request names ballots, so that a change leaves alone what it doesn't change.
///
/// To name too early a ballot is safe, for whoever knows more refuses and says what is missing; to name one that was
/// never decided is not. Nothing counts here whose content isn't known.
#[derive(Debug)]
pub(super) struct Topology {
    /// Decided in every partition, as far as is known.
    base: Arc<Layout>,
    layouts: BTreeMap<LayoutId, Arc<Layout>>,
    /// Where more counts than the base.
    heard: BTreeMap<PartitionId, Live>,
    pub(super) directory: Directory,
    quorum: Minima,
}

/// The smallest R and W of strict requests: what an answer is worth to a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Minima {
    pub(super) r: u8,
    pub(super) w: u8,
}

#[derive(Debug)]
struct Live {
    sets: Sets,
    /// What each of them says, in order.
    layouts: Vec<Arc<Layout>>,
}

/// The layouts by which a request goes. There is rarely more than one.
pub(super) type Layouts = SmallVec<[Arc<Layout>; 1]>;

/// What came of hearing of layouts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Heard {
    /// Other layouts count in the partition than before.
    pub(super) changed: bool,
    /// The floor has risen.
    pub(super) raised: bool,
    /// Layouts that would count if it were known what they say.
    pub(super) unknown: Vec<LayoutId>,
}

/// An owner by the store that a layout names for it; no store is that which it was founded with.
pub(super) fn owner(node: NodeId, store: Option<StoreId>) -> Owner {
    Owner { node, store: store.unwrap_or(FOUNDED), life: 0 }
}

/// By this name a node speaks of the store that it was founded with: a layout says none.
pub(super) const FOUNDED: StoreId = StoreId(0);

pub(super) fn member_store(layout: &Layout, node: NodeId) -> Option<StoreId> {
    layout.index_of(node).and_then(|at| layout.members()[at].store)
}

/// Whether two layouts name the same owners of a partition, in whatever order, and the same stores of them.
fn has_same_owners(one: &Layout, other: &Layout, partition: PartitionId) -> bool {
    let is_same =
        |node: &NodeId| other.owns(*node, partition) && member_store(one, *node) == member_store(other, *node);
    one.owners(partition).iter().all(is_same)
}

impl Topology {
    pub(super) fn new(base: Arc<Layout>, quorum: Minima) -> Self {
        let layouts = BTreeMap::from([(base.id(), Arc::clone(&base))]);
        let directory = Directory::new(Arc::clone(&base));
        Self { base, layouts, heard: BTreeMap::new(), directory, quorum }
    }

    pub(super) const fn base(&self) -> &Arc<Layout> {
        &self.base
    }

    /// Takes in what a layout says. True if that was news.
    pub(super) fn learn(&mut self, layout: &Arc<Layout>) -> bool {
        if layout.partitions() != self.base.partitions() || layout.n() != self.base.n() {
            return false;
        }
        self.directory.learn(layout);
        self.layouts.insert(layout.id(), Arc::clone(layout)).is_none()
    }

    /// A layout is decided in all partitions. One whose content is not known, or that is known already, changes nothing.
    pub(super) fn settle(&mut self, id: LayoutId) {
        let Some(layout) = self.layouts.get(&id).filter(|layout| layout.id() > self.base.id()) else { return };
        self.base = Arc::clone(layout);
        let base = &self.base;
        self.heard.retain(|&partition, live| !live.sets.iter().eq([base.ballot(partition)]));
    }

    /// Forgets layouts that are older than the base and count nowhere.
    pub(super) fn forget_old(&mut self) {
        let (base, heard) = (self.base.id(), &self.heard);
        let counts = |id: LayoutId| heard.values().any(|live| live.layouts.iter().any(|layout| layout.id() == id));
        self.layouts.retain(|&id, _| id >= base || counts(id));
    }

    /// The latest that is known.
    pub(super) fn latest(&self) -> &Arc<Layout> {
        self.layouts.values().next_back().unwrap_or(&self.base)
    }

    /// Whether a layout names the node that is known.
    pub(super) fn is_member(&self, node: NodeId) -> bool {
        self.layouts.values().any(|layout| layout.index_of(node).is_some())
    }

    pub(super) fn layout_by_id(&self, id: LayoutId) -> Option<&Arc<Layout>> {
        self.layouts.get(&id)
    }

    /// A layout that says who owns the partition by this ballot.
    pub(super) fn layout_of(&self, partition: PartitionId, ballot: LayoutId) -> Option<&Arc<Layout>> {
        let by_name = || self.layouts.get(&ballot);
        self.layouts.values().rev().find(|layout| layout.ballot(partition) == ballot).or_else(by_name)
    }

    /// What the partition is to go for: the ballot of the highest layout, or what was promised already.
    ///
    /// Where a rival of that layout was promised or decided, the ballot is below it, though the layout is not: then the
    /// layout is a ballot of its own, and the way back. Else the partition would stay with the rival's owners for ever.
    pub(super) fn goal(&self, partition: PartitionId) -> Option<LayoutId> {
        let sets = self.sets(partition);
        let promised = sets.top();
        let highest = self.latest();
        let ballot = highest.ballot(partition);
        if ballot > promised {
            return Some(ballot);
        }
        let is_rival = highest.id() > promised
            && self.layout_of(partition, promised).is_none_or(|layout| !has_same_owners(layout, highest, partition));
        if is_rival {
            return Some(highest.id());
        }
        (promised > sets.floor()).then_some(promised)
    }

    /// Whether a ballot leads to where the highest layout is: as the goal, or as what others may take for it who have heard
    /// of other promises. No other is worth to be gone for.
    pub(super) fn is_wanted(&self, partition: PartitionId, ballot: LayoutId) -> bool {
        let (highest, goal) = (self.latest(), self.goal(partition));
        let leads_there = || {
            let layout = self.layout_of(partition, ballot);
            goal < Some(ballot) && layout.is_some_and(|layout| has_same_owners(layout, highest, partition))
        };
        ballot == highest.ballot(partition) || ballot == highest.id() || goal == Some(ballot) || leads_there()
    }

    /// The layouts that count: the decided one first.
    pub(super) fn live(&self, partition: PartitionId) -> &[Arc<Layout>] {
        match self.heard.get(&partition) {
            None => std::slice::from_ref(&self.base),
            Some(live) => &live.layouts,
        }
    }

    /// Their ballots.
    pub(super) fn sets(&self, partition: PartitionId) -> Sets {
        match self.heard.get(&partition) {
            None => Sets::of(self.base.ballot(partition)),
            Some(live) => live.sets.clone(),
        }
    }

    pub(super) fn floor(&self, partition: PartitionId) -> LayoutId {
        match self.heard.get(&partition) {
            None => self.base.ballot(partition),
            Some(live) => live.sets.floor(),
        }
    }

    /// In how many partitions more counts than the layout that is decided everywhere.
    pub(super) fn undecided(&self) -> usize {
        self.heard.len()
    }

    /// The layouts that are known, ascending.
    pub(super) fn known(&self) -> impl Iterator<Item = LayoutId> {
        self.layouts.keys().copied()
    }

    /// The owners of a partition in the decided layout.
    pub(super) fn owners(&self, partition: PartitionId) -> &[NodeId] {
        self.live(partition)[0].owners(partition)
    }

    /// All owners of a partition in the layouts that count, each once.
    pub(super) fn all_owners(&self, partition: PartitionId) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = Vec::new();
        for &node in self.live(partition).iter().flat_map(|layout| layout.owners(partition)) {
            if !all.contains(&node) {
                all.push(node);
            }
        }
        all
    }

    /// Whether a layout that counts names the node as an owner.
    pub(super) fn is_owner(&self, node: NodeId, partition: PartitionId) -> bool {
        self.live(partition).iter().any(|layout| layout.owns(node, partition))
    }

    /// Whether a node, with this store, is an owner by a ballot; none if it isn't known what that says.
    pub(super) fn is_named(&self, partition: PartitionId, ballot: LayoutId, who: Owner) -> Option<bool> {
        let layout = self.layout_of(partition, ballot)?;
        let is_it = owner(who.node, member_store(layout, who.node)) == who;
        Some(is_it && layout.owns(who.node, partition))
    }

    /// Whether a layout that may count yet names a node, with this store, as an owner.
    pub(super) fn is_named_by_any(&self, partition: PartitionId, who: Owner) -> bool {
        let floor = self.floor(partition);
        let is_it = |layout: &Layout| owner(who.node, member_store(layout, who.node)) == who;
        let mut later = self.layouts.values().filter(|layout| layout.id() >= floor);
        later.any(|layout| layout.owns(who.node, partition) && is_it(layout))
    }

    /// Somebody has said which layouts count in a partition.
    pub(super) fn hear(&mut self, partition: PartitionId, refused: &Refused) -> Heard {
        let above = refused.seals.iter().copied().chain([refused.promise]);
        self.hear_of(partition, refused.floor, above)
    }

    /// A floor, and ballots that may count above it.
    pub(super) fn hear_of(
        &mut self,
        partition: PartitionId,
        floor: LayoutId,
        above: impl Iterator<Item = LayoutId>,
    ) -> Heard {
        let mut heard = Heard::default();
        let mut sets = self.sets(partition);
        if floor > sets.floor() {
            if self.layout_of(partition, floor).is_some() {
                heard.raised = sets.raise(floor);
            } else {
                heard.unknown.push(floor);
            }
        }
        for ballot in above.filter(|ballot| *ballot > sets.floor()).collect::<Vec<_>>() {
            if self.layout_of(partition, ballot).is_none() {
                heard.unknown.push(ballot);
            } else if sets.add(ballot) {
                heard.changed = true;
            }
        }
        heard.changed |= heard.raised;
        if heard.changed {
            self.set(partition, sets);
        }
        heard
    }

    /// A ballot is decided in a partition.
    pub(super) fn decided(&mut self, partition: PartitionId, ballot: LayoutId) -> Heard {
        self.hear_of(partition, ballot, std::iter::empty())
    }

    fn set(&mut self, partition: PartitionId, sets: Sets) {
        if sets.iter().eq([self.base.ballot(partition)]) {
            self.heard.remove(&partition);
            return;
        }
        let layouts = sets.iter().filter_map(|ballot| self.layout_of(partition, ballot).cloned()).collect();
        self.heard.insert(partition, Live { sets, layouts });
    }

    /// Who owns a partition in every layout that is known, and who of them is gone.
    pub(super) fn groups(&self, partition: PartitionId) -> Groups {
        let mut groups: Vec<Group> = Vec::new();
        let mut gone = Vec::new();
        let Minima { r, w } = self.quorum;
        let n = self.base.n();
        for layout in self.layouts.values().rev() {
            let ballot = layout.ballot(partition);
            gone.extend(layout.gone().iter().map(|&(node, store)| owner(node, store)));
            let named = |&node: &NodeId| owner(node, member_store(layout, node));
            let owners: Vec<Owner> = layout.owners(partition).iter().map(named).collect();
            // As many hold it as the smallest read is sure to meet.
            let most_w = w.max(n + 1 - r.min(n));
            for ballot in [ballot, layout.id()] {
                if groups.iter().all(|group| group.layout() != ballot) {
                    groups.push(Group::new(ballot, &owners, r, w, most_w));
                }
            }
        }
        Groups::new(groups).with_gone(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ZoneId;
    use crate::ring::{Change, Member, plan_change, plan_first};

    const MINIMA: Minima = Minima { r: 2, w: 2 };

    fn first() -> Arc<Layout> {
        let members: Vec<Member> = (1..=4).map(|node| Member::new(NodeId(node))).collect();
        Arc::new(plan_first(&members, 3, 16).unwrap().layout)
    }

    fn child(parent: &Layout, change: impl FnOnce(Change) -> Change) -> Arc<Layout> {
        Arc::new(plan_change(parent, &change(Change::of(parent))).unwrap().layout)
    }

    fn joined(parent: &Layout, node: u64) -> Arc<Layout> {
        child(parent, |change| change.join(Member::new(NodeId(node)).zone(ZoneId(0))))
    }

    /// Partitions of which two layouts name the same owners, and others.
    fn split(one: &Layout, other: &Layout) -> (Vec<PartitionId>, Vec<PartitionId>) {
        (0..16).map(PartitionId).partition(|partition| has_same_owners(one, other, *partition))
    }

    #[test]
    fn nothing_counts_before_it_is_known_what_it_says() {
        let (first, second) = (first(), joined(&first(), 5));
        let mut topology = Topology::new(Arc::clone(&first), MINIMA);
        let (same, moved) = split(&first, &second);
        assert!(!same.is_empty() && !moved.is_empty());
        let ballot = second.ballot(moved[0]);
        let heard = topology.decided(moved[0], ballot);
        assert_eq!(heard, Heard { unknown: vec![ballot], ..Heard::default() });
        assert_eq!((topology.floor(moved[0]), topology.goal(moved[0])), (first.id(), None));
        assert!(topology.learn(&second) && !topology.learn(&second));
        assert_eq!(topology.goal(moved[0]), Some(second.id()));
        assert_eq!(topology.goal(same[0]), None, "what it leaves alone is not asked anything");
        let heard = topology.hear_of(moved[0], first.id(), [ballot].into_iter());
        assert!(heard.changed && !heard.raised);
        assert!(topology.sets(moved[0]).iter().eq([first.id(), second.id()]));
        assert_eq!(topology.all_owners(moved[0]).len(), 4);
        let heard = topology.decided(moved[0], ballot);
        assert!(heard.raised && topology.owners(moved[0]) == second.owners(moved[0]));
        assert_eq!(topology.goal(moved[0]), None);
    }

    /// Two children of one layout: where the lower was decided and the higher leaves the partition alone, the higher is
    /// a ballot by its own name.
    #[test]
    fn the_latest_is_the_way_back_from_a_rival_that_was_promised_or_decided() {
        let first = first();
        let (one, other) = (joined(&first, 5), child(&first, |change| change.leave(NodeId(4))));
        let (lower, higher) = if one.id() < other.id() { (one, other) } else { (other, one) };
        let mut topology = Topology::new(Arc::clone(&first), MINIMA);
        topology.learn(&lower);
        topology.learn(&higher);
        let alone =
            |partition: &PartitionId| higher.ballot(*partition) == first.id() && lower.ballot(*partition) == lower.id();
        let partition = (0..16).map(PartitionId).find(alone).expect("one moves in the lower alone");
        assert_eq!(topology.goal(partition), None);
        assert!(topology.hear_of(partition, first.id(), [lower.id()].into_iter()).changed);
        assert_eq!(topology.goal(partition), Some(higher.id()));
        assert!(topology.decided(partition, lower.id()).raised);
        assert_eq!(topology.goal(partition), Some(higher.id()));
        assert!(topology.decided(partition, higher.id()).raised);
        assert_eq!(topology.owners(partition), first.owners(partition), "as they were");
        assert_eq!(topology.goal(partition), None);
    }

    #[test]
    fn a_layout_that_is_decided_everywhere_is_the_base_and_those_before_it_are_forgotten() {
        let (first, second) = (first(), joined(&first(), 5));
        let mut topology = Topology::new(Arc::clone(&first), MINIMA);
        topology.settle(second.id());
        assert_eq!(topology.base().id(), first.id(), "not before it is known");
        topology.learn(&second);
        for partition in (0..16).map(PartitionId) {
            topology.decided(partition, second.ballot(partition));
        }
        topology.settle(second.id());
        topology.forget_old();
        assert_eq!(topology.base().id(), second.id());
        assert!(topology.heard.is_empty() && topology.layout_by_id(first.id()).is_none());
        let (same, _) = split(&first, &second);
        // What it left alone goes by the name of the layout that is forgotten, and it is known who owns it.
        assert_eq!(topology.floor(same[0]), first.id());
        assert_eq!(topology.layout_of(same[0], first.id()).map(|layout| layout.id()), Some(second.id()));
    }

    #[test]
    fn an_owner_is_one_by_the_store_that_is_named() {
        let (first, store) = (first(), StoreId(7));
        let node = first.owners(PartitionId(0))[0];
        let renewed = child(&first, |change| change.renew(node, store));
        let mut topology = Topology::new(Arc::clone(&first), MINIMA);
        topology.learn(&renewed);
        let is_named = |ballot, store| topology.is_named(PartitionId(0), ballot, owner(node, store));
        assert_eq!((is_named(first.id(), None), is_named(first.id(), Some(store))), (Some(true), Some(false)));
        assert_eq!((is_named(renewed.id(), None), is_named(renewed.id(), Some(store))), (Some(false), Some(true)));
        assert_eq!(is_named(LayoutId { version: 9, hash: 9 }, None), None);
        assert_eq!(topology.goal(PartitionId(0)), Some(renewed.id()), "another store is another owner");
    }
}
