//! The members in the order in which they serve a partition.

use std::iter::FusedIterator;

use crate::ids::{NodeId, PartitionId, ZoneId};

use super::layout::Layout;
use super::tally::mix;

/// All members of a layout in the order in which they serve a partition, each once (Dynamo §4.3, §4.6): made by
/// [`Layout::preference_list`].
///
/// It is the same on every node, and knows nothing of who is alive: the caller skips those that it suspects.
#[derive(Clone, Debug)]
pub struct PreferenceList<'a> {
    layout: &'a Layout,
    partition: PartitionId,
    /// How many were given out.
    at: usize,
    /// Those that are not in the layout's table; empty until asked for.
    rest: Vec<NodeId>,
}

impl<'a> PreferenceList<'a> {
    pub(super) fn new(layout: &'a Layout, partition: PartitionId) -> Self {
        // Panics here, where the caller looks, and not in the first `next`.
        let _ = layout.table_row(partition);
        Self { layout, partition, at: 0, rest: Vec::new() }
    }
}

impl Iterator for PreferenceList<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let table = self.layout.table_row(self.partition);
        let node = match self.at.checked_sub(table.len()) {
            None => table[self.at],
            Some(_) if self.at >= self.layout.members().len() => return None,
            Some(rest) => {
                if self.rest.is_empty() {
                    self.rest = rest_of(self.layout, self.partition);
                }
                self.rest[rest]
            }
        };
        self.at += 1;
        Some(node)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.layout.members().len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for PreferenceList<'_> {}
impl FusedIterator for PreferenceList<'_> {}

/// The members after the table's: by the number of owners in their zone, zone after zone in turn, in an order of its
/// own for each partition, lest the same node is everybody's next.
fn rest_of(layout: &Layout, partition: PartitionId) -> Vec<NodeId> {
    let table = layout.table_row(partition);
    let n = usize::from(layout.n());
    // At most a few hundred, mostly three to five: a scan is faster than a map.
    let mut used: Vec<(ZoneId, usize, usize)> = Vec::with_capacity(table.len());
    for (at, &node) in table.iter().enumerate() {
        let zone = layout.members()[layout.index_of(node).expect("the table holds members")].zone;
        let slot = used.iter().position(|&(used, ..)| used == zone).unwrap_or_else(|| {
            used.push((zone, 0, 0));
            used.len() - 1
        });
        if at < n {
            used[slot].1 += 1;
        } else {
            used[slot].2 += 1;
        }
    }
    let mut rest: Vec<_> = layout
        .members()
        .iter()
        .filter(|member| !table.contains(&member.node))
        .map(|member| (member.zone, mix(u64::from(partition.0), member.node.0), member.node))
        .collect();
    rest.sort_unstable();
    let mut ranked = Vec::with_capacity(rest.len());
    let mut turn = (None, 0, 0);
    for (zone, scattered, node) in rest {
        if turn.0 != Some(zone) {
            let (_, owners, fallbacks) = used.iter().find(|&&(used, ..)| used == zone).copied().unwrap_or((zone, 0, 0));
            turn = (Some(zone), owners, fallbacks);
        }
        ranked.push((turn.1, turn.2, scattered, node));
        turn.2 += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., node)| node).collect()
}
