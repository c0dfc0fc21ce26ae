//! A layout change of one partition while reads and writes go on, without a leader.
//!
//! A layout is a ballot and a value at once. A replica *promises* the latest that it is asked for, and takes no write any
//! more that doesn't name it ([`Ballots::fence`]). A new owner *holds* a layout when it has joined what a quorum of fenced
//! owners of each earlier layout had that may count ([`Move`]). When as many owners hold it as a write takes, the earlier
//! owners *seal*: strict reads of theirs end. With a quorum of seals in each of those layouts it is *decided*, which
//! stays so for ever ([`Drive`]). Until then writes take W acknowledgements in every layout that may be decided
//! ([`Attempt`]), and reads ask the owners of the latest that is. A rival that was sealed for is collected from, too; an
//! abort is a later layout with the earlier owners. The highest name always gets the promise, so no vote is ever split.
//!
//! The layout names what changes for ever, the phase is what owners must agree on: two layouts are in use at once, and
//! neither "the new owners are ready" nor "the later layout wins" is a fact that all requests share. Of such a decision
//! Dynamo §4.8 says nothing: ownership moves by gossip there, and a write in between may be missed.
//!
//! Pure machines: what comes in are answers, what goes out are sets of owners to ask. All steps may be repeated, any node
//! may drive them, several at once, and any may stop for ever. Nodes
//! run them partition by partition (`node/moves/`, `node/admit.rs`).
//! `quorate::sim::change` walks through all orders in which a small world can meet them, and leaves each rule out in turn.

mod attempt;
mod ballots;
mod drive;
mod format;
mod moving;

pub use crate::ballot::{Group, Groups, Needed, Owner, Reason, Refused, Sets, quorum};
pub use attempt::Attempt;
pub use ballots::{Ballots, Fenced, Held, Keep, Step};
pub use drive::Drive;
pub use moving::{Collected, Move};

#[cfg(test)]
mod tests;
