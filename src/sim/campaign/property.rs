//! What must hold of every run, each with a name and a message that tells what happened.

use std::collections::BTreeSet;
use std::fmt;

use super::history::{History, Number, Outcome, Read, Write};
use super::story::{Reconciling, Settings};

/// What must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Property {
    /// At the end every acknowledged write is there, or superseded by one that is there or superseded itself.
    NoLostWrite,
    /// What is read was written to that key, and not refused.
    NoPhantom,
    /// What an acknowledged put had read is not there at the end.
    SupersededForGood,
    /// A value never stands beside one whose writer had read it.
    TrueConcurrency,
    /// Clients that read before they write make no more siblings than there are clients and lost answers.
    SiblingBound,
    /// What an acknowledged delete had read is not there at the end.
    NoResurrection,
    /// With strict quorums that overlap, a client never reads anything older than what it has read. (That it reads its
    /// own writes follows from `Register`, and that it never meets siblings of its own making from that and
    /// `TrueConcurrency`.)
    Sessions,
    /// After everything has healed, all owners of a key hold the same versions, to the byte, and repair has nothing
    /// more to do.
    Convergence,
    /// With strict quorums that overlap, a read shows every write that a quorum had durably acknowledged before it began,
    /// or what supersedes that.
    Register,
    /// After everything has healed no hint is left.
    HintsHome,
    /// What a node has found and taken in as hints was joined into another, is delivered, was dropped as damaged, or is
    /// on its disk.
    HintLedger,
    /// What a node says of itself ([`crate::Node::status`]) agrees with itself, with what else it tells, and with its disk.
    Statuses,
    /// A listing names keys that were written, and after everything has healed just those that have a value.
    Listing,
    /// No dot ever names two writes.
    UniqueDots,
    /// What stays within its bounds: requests in progress, bytes of hints.
    Bounds,
    /// A core that can serve finishes what it is asked while the rest stays dead, and agrees.
    Liveness,
    /// What a strict quorum had durably acknowledged is durable at as many owners by the latest layout that is decided
    /// anywhere, at every moment. (One less where a node has lost its disk.)
    Placement,
    /// What a store has promised or knows to be decided never sinks, and nobody takes a ballot for another.
    OneChain,
    /// When all layouts were handed on and the faults have ended, the latest is decided everywhere, nothing is on its way,
    /// and no more was copied than it takes.
    ChangesEnd,
    /// No frame whose bits have flipped is taken for a message, and no request ends in an error that it should not.
    NoGarbage,
}

impl Property {
    /// Whether it is broken by something that has happened, and not by something that has yet to.
    #[must_use]
    pub const fn is_safety(self) -> bool {
        !matches!(self, Self::ChangesEnd | Self::Convergence | Self::Liveness | Self::HintsHome)
    }
}

/// A property that did not hold, and how one can see it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{property:?}: {message}")]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// What happened.
    pub message: String,
}

pub(super) fn broken<T>(property: Property, message: impl fmt::Display) -> Result<T, Violation> {
    Err(Violation { property, message: message.to_string() })
}

type Verdict = Result<(), Violation>;

impl History {
    /// Whether everything holds that a cluster with these settings promises.
    ///
    /// # Errors
    /// The first that doesn't.
    pub fn check(&self, settings: &Settings, set_back: bool) -> Verdict {
        let reconciling = settings.reconciling();
        self.check_reads(settings, set_back)?;
        if reconciling != Reconciling::Latest {
            self.no_lost_write()?;
        }
        // A union holds what it has superseded, and at the sibling cap the latest is written anew, under another's name.
        let is_capped = settings.siblings <= 3 || settings.large == 1;
        if reconciling == Reconciling::Keep || (reconciling == Reconciling::Latest && !is_capped) {
            self.superseded_for_good()?;
        }
        Ok(())
    }

    /// Whether all that was read may have been, whatever is there at the end.
    ///
    /// # Errors
    /// The first read that may not.
    pub fn check_reads(&self, settings: &Settings, set_back: bool) -> Verdict {
        let reconciling = settings.reconciling();
        self.no_phantom()?;
        if reconciling == Reconciling::Keep {
            self.true_concurrency()?;
        }
        // A node that forgot what it had acknowledged is the exception that every quorum makes.
        if settings.is_register() && !set_back && reconciling == Reconciling::Keep {
            self.register()?;
            self.sessions()?;
            if settings.polite == 1 {
                self.sibling_bound(settings.clients as usize)?;
            }
        }
        Ok(())
    }

    /// Whether a write is among `shown`, or is superseded by one that is there or superseded itself. What is not
    /// refused may have happened, so it excuses; a delete is never seen, so it excuses by itself.
    pub(super) fn is_accounted_for(&self, number: Number, shown: &BTreeSet<Number>) -> bool {
        if shown.contains(&number) {
            return true;
        }
        let write = &self.writes[number];
        self.of_key(write.key).any(|(by, other)| {
            // Its coordinator may have slept before it looked.
            let swept = other.is_sweeping && other.acked.is_none_or(|acked| write.began <= acked);
            let covers = other.seen.contains(&number) || swept;
            covers && other.outcome != Outcome::Refused && (other.is_delete || self.is_accounted_for(by, shown))
        })
    }

    /// See [`Property::NoLostWrite`].
    ///
    /// # Errors
    /// The first acknowledged write that is lost.
    pub fn no_lost_write(&self) -> Verdict {
        for (number, write) in self.writes.iter().enumerate() {
            if write.outcome == Outcome::Acked && !write.is_delete {
                let last = &self.last[write.key];
                if !self.is_accounted_for(number, last) {
                    let message = format!("w{number} {write:?} was acknowledged; at the end there is {last:?}");
                    return broken(Property::NoLostWrite, message);
                }
            }
        }
        Ok(())
    }

    /// See [`Property::NoPhantom`].
    ///
    /// # Errors
    /// The first value that was read and should not.
    pub fn no_phantom(&self) -> Verdict {
        let all = self.reads.iter().map(|read| (read.key, read.values.iter().copied().collect::<BTreeSet<_>>()));
        for (key, values) in all.chain(self.last.iter().cloned().enumerate()) {
            for number in values {
                match self.writes.get(number) {
                    Some(write) if write.key == key && !write.is_delete && write.outcome != Outcome::Refused => {}
                    found => {
                        return broken(Property::NoPhantom, format!("w{number} was read of key {key}: {found:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// See [`Property::TrueConcurrency`].
    ///
    /// # Errors
    /// The first two that are not concurrent.
    pub fn true_concurrency(&self) -> Verdict {
        let last = self.last.iter().map(|values| values.iter().copied().collect::<Vec<_>>());
        for values in self.reads.iter().map(|read| read.values.clone()).chain(last) {
            for &a in &values {
                for &b in &values {
                    if self.writes[b].past.contains(&a) && !self.writes[a].is_repeated {
                        let message = format!("w{a} stands beside w{b}, whose writer had read it");
                        return broken(Property::TrueConcurrency, message);
                    }
                }
            }
        }
        Ok(())
    }

    /// See [`Property::SupersededForGood`] and [`Property::NoResurrection`].
    ///
    /// # Errors
    /// The first that came back.
    pub fn superseded_for_good(&self) -> Verdict {
        for (by, write) in self.writes.iter().enumerate() {
            let back = write.seen.iter().find(|old| self.last[write.key].contains(old));
            if let Some(&old) = back.filter(|&&old| write.outcome == Outcome::Acked && !self.writes[old].is_repeated) {
                let property = if write.is_delete { Property::NoResurrection } else { Property::SupersededForGood };
                return broken(property, format!("w{old} is there, though w{by} {write:?} was acknowledged"));
            }
        }
        Ok(())
    }

    /// See [`Property::Register`].
    ///
    /// # Errors
    /// The first read that misses a write.
    pub fn register(&self) -> Verdict {
        for read in &self.reads {
            let shown: BTreeSet<Number> = read.values.iter().copied().collect();
            for (number, write) in self.of_key(read.key) {
                let acked = write.acked.filter(|_| !write.is_relaxed);
                let before = acked.is_some_and(|acked| acked < read.began) && !write.is_delete;
                if before && !self.is_accounted_for(number, &shown) {
                    return broken(Property::Register, format!("{read:?} misses w{number} {write:?}"));
                }
            }
        }
        Ok(())
    }

    /// See [`Property::SiblingBound`].
    ///
    /// # Errors
    /// The first read with too many.
    pub fn sibling_bound(&self, clients: usize) -> Verdict {
        for read in &self.reads {
            let is_unsure = |write: &Write| write.outcome != Outcome::Acked || write.is_repeated || write.is_relaxed;
            let unsure = self.of_key(read.key).filter(|(_, write)| is_unsure(write));
            let bound = clients + 2 * unsure.count();
            if read.values.len() > bound {
                return broken(Property::SiblingBound, format!("{read:?} shows more than {bound} siblings"));
            }
        }
        Ok(())
    }

    /// See [`Property::Sessions`].
    ///
    /// # Errors
    /// The first step back that a client noticed.
    pub fn sessions(&self) -> Verdict {
        for (at, read) in self.reads.iter().enumerate() {
            let Some(client) = read.client else { continue };
            let shown: BTreeSet<Number> = read.values.iter().copied().collect();
            let lacks = |number: &Number| !self.is_accounted_for(*number, &shown);
            let own = |earlier: &&Read| earlier.client == Some(client) && earlier.key == read.key;
            let earlier = self.reads[..at].iter().filter(own).filter(|earlier| earlier.ended < read.began);
            // What was shown once may be of a write that never reached a quorum; only then it may vanish again.
            let firm = |number: &Number| {
                let write = &self.writes[*number];
                !write.is_relaxed && write.acked.is_some_and(|acked| acked < read.began)
            };
            if let Some(lost) = earlier.flat_map(|read| read.values.iter().copied()).filter(firm).find(lacks) {
                return broken(Property::Sessions, format!("{read:?} goes back behind w{lost}, which it has read"));
            }
        }
        Ok(())
    }
}
