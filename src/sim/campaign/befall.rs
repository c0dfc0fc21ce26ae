//! What befalls the cluster of a story, and what that takes from whom.

use std::time::Duration;

use super::action::Action;
use super::history::Outcome;
use super::player::{Op, Player};
use super::property::{Property, Violation, broken};
use crate::ids::NodeId;
use crate::sim::{Clock, DiskFault};
use crate::storage::Space;
use crate::time::{Time, WallTime};

impl Player {
    fn side(&self, nodes: u64) -> (Vec<NodeId>, Vec<NodeId>) {
        self.sim.members().into_iter().partition(|node| nodes >> (node.0 - 1) & 1 == 1)
    }

    fn set_fault(&mut self, node: u64, shard: u64, fault: DiskFault) -> bool {
        let node = NodeId(node);
        let disk = self.sim.disk(node).get(shard as usize);
        let took = disk.filter(|_| self.sim.is_up(node)).map(|disk| disk.set(fault, true));
        took.is_some()
    }

    /// Whether it took effect.
    pub(super) fn befall(&mut self, action: Action) -> Result<bool, Violation> {
        let time = Duration::from_micros;
        let mut of = action;
        if of.anybody().is_some_and(|node| !self.sim.members().contains(&NodeId(*node))) {
            // A node that comes later in the story may have been left out of it.
            return Ok(false);
        }
        match action {
            Action::Crash { node, kept } => return self.crash(NodeId(node), kept as usize),
            Action::Stop { node } => return self.stop(NodeId(node)),
            Action::Start { node } => return self.start(NodeId(node)),
            Action::Bounce { node, kept } => {
                let was_up = self.crash(NodeId(node), kept as usize)?;
                self.start(NodeId(node))?;
                return Ok(was_up);
            }
            Action::Pause { node, time: span } => self.sim.pause(NodeId(node), time(span)),
            Action::Backup { node } => self.sim.backup(NodeId(node)),
            Action::Restore { node } => {
                let node = NodeId(node);
                if !self.sim.has_backup(node) {
                    return Ok(false);
                }
                self.crash(node, 0)?;
                self.sim.restore(node);
                self.set_back = true;
                self.start_forgetful(node)?;
            }
            Action::LoseData { node } => {
                self.crash(NodeId(node), 0)?;
                self.sim.lose_data(NodeId(node));
                self.start_forgetful(NodeId(node))?;
            }
            Action::Clone { node } => {
                // A twin that is there already makes room.
                self.end_clone(NodeId(node));
                self.sim.clone_node(NodeId(node));
                // What the second process has acknowledged goes with it.
                (self.amnesia, self.set_back) = (true, true);
            }
            Action::EndClone { node } => return Ok(self.end_clone(NodeId(node))),
            Action::Loss { percent } => self.sim.network.loss = percent as u8,
            Action::Duplication { percent } => self.sim.network.duplication = percent as u8,
            Action::Corruption { percent } => self.sim.network.corruption = percent as u8,
            Action::Reorder { time: span } => self.sim.network.jitter = time(span),
            Action::Tail { time: span } => self.sim.network.tail = time(span),
            Action::Slow { node, time: span } => self.sim.network.slow(NodeId(node), time(span)),
            Action::Clog { node, time: span } => {
                let now = self.sim.now();
                self.sim.network.clog(NodeId(node), now, now + time(span));
            }
            Action::Swizzle { nodes, time: span } => self.sim.swizzle(&self.side(nodes).0, time(span)),
            Action::Cut { node, other } => self.sim.network.cut_one_way(NodeId(node), NodeId(other)),
            Action::Isolate { node } => self.sim.isolate(NodeId(node)),
            Action::Split { nodes } => {
                let (left, right) = self.side(nodes);
                self.sim.split(&left, &right);
            }
            Action::OneWay { nodes } => {
                let (left, right) = self.side(nodes);
                left.iter().for_each(|&a| right.iter().for_each(|&b| self.sim.network.cut_one_way(a, b)));
            }
            Action::Bridge { nodes, bridge } => {
                let (left, right) = self.side(nodes);
                self.sim.bridge(&left, &right, NodeId(bridge));
            }
            Action::Heal {} => self.sim.heal(),
            Action::FailReads { node, shard } => return Ok(self.set_fault(node, shard, DiskFault::Reads)),
            Action::FillDisk { node, shard } => return Ok(self.set_fault(node, shard, DiskFault::Writes)),
            Action::FailSync { node, shard } => return Ok(self.set_fault(node, shard, DiskFault::Sync)),
            Action::Mend { node } => self.sim.mend(NodeId(node)),
            Action::Rot { node, shard, nth } => {
                self.strike(NodeId(node));
                self.damage = true;
                return Ok(self.sim.rot(NodeId(node), shard as usize, Space::Objects, nth));
            }
            Action::Misdirect { node, shard, nth } => {
                self.strike(NodeId(node));
                self.damage = true;
                return Ok(self.sim.misdirect(NodeId(node), shard as usize, Space::Objects, nth));
            }
            Action::Ahead { node, seconds } => self.sim.skew(NodeId(node), offset(seconds)),
            Action::Behind { node, seconds } => self.sim.skew(NodeId(node), -offset(seconds)),
            Action::Freeze { node } => {
                let wall = self.sim.wall(NodeId(node));
                self.sim.set_clock(NodeId(node), Clock::Frozen(wall));
            }
            Action::Latest { node } => self.sim.set_clock(NodeId(node), Clock::Frozen(WallTime(u64::MAX))),
            Action::RightTime { node } => self.sim.skew(NodeId(node), 0),
            Action::Join { .. }
            | Action::Leave { .. }
            | Action::Replace { .. }
            | Action::Abort { .. }
            | Action::Rivals { .. }
            | Action::Renew { .. } => return Ok(self.rearrange(action)),
            Action::Spread {} => self.sim.spread(),
            Action::Get { .. }
            | Action::Put { .. }
            | Action::Delete { .. }
            | Action::Update { .. }
            | Action::List { .. }
            | Action::Repeat { .. } => unreachable!("a request"),
        }
        Ok(true)
    }

    pub(super) fn crash(&mut self, node: NodeId, kept: usize) -> Result<bool, Violation> {
        self.going_down(node)?;
        let unsynced = self.sim.unsynced(node);
        let was_up = self.sim.is_up(node);
        self.sim.crash_keeping(node, kept);
        self.coverage.count("unsynced batches lost", unsynced.saturating_sub(kept) as u64);
        self.coverage.count("unsynced batches kept", unsynced.min(kept) as u64);
        if unsynced > kept {
            self.forgot.push(self.sim.now());
        }
        self.gone(node);
        Ok(was_up)
    }

    pub(super) fn stop(&mut self, node: NodeId) -> Result<bool, Violation> {
        self.going_down(node)?;
        let was_up = self.sim.is_up(node);
        self.sim.stop(node);
        self.gone(node);
        Ok(was_up)
    }

    /// What it had answered counts, what it had counted is kept.
    fn going_down(&mut self, node: NodeId) -> Result<(), Violation> {
        self.collect()?;
        self.forget_refusals();
        if let Some(node) = self.sim.node(node) {
            self.coverage.counters(&node.counters());
        }
        Ok(())
    }

    fn gone(&mut self, node: NodeId) {
        self.sim.mend(node);
        for client in &mut self.clients {
            if client.waiting.as_ref().is_some_and(|(at, ..)| *at == node)
                && let Some((_, _, Op::Put(number))) = client.waiting.take()
            {
                client.repeat = Some(number);
            }
        }
    }

    pub(super) fn start(&mut self, node: NodeId) -> Result<bool, Violation> {
        if self.sim.is_up(node) {
            return Ok(false);
        }
        match self.sim.try_restart(node) {
            Ok(()) => Ok(true),
            Err(error) => broken(Property::NoGarbage, format!("{node} doesn't open: {error}")),
        }
    }

    /// The twin of a node is gone, and what was its own.
    pub(super) fn end_clone(&mut self, node: NodeId) -> bool {
        let was_up = self.sim.end_clone(node);
        if was_up {
            self.struck.push((self.sim.now(), node));
        }
        was_up
    }

    /// A write that only its coordinator had promised to keep is no longer promised by anybody when that has lost its
    /// disk; one that nobody had promised to keep, when anybody has forgotten something.
    pub(super) fn forget_what_coordinators_lost(&mut self) {
        for write in self.history.writes.iter_mut().filter(|write| write.is_relaxed) {
            // Its acknowledgement may have come by another node, after the coordinator was struck.
            let lost =
                |&(at, node): &(Time, NodeId)| write.began <= at && write.coordinator.is_none_or(|own| own == node);
            if write.outcome == Outcome::Acked && self.struck.iter().any(lost) {
                write.outcome = Outcome::Unknown;
                self.coverage.count("put whose coordinator alone had it durably and lost it", 1);
            }
            let forgotten = || self.struck.iter().map(|(at, _)| at).chain(&self.forgot).any(|at| write.began <= *at);
            if write.outcome == Outcome::Acked && write.is_buffered && forgotten() {
                write.outcome = Outcome::Unknown;
                self.coverage.count("put that was perhaps in the memory of a process that crashed", 1);
            }
        }
    }

    /// A node loses what it had made durable, or a part of it.
    fn strike(&mut self, node: NodeId) {
        self.amnesia = true;
        self.struck.push((self.sim.now(), node));
        self.placement.forget(node);
    }

    fn start_forgetful(&mut self, node: NodeId) -> Result<bool, Violation> {
        self.strike(node);
        self.coverage.count("node comes back without what it had stored", 1);
        self.start(node)
    }

    /// A node that starts anew has forgotten what it turned away at the sibling cap a moment ago: a duplicate of that
    /// which is still on its way may be written after all.
    fn forget_refusals(&mut self) {
        for number in std::mem::take(&mut self.turned_away) {
            self.history.writes[number].outcome = Outcome::Unknown;
        }
    }
}

/// In microseconds.
fn offset(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
