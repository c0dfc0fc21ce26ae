//! How every story ends: a core must serve while the rest stays dead; then all heals, and all must agree.

use std::collections::BTreeSet;
use std::time::Duration;

use super::history::Number;
use super::player::{Player, SCRUB, timing};
use super::property::{Property, Violation, broken};
use super::story::Reconciling;
use super::values::{members, name};
use crate::error::{Error, PutError};
use crate::ids::NodeId;
use crate::node::Node;
use crate::request::{Cursor, GetOptions, PutOptions, Reply, Request, Versions};
use crate::sim::{Network, Sim};
use crate::status::Debt;
use crate::time::Time;

/// After this nobody is suspected any more who can be reached: a request has ended, and the longest pause between two
/// probes has passed.
const QUIET: Duration = Duration::from_secs(5);
/// What follows a request that has ended has come to its end, too.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Owners compare themselves so often at the end.
pub(super) const EXCHANGE: Duration = Duration::from_secs(3);

impl Player {
    /// Faults stop for the nodes of the core, and the others die for good: what the core can serve, it must.
    pub(super) fn core_serves(&mut self) -> Result<(), Violation> {
        let members = self.sim.members();
        let latest = std::sync::Arc::clone(self.sim.layout());
        let bit = |node: &NodeId| (node.0 - 1) % self.settings.nodes;
        // Who is no member any more is not to be missed.
        let is_core = |node: &NodeId| {
            latest.index_of(*node).is_some() && (self.settings.core == 0 || self.settings.core >> bit(node) & 1 == 1)
        };
        let (core, dead): (Vec<_>, Vec<_>) = members.into_iter().partition(is_core);
        for &node in &dead {
            self.end_clone(node);
            self.crash(node, 0)?;
        }
        self.recover(&core)?;
        if self.damage {
            // What is damaged is found by whoever reads it, or within a scrub; and then it counts for a while in no read.
            self.sim.run_for(SCRUB * 2);
            self.collect()?;
        }
        for key in 0..self.settings.keys as usize {
            if self.can_serve(key, &core) {
                self.coverage.count("core served while the rest was dead", u64::from(!dead.is_empty()));
                self.serve(key, &core)?;
            }
        }
        Ok(())
    }

    fn can_serve(&self, key: usize, core: &[NodeId]) -> bool {
        // One that has lost its disk counts again when it has seen what the others have, and those may be dead.
        let refilling = |node: &NodeId| {
            let debt = self.sim.node(*node).map(Node::debt).unwrap_or_default();
            debt.iter().any(|debt| matches!(debt, Debt::Refilling(_)))
        };
        if core.iter().any(refilling) {
            return false;
        }
        let needed = self.settings.r.max(self.settings.w) as usize;
        let owners = self.sim.owners(&name(key)).iter().filter(|owner| core.contains(owner)).count();
        // A fallback without room for hints is none.
        let has_room = self.settings.hint_bytes >= 1 << 20 && self.settings.large == 0;
        let fallbacks = self.settings.strict == 0 && has_room;
        // Who has come stands in for others when its layout is decided, which the dead may hold up.
        let is_old = |node: &&NodeId| self.sim.layouts().iter().all(|layout| layout.index_of(**node).is_some());
        let others = core.iter().filter(is_old).count().saturating_sub(1);
        let standing = if fallbacks { owners.min(1) * others } else { owners };
        standing >= needed
    }

    pub(super) fn recover(&mut self, nodes: &[NodeId]) -> Result<(), Violation> {
        self.sim.heal();
        self.sim.network.jitter = Network::default().jitter;
        for &node in nodes {
            self.sim.skew(node, 0);
            self.sim.mend(node);
            self.sim.resume(node);
            self.end_clone(node);
            // A fenced node does nothing until it is started again.
            if self.sim.is_fenced(node) {
                self.crash(node, 0)?;
            }
            self.start(node)?;
        }
        self.hint_ledger()?;
        self.statuses_agree()?;
        self.sim.run_for(QUIET);
        self.collect()?;
        // What followed a read that has ended only now.
        self.sim.run_for(AFTERWARDS);
        self.collect()
    }

    /// Through every node of the core: read all that there is, then read and write.
    fn serve(&mut self, key: usize, core: &[NodeId]) -> Result<(), Violation> {
        let dead = |error: Error| Violation {
            property: Property::Liveness,
            message: format!("key {key}: the core {core:?} has what it takes, and yet: {error}"),
        };
        for &node in core {
            self.read_at(node, key, true).map_err(dead)?;
        }
        // At the sibling cap a blind write would rightly be refused, and a far clock may have written the latest.
        if self.settings.reconciling() == Reconciling::Keep {
            for &node in core {
                let found = self.sim.get(node, &name(key)).map_err(|error| dead(error.into()))?;
                match self.replace(node, key, &found) {
                    // What the read did not show may stand beside it.
                    Err(Error::Put(PutError::TooManySiblings { .. } | PutError::ObjectTooLarge { .. })) => {
                        return Ok(());
                    }
                    written => written.map_err(dead)?,
                }
            }
            if self.settings.is_register() {
                self.agree(key, core, self.history.writes.len() - 1)?;
            }
        }
        Ok(())
    }

    /// Puts a new write in the place of what was found.
    fn replace(&mut self, node: NodeId, key: usize, found: &Versions) -> Result<(), Error> {
        let began = self.sim.now();
        let seen = self.was_read(None, key, began, found);
        let number = self.open_write(key, seen);
        let value = number.to_string();
        self.sim.put_with(node, &name(key), Some(&value), &found.context, PutOptions::default())?;
        self.close_write(number);
        Ok(())
    }

    /// What was written last through the core has seen everything: it alone is there.
    fn agree(&mut self, key: usize, core: &[NodeId], last: Number) -> Result<(), Violation> {
        self.sim.run_for(Duration::from_secs(1));
        for &node in core {
            let found = self.sim.get(node, &name(key));
            let shown = found.map(|found| found.values.iter().flat_map(members).collect::<BTreeSet<_>>());
            if shown != Ok(BTreeSet::from([last])) {
                return broken(Property::Liveness, format!("{node} shows {shown:?} of key {key} after w{last}"));
            }
        }
        Ok(())
    }

    fn read_at(&mut self, node: NodeId, key: usize, all: bool) -> Result<BTreeSet<Number>, Error> {
        let began: Time = self.sim.now();
        let found = self.sim.get_with(node, &name(key), GetOptions { all, ..GetOptions::default() })?;
        Ok(self.was_read(None, key, began, &found))
    }

    /// Everything heals. All owners must come to hold the same, and repair must come to rest.
    pub(super) fn all_agree(&mut self) -> Result<(), Violation> {
        for node in self.sim.members() {
            self.stop(node)?;
        }
        let members = self.sim.members();
        self.sim.set_timing(&timing(EXCHANGE));
        self.recover(&members)?;
        // Nobody reads and nobody writes: the owners become equal by themselves.
        if let Err(debts) = self.sim.try_heal_all() {
            return broken(Property::Convergence, format!("not healed after ten minutes: {debts:?}{}", self.waits()));
        }
        let members = if self.settings.elastic == 1 { self.stop_leavers()? } else { members };
        for key in 0..self.settings.keys as usize {
            self.all_hold_the_same(key)?;
        }
        for key in 0..self.settings.keys as usize {
            self.converge(key, &members)?;
        }
        self.lists(&members)?;
        self.hint_ledger()?;
        self.statuses_agree()?;
        let debt = self.sim.debt();
        if !debt.is_empty() {
            return broken(Property::HintsHome, format!("{debt:?}"));
        }
        self.is_idle(&members)?;
        let ambiguous = self.sim.ambiguous_dots();
        if let Some(dot) = ambiguous.first() {
            return broken(
                Property::UniqueDots,
                format!("{dot:?} names two writes, as do {} more", ambiguous.len() - 1),
            );
        }
        let mistaken = self.sim.traffic().mistaken;
        if mistaken > 0 {
            return broken(Property::NoGarbage, format!("{mistaken} corrupted frames were taken for messages"));
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Violation> {
        match self.sim.try_settle() {
            Ok(()) => Ok(()),
            Err(debt) => broken(Property::Liveness, format!("not calm after ten minutes; hints: {debt:?}")),
        }
    }

    fn converge(&mut self, key: usize, nodes: &[NodeId]) -> Result<(), Violation> {
        let unavailable =
            |error: Error| Violation { property: Property::Liveness, message: format!("key {key}, healed: {error}") };
        for &node in nodes {
            self.read_at(node, key, true).map_err(unavailable)?;
            self.settle()?;
        }
        let mut last: Option<BTreeSet<Number>> = None;
        for &node in nodes {
            let values = self.read_at(node, key, false).map_err(unavailable)?;
            if last.as_ref().is_some_and(|last| *last != values) {
                let message = format!("{node} shows {values:?}, another showed {last:?} of key {key}");
                return broken(Property::Convergence, message);
            }
            last = Some(values);
        }
        self.all_hold_the_same(key)?;
        self.history.last.push(last.unwrap_or_default());
        Ok(())
    }

    fn all_hold_the_same(&self, key: usize) -> Result<(), Violation> {
        let name = name(key);
        let owners = self.sim.owners(&name);
        let first = self.sim.versions(owners[0], &name);
        for &owner in &owners[1..] {
            let other = self.sim.versions(owner, &name);
            if other != first {
                let message = format!("of key {key} {} holds {first:?}, {owner} holds {other:?}", owners[0]);
                return broken(Property::Convergence, message);
            }
        }
        Ok(())
    }

    /// What has a value is listed, and nothing else.
    fn lists(&mut self, nodes: &[NodeId]) -> Result<(), Violation> {
        let filled = self.history.last.iter().enumerate().filter(|(_, values)| !values.is_empty());
        let expected: BTreeSet<String> = filled.map(|(key, _)| name(key)).collect();
        // Another every time, for a page costs a message per partition.
        let node = nodes[self.history.writes.len() % nodes.len()];
        let (mut listed, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next {
            let request = Request::List { keyspace: self.keyspace.id(), cursor, limit: 3 };
            let ticket = self.sim.start(node, request);
            match self.sim.wait(node, ticket) {
                Some(Reply::List(Ok(page))) => {
                    listed.extend(page.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()));
                    next = page.next;
                }
                other => return broken(Property::Liveness, format!("{node}, healed, lists no keys: {other:?}")),
            }
        }
        listed.sort_unstable();
        if !listed.iter().eq(&expected) {
            return broken(Property::Listing, format!("{node} lists {listed:?}, there are {expected:?}"));
        }
        self.coverage.count("keys listed at the end", listed.len() as u64);
        Ok(())
    }

    /// Where all agree, reads move nothing.
    fn is_idle(&mut self, nodes: &[NodeId]) -> Result<(), Violation> {
        let moved = |sim: &Sim| sim.traffic().repairing + sim.counters().exchanged;
        let before = moved(&self.sim);
        for key in 0..self.settings.keys as usize {
            for &node in nodes {
                let _ = self.sim.get_with(node, &name(key), GetOptions { all: true, ..GetOptions::default() });
            }
        }
        self.sim.run_for(EXCHANGE * 2);
        let moved = moved(&self.sim) - before;
        if moved > 0 {
            return broken(Property::Convergence, format!("{moved} repairs where all had agreed"));
        }
        Ok(())
    }
}
