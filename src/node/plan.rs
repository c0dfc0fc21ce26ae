//! A client's put before its write is named: what is checked, and read first.

use std::time::Duration;

use super::get::Purpose;
use super::shard::Shard;
use crate::bytes::Bytes;
use crate::causality::{Context, Entry};
use crate::coordinate::GetRule;
use crate::error::PutError;
use crate::ids::{KeyspaceId, Ticket, WriteId};
use crate::key::Key;
use crate::latencies::Phase;
use crate::message::WriteRule;
use crate::mutant::{self, Mutant};
use crate::request::{PutOptions, Reply};
use crate::storage::Storage;
use crate::time::{Time, micros};
use crate::trace::Step;

/// A client's put that has been checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) ticket: Ticket,
    pub(super) key: Key,
    pub(super) value: Option<Bytes>,
    pub(super) context: Context,
    pub(super) rule: WriteRule,
    pub(super) write_id: Option<WriteId>,
    /// None for a delete.
    pub(super) expires_after: Option<Duration>,
    pub(super) asked: Time,
    pub(super) deadline: Time,
}

impl Plan {
    pub(super) const fn phase(&self) -> Phase {
        if self.value.is_some() { Phase::Put } else { Phase::Delete }
    }
}

impl<S: Storage> Shard<S> {
    pub(super) fn put(
        &mut self,
        ticket: Ticket,
        keyspace: KeyspaceId,
        key: &[u8],
        value: Option<Bytes>,
        context: Context,
        options: &PutOptions,
    ) {
        let plan = match self.plan_put(ticket, keyspace, key, value, context, options) {
            Ok(plan) => plan,
            Err(error) => return self.done(ticket, Reply::Put(Err(error))),
        };
        self.open_and_put(plan, options.if_unchanged);
    }

    /// Puts what was checked, with a context whose dots are known.
    pub(super) fn put_opened(&mut self, plan: Plan, if_unchanged: bool) {
        let blind_delete = plan.value.is_none() && plan.context.is_empty();
        if !if_unchanged && !blind_delete {
            return self.write(plan);
        }
        let Some(defaults) = self.shared.keyspace(plan.key.keyspace()) else { return };
        let rule = GetRule::new(defaults.quorum.r(), plan.rule.mode, plan.rule.spread, false);
        let (key, deadline) = (plan.key.clone(), plan.deadline);
        self.trace(plan.ticket, || Step::ReadsFirst);
        let purpose = if if_unchanged { Purpose::Condition(Box::new(plan)) } else { Purpose::Delete(Box::new(plan)) };
        self.start_get(purpose, key, rule, deadline);
    }

    fn plan_put(
        &self,
        ticket: Ticket,
        keyspace: KeyspaceId,
        key: &[u8],
        value: Option<Bytes>,
        context: Context,
        options: &PutOptions,
    ) -> Result<Plan, PutError> {
        let (shared, limits) = (&self.shared, &self.shared.limits);
        let defaults = shared.keyspace(keyspace).ok_or(PutError::Keyspace)?;
        if key.len() > limits.key {
            return Err(PutError::KeyTooLong { got: key.len(), limit: limits.key });
        }
        let limit = shared.longest_value(defaults);
        if let Some(got) = value.as_ref().map(|value| value.len()).filter(|&got| got > limit) {
            return Err(PutError::ValueTooLong { got, limit });
        }
        let expires_after = options.expires_after.filter(|_| value.is_some());
        if expires_after.is_some_and(|after| micros(after) == 0) {
            return Err(PutError::ExpiresAtOnce);
        }
        let mode = options.mode.unwrap_or(defaults.mode);
        let w = options.w.unwrap_or(defaults.quorum.w());
        for asked in [w, w.max(mode.owners())] {
            if asked == 0 || asked > defaults.quorum.n() {
                return Err(PutError::Quorum { asked, n: defaults.quorum.n() });
            }
        }
        let key = Key::new(&shared.identity.secret, keyspace, key);
        context.check(&shared.identity, key.position())?;
        Ok(Plan {
            ticket,
            key,
            value,
            context,
            rule: WriteRule {
                w: w.max(mode.owners()),
                mode: mode.plain(),
                spread: options.spread,
                durability: options.durability,
            },
            write_id: options.write_id,
            expires_after,
            asked: self.now.time,
            deadline: self.now.time + options.deadline.unwrap_or(shared.timing.deadline),
        })
    }

    /// A delete without a context deletes what a read saw.
    pub(super) fn delete_seen(&mut self, mut plan: Plan, context: Context) {
        plan.context = context;
        self.write(plan);
    }

    /// A conditional put goes on if exactly what its context was shown is there.
    pub(super) fn write_if_unchanged(&mut self, plan: Plan, live: &[Entry]) {
        let holds = plan.context.has_shown(live) || mutant::is(Mutant::IgnoreCondition);
        self.trace(plan.ticket, || Step::Condition { holds });
        if holds {
            self.write(plan);
        } else {
            self.ended(plan.phase(), plan.asked);
            self.done_with_state(plan.ticket, Reply::Put(Err(PutError::Changed)));
        }
    }
}
