//! Causality: every write is a dot; everything else is arithmetic on dots.
//!
//! An owner of a partition keeps, per key, a [`Record`]: the live entries, and the residual, which is what they
//! supersede and the partition's clock doesn't cover yet. There is one rule for everything that moves data: `join`.
//! A replica that applies a write, a coordinator that merges replies, read repair and a hint that comes home are all
//! that rule.
//!
//! Sources: dotted version vector sets (arXiv 1011.5808), delta-state CRDTs with causal contexts (arXiv 1603.01529),
//! node-wide dot clocks (SRDS 2017). Dynamo §4.4 has the idea with version vectors.

mod context;
mod format;
mod join;
mod record;
mod stamp;

pub use crate::dots::DotSet;
pub use crate::hash::Secret;
pub use context::{Context, Identity};
pub use join::Cover;
pub(crate) use join::is_sorted;
pub(crate) use record::{Change, value_bytes};
pub use record::{Entry, Record, Update, View};
pub use stamp::{HybridClock, Stamp};

#[cfg(test)]
mod tests;
