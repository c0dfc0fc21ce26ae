//! Objects at their cap: one write in the place of all siblings, or a refusal.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::shard::Shard;
use super::{Event, Output};
use crate::causality::{Entry, Update, value_bytes};
use crate::error::PutError;
use crate::ids::Dot;
use crate::key::Key;
use crate::reconcile::{Reconciled, Sibling};
use crate::storage::Storage;
use crate::time::WallTime;

impl<S: Storage> Shard<S> {
    /// One write in the place of all siblings: the reconciler's value, under the put's own dot or a fresh one, with
    /// the context of what was merged. What has expired is superseded too, and is no part of the value.
    pub(super) fn merge_at_cap(
        &mut self,
        key: &Key,
        live: &[Entry],
        update: &Update,
        fresh: Option<Dot>,
    ) -> Result<Update, PutError> {
        let Some(own) = update.live.first() else { return Err(self.at_cap(key, live)) };
        let (wall, dot) = (self.now.wall, fresh.unwrap_or(own.dot));
        let (expired, live): (Vec<Entry>, Vec<Entry>) = live.iter().cloned().partition(|entry| entry.is_expired(wall));
        let mut covered = update.covered.clone();
        covered.union_with(&expired.iter().map(|entry| entry.dot).collect());
        if self.shared.cap(key.keyspace()).holds(&live) {
            return Ok(Update::put(Entry { dot, ..own.clone() }, &covered));
        }
        let longest = self.shared.keyspace(key.keyspace()).map_or(0, |keyspace| self.shared.longest_value(keyspace));
        let (value, expires) = match self.reconcile(key, &live).map_err(|()| PutError::Reconciler)? {
            Reconciled::Pick(index) => (live[index].value.compact(), live[index].expires),
            Reconciled::Merge(value) if value.len() <= longest => (value, last_expiry(&live)),
            // No client could have put such a value, and no message might hold it.
            Reconciled::Keep | Reconciled::Merge(_) => return Err(self.at_cap(key, &live)),
        };
        covered.union_with(&live.iter().map(|entry| entry.dot).collect());
        let stamp = live.iter().map(|entry| entry.stamp).max().unwrap_or(own.stamp);
        Ok(Update::put(Entry { dot, write_id: own.write_id, expires, stamp, value }, &covered))
    }

    /// Why a put that would leave these is refused.
    pub(super) fn at_cap(&self, key: &Key, live: &[Entry]) -> PutError {
        let cap = self.shared.cap(key.keyspace());
        if live.len() > cap.siblings {
            PutError::TooManySiblings { siblings: live.len(), limit: cap.siblings }
        } else {
            PutError::ObjectTooLarge { bytes: value_bytes(live), limit: cap.bytes }
        }
    }

    /// Asks the keyspace's reconciler, and survives its panic.
    pub(super) fn reconcile(&mut self, key: &Key, live: &[Entry]) -> Result<Reconciled, ()> {
        let Some(keyspace) = self.shared.keyspace(key.keyspace()) else { return Ok(Reconciled::Keep) };
        let siblings: Vec<Sibling<'_>> = live.iter().map(Sibling::from).collect();
        let reconciler = &keyspace.reconciler;
        let decided = catch_unwind(AssertUnwindSafe(|| reconciler.reconcile(key.user(), &siblings)));
        match decided {
            Ok(Reconciled::Pick(index)) if index >= live.len() => {}
            Ok(decided) => return Ok(decided),
            Err(_) => {}
        }
        self.lanes.say(Output::Event(Event::ReconcilerFailed(key.keyspace())));
        Err(())
    }
}

/// When a value expires that was made of these: with the last of them, and never if one of them never does.
fn last_expiry(live: &[Entry]) -> Option<WallTime> {
    let all: Option<Vec<WallTime>> = live.iter().map(|entry| entry.expires).collect();
    all?.into_iter().max()
}
