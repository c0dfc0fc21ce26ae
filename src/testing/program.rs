//! Programs for a storage, the model that says what each must show, and the search for the shortest that shows a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::ops::ControlFlow;

use super::Broken;
use crate::bytes::Bytes;
use crate::error::StorageError;
use crate::storage::{Batch, Space, Storage};

// The rules that are looked after at every step, whatever the program is about.
pub(super) const NEW: &str = "a new storage is empty";
pub(super) const APART: &str = "the spaces are kept apart";
const HEALTHY: &str = "no call fails without a cause";
pub(super) const ORDERED: &str = "a scan goes up in the order of the keys' bytes, and shows each key once";
pub(super) const BREAKS_OFF: &str = "a scan ends when `visit` breaks off";
const REFUSES: &str = "writes fail while the host makes them fail";
const SAYS_SO: &str = "a write that fails says so by `StorageError::Write` or `StorageError::Full`";
pub(super) const SYNCED: &str = "what was synced survives a crash";
pub(super) const WHOLE: &str = "a batch survives a crash whole or not at all";
pub(super) const PREFIX: &str = "what survives of the writes since the last sync is a prefix of them";
pub(super) const SETTLED: &str = "what a storage shows when it is opened is durable";

/// What is done to a storage. After every step that could change something, all of it is read.
#[derive(Clone)]
pub(super) enum Step {
    Write(Vec<Change>),
    /// A write while the host makes writes fail.
    Refused(Vec<Change>),
    Sync,
    Crash,
    /// Shows at most so many pairs, then breaks off.
    Scan(Space, Vec<u8>, usize),
}

/// One write of a batch.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) space: Space,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// What the implementor supplies.
pub(super) struct Host<'a, S> {
    pub(super) open: &'a mut dyn FnMut() -> S,
    pub(super) crash: &'a mut dyn FnMut(S) -> S,
    pub(super) refuse: &'a mut dyn FnMut(&mut S, bool),
}

/// Runs a program; if it shows a fault, looks for a shorter one that does, and panics with that.
pub(super) fn check<S: Storage>(host: &mut Host<'_, S>, rule: &'static str, program: &[Step]) {
    let Err(mut fault) = run(host, program) else { return };
    let mut shortest = program.to_vec();
    // A storage may be a directory, and a program may hold a thousand writes: the search has a bound.
    let mut tries = 2_000;
    let same = |found: &Fault, fault: &Fault| found.rule == fault.rule;
    while let Some((shorter, found)) =
        shorter_than(&shortest, &mut tries, |program| run(host, program).err().filter(|found| same(found, &fault)))
    {
        (shortest, fault) = (shorter, found);
    }
    shortest.truncate(fault.step + 1);
    let mut evidence = String::new();
    for (at, step) in shortest.iter().enumerate() {
        let _ = writeln!(evidence, "  {}. {step}", at + 1);
    }
    let _ = write!(evidence, "  {}", fault.what);
    Broken { contract: "Storage", rule: fault.rule.unwrap_or(rule), evidence }.report()
}

/// The first program with a part left out that `fails`.
fn shorter_than<T>(
    program: &[Step],
    tries: &mut usize,
    mut fails: impl FnMut(&[Step]) -> Option<T>,
) -> Option<(Vec<Step>, T)> {
    let mut attempt = |shorter: Vec<Step>| {
        *tries = tries.checked_sub(1)?;
        fails(&shorter).map(|found| (shorter, found))
    };
    for at in (0..program.len()).rev() {
        let mut shorter = program.to_vec();
        shorter.remove(at);
        if let Some(found) = attempt(shorter) {
            return Some(found);
        }
    }
    for (at, step) in program.iter().enumerate() {
        let (Step::Write(changes) | Step::Refused(changes)) = step else { continue };
        // Halves first: a large batch rarely needs all that is in it.
        let half = changes.len().div_ceil(2).max(1);
        let cuts = [0..half, half..changes.len()].into_iter().chain((0..changes.len()).map(|one| one..one + 1));
        for cut in cuts.filter(|cut| !cut.is_empty() && cut.len() < changes.len()) {
            let mut shorter = program.to_vec();
            if let Step::Write(changes) | Step::Refused(changes) = &mut shorter[at] {
                changes.drain(cut);
            }
            if let Some(found) = attempt(shorter) {
                return Some(found);
            }
        }
    }
    None
}

type Model = BTreeMap<(Space, Vec<u8>), Vec<u8>>;
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

struct Run<'a, 'h, S> {
    host: &'a mut Host<'h, S>,
    /// Nowhere while a crash has it.
    storage: Option<S>,
    /// What it holds: at the last sync or since it was opened, then after each batch since.
    states: Vec<Model>,
    /// The batches since.
    batches: Vec<Vec<Change>>,
    /// Nothing was synced since the last crash.
    reopened: bool,
    /// Every key that was ever written.
    keys: BTreeSet<(Space, Vec<u8>)>,
    /// One for the whole run, as a node has it.
    batch: Batch,
}

/// What is wrong, where in the program, and which rule that breaks, if it isn't the one that the program is about.
struct Fault {
    step: usize,
    rule: Option<&'static str>,
    what: String,
}

/// Why there always is a storage between two steps.
const BACK: &str = "a crash gives the storage back";

type Checked<T = ()> = Result<T, (Option<&'static str>, String)>;

fn run<S: Storage>(host: &mut Host<'_, S>, program: &[Step]) -> Result<(), Fault> {
    let storage = Some((host.open)());
    let mut run = Run {
        host,
        storage,
        states: vec![Model::new()],
        batches: Vec::new(),
        reopened: false,
        keys: BTreeSet::new(),
        batch: Batch::new(),
    };
    let at = |step, (rule, what)| Fault { step, rule, what };
    run.look().map_err(|(_, what)| at(0, (Some(NEW), what)))?;
    for (index, step) in program.iter().enumerate() {
        run.step(step).map_err(|wrong| at(index, wrong))?;
    }
    Ok(())
}

impl<S: Storage> Run<'_, '_, S> {
    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Write(changes) => {
                self.write(changes).map_err(failed("write"))?;
                let mut next = self.model().clone();
                for change in changes {
                    match &change.value {
                        Some(value) => next.insert((change.space, change.key.clone()), value.clone()),
                        None => next.remove(&(change.space, change.key.clone())),
                    };
                }
                self.states.push(next);
                self.batches.push(changes.clone());
                self.look()
            }
            Step::Refused(changes) => {
                self.refuse(true);
                let result = self.write(changes);
                self.refuse(false);
                match result {
                    Err(StorageError::Write(_) | StorageError::Full) => self.look(),
                    Err(other) => Err((Some(SAYS_SO), format!("the write failed with {other:?}"))),
                    Ok(()) => Err((Some(REFUSES), "the write succeeded".into())),
                }
            }
            Step::Sync => {
                self.storage_mut().sync().map_err(failed("sync"))?;
                self.settle(self.model().clone());
                self.reopened = false;
                self.look()
            }
            Step::Crash => {
                let crashed = self.storage.take().expect(BACK);
                self.storage = Some((self.host.crash)(crashed));
                let mut found = Model::new();
                for space in Space::ALL {
                    found.extend(
                        self.scan(space, &[], usize::MAX)?.into_iter().map(|(key, value)| ((space, key), value)),
                    );
                }
                self.check_survivors(&found)?;
                self.settle(found);
                self.reopened = true;
                self.look()
            }
            Step::Scan(space, from, limit) => self.check_scan(*space, from, *limit),
        }
    }

    fn storage(&self) -> &S {
        self.storage.as_ref().expect(BACK)
    }

    fn storage_mut(&mut self) -> &mut S {
        self.storage.as_mut().expect(BACK)
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.batch.clear();
        for change in changes {
            match &change.value {
                Some(value) => self.batch.put(change.space, &change.key, value),
                None => self.batch.delete(change.space, &change.key),
            }
            self.keys.insert((change.space, change.key.clone()));
        }
        self.storage.as_mut().expect(BACK).write(&self.batch)
    }

    fn refuse(&mut self, on: bool) {
        (self.host.refuse)(self.storage.as_mut().expect(BACK), on);
    }

    fn model(&self) -> &Model {
        self.states.last().expect("there is one from the beginning")
    }

    fn settle(&mut self, state: Model) {
        self.states = vec![state];
        self.batches.clear();
    }

    /// Reads everything in both ways, and compares it with the model.
    fn look(&self) -> Checked {
        for (space, key) in &self.keys {
            let found = self.storage().get(*space, key).map_err(failed("get"))?;
            let expected = self.model().get(&(*space, key.clone()));
            if found.as_deref() != expected.map(Vec::as_slice) {
                let (found, expected) = (shown(found.as_deref()), shown(expected.map(Vec::as_slice)));
                return Err((None, format!("get {} then gives {found} instead of {expected}", name(*space, key))));
            }
        }
        Space::ALL.into_iter().try_for_each(|space| self.check_scan(space, &[], usize::MAX))
    }

    fn check_scan(&self, space: Space, from: &[u8], limit: usize) -> Checked {
        let found = self.scan(space, from, limit)?;
        let pairs = self.model().range((space, from.to_vec())..).take_while(|((in_space, _), _)| *in_space == space);
        let expected: Pairs = pairs.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect();
        if found == expected {
            return Ok(());
        }
        let scan = Step::Scan(space, from.to_vec(), limit);
        let at = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
        let pair = |pairs: &Pairs| match pairs.get(at) {
            Some((key, value)) => format!("{} = {}", name(space, key), shown(Some(value))),
            None => "its end".into(),
        };
        let stray = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let is_in = |space| self.model().contains_key(&(space, key.clone()));
            !is_in(space) && Space::ALL.into_iter().any(is_in)
        };
        let rule = found.get(at).is_some_and(stray).then_some(APART);
        let (found, expected) = (pair(&found), pair(&expected));
        Err((rule, format!("{scan} then shows {found} instead of {expected}, after {at} right pairs")))
    }

    /// What a scan shows; checks what holds of every scan.
    fn scan(&self, space: Space, from: &[u8], limit: usize) -> Checked<Pairs> {
        let (mut pairs, mut after) = (Pairs::new(), 0);
        let shown = self.storage().scan(space, from, &mut |key, value| {
            if pairs.len() == limit {
                after += 1;
                return ControlFlow::Break(());
            }
            pairs.push((key.to_vec(), value.to_vec()));
            if pairs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let scan = Step::Scan(space, from.to_vec(), limit);
        shown.map_err(failed("scan"))?;
        if after > 0 {
            let what = format!("{scan} calls `visit` {after} times more after it broke off");
            return Err((Some(BREAKS_OFF), what));
        }
        match pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            Some(pair) => {
                let (first, second) = (name(space, &pair[0].0), name(space, &pair[1].0));
                Err((Some(ORDERED), format!("{scan} shows {first} and then {second}")))
            }
            None => Ok(pairs),
        }
    }

    /// What a crash left must be what was there after some batch since the last sync, or at the sync itself.
    fn check_survivors(&self, found: &Model) -> Checked {
        if self.states.contains(found) {
            return Ok(());
        }
        let keys: BTreeSet<_> = self.states.iter().chain([found]).flat_map(BTreeMap::keys).collect();
        let mut spans = Vec::new();
        for key @ (space, bytes) in keys {
            let value = found.get(key);
            let there = |state: &Model| state.get(key) == value;
            let (first, last) = (self.states.iter().position(there), self.states.iter().rposition(there));
            let (Some(first), Some(last)) = (first, last) else {
                let inside =
                    |change: &Change| (change.space, &change.key) == (*space, bytes) && change.value.as_ref() == value;
                let rule = if self.batches.iter().flatten().any(inside) {
                    WHOLE
                } else if self.reopened {
                    SETTLED
                } else {
                    SYNCED
                };
                let (found, before) = (shown(value.map(Vec::as_slice)), self.states[0].get(key).map(Vec::as_slice));
                let durable = shown(before);
                let what = format!("{} is then {found}; {durable} was durable", name(*space, bytes));
                return Err((Some(rule), what));
            };
            spans.push((first, last, name(*space, bytes)));
        }
        // One key shows that a batch is missing, another that the same or a later batch is there.
        let gaps = spans.iter().flat_map(|missing| {
            let there = spans.iter().filter(|there| there.0 > missing.1);
            there.map(move |there| (there.0 - missing.1 - 1, missing, there))
        });
        let Some((distance, (_, before, missing), (there, _, present))) = gaps.min_by_key(|gap| gap.0) else {
            return Err((Some(PREFIX), "what is then there was there after no batch".into()));
        };
        let lost = before + 1;
        Err(if distance == 0 {
            let what = format!("of batch {lost} since the last sync {present} has survived, and {missing} has not");
            (Some(WHOLE), what)
        } else {
            let what = format!(
                "of the batches since the last sync, number {there} has survived (see {present}), number {lost} has \
                 not (see {missing})"
            );
            (Some(PREFIX), what)
        })
    }
}

fn failed(call: &'static str) -> impl Fn(StorageError) -> (Option<&'static str>, String) {
    move |error| (Some(HEALTHY), format!("{call} failed: {error}"))
}

fn name(space: Space, key: &[u8]) -> String {
    format!("{space:?} {:?}", Bytes::from(key))
}

fn shown(value: Option<&[u8]>) -> String {
    value.map_or("nothing".into(), |value| format!("{:?}", Bytes::from(value)))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(changes) => write!(f, "write {}", Changes(changes)),
            Self::Refused(changes) => write!(f, "write, while writes fail, {}", Changes(changes)),
            Self::Sync => f.write_str("sync"),
            Self::Crash => f.write_str("crash"),
            Self::Scan(space, from, limit) => {
                write!(f, "scan {}", name(*space, from))?;
                if *limit == usize::MAX { Ok(()) } else { write!(f, ", at most {limit}") }
            }
        }
    }
}

struct Changes<'a>(&'a [Change]);

/// The most changes of a batch that a report spells out.
const SPELT: usize = 12;

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, change) in self.0.iter().take(SPELT).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match &change.value {
                Some(value) => write!(f, "{separator}{} = {}", name(change.space, &change.key), shown(Some(value)))?,
                None => write!(f, "{separator}delete {}", name(change.space, &change.key))?,
            }
        }
        match self.0.len().saturating_sub(SPELT) {
            0 => f.write_str("]"),
            more => write!(f, ", and {more} more]"),
        }
    }
}
