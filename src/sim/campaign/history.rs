//! What clients did and saw, in their own words: the numbers that they gave their writes, never what a node minted.

use std::collections::BTreeSet;

use crate::ids::NodeId;
use crate::time::Time;

/// A client's number of a write.
pub type Number = usize;

/// How a write ended for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not yet, or nobody can say any more: it may take effect at any time.
    Unknown,
    /// It was acknowledged.
    Acked,
    /// The error said that nothing was written.
    Refused,
}

/// A put or a delete.
#[derive(Clone, Debug)]
pub struct Write {
    /// To what.
    pub key: usize,
    /// Whether it brings no value.
    pub is_delete: bool,
    /// A delete without context: it deletes what a node saw, and the client can't say what that was.
    pub is_sweeping: bool,
    /// The writes whose values its context was read with.
    pub seen: BTreeSet<Number>,
    /// Those, and all that they had seen.
    pub past: BTreeSet<Number>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was asked for first.
    pub began: Time,
    /// When it was acknowledged first.
    pub acked: Option<Time>,
    /// Its coordinator's disk is enough for its acknowledgement: a quorum has it perhaps in memory alone.
    pub is_relaxed: bool,
    /// No disk is enough for its acknowledgement: it was perhaps in memory alone, everywhere.
    pub is_buffered: bool,
    /// Who coordinated it when it was acknowledged, as its context says.
    pub coordinator: Option<NodeId>,
    /// Sent again through another node: then it may be two events, of which a context may cover one.
    pub is_repeated: bool,
}

/// A get that succeeded.
#[derive(Clone, Debug)]
pub struct Read {
    /// Who; none for the reads at the end, which nobody's session is.
    pub client: Option<usize>,
    /// Of what.
    pub key: usize,
    /// When it was asked for.
    pub began: Time,
    /// When it was answered.
    pub ended: Time,
    /// What it showed; with a union, what the set held.
    pub values: Vec<Number>,
}

/// All that clients did, and what is there at the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Puts and deletes, by number.
    pub writes: Vec<Write>,
    /// Gets, in the order of their answers.
    pub reads: Vec<Read>,
    /// Per key, what was read after everything had calmed down.
    pub last: Vec<BTreeSet<Number>>,
}

impl History {
    /// The writes of a key, and their numbers.
    pub(super) fn of_key(&self, key: usize) -> impl Iterator<Item = (Number, &Write)> {
        self.writes.iter().enumerate().filter(move |(_, write)| write.key == key)
    }
}
