//! What is wanted of the next layout.

use crate::ids::{NodeId, StoreId};

use super::layout::{Layout, Member, checked_members};
use super::plan::PlanError;

/// What is wanted of the next layout: the members that it is to have, and what became of others. Several joins,
/// leaves, replacements and new weights are one change, planned together.
///
/// A member that is given without a store keeps the one that the current layout names for it: a list of members that
/// knows no stores takes none away.
///
/// ```
/// use quorate::ring::{Change, plan_change, plan_first};
/// use quorate::{Member, NodeId};
///
/// let members: Vec<_> = (1..=4).map(|node| Member::new(NodeId(node))).collect();
/// let layout = plan_first(&members, 3, 64)?.layout;
/// let change = Change::of(&layout).join(Member::new(NodeId(5))).join(Member::new(NodeId(6)));
/// let plan = plan_change(&layout, &change)?;
/// // 192 copies on six members instead of four: each of the two gets 32 of them, and nothing else moves.
/// assert_eq!(plan.moves.len(), 64);
/// # Ok::<(), quorate::ring::PlanError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    members: Vec<Member>,
    /// Who is replaced by whom.
    replaced: Vec<(NodeId, NodeId)>,
    /// Nodes of the layout that the change is made to, with the store that it names for them.
    gone: Vec<NodeId>,
    /// Owners that are gone for good whether or not that layout knows them; once checked, those of `gone` too.
    lost: Vec<(NodeId, Option<StoreId>)>,
    /// Nodes that were named as members of the layout that the change is made to.
    named: Vec<NodeId>,
    /// Nodes that were to get another store and weren't among the members.
    strangers: Vec<NodeId>,
    n: Option<u8>,
    partitions: Option<u32>,
}

impl Change {
    /// The next layout's members, whatever there was before: members that aren't named leave.
    #[must_use]
    pub const fn to(members: Vec<Member>) -> Self {
        Self {
            members,
            replaced: Vec::new(),
            gone: Vec::new(),
            lost: Vec::new(),
            named: Vec::new(),
            strangers: Vec::new(),
            n: None,
            partitions: None,
        }
    }

    /// The members of `layout`: what is to be changed is said with the methods below. As it is, it asks to even out
    /// what a host's own layout left uneven.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self::to(layout.members().to_vec())
    }

    /// One member more.
    #[must_use]
    pub fn join(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// One member less. It hands over what it owns, and is needed until then.
    #[must_use]
    pub fn leave(mut self, node: NodeId) -> Self {
        self.named.push(node);
        self.members.retain(|member| member.node != node);
        self
    }

    /// Another zone, weight or store for the member of that name.
    #[must_use]
    pub fn adjust(mut self, member: Member) -> Self {
        self.named.push(member.node);
        self.members.retain(|other| other.node != member.node);
        self.members.push(member);
        self
    }

    /// Another store for a member, whose zone and weight stay: its disk was wiped or exchanged. It keeps its partitions,
    /// and each of them is copied to it from another owner. If nothing else is asked for, nothing else changes.
    ///
    /// The old store is gone for good ([`Layout::gone`]), and what it held isn't counted on: where only such stores had a
    /// write, it is lost ([`Plan::possible_loss`](super::Plan::possible_loss)).
    #[must_use]
    pub fn renew(mut self, node: NodeId, store: StoreId) -> Self {
        self.named.push(node);
        match self.members.iter_mut().find(|member| member.node == node) {
            Some(member) => *member = member.store(store),
            None => self.strangers.push(node),
        }
        self
    }

    /// A new node in the place of an old one, as when hardware is exchanged: it takes what the old one owns, as far as
    /// its zone and weight allow. If nothing else is asked for and both are the old one's, nothing else changes.
    #[must_use]
    pub fn replace(mut self, old: NodeId, new: Member) -> Self {
        self = self.leave(old).join(new);
        self.replaced.push((old, new.node));
        self
    }

    /// Declares a node gone for good, with the store that the current layout names for it: it leaves, and what it holds
    /// isn't counted on. It may be one that is replaced, or one that [`join`](Self::join)s again with another store.
    /// An operator's act, never a failure detector's: what only gone nodes hold is lost, and no later layout takes it
    /// back ([`Layout::gone`]).
    #[must_use]
    pub fn gone(mut self, node: NodeId) -> Self {
        self = self.leave(node);
        self.gone.push(node);
        self
    }

    /// Declares an owner gone for good by the store that a layout names for it, be it this one or one before: a change that
    /// waits for who has left already goes on without it. Else as [`gone`](Self::gone).
    #[must_use]
    pub fn gone_with(mut self, node: NodeId, store: Option<StoreId>) -> Self {
        self.members.retain(|member| member.node != node || member.store != store);
        self.lost.push((node, store));
        self
    }

    /// How many copies the host's configuration asks for. A layout's number never changes: planning refuses another.
    #[must_use]
    pub const fn copies(mut self, n: u8) -> Self {
        self.n = Some(n);
        self
    }

    /// How many partitions the host's configuration asks for. A layout's number never changes: planning refuses
    /// another.
    #[must_use]
    pub const fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Brings what one side did into what the other did, where two layouts of one version were committed at a time:
    /// the change from `winner` that also does what was done from `parent` to `loser`. About a member that both
    /// changed the winner is right. Whom the loser declared gone is gone, unless the winner's word keeps it a member.
    #[must_use]
    pub fn absorbing(winner: &Layout, parent: &Layout, loser: &Layout) -> Self {
        let of = |layout: &Layout, node| layout.index_of(node).map(|at| layout.members()[at]);
        let merged = |node: NodeId| {
            let (base, won, lost) = (of(parent, node), of(winner, node), of(loser, node));
            if won == base { lost } else { won }
        };
        let mut nodes: Vec<NodeId> = winner.members().iter().chain(loser.members()).map(|member| member.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut change = Self::to(nodes.into_iter().filter_map(merged).collect());
        let is_wanted = |owner| change.members.iter().any(|member| (member.node, member.store) == owner);
        change.lost = loser.gone().iter().copied().filter(|&owner| !is_wanted(owner)).collect();
        change
    }

    /// Who is replaced by whom, sorted by the old one.
    #[must_use]
    pub fn replaced(&self) -> &[(NodeId, NodeId)] {
        &self.replaced
    }

    /// The change in its one spelling, if it can be made to `current`.
    pub(super) fn checked(&self, current: &Layout) -> Result<Self, PlanError> {
        let is_member = |node| current.member(node).is_some();
        let mut change = self.clone();
        change.members = checked_members(change.members)?;
        for member in &mut change.members {
            member.store = member.store.or_else(|| current.member(member.node)?.store);
        }
        let wanted =
            |node| Some(change.members[change.members.binary_search_by_key(&node, |member| member.node).ok()?]);
        if let Some(n) = change.n.filter(|&n| n != current.n()) {
            return Err(PlanError::CopiesAreFixed { n: current.n(), asked: n });
        }
        if let Some(asked) = change.partitions.filter(|&partitions| partitions != current.partitions()) {
            return Err(PlanError::PartitionsAreFixed { partitions: current.partitions(), asked });
        }
        let named = change.named.iter().filter(|&&node| !is_member(node));
        if let Some(&node) = named.chain(&change.strangers).next() {
            return Err(PlanError::NotAMember { node });
        }
        let store_of = |node| current.member(node).map(|member| member.store);
        change.lost.extend(change.gone.iter().filter_map(|&node| Some((node, store_of(node)?))));
        change.lost.sort_unstable();
        change.lost.dedup();
        let is_there = |&&(node, store): &&(NodeId, Option<StoreId>)| store_of(node) == Some(store);
        change.gone = change.lost.iter().filter(is_there).map(|&(node, _)| node).collect();
        change.replaced.sort_unstable();
        change.replaced.dedup();
        let is_wanted_as_it_is = |node| wanted(node).is_some_and(|member| Some(member.store) == store_of(node));
        let gone = change.gone.iter().copied().filter(|&node| is_wanted_as_it_is(node));
        let replaced = change.replaced.iter().map(|&(old, _)| old).filter(|&node| wanted(node).is_some());
        if let Some(node) = gone.chain(replaced).next() {
            return Err(PlanError::StillWanted { node });
        }
        // Who stays with another store is renewed, however it was said.
        let is_renewed = |before: &&Member| wanted(before.node).is_some_and(|member| member.store != before.store);
        change.lost.extend(current.members().iter().filter(is_renewed).map(|before| (before.node, before.store)));
        change.lost.sort_unstable();
        change.lost.dedup();
        change.gone.retain(|&node| wanted(node).is_none());
        let mut sides: Vec<NodeId> = change.replaced.iter().flat_map(|&(old, new)| [old, new]).collect();
        sides.sort_unstable();
        if let Some(pair) = sides.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PlanError::RepeatedReplacement { node: pair[0] });
        }
        for &(_, node) in &change.replaced {
            if is_member(node) {
                return Err(PlanError::ReplacementIsMember { node });
            }
        }
        // Those were for the checks alone: a change that says the same is the same.
        change.named.clear();
        change.strangers.clear();
        (change.n, change.partitions) = (None, None);
        Ok(change)
    }

    /// The members that are wanted; sorted by node, once checked.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether a node is declared gone. Only of a change that was checked.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        self.gone.binary_search(&node).is_ok()
    }

    pub(super) fn gone_nodes(&self) -> &[NodeId] {
        &self.gone
    }

    /// All owners that the next layout declares gone beside those that the current one did.
    pub(super) fn lost(&self) -> &[(NodeId, Option<StoreId>)] {
        &self.lost
    }

    /// Who stands for `node` in the next layout, if it is replaced.
    pub(super) fn replacement(&self, node: NodeId) -> Option<NodeId> {
        self.replaced.iter().find(|&&(old, _)| old == node).map(|&(_, new)| new)
    }
}
