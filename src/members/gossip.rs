//! What members say to each other about the membership.

use serde::{Deserialize, Serialize};

use super::layouts::Layouts;
use super::record::MemberRecord;
use crate::ids::{LayoutId, NodeId};
use crate::wire::list;

/// What a member tells another of the membership, and asks it; the answer is another one of these.
///
/// From outside it comes in within its bounds or not at all: at most [`Gossip::RECORDS_MAX`] records and names,
/// [`Gossip::RANGES_MAX`] ranges in a row, [`Gossip::STEPS`] answers to answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Said")]
pub struct Gossip(pub(crate) Said);

/// The content of a [`Gossip`], before it has been looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The highest layout that the sender knows to be decided, and those above it that it has.
    pub(crate) decided: LayoutId,
    #[serde(deserialize_with = "list")]
    pub(crate) proposed: Vec<LayoutId>,
    /// What the receiver may not have.
    #[serde(deserialize_with = "list")]
    pub(crate) records: Vec<MemberRecord>,
    /// Whose records the sender lacks.
    #[serde(deserialize_with = "list")]
    pub(crate) wanted: Vec<NodeId>,
    /// What the sender has, in ascending ranges: where the receiver has something else it says so.
    #[serde(deserialize_with = "list")]
    pub(crate) known: Vec<Known>,
    /// How many answers may follow, one to the other.
    pub(crate) left: u8,
}

/// What a member has in a range of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Known {
    /// Of all nodes: the digest of their records.
    All(u64),
    /// Of nodes in a row: the digest of their records.
    Range {
        /// The first of the range.
        first: NodeId,
        /// The last, not below the first.
        last: NodeId,
        /// Of what the sender has there.
        digest: u64,
    },
    /// Of nodes in a row: each that the sender knows.
    Listed {
        /// The first of the range.
        first: NodeId,
        /// The last, not below the first.
        last: NodeId,
        /// The nodes, ascending, each with the hash of its record.
        #[serde(deserialize_with = "list")]
        hashes: Vec<(NodeId, u64)>,
    },
}

impl Known {
    /// The first and the last node that it speaks of.
    const fn ends(&self) -> (NodeId, NodeId) {
        match *self {
            Self::All(_) => (NodeId(0), NodeId(u64::MAX)),
            Self::Range { first, last, .. } | Self::Listed { first, last, .. } => (first, last),
        }
    }
}

impl Gossip {
    /// The most records, and the most names asked for, in one message.
    pub const RECORDS_MAX: usize = 1_024;
    /// The most ranges in one message.
    pub const RANGES_MAX: usize = 256;
    /// The most nodes that a range lists.
    pub const LISTED_MAX: usize = 64;
    /// So many answers may follow each other: 65,536 records take 8 to find one that differs.
    pub const STEPS: u8 = 10;
}

impl TryFrom<Said> for Gossip {
    type Error = &'static str;
    fn try_from(said: Said) -> Result<Self, Self::Error> {
        if said.proposed.len() > Layouts::PROPOSED_MAX {
            return Err("too many layouts");
        }
        if said.records.len() > Self::RECORDS_MAX || said.wanted.len() > Self::RECORDS_MAX {
            return Err("too many records");
        }
        if said.known.len() > Self::RANGES_MAX {
            return Err("too many ranges");
        }
        if said.left > Self::STEPS {
            return Err("too many answers");
        }
        // Ranges that don't overlap are compared in one pass over what is known, however many they are.
        if said.known.windows(2).any(|pair| pair[0].ends().1 >= pair[1].ends().0) {
            return Err("ranges overlap");
        }
        for known in &said.known {
            let (first, last) = known.ends();
            if first > last {
                return Err("a range ends before it begins");
            }
            let Known::Listed { hashes, .. } = known else { continue };
            let inside = hashes.iter().all(|(node, _)| (first..=last).contains(node));
            if hashes.len() > Self::LISTED_MAX || !inside || hashes.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return Err("a list that is too long, out of order or out of its range");
            }
        }
        Ok(Self(said))
    }
}
