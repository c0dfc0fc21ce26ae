//! Whether what clients saw of one register could have been done by one copy that does one thing at a time.
//!
//! ```
//! use quorate::Time;
//! use quorate::sim::linear::{Call, Operation, check};
//!
//! let (one, two) = (Some(1), Some(2));
//! let op = |call, began, ended| Operation::ok(call, Time(began), Time(ended));
//! let mut history = vec![
//!     op(Call::Write(one), 0, 10),
//!     op(Call::Write(two), 20, 50),   // while it is on its way,
//!     op(Call::Read(two), 25, 30),    // one reader sees it already
//! ];
//! assert_eq!(check(&history), Ok(()));
//! history.push(op(Call::Read(one), 35, 40)); // and a later one still what was before
//! let broken = check(&history).unwrap_err();
//! assert_eq!((broken.operation, broken.possible), (3, vec![two]));
//! ```
//! That the last history breaks nothing that a quorum promises (each read shows the last write that was acknowledged,
//! or one that is on its way) is the difference between a regular register and an atomic one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::time::Time;

/// What a register holds: nothing at first, and after a delete.
pub type Value = Option<u64>;

/// What a client did, and what it was told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Call {
    /// It read, and was shown this.
    Read(Value),
    /// It wrote this, whatever was there.
    Write(Value),
    /// It wrote `new` if the register held `expected`.
    CompareAndSet {
        /// What must be there.
        expected: Value,
        /// What is put in its place.
        new: Value,
    },
}

/// How it ended for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done, at one instant between its beginning and its end.
    Ok,
    /// It changed nothing. A compare-and-set has found something else than it expected, at one instant between its
    /// beginning and its end; if it was refused for any other reason, leave it out of the history.
    Fail,
    /// Nobody can say: it takes effect at any time after its beginning, or never.
    Unknown,
}

/// One operation of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What was done.
    pub call: Call,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was asked for.
    pub began: Time,
    /// When it was answered; of no meaning for an unknown outcome.
    pub ended: Time,
}

/// The first operation, in the order of their ends, that fits into no order of all that came before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotLinearizable {
    /// Its place in the history.
    pub operation: usize,
    /// What the register may have held before it, in order: none of it is what the operation saw.
    pub possible: Vec<Value>,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} fits into no order: the register held one of {:?}", self.operation, self.possible)
    }
}

impl std::error::Error for NotLinearizable {}

impl Operation {
    /// One that was done.
    #[must_use]
    pub const fn ok(call: Call, began: Time, ended: Time) -> Self {
        Self { call, outcome: Outcome::Ok, began, ended }
    }

    /// One that was refused.
    #[must_use]
    pub const fn fail(call: Call, began: Time, ended: Time) -> Self {
        Self { call, outcome: Outcome::Fail, began, ended }
    }

    /// One that nobody knows the outcome of.
    #[must_use]
    pub const fn unknown(call: Call, began: Time) -> Self {
        Self { call, outcome: Outcome::Unknown, began, ended: Time(u64::MAX) }
    }

    /// What a register that held `value` holds after it; none if it can't have happened there.
    fn apply(&self, value: Value) -> Option<Value> {
        match (self.call, self.outcome) {
            (Call::Read(shown), _) => (shown == value).then_some(value),
            (Call::Write(new), _) => Some(new),
            (Call::CompareAndSet { expected, .. }, Outcome::Fail) => (expected != value).then_some(value),
            (Call::CompareAndSet { expected, new }, _) => (expected == value).then_some(new),
        }
    }

    /// Whether it never changes anything.
    const fn only_looks(&self) -> bool {
        matches!((self.call, self.outcome), (Call::Read(_), _) | (Call::CompareAndSet { .. }, Outcome::Fail))
    }

    /// Whether it says anything about the register.
    const fn matters(&self) -> bool {
        !matches!((self.call, self.outcome), (Call::Read(_), Outcome::Unknown | Outcome::Fail))
            && !matches!((self.call, self.outcome), (Call::Write(_), Outcome::Fail))
    }
}

/// Whether there is an order of all operations, each at an instant between its beginning and its end, in which every one
/// saw what one copy would have shown. What ends at the instant at which another begins may come before or after it.
///
/// The history need not be sorted. The search is Wing and Gong's with Lowe's memory of what was tried, done just in
/// time: it walks through the ends, and knows what the register may hold and which of the operations in progress have
/// had their effect. So memory grows with what is in progress at once, not with the history; time does too, and beyond
/// that with the number of writes in progress at once, and of unknown ones that share no value (exponentially, at
/// worst).
///
/// # Errors
/// [`NotLinearizable`] names the operation at which the search ended.
///
/// # Panics
/// If an operation ended before it began.
pub fn check(history: &[Operation]) -> Result<(), NotLinearizable> {
    let mut search = Search::new(history);
    for (_, end, at) in events(history) {
        if end {
            search.ends(at)?;
        } else {
            search.begins(at);
        }
    }
    Ok(())
}

/// Beginnings and ends, in order; at one instant beginnings come first.
fn events(history: &[Operation]) -> Vec<(Time, bool, usize)> {
    let mut events = Vec::with_capacity(2 * history.len());
    for (at, operation) in history.iter().enumerate().filter(|(_, operation)| operation.matters()) {
        events.push((operation.began, false, at));
        if operation.outcome != Outcome::Unknown {
            assert!(operation.began <= operation.ended, "operation {at} ended before it began");
            events.push((operation.ended, true, at));
        }
    }
    events.sort_unstable();
    events
}

struct Search<'a> {
    history: &'a [Operation],
    /// Begun and not ended; for ever, if their outcome is unknown.
    open: BTreeSet<usize>,
    states: States,
}

/// What the register holds, and which open operations have had their effect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Certain {
    value: Value,
    done: Vec<usize>,
}

/// For each, the operations of unknown outcome that it took: no set stands beside a part of itself. Whoever took fewer
/// can do whatever the other can, for what was not taken may never happen.
#[derive(Default)]
struct States(BTreeMap<Certain, Vec<Vec<usize>>>);

impl States {
    /// False if there is one that is as good.
    fn add(&mut self, certain: Certain, taken: Vec<usize>) -> bool {
        let sets = self.0.entry(certain).or_default();
        if sets.iter().any(|other| is_part(other, &taken)) {
            return false;
        }
        sets.retain(|other| !is_part(&taken, other));
        sets.push(taken);
        true
    }
}

/// Both are in order.
fn is_part(part: &[usize], whole: &[usize]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|item| rest.any(|other| other == item))
}

fn insert(set: &mut Vec<usize>, item: usize) {
    if let Err(place) = set.binary_search(&item) {
        set.insert(place, item);
    }
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Self {
        let mut states = States::default();
        states.add(Certain { value: None, done: Vec::new() }, Vec::new());
        Self { history, open: BTreeSet::new(), states }
    }

    fn begins(&mut self, at: usize) {
        self.open.insert(at);
        if self.history[at].only_looks() {
            for (certain, sets) in std::mem::take(&mut self.states.0) {
                let certain = self.looked(certain);
                sets.into_iter().for_each(|taken| _ = self.states.add(certain.clone(), taken));
            }
        }
    }

    /// What only looks is done as soon as it can be: whatever comes after it could have come after it later as well.
    fn looked(&self, mut certain: Certain) -> Certain {
        for &at in &self.open {
            let operation = &self.history[at];
            if operation.only_looks() && operation.apply(certain.value).is_some() {
                insert(&mut certain.done, at);
            }
        }
        certain
    }

    /// The operation has had its effect by now: from every state, what is open is done in every order until it has.
    fn ends(&mut self, at: usize) -> Result<(), NotLinearizable> {
        let before = std::mem::take(&mut self.states);
        let possible: BTreeSet<Value> = before.0.keys().map(|certain| certain.value).collect();
        let mut seen = States::default();
        let mut queue: Vec<(Certain, Vec<usize>)> = Vec::new();
        for (certain, sets) in before.0 {
            queue.extend(sets.into_iter().map(|taken| (certain.clone(), taken)));
        }
        while let Some((mut certain, taken)) = queue.pop() {
            if let Ok(place) = certain.done.binary_search(&at) {
                certain.done.remove(place);
                self.states.add(certain, taken);
            } else if seen.add(certain.clone(), taken.clone()) {
                self.go_on(&certain, &taken, &mut queue);
            }
        }
        self.open.remove(&at);
        if self.states.0.is_empty() {
            return Err(NotLinearizable { operation: at, possible: possible.into_iter().collect() });
        }
        Ok(())
    }

    /// All that may happen next.
    fn go_on(&self, certain: &Certain, taken: &[usize], queue: &mut Vec<(Certain, Vec<usize>)>) {
        let mut tried = Vec::new();
        for &at in &self.open {
            let operation = &self.history[at];
            let is_unknown = operation.outcome == Outcome::Unknown;
            let used = if is_unknown { taken } else { &certain.done[..] };
            // Of unknown ones that do the same one is as good as another, and nobody needs one that changes nothing.
            if used.binary_search(&at).is_ok() || (is_unknown && tried.contains(&operation.call)) {
                continue;
            }
            let Some(value) = operation.apply(certain.value) else { continue };
            let (mut next, mut taken) = (Certain { value, done: certain.done.clone() }, taken.to_vec());
            if is_unknown {
                tried.push(operation.call);
                if value == certain.value {
                    continue;
                }
                insert(&mut taken, at);
            } else {
                insert(&mut next.done, at);
            }
            queue.push((self.looked(next), taken));
        }
    }
}

#[cfg(test)]
mod tests;
