//! What two owners of a partition say to each other to become equal.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::causality::Entry;
use crate::dots::DotSet;
use crate::error::Refusal;
use crate::ids::{LayoutId, PartitionId, RequestId, Start};
use crate::key::Key;
use crate::merkle::{KeyDigest, Level, Nodes, Short};
use crate::wire::list;

/// Do we hold the same in these partitions?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compare {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    #[serde(deserialize_with = "list")]
    pub(crate) marks: Vec<Mark>,
}

/// A partition's state in a few bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) partition: PartitionId,
    /// A hash of the clock.
    pub(crate) clock: [u8; 8],
    /// The root of the digest tree; nothing while that is being built, or soon to change without a write.
    pub(crate) root: Option<Short>,
}

/// In these yes, in those no.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compared {
    pub(crate) request: RequestId,
    #[serde(deserialize_with = "list")]
    pub(crate) same: Vec<PartitionId>,
    /// The clocks differ.
    #[serde(deserialize_with = "list")]
    pub(crate) apart: Vec<PartitionId>,
    /// The clocks are equal, the records are not: one of the two has lost something and doesn't know.
    #[serde(deserialize_with = "list")]
    pub(crate) doubtful: Vec<PartitionId>,
}

/// A step of an exchange. Whoever is asked keeps nothing of it: all that an exchange must remember is with the asker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    pub(crate) request: RequestId,
    /// Which question of the exchange it is: an answer that comes twice or late must not be taken for that to another.
    pub(crate) step: u32,
    pub(crate) layout: LayoutId,
    pub(crate) partition: PartitionId,
    pub(crate) question: Question,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// What do you have that this clock lacks?
    Since(Arc<DotSet>),
    /// What is your clock, and the root of your tree?
    Survey,
    /// What is below these nodes of your tree?
    Level { nodes: Nodes, common: u8 },
    /// Which keys are under these nodes, behind this position?
    Keys { nodes: Nodes, after: Option<u64> },
    /// What do you have at these positions?
    Records(#[serde(deserialize_with = "list")] Vec<u64>),
}

/// The answer to a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    pub(crate) request: RequestId,
    pub(crate) step: u32,
    pub(crate) partition: PartitionId,
    /// Which life of the partition, at which start, answers: what one has told does not hold for the next.
    pub(crate) start: Start,
    pub(crate) losses: u32,
    pub(crate) result: Result<Answer, Refusal>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The clock that was sent lacks nothing.
    Nothing,
    /// It lacks something whose key isn't known any more: only a full exchange can tell.
    TooOld,
    /// Records that it lacks.
    Page(Page),
    Surveyed(Surveyed),
    Level(Level),
    Keys(Keys),
    Records(Records),
}

/// Records that a clock lacks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The sender's clock at the instant at which the records were read.
    pub(crate) clock: Arc<DotSet>,
    /// Whether each item names all dots of its key that the sender has and the asking clock lacks. Then the sender's
    /// clock is only needed where the receiver's covers it too, and no residual remains of dots of other keys.
    pub(crate) exact: bool,
    #[serde(deserialize_with = "list")]
    pub(crate) items: Vec<Item>,
    /// Whether there is more.
    pub(crate) more: bool,
}

/// A whole record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) key: Key,
    #[serde(deserialize_with = "list")]
    pub(crate) live: Vec<Entry>,
    pub(crate) residual: DotSet,
    /// Dots of this key that are not live: whoever joins the record reflects them.
    pub(crate) events: DotSet,
}

impl Item {
    /// A key that isn't there: all that its owner's clock covers of it is gone.
    pub(crate) const fn absent(key: Key) -> Self {
        Self { key, live: Vec::new(), residual: DotSet::new(), events: DotSet::new() }
    }
}

/// What a copy can be relied on for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It has lost something that it had acknowledged, and is being filled.
    Lost,
    /// It lacks nothing that it had once, nor what others had before it was made.
    Whole,
    /// It is being filled for the first time, and lacks nothing that it has acknowledged.
    New,
}

/// A partition at the opening of a full exchange.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Surveyed {
    pub(crate) standing: Standing,
    pub(crate) clock: Arc<DotSet>,
    pub(crate) root: Short,
    pub(crate) depth: u8,
    /// Where keys lie whose record carries a residual in this instant: equal digests say nothing of them.
    #[serde(deserialize_with = "list")]
    pub(crate) unsettled: Vec<u64>,
}

/// The keys under some nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Keys {
    /// Those that have live versions, in order.
    #[serde(deserialize_with = "list")]
    pub(crate) live: Vec<KeyDigest>,
    /// Where those lie whose record carries a residual.
    #[serde(deserialize_with = "list")]
    pub(crate) unsettled: Vec<u64>,
    /// The last position to which the list is complete; nothing if it is complete to the end.
    pub(crate) through: Option<u64>,
}

/// What lies at the first so many of the positions that were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) clock: Arc<DotSet>,
    #[serde(deserialize_with = "list")]
    pub(crate) items: Vec<Item>,
    pub(crate) done: u32,
}
