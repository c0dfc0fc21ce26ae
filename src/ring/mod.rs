//! Placement: which members hold a partition, and who stands in for them (Dynamo §4.2, §4.3, §4.6, §6.2 strategy 3).
//!
//! The hash space is cut into equal partitions once, for the life of a cluster. A [`Layout`] says for each partition
//! which members own it, in order; [`plan_first`] makes the first one from members, weights and zones. Everything
//! here is a pure function of its arguments: every node that is given the same layout computes the same lists.

mod codec;
mod fallbacks;
mod layout;
mod plan;
mod preference;
mod shares;
mod spread;
mod tally;

pub use layout::{Layout, LayoutError, Member};
pub use plan::{FirstPlan, PlanError, PlanWarning, plan_first};
pub use preference::PreferenceList;
#[cfg(test)]
#[cfg(test)]
mod tests;
