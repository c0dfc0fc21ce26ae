//! What a host supplies to make one value of siblings: the application's logic, timestamps, or a merge function.

use std::fmt;

use crate::bytes::Bytes;
use crate::causality::{Entry, Stamp};
use crate::ids::Dot;

/// Decides what a read shows where versions have diverged (Dynamo §4.4, "semantic reconciliation").
///
/// It must be deterministic, and what it makes must not depend on the order or grouping in which siblings were
/// merged (commutative, associative, idempotent): two nodes that merge the same siblings must show the same value. It
/// is called by the coordinator of a read, and by that of a write at the sibling cap; never by a replica. A read
/// writes nothing: the merge reaches the replicas when the client puts it with the context of the read.
pub trait Reconciler: Send + Sync {
    /// What to show of `siblings`, of which there are at least two, in an order that is the same on every node.
    ///
    /// If it panics, the request fails with an error of its own and nothing else is touched.
    fn reconcile(&self, key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled;

    /// Whether timestamps decide: then writes whose timestamp is too far in the future are refused by replicas.
    fn uses_stamps(&self) -> bool {
        false
    }
}

/// One of the versions that stand side by side.
#[derive(Clone, Copy, Debug)]
pub struct Sibling<'a> {
    /// The value.
    pub value: &'a Bytes,
    /// When it was written, by a hybrid logical clock.
    pub stamp: Stamp,
    /// Its write event: the last tie-break.
    pub dot: Dot,
}

impl<'a> From<&'a Entry> for Sibling<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { value: &entry.value, stamp: entry.stamp, dot: entry.dot }
    }
}

/// What a reconciler decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reconciled {
    /// Show all siblings: the application decides.
    Keep,
    /// Show the sibling at this index.
    Pick(usize),
    /// Show this value.
    Merge(Bytes),
}

/// Shows all siblings to the client, whose business logic merges them: the shopping cart's way.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepSiblings;

impl Reconciler for KeepSiblings {
    fn reconcile(&self, _key: &[u8], _siblings: &[Sibling<'_>]) -> Reconciled {
        Reconciled::Keep
    }
}

/// Shows the sibling with the largest timestamp: the session store's way (Dynamo §6, "timestamp based").
///
/// Of writes that knew nothing of one another all but one are lost, though they were acknowledged. A write that had
/// read another always beats it, whatever the clocks say.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastWriteWins;

impl Reconciler for LastWriteWins {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        let latest = siblings.iter().enumerate().max_by_key(|(_, sibling)| (sibling.stamp, sibling.dot));
        latest.map_or(Reconciled::Keep, |(index, _)| Reconciled::Pick(index))
    }

    fn uses_stamps(&self) -> bool {
        true
    }
}

/// Merges with a function of two values, which must be commutative, associative and idempotent.
pub struct MergeBy<F>(F);

impl<F: Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync> MergeBy<F> {
    /// Merges with `merge`.
    pub const fn new(merge: F) -> Self {
        Self(merge)
    }
}

impl<F: Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync> Reconciler for MergeBy<F> {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        let mut values = siblings.iter().map(|sibling| sibling.value);
        let Some(first) = values.next() else { return Reconciled::Keep };
        Reconciled::Merge(values.fold(first.to_vec(), |merged, value| (self.0)(&merged, value)).into())
    }
}

impl<F> fmt::Debug for MergeBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MergeBy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Actor, NodeId, Start};

    fn sibling(value: &Bytes, stamp: u64, node: u64) -> Sibling<'_> {
        let actor = Actor { node: NodeId(node), start: Start(1) };
        Sibling { value, stamp: Stamp(stamp), dot: Dot { actor, counter: 1 } }
    }

    #[test]
    fn the_last_write_wins_and_ties_go_by_dot_in_every_order() {
        let (a, b) = (Bytes::from("a"), Bytes::from("b"));
        let pick = |siblings: &[Sibling<'_>]| match LastWriteWins.reconcile(b"k", siblings) {
            Reconciled::Pick(index) => siblings[index].value.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pick(&[sibling(&a, 2, 1), sibling(&b, 1, 2)]), a);
        assert_eq!(pick(&[sibling(&b, 1, 2), sibling(&a, 2, 1)]), a);
        assert_eq!(pick(&[sibling(&a, 2, 1), sibling(&b, 2, 2)]), b);
        assert_eq!(pick(&[sibling(&b, 2, 2), sibling(&a, 2, 1)]), b);
    }

    #[test]
    fn a_merge_function_folds_all_siblings() {
        let longest = MergeBy::new(|a, b| if (a.len(), a) > (b.len(), b) { a.to_vec() } else { b.to_vec() });
        let (a, b, c) = (Bytes::from("a"), Bytes::from("ccc"), Bytes::from("bb"));
        let siblings = [sibling(&a, 1, 1), sibling(&b, 1, 2), sibling(&c, 1, 3)];
        assert_eq!(longest.reconcile(b"k", &siblings), Reconciled::Merge("ccc".into()));
    }
}
