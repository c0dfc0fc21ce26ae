//! Suites for those who implement the crate's traits: one call each in a test of theirs.
//!
//! - [`storage_suite`], [`crash_suite`] and [`refusal_suite`]: does a [`Storage`](crate::storage::Storage) keep, order
//!   and show bytes as a node relies on it, also when the power fails, and when it can't write?
//! - [`reconciler_laws`]: does a [`Reconciler`](crate::reconcile::Reconciler) show the same on every node, whatever the
//!   order and grouping of merges?
//! - [`transport_suite`]: does a [`Transport`](crate::Transport) bring messages where they belong, as they were, without
//!   ever holding up the node that sends them?
//!
//! A suite panics at the first rule that is broken, names the rule, and shows the least it found that breaks it:
//!
//! ```text
//! Storage: the writes of a batch apply in order: a later one of the same key wins
//!   1. write [Objects b"k" = b"1", Objects b"k" = b"2"]
//!   get Objects b"k" then gives b"1" instead of b"2"
//! ```

mod messages;
mod program;
mod reconciler;
mod storage;
mod transport;

pub use reconciler::reconciler_laws;
pub use storage::{crash_suite, refusal_suite, storage_suite};
pub use transport::{Endpoint, transport_suite};

use std::any::Any;

/// A rule that an implementation breaks, and what shows it.
struct Broken {
    contract: &'static str,
    rule: &'static str,
    evidence: String,
}

impl Broken {
    fn report(self) -> ! {
        panic!("{}: {}\n{}\n", self.contract, self.rule, self.evidence);
    }
}

/// What a panic says.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with something that is no text")
}
