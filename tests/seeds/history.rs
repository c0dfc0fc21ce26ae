//! What clients did and saw, in their own words (their write numbers, never dots), and the checks of it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::Time;

/// A client's number of a write.
pub(crate) type Number = usize;

/// No request takes longer.
const REQUEST: Duration = Duration::from_secs(2);

/// How a write ended for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Not yet, or nobody can say any more: it may take effect at any time.
    Unknown,
    /// It was acknowledged.
    Acked,
    /// The error said that nothing was written.
    Refused,
}

/// A put or a delete.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) client: usize,
    pub(crate) key: usize,
    pub(crate) is_delete: bool,
    /// A delete without context: it deletes what a node saw, and the client can't say what that was.
    pub(crate) is_sweeping: bool,
    /// The writes whose values its context was read with.
    pub(crate) seen: BTreeSet<Number>,
    /// Those, and all that they had seen.
    pub(crate) past: BTreeSet<Number>,
    pub(crate) outcome: Outcome,
    pub(crate) began: Time,
    /// When it was acknowledged first.
    pub(crate) acked: Option<Time>,
    /// Sent again through another node: then it may be two events, of which a context may cover one.
    pub(crate) is_repeated: bool,
}

/// A get that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: usize,
    pub(crate) began: Time,
    pub(crate) values: Vec<Number>,
}

/// All that clients did, and what is there at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
    /// Per key, what was read after everything had calmed down.
    pub(crate) last: Vec<BTreeSet<Number>>,
}

type Verdict = Result<(), String>;

impl History {
    /// The writes of a key, and their numbers.
    fn of_key(&self, key: usize) -> impl Iterator<Item = (Number, &Write)> {
        self.writes.iter().enumerate().filter(move |(_, write)| write.key == key)
    }

    /// Whether a write is among `shown`, or is superseded by one that is there or superseded itself. What is not
    /// refused may have happened, so it excuses; a delete is never seen, so it excuses by itself.
    fn is_accounted_for(&self, number: Number, shown: &BTreeSet<Number>) -> bool {
        if shown.contains(&number) {
            return true;
        }
        let write = &self.writes[number];
        self.of_key(write.key).any(|(by, other)| {
            let covers = other.seen.contains(&number) || (other.is_sweeping && write.began <= other.began + REQUEST);
            covers && other.outcome != Outcome::Refused && (other.is_delete || self.is_accounted_for(by, shown))
        })
    }

    /// P1: at the end every acknowledged write is there, or superseded by one that is there or superseded.
    pub(crate) fn no_acknowledged_write_is_lost(&self) -> Verdict {
        for (number, write) in self.writes.iter().enumerate() {
            if write.outcome == Outcome::Acked && !write.is_delete {
                let last = &self.last[write.key];
                if !self.is_accounted_for(number, last) {
                    return Err(format!("lost: w{number} {write:?} was acknowledged; at the end there is {last:?}"));
                }
            }
        }
        Ok(())
    }

    /// P2: what is read was written to that key, and not refused.
    pub(crate) fn nothing_appears_from_nowhere(&self) -> Verdict {
        let all = self.reads.iter().map(|read| (read.key, read.values.iter().copied().collect::<BTreeSet<_>>()));
        for (key, values) in all.chain(self.last.iter().cloned().enumerate()) {
            for number in values {
                match self.writes.get(number) {
                    Some(write) if write.key == key && !write.is_delete && write.outcome != Outcome::Refused => {}
                    found => return Err(format!("phantom: w{number} was read of key {key}: {found:?}")),
                }
            }
        }
        Ok(())
    }

    /// P4: a value never stands beside one whose writer had read it.
    pub(crate) fn siblings_are_concurrent(&self) -> Verdict {
        let last = self.last.iter().map(|values| values.iter().copied().collect::<Vec<_>>());
        for values in self.reads.iter().map(|read| read.values.clone()).chain(last) {
            for &a in &values {
                for &b in &values {
                    if self.writes[b].past.contains(&a) && !self.writes[a].is_repeated {
                        return Err(format!("false concurrency: w{a} stands beside w{b}, whose writer had read it"));
                    }
                }
            }
        }
        Ok(())
    }

    /// P3 and P6: what an acknowledged put or delete had read is not there at the end.
    pub(crate) fn nothing_superseded_comes_back(&self) -> Verdict {
        for (by, write) in self.writes.iter().enumerate() {
            let back = write.seen.iter().find(|old| self.last[write.key].contains(old));
            if let Some(&old) = back.filter(|&&old| write.outcome == Outcome::Acked && !self.writes[old].is_repeated) {
                return Err(format!("resurrection: w{old} is there, though w{by} {write:?} was acknowledged"));
            }
        }
        Ok(())
    }

    /// P9, for strict quorums that overlap: a read shows every write that was acknowledged before it began, or what
    /// supersedes that.
    pub(crate) fn reads_see_acknowledged_writes(&self) -> Verdict {
        for read in &self.reads {
            let shown: BTreeSet<Number> = read.values.iter().copied().collect();
            for (number, write) in self.of_key(read.key) {
                let before = write.acked.is_some_and(|acked| acked < read.began) && !write.is_delete;
                if before && !self.is_accounted_for(number, &shown) {
                    return Err(format!("stale read: {read:?} misses w{number} {write:?}"));
                }
            }
        }
        Ok(())
    }

    /// P5: where every put is preceded by a read of its own, siblings don't outnumber clients and lost answers.
    pub(crate) fn siblings_are_bounded(&self, clients: usize) -> Verdict {
        for read in &self.reads {
            let unsure =
                self.of_key(read.key).filter(|(_, write)| write.outcome != Outcome::Acked || write.is_repeated);
            let bound = clients + 2 * unsure.count();
            if read.values.len() > bound {
                return Err(format!("explosion: {read:?} shows more than {bound} siblings"));
            }
        }
        Ok(())
    }

    /// P7, for strict quorums that overlap: a client that passes on what it read never meets two siblings of its own,
    /// if the first was acknowledged before the second had been read for.
    pub(crate) fn nobody_races_against_oneself(&self) -> Verdict {
        for read in &self.reads {
            for &a in &read.values {
                for &b in &read.values {
                    let (first, second) = (&self.writes[a], &self.writes[b]);
                    let own = a < b && first.client == second.client && !first.is_repeated;
                    // A blind put passes nothing on.
                    if own && second.past.contains(&a) {
                        return Err(format!("own siblings: {read:?} shows w{a} beside w{b} of the same client"));
                    }
                }
            }
        }
        Ok(())
    }
}
