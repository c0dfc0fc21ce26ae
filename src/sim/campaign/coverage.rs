//! What a campaign has met: faults that took effect, and branches that are rarely taken. What was never met was never
//! tested.

use std::collections::BTreeMap;

use super::action::Action;
use crate::error::{Answer, GetError, PutError, Refusal};
use crate::node::{Counters, Event};
use crate::request::{Reply, Versions, Written};
use crate::sim::Traffic;

/// How often each fault and each rare branch was met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    met: BTreeMap<&'static str, u64>,
}

/// The branches that a campaign must take now and then.
const RARE: &[&str] = &[
    "unsynced batches lost",
    "unsynced batches kept",
    "node comes back without what it had stored",
    "corrupted frame refused",
    "message lost",
    "message repeated",
    "message clogged",
    "message unheard",
    "message said dots by a name",
    "message that waited for a name",
    "hint kept",
    "hint joined into another",
    "hint found at a start",
    "hint delivered",
    "hint refused for want of room",
    "all hints for a node delivered",
    "replica repaired after a read",
    "read hedged",
    "write forwarded",
    "peer suspected",
    "peer recovered",
    "storage call failed",
    "node fenced",
    "siblings read",
    "get failed",
    "get answered by fewer owners than R",
    "put failed",
    "put counted fallbacks",
    "put kept by its coordinator alone",
    "put refused at the sibling cap",
    "put refused for a name that nobody in reach knows",
    "put refused because the object had changed",
    "put refused for a clock ahead",
    "put repeated under its name",
    "core served while the rest was dead",
    "partition lost something",
    "partition refilled",
    "record moved by an exchange",
    "full exchange",
    "put acknowledged with its coordinator's durability",
    "put whose coordinator alone had it durably and lost it",
    "put acknowledged before anybody had synced it",
    "put that was perhaps in the memory of a process that crashed",
    "put acknowledged by different zones",
    "put of a value close to its bound",
    "put refused because the object would be too large",
    "page of keys listed",
    "keys listed at the end",
    "nodes had several shards",
];

/// What happens where layouts change alone.
const CHANGES: &[&str] = &[
    "partition changed hands",
    "copy dropped",
    "request refused for knowing too little of layouts",
    "request sent again for other layouts",
    "move given up for a later layout",
    "rival collected",
    "all changes came to an end",
    "leaver stopped for good",
    "former owner declared gone",
];

impl Default for Coverage {
    fn default() -> Self {
        Self { met: Action::WORDS.iter().chain(RARE).chain(CHANGES).map(|&word| (word, 0)).collect() }
    }
}

impl Coverage {
    /// How often each was met, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.met.iter().map(|(&name, &count)| (name, count))
    }

    /// Whether it is met where layouts change alone.
    #[must_use]
    pub fn is_of_changes(name: &str) -> bool {
        let changes = ["join", "leave", "replace", "abort", "rivals", "renew", "spread"];
        CHANGES.contains(&name) || changes.contains(&name)
    }

    /// What was never met.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.iter().filter(|(_, count)| *count == 0).map(|(name, _)| name)
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.met {
            *self.met.entry(name).or_default() += count;
        }
    }

    pub(super) fn count(&mut self, name: &'static str, times: u64) {
        let met = self.met.get_mut(name);
        *met.expect("a name of the list") += times;
    }

    pub(super) fn counters(&mut self, counters: &Counters) {
        self.count("hint kept", counters.hints_kept);
        self.count("hint joined into another", counters.hints_joined);
        self.count("hint found at a start", counters.hints_found);
        self.count("hint delivered", counters.hints_delivered);
        self.count("hint refused for want of room", counters.hints_refused);
        self.count("replica repaired after a read", counters.repairs);
        self.count("read hedged", counters.hedges);
        self.count("write forwarded", counters.forwards);
        self.count("record moved by an exchange", counters.exchanged_needed);
        self.count("full exchange", counters.full_exchanges);
        self.count("message that waited for a name", counters.unnamed);
        self.count("request refused for knowing too little of layouts", counters.behind);
        self.count("request sent again for other layouts", counters.sent_again);
        self.count("move given up for a later layout", counters.superseded);
        self.count("rival collected", counters.rivals);
    }

    pub(super) fn traffic(&mut self, traffic: Traffic) {
        self.count("corrupted frame refused", traffic.refused);
        self.count("message lost", traffic.lost);
        self.count("message repeated", traffic.repeated);
        self.count("message clogged", traffic.clogged);
        self.count("message unheard", traffic.unheard);
        self.count("message said dots by a name", traffic.named);
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Suspected(_) => self.count("peer suspected", 1),
            Event::Recovered(_) => self.count("peer recovered", 1),
            Event::StorageFailed(_) => self.count("storage call failed", 1),
            Event::Fenced(_) => self.count("node fenced", 1),
            Event::HintsDelivered(_) => self.count("all hints for a node delivered", 1),
            Event::PartitionLost(_) => self.count("partition lost something", 1),
            Event::PartitionRefilled(_) => self.count("partition refilled", 1),
            Event::PartitionMoved(..) => self.count("partition changed hands", 1),
            Event::PartitionDropped(_) => self.count("copy dropped", 1),
            // No story declares a node gone, and none damages ballots.
            Event::LayoutDiffers(_)
            | Event::Joined(_)
            | Event::Decided(_)
            | Event::ReconcilerFailed(_)
            | Event::Leaving(_)
            | Event::Removed(_)
            | Event::Doubled(_)
            | Event::ProtocolDiffers(_)
            | Event::Proposed(_)
            | Event::PossibleLoss(..)
            | Event::VoteLost(_)
            | Event::Slow(..) => {}
        }
    }

    pub(super) fn reply(&mut self, reply: &Reply, r: u64) {
        match reply {
            Reply::Get(Ok(found)) => self.found(found, r),
            Reply::Get(Err(GetError::Unavailable(_))) => self.count("get failed", 1),
            Reply::Put(Ok(written)) => self.written(written),
            Reply::Put(Err(error)) => self.not_written(error),
            Reply::List(Ok(_)) => self.count("page of keys listed", 1),
            Reply::Traced(reply, _) => self.reply(reply, r),
            Reply::Get(Err(_)) | Reply::List(Err(_)) | Reply::Compared(_) => {}
        }
    }

    fn found(&mut self, found: &Versions, r: u64) {
        self.count("siblings read", u64::from(found.siblings > 1));
        self.count("get answered by fewer owners than R", u64::from(u64::from(found.owners) < r));
    }

    fn written(&mut self, written: &Written) {
        self.count("put counted fallbacks", u64::from(written.fallbacks > 0));
        self.count("put kept by its coordinator alone", u64::from(written.only_here));
    }

    fn not_written(&mut self, error: &PutError) {
        match error {
            PutError::Unavailable(shortfall) => {
                let ahead = |(_, answer): &(_, Answer)| *answer == Answer::Refused(Refusal::ClockAhead);
                let ahead = shortfall.answers.iter().any(ahead);
                self.count(if ahead { "put refused for a clock ahead" } else { "put failed" }, 1);
            }
            PutError::TooManySiblings { .. } => self.count("put refused at the sibling cap", 1),
            PutError::ObjectTooLarge { .. } => self.count("put refused because the object would be too large", 1),
            PutError::UnknownName => self.count("put refused for a name that nobody in reach knows", 1),
            PutError::Changed => self.count("put refused because the object had changed", 1),
            _ => {}
        }
    }
}
