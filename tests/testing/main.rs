//! The suites of `quorate::testing`: what is right passes, and each rule is shown to reject what is wrong.
#![cfg(feature = "sim")]

mod reconciler;
mod storage;
mod transport;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Asserts that a suite rejects something, by its report: how each of its first lines begins.
fn assert_rejected(contract: &str, lines: &[&str], suite: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(suite)) else { panic!("what breaks {:?} passed", lines[0]) };
    let report = panic.downcast::<String>().expect("a suite panics with a report");
    let mut found = report.lines().map(str::trim);
    assert_eq!(found.next(), Some(format!("{contract}: {}", lines[0]).as_str()), "\n{report}");
    for expected in &lines[1..] {
        assert!(found.next().is_some_and(|line| line.starts_with(expected)), "expected {expected}\nin\n{report}");
    }
}
