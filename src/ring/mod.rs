//! Placement: which members hold a partition, and who stands in for them (Dynamo §4.2, §4.3, §4.6, §6.2 strategy 3).
//!
//! The hash space is cut into equal partitions once, for the life of a cluster. A [`Layout`] says for each partition
//! which members own it, in order; [`plan_first`] makes the first one from members, weights and zones, and
//! [`plan_change`] each next one from the one before. Everything here is a pure function of its arguments: every node
//! that is given the same layout computes the same lists, and plans the same change alike.

mod change;
mod codec;
mod content;
mod fallbacks;
mod layout;
mod nearest;
mod partners;
mod placing;
mod plan;
mod planned;
mod planner;
mod preference;
mod shares;
mod spread;
mod tally;

pub use change::Change;
pub use layout::{Layout, LayoutError, Member};
pub use plan::{FirstPlan, PlanError, PlanWarning, plan_first};
pub use planned::{Balance, LeftAlone, Loss, Move, Overhead, Plan, Share, Stale};
pub use planner::plan_change;
pub use preference::PreferenceList;
#[cfg(test)]
mod tests;
