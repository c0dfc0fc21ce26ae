//! What every reconciler must do, as laws of the merges that it makes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::{Broken, message_of};
use crate::bytes::Bytes;
use crate::causality::Stamp;
use crate::ids::{Actor, Dot, NodeId, Start};
use crate::reconcile::{Reconciled, Reconciler, Sibling};

const DECIDES: &str = "it decides for any two or more siblings, without a panic";
const IN_RANGE: &str = "it picks one of the siblings";
const DETERMINISTIC: &str = "the same siblings give the same decision";
const COMMUTATIVE: &str = "the order of the siblings makes no difference";
const ASSOCIATIVE: &str = "merging some first, and then what came of it with the others, makes no difference";
const IDEMPOTENT: &str = "merging what was merged with a part of it again changes nothing";
const STAMPS: &str = "who doesn't say `uses_stamps` shows the same whatever the timestamps are";

/// Checks that two nodes, or two merges in different order, can't show different values of the same siblings.
///
/// `value` makes the value of a number, always the same; the first few numbers should give values that are simple,
/// and yet differ in all that the reconciler looks at. With those, all sets of two and three siblings are tried, with
/// equal and different timestamps, then larger sets of any numbers. The key is `key`. What `Keep` shows counts as the
/// set of the siblings' values; what was merged stands with the timestamp of its latest sibling.
///
/// ```
/// use quorate::reconcile::{LastWriteWins, MergeBy};
/// use quorate::testing::reconciler_laws;
///
/// // The larger of two counters loses nothing that both have counted.
/// let max = MergeBy::new(|a, b| a.max(b).to_vec());
/// reconciler_laws(&max, |number| number.to_be_bytes().to_vec());
/// reconciler_laws(&LastWriteWins, |number| format!("session {number}"));
/// ```
///
/// The sum of two counters is no merge: whoever is merged twice counts twice.
///
/// ```should_panic
/// use quorate::reconcile::MergeBy;
///
/// let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| (sum << 8) + u64::from(*byte));
/// let sum = MergeBy::new(move |a, b| number(a).wrapping_add(number(b)).to_be_bytes().to_vec());
/// quorate::testing::reconciler_laws(&sum, |number| number.to_be_bytes().to_vec());
/// ```
///
/// # Panics
/// If a law is broken: with the law, and the fewest siblings found that show it. Panics of the reconciler are caught,
/// and reported as such.
pub fn reconciler_laws<B: Into<Bytes>>(reconciler: &dyn Reconciler, value: impl Fn(u64) -> B) {
    let laws = Laws { reconciler };
    for set in small_sets().chain(random_sets()) {
        let versions: Vec<_> = set.iter().zip(1..).map(|(drawn, node)| drawn.version(node, &value)).collect();
        laws.check(versions);
    }
}

/// A sibling to be: the number of its value, and its timestamp.
#[derive(Clone, Copy)]
struct Drawn {
    number: u64,
    stamp: u64,
}

impl Drawn {
    fn version<B: Into<Bytes>>(self, node: u64, value: impl Fn(u64) -> B) -> Version {
        let actor = Actor { node: NodeId(node), start: Start(1) };
        Version { value: value(self.number).into(), stamp: Stamp(self.stamp), dot: Dot { actor, counter: 2 } }
    }
}

/// All sets of two, then of three, of four values and two timestamps.
fn small_sets() -> impl Iterator<Item = Vec<Drawn>> {
    let drawn = |code: u32| Drawn { number: u64::from(code % 4), stamp: u64::from(code / 4 % 2) + 1 };
    [2, 3].into_iter().flat_map(move |size| {
        (0..8_u32.pow(size)).map(move |code| (0..size).map(|at| drawn(code / 8_u32.pow(at))).collect())
    })
}

fn random_sets() -> impl Iterator<Item = Vec<Drawn>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    (0..400).map(move |_| {
        let size = rng.random_range(2..=8);
        let mut drawn = || {
            let few = rng.random::<bool>();
            let number = if few { rng.random_range(0..16) } else { rng.random() };
            Drawn { number, stamp: rng.random_range(1..=3) }
        };
        (0..size).map(|_| drawn()).collect()
    })
}

#[derive(Clone)]
struct Version {
    value: Bytes,
    stamp: Stamp,
    dot: Dot,
}

impl Version {
    const fn sibling(&self) -> Sibling<'_> {
        Sibling { value: &self.value, stamp: self.stamp, dot: self.dot }
    }

    /// The same value once more, by a write of its own that comes earlier in the order of dots.
    fn again(&self) -> Self {
        Self { dot: Dot { counter: self.dot.counter - 1, ..self.dot }, ..self.clone() }
    }
}

/// A law that is broken, and by what.
type Wrong = (&'static str, String);

struct Laws<'a> {
    reconciler: &'a dyn Reconciler,
}

impl Laws<'_> {
    /// Checks all laws on these siblings; panics with as few of them as show what is wrong.
    fn check(&self, mut versions: Vec<Version>) {
        let Err((law, mut what)) = self.holds(&versions) else { return };
        while let Some((fewer, why)) = self.fewer(&versions, law) {
            (versions, what) = (fewer, why);
        }
        let mut evidence = String::new();
        for (at, Version { value, stamp, dot }) in versions.iter().enumerate() {
            let _ = writeln!(evidence, "  sibling {}: {value:?}, {stamp:?}, {dot}", at + 1);
        }
        let _ = write!(evidence, "  {what}");
        Broken { contract: "Reconciler", rule: law, evidence }.report()
    }

    /// These siblings without one, if the rest breaks the same law.
    fn fewer(&self, versions: &[Version], law: &str) -> Option<(Vec<Version>, String)> {
        if versions.len() == 2 {
            return None;
        }
        (0..versions.len()).find_map(|at| {
            let mut fewer = versions.to_vec();
            fewer.remove(at);
            let (broken, what) = self.holds(&fewer).err()?;
            (broken == law).then_some((fewer, what))
        })
    }

    /// Whether all laws hold of these siblings: the first that doesn't.
    fn holds(&self, versions: &[Version]) -> Result<(), Wrong> {
        let first = self.decide(versions)?;
        let all = show(versions, &first);
        for _ in 0..2 {
            let then = self.decide(versions)?;
            if then != first {
                return Err((DETERMINISTIC, format!("it says {first:?}, and then {then:?}")));
            }
        }
        for order in orders(versions.len()) {
            let permuted: Vec<_> = order.iter().map(|at| versions[*at].clone()).collect();
            let shown = self.shown(&permuted)?;
            if shown != all {
                let order = list(&order);
                return Err((COMMUTATIVE, format!("in this order they show {all:?}, in the order {order} {shown:?}")));
            }
        }
        self.groups(versions, &all)?;
        let merged = self.merge(versions)?;
        for (at, version) in versions.iter().chain(&merged).enumerate() {
            let part = if at < versions.len() { format!("with {}", at + 1) } else { "with itself".into() };
            let shown = self.shown(&[merged.clone(), vec![version.again()]].concat())?;
            if shown != all {
                return Err((IDEMPOTENT, format!("they show {all:?}; that, merged {part} again, {shown:?}")));
            }
        }
        if !self.reconciler.uses_stamps() {
            let restamped = |stamp: &dyn Fn(usize) -> u64| -> Vec<_> {
                let stamps = (0..versions.len()).map(|at| Stamp(stamp(at)));
                versions.iter().zip(stamps).map(|(version, stamp)| Version { stamp, ..version.clone() }).collect()
            };
            for (what, other) in [
                ("equal", restamped(&|_| 1)),
                ("rising", restamped(&|at| 1 + at as u64)),
                ("falling", restamped(&|at| (versions.len() - at) as u64)),
            ] {
                let shown = self.shown(&other)?;
                if shown != all {
                    return Err((STAMPS, format!("they show {all:?}, with {what} timestamps {shown:?}")));
                }
            }
        }
        Ok(())
    }

    /// One part merged first, then with the others; and both parts merged first, then with each other.
    fn groups(&self, versions: &[Version], all: &Shown) -> Result<(), Wrong> {
        for group in groups(versions.len()) {
            let part = |inside: bool| -> Vec<Version> {
                let chosen = versions.iter().enumerate().filter(|(at, _)| group.contains(at) == inside);
                chosen.map(|(_, version)| version.clone()).collect()
            };
            let (some, others) = (self.merge(&part(true))?, part(false));
            let first = list(&group);
            for (with, others) in [("the others", others.clone()), ("the others, merged too,", self.merge(&others)?)] {
                let shown = self.shown(&[some.clone(), others].concat())?;
                if shown != *all {
                    let between: Shown = some.iter().map(|version| version.value.clone()).collect();
                    let what = format!(
                        "together they show {all:?}; {first} merged first give {between:?}, and with {with} {shown:?}"
                    );
                    return Err((ASSOCIATIVE, what));
                }
            }
        }
        Ok(())
    }

    /// What stands in the place of these versions when they are merged, in the order of dots.
    fn merge(&self, versions: &[Version]) -> Result<Vec<Version>, Wrong> {
        if versions.len() < 2 {
            return Ok(versions.to_vec());
        }
        let mut sorted = versions.to_vec();
        sorted.sort_by_key(|version| version.dot);
        Ok(match self.decide(&sorted)? {
            Reconciled::Keep => sorted,
            Reconciled::Pick(at) => vec![sorted[at].clone()],
            Reconciled::Merge(value) => {
                // The place of its latest sibling: a reconciler that goes by timestamps must not see it move.
                let latest = sorted.into_iter().max_by_key(|version| (version.stamp, version.dot));
                latest.map(|latest| Version { value, ..latest }).into_iter().collect()
            }
        })
    }

    fn shown(&self, versions: &[Version]) -> Result<Shown, Wrong> {
        match versions {
            [one] => Ok(Shown::from([one.value.clone()])),
            several => Ok(show(several, &self.decide(several)?)),
        }
    }

    fn decide(&self, versions: &[Version]) -> Result<Reconciled, Wrong> {
        let siblings: Vec<_> = versions.iter().map(Version::sibling).collect();
        match catch_unwind(AssertUnwindSafe(|| self.reconciler.reconcile(b"key", &siblings))) {
            Ok(Reconciled::Pick(at)) if at >= siblings.len() => {
                Err((IN_RANGE, format!("it picks index {at} of {}", siblings.len())))
            }
            Ok(decision) => Ok(decision),
            Err(panic) => {
                let values: Vec<_> = versions.iter().map(|version| &version.value).collect();
                Err((DECIDES, format!("it panics on {values:?}: {}", message_of(&*panic))))
            }
        }
    }
}

/// The values that a client sees, which is all that counts.
type Shown = BTreeSet<Bytes>;

fn show(versions: &[Version], decision: &Reconciled) -> Shown {
    match decision {
        Reconciled::Keep => versions.iter().map(|version| version.value.clone()).collect(),
        Reconciled::Pick(at) => Shown::from([versions[*at].value.clone()]),
        Reconciled::Merge(value) => Shown::from([value.clone()]),
    }
}

/// Orders of so many siblings: all up to four, then some.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count > 4 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(count as u64);
        let mut order: Vec<_> = (0..count).collect();
        let backwards = order.iter().rev().copied().collect();
        let shuffled = (0..8).map(|_| {
            order.shuffle(&mut rng);
            order.clone()
        });
        return [backwards].into_iter().chain(shuffled).collect();
    }
    (1..=count).fold(vec![Vec::new()], |orders, size| {
        let longer = |order: Vec<usize>| {
            (0..size).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, size - 1);
                longer
            })
        };
        orders.into_iter().flat_map(longer).collect()
    })
}

/// Which of so many siblings are merged first, at least two of them and not all: all choices up to five, then some.
fn groups(count: usize) -> Vec<Vec<usize>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(count as u64);
    let masks: Vec<u32> =
        if count > 5 { (0..24).map(|_| rng.random_range(0..1 << count)).collect() } else { (0..1 << count).collect() };
    let members = |mask: u32| (0..count).filter(move |at| mask >> at & 1 == 1).collect::<Vec<_>>();
    masks.into_iter().map(members).filter(|group| (2..count).contains(&group.len())).collect()
}

/// Siblings as a report numbers them.
fn list(indices: &[usize]) -> String {
    indices.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(" ")
}
