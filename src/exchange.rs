//! The asking side of a full exchange: which keys does another owner of a partition have otherwise, and what has it?
//!
//! The other side keeps nothing. Its clock is taken before its digests are looked at, so all that it shows later reflects
//! the clock too. When every key was found equal or was fetched, the asker's clock may take in that clock, and no later
//! one: what came to the other side meanwhile was looked for in no bucket that had been compared before.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::dots::DotSet;
use crate::ids::Start;
use crate::merkle::{Level, Nodes, Tree, differing_keys};
use crate::message::{Keys, Question, Records, Standing, Surveyed};
use crate::mutant::{self, Mutant};

/// A full exchange in progress.
#[derive(Debug)]
pub(crate) struct FullExchange {
    life: (Start, u32),
    standing: Standing,
    opening: Arc<DotSet>,
    /// The lower of the two trees' depths.
    common: u8,
    /// Nodes that differ, above that depth, in portions.
    levels: Vec<Nodes>,
    /// Nodes that differ, at that depth, in portions; the keys under the first are listed up to a position.
    buckets: VecDeque<Nodes>,
    after: Option<u64>,
    /// Where what the other side has is to be fetched.
    wanted: BTreeSet<u64>,
    /// Whether nothing is fetched, only counted.
    preview: bool,
    differing: u64,
}

/// The other side said what it can't have been asked for, or has nothing more to say to what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mistaken;

/// Positions in one question.
const POSITIONS: usize = 256;

impl FullExchange {
    /// Begins with what the other side surveyed; `own` is this side's tree.
    pub(crate) fn new(surveyed: Surveyed, life: (Start, u32), own: &Tree, preview: bool) -> Self {
        let mut surveyed = surveyed;
        if mutant::is(Mutant::EqualWhenUnsettled) {
            surveyed.unsettled.clear();
        }
        let differs = own.summary().short() != surveyed.root;
        Self {
            life,
            standing: surveyed.standing,
            opening: surveyed.clock,
            common: own.depth().min(surveyed.depth),
            levels: if differs { vec![Nodes::root()] } else { Vec::new() },
            buckets: VecDeque::new(),
            after: None,
            differing: surveyed.unsettled.len() as u64,
            wanted: surveyed.unsettled.into_iter().collect(),
            preview,
        }
    }

    /// The clock that this side takes in at the end, and what the other side's copy can be relied on for.
    pub(crate) fn opening(&self) -> (&Arc<DotSet>, Standing) {
        (&self.opening, self.standing)
    }

    /// The start of the other side's with which it began.
    pub(crate) const fn start(&self) -> Start {
        self.life.0
    }

    /// Whether what is said comes from the life in which the exchange began: another knows nothing of the clock.
    pub(crate) fn is_of(&self, life: (Start, u32)) -> bool {
        self.life == life || mutant::is(Mutant::ExchangeOutlivesPeer)
    }

    /// How many keys were found to differ, or not to be settled there.
    pub(crate) const fn differing(&self) -> u64 {
        self.differing
    }

    /// Whether all has been compared.
    pub(crate) fn is_complete(&self) -> bool {
        self.levels.is_empty() && self.buckets.is_empty()
    }

    /// What to ask next; nothing when all has been compared and fetched.
    pub(crate) fn next(&mut self) -> Option<Question> {
        if self.preview {
            self.wanted.clear();
        }
        // What is known is fetched first, lest the list of it grow with the partition.
        if self.wanted.len() >= POSITIONS || (self.is_complete() && !self.wanted.is_empty()) {
            return Some(Question::Records(self.wanted.iter().take(POSITIONS).copied().collect()));
        }
        // Deepest first: so few nodes wait.
        if let Some(nodes) = self.buckets.front() {
            return Some(Question::Keys { nodes: nodes.clone(), after: self.after });
        }
        let nodes = self.levels.last()?.clone();
        Some(Question::Level { nodes, common: self.common })
    }

    /// What the other side has below the nodes that were asked for.
    pub(crate) fn level(&mut self, own: &Tree, level: &Level) -> Result<(), Mistaken> {
        let asked = self.levels.pop().ok_or(Mistaken)?;
        if *level.parents() != asked {
            return Err(Mistaken);
        }
        let differing = own.compare(level).map_err(|_| Mistaken)?;
        if differing.depth() < self.common {
            self.levels.extend(differing.pages());
        } else {
            self.buckets.extend(differing.pages());
        }
        Ok(())
    }

    /// The other side's keys, and this side's from the same position on: each may end before all are listed.
    pub(crate) fn keys(&mut self, own: &Keys, theirs: &Keys) -> Result<(), Mistaken> {
        let through = own.through.into_iter().chain(theirs.through).min();
        if let Some(through) = through
            && self.after.is_some_and(|after| through <= after)
        {
            return Err(Mistaken);
        }
        let is_listed = |position: u64| through.is_none_or(|through| position <= through);
        let part = |keys: &Keys| keys.live.iter().copied().filter(|key| is_listed(key.position)).collect::<Vec<_>>();
        let mut found = differing_keys(&part(own), &part(theirs));
        found.extend(theirs.unsettled.iter().copied().filter(|&position| is_listed(position)));
        for position in found {
            self.differing += u64::from(self.wanted.insert(position));
        }
        self.after = through;
        if through.is_none() {
            self.buckets.pop_front();
        }
        Ok(())
    }

    /// The positions whose records have come with the answer to `asked`: what is not among the records isn't there.
    pub(crate) fn records(&mut self, asked: &[u64], records: &Records) -> Result<BTreeSet<u64>, Mistaken> {
        let done = asked.get(..records.done as usize).filter(|done| !done.is_empty()).ok_or(Mistaken)?;
        let done: BTreeSet<u64> = done.iter().copied().collect();
        if records.items.iter().any(|item| !done.contains(&item.key.upper_position())) {
            return Err(Mistaken);
        }
        if mutant::is(Mutant::LaterClock) {
            self.opening = Arc::clone(&records.clock);
        }
        self.wanted.retain(|position| !done.contains(position));
        Ok(done)
    }

    /// These are to be fetched again.
    pub(crate) fn want(&mut self, positions: impl IntoIterator<Item = u64>) {
        if !mutant::is(Mutant::FetchOnce) {
            self.wanted.extend(positions);
        }
    }
}
