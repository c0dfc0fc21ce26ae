//! Finding the records in which two memberships differ: ranges of nodes, each with a digest, cut into smaller ones
//! where the digests differ (range-based set reconciliation, arXiv 2212.13567).
//!
//! Between equal memberships that is one digest; of one record that differs among 1,000 the ranges tell in three steps
//! and a few hundred bytes, and nobody has to remember what it told whom.

use super::gossip::Known;
use super::{Held, MemberRecord, Membership, format};
use crate::hash::{Purpose, keyless};
use crate::ids::NodeId;

/// Into so many ranges one is cut whose digests differ.
pub(super) const BRANCHES: usize = 16;
/// A range with so few records is told record by record.
pub(super) const LISTED: usize = 8;

/// What two memberships have to tell each other about a range.
#[derive(Default)]
pub(crate) struct Difference {
    /// The nodes whose records the other lacks, or has in another form.
    pub(crate) to_tell: Vec<NodeId>,
    /// The nodes whose records are lacking here.
    pub(crate) to_ask: Vec<NodeId>,
    /// Ranges in which they differ, in more detail.
    pub(crate) ranges: Vec<Known>,
}

pub(super) fn of_record(record: &MemberRecord) -> u64 {
    let mut bytes = Vec::new();
    format::put_record(&mut bytes, record);
    keyless(Purpose::Member, &[&bytes]) as u64
}

/// Of records in a row. A hash of the hashes: a sum would let a member make two memberships look alike.
pub(super) fn of_range(records: &[Held]) -> u64 {
    let bytes: Vec<u8> = records.iter().flat_map(|held| held.hash.to_le_bytes()).collect();
    keyless(Purpose::Member, &[&bytes]) as u64
}

impl Membership {
    /// The hash of all records: equal memberships have equal ones. Layouts are not in it.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// What is to be said about a range of which another member said what it knows.
    pub(crate) fn compare(&self, known: &Known, difference: &mut Difference) {
        match known {
            Known::All(digest) => {
                if *digest != self.digest {
                    self.detail(FIRST, LAST, difference);
                }
            }
            Known::Range { first, last, digest } => {
                if of_range(self.range(*first, *last)) != *digest {
                    self.detail(*first, *last, difference);
                }
            }
            Known::Listed { first, last, hashes } => {
                let mut theirs = hashes.iter().copied().peekable();
                for held in self.range(*first, *last) {
                    let node = held.record.node();
                    while let Some((lacking, _)) = theirs.next_if(|(other, _)| *other < node) {
                        difference.to_ask.push(lacking);
                    }
                    if theirs.next_if(|(other, _)| *other == node) != Some((node, held.hash)) {
                        difference.to_tell.push(node);
                    }
                }
                difference.to_ask.extend(theirs.map(|(lacking, _)| lacking));
            }
        }
    }

    fn detail(&self, first: NodeId, last: NodeId, difference: &mut Difference) {
        let records = self.range(first, last);
        if records.len() <= LISTED {
            let hashes = records.iter().map(|held| (held.record.node(), held.hash)).collect();
            difference.ranges.push(Known::Listed { first, last, hashes });
            return;
        }
        let mut chunks = records.chunks(records.len().div_ceil(BRANCHES)).peekable();
        let mut start = first;
        while let Some(chunk) = chunks.next() {
            // A range goes to where the next one begins: nodes that are known only to the other lie in one of them.
            let end = chunks.peek().map_or(last, |next| NodeId(next[0].record.node().0 - 1));
            difference.ranges.push(Known::Range { first: start, last: end, digest: of_range(chunk) });
            start = NodeId(end.0.saturating_add(1));
        }
    }

    fn range(&self, first: NodeId, last: NodeId) -> &[Held] {
        let start = self.records.partition_point(|held| held.record.node() < first);
        let end = self.records.partition_point(|held| held.record.node() <= last);
        self.records.get(start..end).unwrap_or(&[])
    }
}

const FIRST: NodeId = NodeId(0);
const LAST: NodeId = NodeId(u64::MAX);
