//! Breadth first through all states of a world: what is found is found by the fewest steps.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

/// A small world, of which every state can be looked at.
pub(super) trait World {
    type State: Copy + Eq + Hash;
    type Step: Copy + Debug;
    fn start(&self) -> Self::State;
    /// All that may happen next.
    fn steps(&mut self, state: &Self::State, out: &mut Vec<(Self::State, Self::Step)>);
    /// What is wrong with a state.
    fn wrong(&mut self, state: &Self::State) -> Option<String>;
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// How many different states were met.
    pub states: usize,
    /// Whether those were all that there are.
    pub all: bool,
    /// What is wrong, and the shortest way to it.
    pub wrong: Option<(String, Vec<String>)>,
}

impl Found {
    /// How many steps lead to what is wrong.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.wrong.as_ref().map_or(0, |(_, steps)| steps.len())
    }
}

/// Goes through the states of a world until something is wrong, all are seen, or `most` are.
pub(super) fn search<W: World>(world: &mut W, most: usize) -> Found {
    let mut seen = Seen::new();
    let (start, mut next, mut out) = (world.start(), 0, Vec::new());
    let first = world.wrong(&start);
    seen.add(start, 0);
    if let Some(wrong) = first {
        return Found { states: 1, all: false, wrong: Some((wrong, Vec::new())) };
    }
    while next < seen.states.len() {
        if seen.states.len() > most {
            return Found { states: seen.states.len(), all: false, wrong: None };
        }
        let state = seen.states[next].0;
        out.clear();
        world.steps(&state, &mut out);
        for &(after, _) in &out {
            if seen.add(after, next as u32)
                && let Some(wrong) = world.wrong(&after)
            {
                let way = way(world, &seen.states);
                return Found { states: seen.states.len(), all: false, wrong: Some((wrong, way)) };
            }
        }
        next += 1;
    }
    Found { states: seen.states.len(), all: true, wrong: None }
}

/// The steps to the last state.
fn way<W: World>(world: &mut W, states: &[(W::State, u32)]) -> Vec<String> {
    let (mut at, mut way, mut out) = (states.len() - 1, Vec::new(), Vec::new());
    while at != 0 {
        let before = states[at].1 as usize;
        out.clear();
        world.steps(&states[before].0, &mut out);
        let step = out.iter().find(|(after, _)| *after == states[at].0);
        way.push(step.map_or_else(String::new, |(_, step)| format!("{step:?}")));
        at = before;
    }
    way.reverse();
    way
}

/// The states in the order in which they were met, each with the one before it, and a table to find them by.
struct Seen<S> {
    states: Vec<(S, u32)>,
    table: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl<S: Copy + Eq + Hash> Seen<S> {
    fn new() -> Self {
        Self { states: Vec::new(), table: vec![FREE; 1 << 12] }
    }

    /// Whether it is new.
    fn add(&mut self, state: S, before: u32) -> bool {
        let mask = self.table.len() - 1;
        let mut at = Self::place(&state) & mask;
        while self.table[at] != FREE {
            if self.states[self.table[at] as usize].0 == state {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.table[at] = self.states.len() as u32;
        self.states.push((state, before));
        if self.states.len() * 3 > self.table.len() * 2 {
            self.grow();
        }
        true
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        self.table = vec![FREE; mask + 1];
        for (index, (state, _)) in self.states.iter().enumerate() {
            let mut at = Self::place(state) & mask;
            while self.table[at] != FREE {
                at = (at + 1) & mask;
            }
            self.table[at] = index as u32;
        }
    }

    fn place(state: &S) -> usize {
        FixedState::with_seed(1).hash_one(state) as usize
    }
}
