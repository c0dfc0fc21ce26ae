//! What owners say to each other when a partition changes hands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ballot::{Refused, Sets};
use crate::dots::DotSet;
use crate::ids::{LayoutId, PartitionId, Start, StoreId};
use crate::wire::list;

/// A step of the change of one partition.
///
/// Each may be lost, repeated and late: whoever waits says it again, and whoever has done it says so again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moving {
    pub(crate) partition: PartitionId,
    /// The ballot that it is about.
    pub(crate) layout: LayoutId,
    /// From which of the sender's stores, if that is not the one that it was founded with.
    pub(crate) store: Option<StoreId>,
    pub(crate) step: MoveStep,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum MoveStep {
    /// An owner to be has copied ahead what there was. Later owners wait for each other, so that the time in which writes
    /// go to both is short.
    Ready,
    /// Promise this layout.
    Fence,
    /// It is promised. What is decided here and sealed for above it; and whether nothing is missing here that was
    /// acknowledged here, so that the state is worth collecting. That of a copy which is new is, too: it says what it has
    /// not acknowledged.
    Fenced {
        floor: LayoutId,
        #[serde(deserialize_with = "list")]
        seals: Vec<LayoutId>,
        has_all: bool,
    },
    /// The sender holds it, and has collected these.
    Held {
        #[serde(deserialize_with = "list")]
        closure: Vec<LayoutId>,
    },
    /// Give up the earlier layouts in favour of this one.
    Seal,
    /// They are given up.
    Sealed,
    /// A fence or a seal is refused: later layouts are promised or decided.
    Refused(Refused),
    /// It is decided.
    Decided,
    /// Have you all that a former owner has? That is what this clock speaks for, if it is `settled`. `changes` says which
    /// state of it that is, as of its `start`.
    Cover { clock: Arc<DotSet>, settled: bool, start: Start, changes: u64 },
    /// It does, or it doesn't.
    Covered { changes: u64, covers: bool },
    /// An owner to be is on its way to be ready.
    Copying,
    /// Which layout is decided there? The sender knows that this one is.
    Asking,
}

/// A layout is decided in all partitions that the sender owns; or in all there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settled {
    pub(crate) layout: LayoutId,
    pub(crate) everywhere: bool,
}

impl Moving {
    /// Whether it answers something that its receiver had asked.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(
            self.step,
            MoveStep::Fenced { .. } | MoveStep::Sealed | MoveStep::Refused(_) | MoveStep::Covered { .. }
        )
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let layouts = match &self.step {
            MoveStep::Fenced { seals, .. } => seals.len(),
            MoveStep::Held { closure } => closure.len(),
            MoveStep::Refused(refused) => refused.seals.len(),
            MoveStep::Copying
            | MoveStep::Asking
            | MoveStep::Ready
            | MoveStep::Fence
            | MoveStep::Seal
            | MoveStep::Sealed
            | MoveStep::Decided
            | MoveStep::Cover { .. }
            | MoveStep::Covered { .. } => 0,
        };
        if layouts > Sets::MAX { Err("too many layouts") } else { Ok(()) }
    }
}
