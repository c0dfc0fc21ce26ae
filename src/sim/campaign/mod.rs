//! Campaigns: whole stories drawn from seeds, played on the shipped code, and judged by what clients know.
//!
//! ```
//! use quorate::sim::campaign::{Story, play};
//!
//! let story = Story::draw(42);                 // a cluster, its clients, and what befalls it
//! let run = play(&story);
//! assert_eq!(run.result, Ok(()));              // every property held
//! assert_eq!(play(&story).trace, run.trace);   // the same story, the same run
//! ```
//! A story that breaks a property is shortened by [`shrink`], and written down and read back as text.

mod action;
mod befall;
mod changes;
mod coverage;
mod finale;
mod history;
mod layouts;
mod placement;
mod player;
mod property;
mod shrink;
mod statuses;
mod story;
mod values;

use std::time::Duration;

pub use action::Action;
pub use coverage::Coverage;
pub use history::{History, Number, Outcome, Read, Write};
pub use property::{Property, Violation};
pub use shrink::shrink;
pub use story::{Reconciling, Settings, Story};

use crate::ids::NodeId;
use crate::node::Setup;
use crate::sim::{Recording, Sim};
use player::Player;

/// How a story went.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whether every property held, and if not, which didn't.
    pub result: Result<(), Violation>,
    /// What clients did and saw.
    pub history: History,
    /// The faults and branches that were met.
    pub coverage: Coverage,
    /// How much virtual time has passed.
    pub time: Duration,
    /// How many things have happened: messages, syncs, wake-ups.
    pub events: u64,
    /// The fingerprint of everything that has happened.
    pub trace: u128,
    /// Whether a node has lost what it had made durable.
    pub amnesia: bool,
}

impl Run {
    /// How many requests were answered or given up.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.history.writes.len() + self.history.reads.len()
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.history.writes.iter().filter(|write| write.outcome == Outcome::Acked).count()
    }
}

/// Plays a story to its end: what it tells; then a core that must serve while the rest stays dead; then all heals, and
/// all must agree; then every property is checked.
#[must_use]
pub fn play(story: &Story) -> Run {
    run(Player::new(story, None), story).0
}

/// As [`play`], with a recording of what went into one node, and what that was opened with: to be played again without
/// the others.
///
/// # Panics
/// If the story has no such node.
#[must_use]
pub fn play_recorded(story: &Story, node: NodeId) -> (Run, Recording, Setup) {
    let player = Player::new(story, Some(node));
    // Later starts may be opened otherwise.
    let setup = player.sim.setup(node);
    let (run, sim) = run(player, story);
    let recording = sim.recording().expect("a node of the story").clone();
    (run, recording, setup)
}

fn run(mut player: Player, story: &Story) -> (Run, Sim) {
    let start = player.sim.now();
    let result = player
        .play(&story.actions)
        .and_then(|()| player.changes_end())
        .and_then(|()| player.core_serves())
        .and_then(|()| player.all_agree())
        .map(|()| player.forget_what_coordinators_lost())
        .and_then(|()| player.history.check(&story.settings, player.set_back));
    // What never ends says nothing of what was read: that a read has missed something is the worse of the two.
    let result =
        result.or_else(|violation| player.history.check_reads(&story.settings, player.set_back).and(Err(violation)));
    let mut coverage = player.coverage;
    for node in player.sim.members() {
        if let Some(node) = player.sim.node(node) {
            coverage.counters(&node.counters());
        }
    }
    coverage.traffic(player.sim.traffic());
    let run = Run {
        result,
        history: player.history,
        coverage,
        time: player.sim.now().since(start),
        events: player.sim.steps(),
        trace: player.sim.trace(),
        amnesia: player.amnesia,
    };
    (run, player.sim)
}
