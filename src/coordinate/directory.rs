//! The nodes that a coordinator may meet, numbered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{NodeId, ZoneId};
use crate::ring::Layout;

/// All nodes that any layout has named, each with a number and the number of its zone.
///
/// What is known of a peer is kept by its number, so numbers stay as layouts come and go.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// Its members have the first numbers, in order: nearly all look-ups end here.
    first: Arc<Layout>,
    later: BTreeMap<NodeId, usize>,
    nodes: Vec<NodeId>,
    zones: Vec<u8>,
    zone_numbers: BTreeMap<ZoneId, u8>,
}

impl Directory {
    pub(crate) fn new(first: Arc<Layout>) -> Self {
        let mut own = Self {
            first: Arc::clone(&first),
            later: BTreeMap::new(),
            nodes: Vec::new(),
            zones: Vec::new(),
            zone_numbers: BTreeMap::new(),
        };
        own.learn(&first);
        own
    }

    /// Adds the members that were not known, and puts the others into the zones that the layout says. Tells how many
    /// were added.
    pub(crate) fn learn(&mut self, layout: &Layout) -> usize {
        let before = self.nodes.len();
        for member in layout.members() {
            let zone = self.zone_number(member.zone);
            match self.index_of(member.node).filter(|at| *at < self.nodes.len()) {
                Some(at) => self.zones[at] = zone,
                None => {
                    if self.first.index_of(member.node).is_none() {
                        self.later.insert(member.node, self.nodes.len());
                    }
                    self.nodes.push(member.node);
                    self.zones.push(zone);
                }
            }
        }
        self.nodes.len() - before
    }

    /// Most nodes beyond those of the first layout, unless layouts name more.
    pub(crate) const MOST: usize = 4_096;

    /// Adds a node that no layout names which is known: a client, or one that has left, and has something left to hand
    /// over. True if it was not known. Not beyond some thousands: whoever changes its name with each start would fill the
    /// memory.
    pub(crate) fn meet(&mut self, node: NodeId) -> bool {
        let is_new = self.index_of(node).is_none() && self.later.len() < Self::MOST;
        if is_new {
            self.later.insert(node, self.nodes.len());
            self.nodes.push(node);
            self.zones.push(u8::MAX);
        }
        is_new
    }

    /// Beyond 256 zones the last ones count as one: a write may then need one zone more, never one fewer.
    fn zone_number(&mut self, zone: ZoneId) -> u8 {
        let next = u8::try_from(self.zone_numbers.len()).unwrap_or(u8::MAX);
        *self.zone_numbers.entry(zone).or_insert(next)
    }

    pub(crate) fn index_of(&self, node: NodeId) -> Option<usize> {
        self.first.index_of(node).or_else(|| self.later.get(&node).copied())
    }

    pub(crate) fn node(&self, at: usize) -> NodeId {
        self.nodes[at]
    }

    pub(crate) fn zone(&self, at: usize) -> u8 {
        self.zones[at]
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Change, Member, plan_change, plan_first};

    #[test]
    fn strangers_are_known_up_to_a_bound_and_members_beyond_it() {
        let members: Vec<Member> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let first = Arc::new(plan_first(&members, 3, 16).unwrap().layout);
        let mut directory = Directory::new(Arc::clone(&first));
        assert!(!directory.meet(NodeId(2)), "it is known");
        assert!((0..Directory::MOST).all(|stranger| directory.meet(NodeId(1_000 + stranger as u64))));
        assert_eq!(directory.len(), 3 + Directory::MOST);
        assert!(!directory.meet(NodeId(1_000)) && !directory.meet(NodeId(9)));
        assert_eq!(directory.index_of(NodeId(9)), None);
        let change = Change::of(&first).join(Member::new(NodeId(9)));
        assert_eq!(directory.learn(&plan_change(&first, &change).unwrap().layout), 1);
        assert_eq!(directory.index_of(NodeId(9)), Some(3 + Directory::MOST));
    }
}
