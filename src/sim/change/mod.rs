//! All that can happen to one partition while its layout changes: every order in a small world, on the shipped machines.
//!
//! One partition, a few owners, one write. Messages may come at any time, again, or never; coordinators, readers and
//! drivers may know as little as they like; whatever is in memory alone may be gone. Each state is looked at:
//!
//! - a strict read that begins after the write was acknowledged sees it;
//! - the owners of the latest decided layout have as many copies as a write takes;
//! - where the rules promise it, the change can still be completed, and a write after it.
//!
//! A read is no part of the state. Whether a replica admits one, and what it lacks, only ever changes to its disadvantage,
//! so if a read that lasts for a while misses the write, one at the instant of its first answer would have.

mod causal;
mod judge;
mod model;
mod search;
mod world;

pub use causal::{Deed, Muddle};
pub use search::Found;
pub use world::{Fault, Scenario};

/// Goes through all states of a scenario, or through `most` of them, the nearest first.
#[must_use]
pub fn explore(scenario: &Scenario, most: usize) -> Found {
    search::search(&mut model::Model::new(scenario), most)
}

/// As [`explore`], where what a replica has is a record and a clock, and a new owner fills itself in steps.
#[must_use]
pub fn explore_clocks(scenario: &Scenario, deed: Deed, muddle: Option<Muddle>, most: usize) -> Found {
    search::search(&mut causal::Causal::new(scenario, deed, muddle), most)
}

#[cfg(test)]
mod tests;
