//! What a side of the comparison must do.

use std::time::Duration;

/// One side: its name, and how to start it.
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    /// Starts three nodes, ready for puts. Dropping what it gives stops them, with all their threads.
    pub(crate) start: fn() -> Box<dyn Side>,
}

/// Three running nodes.
pub(crate) trait Side {
    /// Makes `puts` puts, `clients` of them in flight at any time, and says how long they took, from the first
    /// request to the last answer. `puts` is a multiple of `clients`.
    fn run(&mut self, clients: usize, puts: u64) -> Duration;
}
