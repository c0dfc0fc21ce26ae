//! What befalls a cluster.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::{Process, Sim, What};
use crate::config::Timing;
use crate::error::OpenError;
use crate::ids::{NodeId, Start};
use crate::node::Node;
use crate::sim::disk::{DiskFault, DiskFaults, SimDisk};
use crate::sim::recording::Recording;
use crate::status::Debt;
use crate::storage::Space;
use crate::time::{Time, WallTime, micros};

/// No story needs longer to calm down: what does is stuck.
const CALM: Duration = Duration::from_secs(600);

/// What a node's wall clock shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// So many microseconds more than it should.
    Off(i64),
    /// Always this.
    Frozen(WallTime),
}

/// A twin goes by a name of its own among the processes, and by that of its node among nodes.
pub(super) const TWIN: u64 = 1 << 63;

pub(super) const fn without_twin(process: NodeId) -> NodeId {
    NodeId(process.0 & !TWIN)
}

impl Sim {
    /// The process dies and the power fails: what was not synced is gone.
    pub fn crash(&mut self, node: NodeId) {
        self.crash_keeping(node, 0);
    }

    /// As [`Sim::crash`], but of the unsynced batches of each shard the first `kept` survive.
    pub fn crash_keeping(&mut self, node: NodeId, kept: usize) {
        self.recording.iter_mut().for_each(|recording| recording.end(node));
        let process = self.process(node);
        if let Some(running) = process.node.take() {
            process.disks = running.into_storages();
            process.disks.iter_mut().for_each(|disk| disk.crash_keeping(kept));
        }
        self.end_service(node);
        // Whatever had arrived finds nobody there.
        self.resume(node);
    }

    /// The process ends in good order: everything is synced.
    pub fn stop(&mut self, node: NodeId) {
        self.recording.iter_mut().for_each(|recording| recording.end(node));
        let process = self.process(node);
        if let Some(mut running) = process.node.take() {
            let _ = running.commit();
            process.disks = running.into_storages();
        }
        self.end_service(node);
        self.resume(node);
    }

    /// The process starts, with what its disk holds. Does nothing if it runs.
    ///
    /// # Panics
    /// If its disk is damaged: the story did that.
    pub fn restart(&mut self, node: NodeId) {
        self.try_restart(node).unwrap_or_else(|error| panic!("{node} doesn't open: {error}"));
    }

    /// As [`Sim::restart`], for disks that may fail.
    ///
    /// # Errors
    /// Those of [`Node::open`]; the node stays down.
    pub fn try_restart(&mut self, node: NodeId) -> Result<(), OpenError> {
        let now = self.now_at(node);
        let process = self.nodes.get_mut(&node).expect("a member");
        if process.node.is_some() {
            return Ok(());
        }
        process.starts += 1;
        // Unique, as fresh randomness is, and the same in every run of the seed.
        let twin = u64::from(without_twin(node) != node) << 62;
        let start = Start(twin | without_twin(node).0 << 32 | process.starts);
        let mut disks = process.disks.clone();
        disks.iter_mut().for_each(SimDisk::open);
        let (seed, shards) = (self.rng.random(), disks.len());
        let mut opened = Node::open(process.setup.clone(), disks, start, seed, now)?;
        if opened.propose(Arc::clone(&self.layout)).is_ok() {
            self.layouts.iter().for_each(|layout| _ = opened.propose(Arc::clone(layout)));
        }
        process.node = Some(opened);
        if self.to_record.take_if(|to_record| *to_record == node).is_some() {
            self.recording = Some(Recording::new(node, shards, start, seed, now));
        }
        process.disks.clear();
        (process.syncing, process.wake) = (false, None);
        self.after(node);
        Ok(())
    }

    /// What nodes are started with from now on; those that run go on as they are.
    pub fn set_timing(&mut self, timing: &Timing) {
        for process in self.nodes.values_mut() {
            process.setup.timing = timing.clone();
        }
    }

    /// The process does nothing for so long, and then goes on as if no time had passed (a long pause of a garbage
    /// collector, of a virtual machine, or SIGSTOP). What arrives meanwhile waits for it.
    pub fn pause(&mut self, node: NodeId, duration: Duration) {
        let until = self.now + duration;
        let process = self.process(node);
        if process.node.is_some() {
            process.paused = process.paused.max(Some(until));
            self.schedule(until, What::Resume { node });
        }
    }

    /// Ends a pause now.
    pub fn resume(&mut self, node: NodeId) {
        let process = self.process(node);
        process.paused = None;
        for what in std::mem::take(&mut process.held) {
            self.schedule(self.now, what);
        }
    }

    /// The disk of a node that is down is replaced by an empty one.
    pub fn lose_data(&mut self, node: NodeId) {
        let process = self.process(node);
        process.setup.founding = false;
        for (disk, faults) in process.disks.iter_mut().zip(&mut process.faults) {
            *disk = SimDisk::new();
            *faults = disk.faults();
        }
    }

    /// What is durable at a node now is put aside for [`Sim::restore`].
    pub fn backup(&mut self, node: NodeId) {
        let process = self.process(node);
        process.backup = match &process.node {
            Some(running) => running.storages().map(SimDisk::backup).collect(),
            None => process.disks.iter().map(SimDisk::backup).collect(),
        };
    }

    /// The disk of a node that is down is replaced by its last backup. False, and nothing happens, if there is none or
    /// the node runs.
    pub fn restore(&mut self, node: NodeId) -> bool {
        let process = self.process(node);
        if process.backup.is_empty() || process.node.is_some() {
            return false;
        }
        process.disks = process.backup.iter().map(SimDisk::backup).collect();
        process.faults = process.disks.iter().map(SimDisk::faults).collect();
        true
    }

    /// A second process starts under the node's name, with a copy of its disk: somebody copied a machine. What is sent
    /// to the node arrives at one of the two. The story calls the second by the name that is returned.
    ///
    /// # Panics
    /// If its disk is damaged.
    pub fn clone_node(&mut self, node: NodeId) -> NodeId {
        let twin = NodeId(node.0 | TWIN);
        let process = &self.nodes[&node];
        let disks: Vec<_> = match &process.node {
            Some(running) => running.storages().map(SimDisk::backup).collect(),
            None => process.disks.iter().map(SimDisk::backup).collect(),
        };
        let starts = self.nodes.get(&twin).map_or(0, |twin| twin.starts);
        let copy = Process { starts, ..Process::new(self.nodes[&node].setup.clone(), disks) };
        self.nodes.insert(twin, copy);
        self.restart(twin);
        twin
    }

    /// The twin of a node loses power and is gone for ever. False if there is none.
    pub fn end_clone(&mut self, node: NodeId) -> bool {
        let twin = NodeId(node.0 | TWIN);
        let was_up = self.nodes.get(&twin).is_some_and(|twin| twin.node.is_some());
        if was_up {
            self.crash(twin);
        }
        was_up
    }

    fn process(&mut self, node: NodeId) -> &mut Process {
        self.nodes.get_mut(&node).expect("a member")
    }

    /// Nothing gets to or from the node.
    pub fn isolate(&mut self, node: NodeId) {
        for other in self.members() {
            self.network.cut_one_way(node, other);
            self.network.cut_one_way(other, node);
        }
    }

    /// Nothing gets from one side to the other.
    pub fn split(&mut self, left: &[NodeId], right: &[NodeId]) {
        for &a in left {
            for &b in right {
                self.network.cut_one_way(a, b);
                self.network.cut_one_way(b, a);
            }
        }
    }

    /// The halves reach one another through `bridge` alone.
    pub fn bridge(&mut self, left: &[NodeId], right: &[NodeId], bridge: NodeId) {
        let without = |side: &[NodeId]| side.iter().copied().filter(|&node| node != bridge).collect::<Vec<_>>();
        self.split(&without(left), &without(right));
    }

    /// The network is well again.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// The switches of a node's disks, shard by shard.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> &[DiskFaults] {
        &self.nodes[&node].faults
    }

    /// A bit of a stored value flips (see [`SimDisk::rot`]); the node may run or be down. False if there is nothing.
    pub fn rot(&mut self, node: NodeId, shard: usize, space: Space, nth: u64) -> bool {
        self.meddle(node, shard, |disk| disk.rot(space, nth))
    }

    /// A value is found under another key (see [`SimDisk::misdirect`]). False if there are not enough.
    pub fn misdirect(&mut self, node: NodeId, shard: usize, space: Space, nth: u64) -> bool {
        self.meddle(node, shard, |disk| disk.misdirect(space, nth))
    }

    fn meddle(&mut self, node: NodeId, shard: usize, how: impl FnOnce(&mut SimDisk) -> bool) -> bool {
        let process = self.process(node);
        match &mut process.node {
            Some(running) => running.storages_mut().nth(shard).is_some_and(how),
            None => process.disks.get_mut(shard).is_some_and(how),
        }
    }

    /// The node's wall clock is off by so many microseconds from now on.
    pub fn skew(&mut self, node: NodeId, micros: i64) {
        self.set_clock(node, Clock::Off(micros));
    }

    /// What the node's wall clock shows from now on.
    pub fn set_clock(&mut self, node: NodeId, clock: Clock) {
        self.process(node).clock = clock;
    }

    /// The nodes are clogged one by one and freed in another order, all within `span`; what is sent to and from them
    /// meanwhile arrives late, and out of order with what others sent.
    pub fn swizzle(&mut self, nodes: &[NodeId], span: Duration) {
        let half = micros(span / 2).max(1);
        for &node in nodes {
            let from = self.now + Duration::from_micros(self.rng.random_range(0..half));
            let until = self.now + Duration::from_micros(half + self.rng.random_range(0..half));
            self.network.clog(node, from, until);
        }
    }

    /// The node's disks do again what they are told.
    pub fn mend(&mut self, node: NodeId) {
        for disk in &self.nodes[&node].faults {
            for fault in [DiskFault::Reads, DiskFault::Writes, DiskFault::Sync] {
                disk.set(fault, false);
            }
        }
    }

    /// Virtual time passes.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Virtual time passes until then.
    pub fn run_until(&mut self, until: Time) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= until) {
            self.advance();
        }
        self.now = self.now.max(until);
    }

    /// Runs until nothing is on its way, no request is in progress, and no node holds hints for a node that is up.
    ///
    /// # Panics
    /// If that takes more than ten virtual minutes.
    pub fn settle(&mut self) {
        if let Err(debt) = self.try_settle() {
            panic!("not calm after {CALM:?}: {debt:?}");
        }
    }

    /// As [`Sim::settle`], for clusters that may not calm down.
    ///
    /// # Errors
    /// What [`Sim::debt`] shows after ten virtual minutes.
    pub fn try_settle(&mut self) -> Result<(), Vec<(NodeId, NodeId, u64)>> {
        let limit = self.now + CALM;
        while !self.is_calm() {
            if self.now >= limit || !self.advance() {
                return Err(self.debt());
            }
        }
        Ok(())
    }

    fn is_calm(&self) -> bool {
        let calm = |process: &Process| {
            process.node.as_ref().is_none_or(|node| {
                let is_synced = || node.is_fenced() || node.storages().all(|disk| disk.unsynced() == 0);
                node.in_flight() == 0 && is_synced() && node.hints().iter().all(|(target, _)| !self.is_up(*target))
            })
        };
        let idle = |process: &Process| process.server.is_idle();
        self.in_transit == 0 && self.nodes.values().all(|process| idle(process) && calm(process))
    }

    /// Runs until all hints that running nodes hold now are home. False if that takes more than ten virtual minutes: a
    /// target may be down. What is kept meanwhile isn't waited for.
    pub fn hints_settled(&mut self) -> bool {
        let limit = self.now + CALM;
        let running = self.nodes.iter().filter_map(|(&id, process)| Some((id, process.node.as_ref()?)));
        let marks: Vec<_> = running.map(|(id, node)| (id, node.hint_mark())).collect();
        loop {
            let settled = |(id, mark): &(NodeId, _)| self.node(*id).is_some_and(|node| node.hints_settled(mark));
            if marks.iter().all(settled) {
                return true;
            }
            if self.now >= limit || !self.advance() {
                return false;
            }
        }
    }

    /// Runs until no running node owes anything to another that is up, and none has lost anything that it has not back.
    ///
    /// # Panics
    /// If that takes more than ten virtual minutes.
    pub fn heal_all(&mut self) {
        if let Err(debts) = self.try_heal_all() {
            panic!("not healed after {CALM:?}: {debts:?}");
        }
    }

    /// As [`Sim::heal_all`], for clusters that may not heal.
    ///
    /// # Errors
    /// What [`Sim::debts`] shows after ten virtual minutes.
    pub fn try_heal_all(&mut self) -> Result<(), Vec<(NodeId, Debt)>> {
        let limit = self.now + CALM;
        loop {
            let settled = self.try_settle();
            let debts = self.debts();
            if settled.is_ok() && debts.is_empty() {
                return Ok(());
            }
            if self.now >= limit {
                return Err(debts);
            }
            self.run_for(Duration::from_millis(250));
        }
    }

    /// What each running node owes to others that run: empty means healed.
    #[must_use]
    pub fn debts(&self) -> Vec<(NodeId, Debt)> {
        let running = self.nodes.iter().filter_map(|(&id, node)| Some((id, node.node.as_ref()?)));
        let all = running.flat_map(|(id, node)| node.debt().into_iter().map(move |debt| (id, debt)));
        all.filter(|(_, debt)| match debt {
            Debt::Hints { target: other, .. }
            | Debt::Apart(_, other)
            | Debt::Unknown(_, other)
            | Debt::Dirty(_, other) => self.is_up(*other),
            Debt::Refilling(_) => true,
        })
        .collect()
    }

    /// Which node holds how many hints for which.
    #[must_use]
    pub fn debt(&self) -> Vec<(NodeId, NodeId, u64)> {
        let running = self.nodes.iter().filter_map(|(&id, node)| Some((id, node.node.as_ref()?)));
        running
            .flat_map(|(id, node)| node.hints().into_iter().map(move |(target, count)| (id, target, count)))
            .collect()
    }
}
