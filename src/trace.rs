//! What a node did for one request, step by step, and why: for people who ask why one was slow, or failed.
//!
//! A request is traced when its options say so ([`crate::GetOptions::traced`]); the trace comes with its answer, be that a
//! failure. It is this node's part alone: of a write that was handed on it shows to whom and what that one said, of a
//! replica when it was asked and what it answered. It ends with the answer: what a node does afterwards (late replies,
//! repair, hints for owners that never answered) is not in it, but that an owner was seen to be behind is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Refusal, Shortfall};
use crate::ids::{LayoutId, NodeId, PartitionId};
use crate::time::{Time, micros};

/// The steps of one request, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    steps: Vec<Stepped>,
    /// How many further ones there were, beyond [`Trace::MOST`].
    dropped: u64,
}

/// A step, and when it was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stepped {
    /// Microseconds after the node took the request up. All that comes of one message, or of one look at the clock, has one
    /// time; the end of a sync has that of the input before it, since [`crate::Node::commit`] is told none.
    pub at_us: u64,
    /// What was done.
    pub step: Step,
}

/// A result, and how the node came to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traced<T> {
    /// What came of the request.
    pub result: T,
    /// How. Empty if the node has stopped, or was too busy to look at the request.
    pub trace: Trace,
}

/// One thing that a node did, decided or heard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Where the key lives.
    Placed {
        /// The partition.
        partition: PartitionId,
        /// The layout that is known to be decided there.
        layout: LayoutId,
        /// Its owners in that layout, in order.
        owners: Vec<NodeId>,
        /// Layouts that may be decided there too: a write takes W nodes in each.
        pending: Vec<LayoutId>,
        /// The first three that stand in for owners.
        stand_ins: Vec<NodeId>,
    },
    /// The context says what was read by a name that isn't known here: owners are asked what it stands for.
    AsksForName,
    /// A read comes first: of a conditional put, or of a delete without context.
    ReadsFirst,
    /// The condition of a conditional put holds, or not.
    Condition {
        /// Whether it does.
        holds: bool,
    },
    /// The write has its name.
    Named {
        /// Its dot, as text.
        dot: String,
    },
    /// The object was at its cap: what was put and what was there became one value.
    Merged,
    /// A node was passed over, for it is suspected.
    Skipped {
        /// Which.
        node: NodeId,
        /// How long it has owed an answer.
        silent_us: u64,
        /// What speaks against it, in thousandths of φ.
        phi: u32,
    },
    /// A node was asked.
    Asked {
        /// Which.
        node: NodeId,
        /// For what.
        ask: Ask,
        /// Why this one.
        why: Why,
        /// How long it usually takes; zero for this node, and for one of which nothing is known.
        usual_us: u64,
    },
    /// A node answered.
    Answered {
        /// Which.
        node: NodeId,
        /// What.
        answer: Answered,
        /// How long it took.
        took_us: u64,
    },
    /// A node has kept the request waiting for too long. Its answer still counts.
    Late {
        /// Which.
        node: NodeId,
        /// For how long.
        waited_us: u64,
    },
    /// A node is slower than its own 95th percentile.
    Slow {
        /// Which.
        node: NodeId,
        /// For how long it was waited for.
        waited_us: u64,
        /// Whether another may be asked too: so many of a hundred reads may.
        may_hedge: bool,
    },
    /// This node keeps the write for another itself.
    KeepsHint {
        /// For whom.
        owner: NodeId,
    },
    /// It keeps it when another node has believed the timestamp.
    HoldsBackHint {
        /// For whom.
        owner: NodeId,
    },
    /// It has no room for it, or its storage failed.
    KeepsNoHint {
        /// For whom.
        owner: NodeId,
    },
    /// This node's own copy is durable.
    Durable,
    /// This node's own copy is in memory, which is enough for what was asked.
    Buffered,
    /// A node knows a later layout than the request named, or has promised one.
    Behind {
        /// Who has said so.
        node: NodeId,
        /// What is decided there, as it says.
        decided: LayoutId,
    },
    /// The request is made anew for other layouts. What was answered before counts no more.
    MadeAnew {
        /// The decided layout, then those that may be.
        layouts: Vec<LayoutId>,
    },
    /// It is known that something is missing, but not yet what: the request is made anew a moment later.
    Waits,
    /// Enough have answered, or in sloppy mode as many as could be reached.
    Reached {
        /// Answers that count.
        got: u8,
        /// Answers that it took.
        needed: u8,
    },
    /// Too few have, and no more can.
    Failed(Shortfall),
    /// An owner's copy lacks something of what was read. It is sent that when late replies are no longer awaited.
    ToRepair {
        /// Which.
        node: NodeId,
    },
    /// Several versions were there.
    Reconciled {
        /// How many.
        siblings: u64,
        /// How many the client is shown.
        shown: u64,
    },
}

/// What a node is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ask {
    /// To show what it has.
    Read,
    /// To store the write.
    Write,
    /// To keep it for this owner.
    Keep(NodeId),
    /// To coordinate the write.
    Coordinate,
}

/// Why a node is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// All owners are.
    Owner,
    /// It is the fastest that was not asked.
    Fastest,
    /// In the stead of this one, which is suspected, late or of no use.
    InStead(NodeId),
    /// Beside this one, which is slow.
    Hedge(NodeId),
    /// It is suspected, but the others are too few.
    TooFew,
}

/// What a node answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answered {
    /// It has stored the write, or keeps it.
    Stored,
    /// It has so many versions; if none, it knows that nothing is there.
    Versions(u64),
    /// It keeps so many versions for an owner, or lacks a part of what it had: it counts for nobody.
    Hint(u64),
    /// It keeps nothing of the key.
    NoInformation,
    /// It refused.
    Refused(Refusal),
    /// It has coordinated the write.
    Coordinated {
        /// So many owners had it then.
        owners: u8,
        /// And so many that keep it for others.
        fallbacks: u8,
    },
    /// It has coordinated it, and too few had it.
    Failed(Shortfall),
    /// The object is at its cap.
    AtCap,
}

impl Trace {
    /// So many steps are kept.
    pub const MOST: usize = 256;

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Stepped] {
        &self.steps
    }

    /// How many steps there were beyond those that are kept.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn add(&mut self, after: Duration, step: Step) {
        if self.steps.len() < Self::MOST {
            self.steps.push(Stepped { at_us: micros(after), step });
        } else {
            self.dropped += 1;
        }
    }
}

/// What a machine notes of its decisions, if anybody wants to know. It costs a comparison if nobody does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(clippy::box_collection, reason = "a machine is moved, and nearly none has notes: one word, not three")]
pub(crate) struct Notes(Option<Box<Vec<Step>>>);

impl Notes {
    pub(crate) fn new(wanted: bool) -> Self {
        Self(wanted.then(Box::default))
    }

    #[inline]
    pub(crate) const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    #[inline]
    pub(crate) fn note(&mut self, step: impl FnOnce() -> Step) {
        if self.is_wanted() {
            self.add(step);
        }
    }

    // Apart, lest what is hardly ever done make large what is always done.
    #[cold]
    #[inline(never)]
    fn add(&mut self, step: impl FnOnce() -> Step) {
        self.0.get_or_insert_default().push(step());
    }

    /// What was noted since this was called last.
    pub(crate) fn take(&mut self) -> Vec<Step> {
        self.0.as_mut().map(|steps| std::mem::take(&mut **steps)).unwrap_or_default()
    }
}

/// The traces of the requests in progress that have one.
#[derive(Debug)]
pub(crate) struct Traces<K>(std::collections::BTreeMap<K, (Time, Trace)>);

impl<K: Ord> Traces<K> {
    pub(crate) const fn new() -> Self {
        Self(std::collections::BTreeMap::new())
    }

    pub(crate) fn open(&mut self, request: K, now: Time) {
        self.0.insert(request, (now, Trace::default()));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_open(&self, request: &K) -> bool {
        !self.0.is_empty() && self.0.contains_key(request)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn add(&mut self, request: &K, now: Time, step: impl FnOnce() -> Step) {
        if let Some((began, trace)) = self.0.get_mut(request) {
            trace.add(now.since(*began), step());
        }
    }

    pub(crate) fn close(&mut self, request: &K) -> Option<Trace> {
        self.0.remove(request).map(|(_, trace)| trace)
    }
}

/// Nodes or layouts, for people.
fn list<T: fmt::Display>(all: &[T]) -> String {
    if all.is_empty() {
        return "nobody".into();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Microseconds as milliseconds.
fn ms(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1_000, micros % 1_000)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Stepped { at_us, step } in &self.steps {
            writeln!(f, "{:>12}  {step}", ms(*at_us))?;
        }
        if self.dropped > 0 {
            writeln!(f, "and {} more steps", self.dropped)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed { partition, layout, owners, pending, stand_ins } => {
                write!(f, "{partition} is owned by {} (layout {layout}); ", list(owners))?;
                if !pending.is_empty() {
                    write!(f, "{} may be decided too; ", list(pending))?;
                }
                write!(f, "{} would stand in", list(stand_ins))
            }
            Self::AsksForName => write!(f, "the context says a name that is not known here: owners are asked"),
            Self::ReadsFirst => write!(f, "a read comes first"),
            Self::Condition { holds: true } => write!(f, "nothing has changed since it was read"),
            Self::Condition { holds: false } => write!(f, "it has changed since it was read"),
            Self::Named { dot } => write!(f, "the write is named {dot}"),
            Self::Merged => write!(f, "at the cap: merged with what was there"),
            Self::Skipped { node, silent_us, phi } => {
                let (whole, thousandths) = (phi / 1_000, phi % 1_000);
                write!(f, "{node} skipped: suspected (silent for {}, φ {whole}.{thousandths:03})", ms(*silent_us))
            }
            Self::Asked { node, ask, why, usual_us } => {
                write!(f, "asked {node} {ask}: {why}")?;
                if *usual_us > 0 { write!(f, " (it usually takes {})", ms(*usual_us)) } else { Ok(()) }
            }
            Self::Answered { node, answer, took_us } => write!(f, "{node} answered after {}: {answer}", ms(*took_us)),
            Self::Late { node, waited_us } => write!(f, "{node} is late: nothing for {}", ms(*waited_us)),
            Self::Slow { node, waited_us, may_hedge } => {
                let then = if *may_hedge { "another may be asked" } else { "but no more may be hedged" };
                write!(f, "{node} is slower than usual: nothing for {}; {then}", ms(*waited_us))
            }
            Self::KeepsHint { owner } => write!(f, "kept here for {owner}"),
            Self::HoldsBackHint { owner } => write!(f, "to be kept for {owner} when somebody believes the timestamp"),
            Self::KeepsNoHint { owner } => write!(f, "not kept for {owner}: no room, or the storage failed"),
            Self::Durable => write!(f, "the own copy is durable"),
            Self::Buffered => write!(f, "the own copy is in memory"),
            Self::Behind { node, decided } => write!(f, "{node} knows more of layouts: {decided} is decided there"),
            Self::MadeAnew { layouts } => write!(f, "made anew for {}", list(layouts)),
            Self::Waits => write!(f, "to be made anew in a moment: what it must know is not here yet"),
            Self::Reached { got, needed } => write!(f, "reached: {got} of {needed}"),
            Self::Failed(shortfall) => write!(f, "failed: {shortfall}"),
            Self::ToRepair { node } => write!(f, "{node} lacks some of what was read, and is to be sent it"),
            Self::Reconciled { siblings, shown } => write!(f, "{siblings} versions reconciled, {shown} shown"),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => write!(f, "to read"),
            Self::Write => write!(f, "to write"),
            Self::Keep(owner) => write!(f, "to keep it for {owner}"),
            Self::Coordinate => write!(f, "to coordinate it"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => write!(f, "all owners are"),
            Self::Fastest => write!(f, "the fastest that was not asked"),
            Self::InStead(node) => write!(f, "instead of {node}"),
            Self::Hedge(node) => write!(f, "beside {node}, which is slow"),
            Self::TooFew => write!(f, "though suspected, for the others are too few"),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => write!(f, "stored"),
            Self::Versions(0) => write!(f, "nothing there"),
            Self::Versions(1) => write!(f, "1 version"),
            Self::Versions(count) => write!(f, "{count} versions"),
            Self::Hint(count) => write!(f, "a hint of {count} versions, which counts for nobody"),
            Self::NoInformation => write!(f, "keeps nothing of it"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Coordinated { owners, fallbacks } => write!(f, "coordinated: {owners} owners, {fallbacks} stand-ins"),
            Self::Failed(shortfall) => write!(f, "coordinated, but {shortfall}"),
            Self::AtCap => write!(f, "at the cap"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_ends_somewhere_and_says_so() {
        let mut traces = Traces::new();
        traces.open(1, Time(100));
        for step in 0..Trace::MOST as u64 + 3 {
            traces.add(&1, Time(100 + step), || Step::Waits);
            traces.add(&2, Time(0), || unreachable!("nobody wants to know"));
        }
        assert!(traces.is_open(&1) && !traces.is_open(&2));
        let trace = traces.close(&1).unwrap();
        assert_eq!((trace.steps().len(), trace.dropped(), trace.steps()[7].at_us), (Trace::MOST, 3, 7));
        assert!(trace.to_string().ends_with("and 3 more steps\n") && traces.is_empty());
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_made() {
        let mut notes = Notes::new(false);
        notes.note(|| unreachable!());
        assert_eq!(notes.take(), []);
        let mut notes = Notes::new(true);
        notes.note(|| Step::Waits);
        assert_eq!((notes.take(), notes.take()), (vec![Step::Waits], vec![]));
    }
}
