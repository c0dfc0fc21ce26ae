//! How long a process waits for its disk.

use std::time::Duration;

use rand::RngExt;

use super::{Sim, What};
use crate::ids::{NodeId, Ticket};
use crate::node::Node;
use crate::request::Reply;
use crate::sim::disk::SimDisk;
use crate::sim::network::exponential;
use crate::time::Time;

/// How long a process waits for its disk. It does nothing else meanwhile, as a thread would that reads and syncs.
///
/// It syncs once for all that it has been told, as [`Server`](crate::runtime::Server) does: when nothing waits for it any
/// more, or after 256 inputs. Under load a sync serves many writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskTime {
    /// What a sync takes at least.
    pub sync: Duration,
    /// The mean of what is added to it, exponentially.
    pub sync_tail: Duration,
    /// One of so many syncs stalls, on average and at random, as behind a checkpoint or a compaction. Zero: none.
    pub stalls: u32,
    /// How much longer a sync that stalls takes on average: half of it always, the rest exponentially.
    pub stall: Duration,
    /// What a read of a record takes at least. A scan counts as one read for each 64 KiB that it shows. What is not a
    /// record, or isn't there, is known in memory.
    pub read: Duration,
    /// The mean of what is added to it, exponentially.
    pub read_tail: Duration,
    /// Of a hundred records that are read by their key, how many are found in memory and take no time.
    pub cached: u8,
}

/// The most inputs between two syncs, as with [`Server`](crate::runtime::Server).
const DRAIN: u32 = 256;

impl Sim {
    /// Does something to a running process, and makes it wait for what it has read meanwhile.
    pub(super) fn reading<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Node<SimDisk>) -> T) -> Option<T> {
        let node = self.nodes.get_mut(&id).expect("a member").node.as_mut()?;
        let Some(times) = self.disk else { return Some(act(node)) };
        // Whoever looked at the disk from outside took no time of the process.
        node.storages().for_each(|disk| _ = disk.take_reads());
        let result = act(node);
        let (mut single, mut long) = (0, 0);
        for reads in node.storages().map(SimDisk::take_reads) {
            (single, long) = (single + reads.single, long + reads.scanned.div_ceil(64 << 10));
        }
        let mut took = Duration::ZERO;
        for number in 0..single + long {
            if number >= single || self.rng.random_range(0..100_u8) >= times.cached {
                took += times.read + self.about(times.read_tail);
            }
        }
        let now = self.now;
        let server = &mut self.nodes.get_mut(&id).expect("a member").server;
        server.free = server.free.max(now) + took;
        Some(result)
    }

    /// Begins a sync if it is time for one.
    pub(super) fn sync_when_drained(&mut self, id: NodeId) {
        let Some(times) = self.disk else { return };
        let process = self.nodes.get_mut(&id).expect("a member");
        let is_due = process.node.as_ref().is_some_and(Node::wants_commit);
        let server = &process.server;
        let is_drained = server.is_drained() || server.since_sync >= DRAIN;
        if !is_due || !is_drained || process.syncing || server.serving {
            return;
        }
        let mut took = times.sync + self.about(times.sync_tail);
        if times.stalls > 0 && self.rng.random_range(0..times.stalls) == 0 {
            took += times.stall / 2 + self.about(times.stall / 2);
        }
        let now = self.now;
        let process = self.nodes.get_mut(&id).expect("a member");
        process.server.free = process.server.free.max(now) + took;
        (process.syncing, process.server.syncing, process.server.since_sync) = (true, took, 0);
        let (at, start) = (process.server.free, process.starts);
        self.schedule(at, What::Commit { node: id, start });
    }

    /// A random time with this mean.
    pub(super) fn about(&mut self, mean: Duration) -> Duration {
        if mean.is_zero() { mean } else { exponential(&mut self.rng, mean) }
    }

    /// When an answer to a client leaves: behind what the process has read for it. Nothing if that is now.
    pub(super) fn answer_leaves(&self, node: NodeId) -> Option<Time> {
        let free = self.nodes[&node].server.free;
        (self.disk.is_some() && free > self.now).then_some(free)
    }

    pub(super) fn answer_later(&mut self, at: Time, node: NodeId, ticket: Ticket, reply: Reply) {
        let process = self.nodes.get_mut(&node).expect("a member");
        process.server.answering += 1;
        let start = process.starts;
        self.schedule(at, What::Answer { node, start, ticket, reply: Box::new(reply) });
    }

    pub(super) fn answered(&mut self, node: NodeId, start: u64, ticket: Ticket, reply: Reply) {
        let process = self.nodes.get_mut(&node).expect("a member");
        if process.starts == start {
            process.server.answering -= 1;
            self.replies.insert(ticket, (self.now, reply));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;
    use crate::config::Timing;
    use crate::latencies::Phase;
    use crate::request::{GetOptions, PutOptions, Request};
    use crate::sim::{ServiceTime, Sim};

    const MS: Duration = Duration::from_millis(1);
    const READS: DiskTime = DiskTime {
        read: Duration::from_millis(8),
        sync: Duration::ZERO,
        sync_tail: Duration::ZERO,
        stalls: 0,
        stall: Duration::ZERO,
        read_tail: Duration::ZERO,
        cached: 0,
    };

    fn waiting(count: u64, disk: DiskTime) -> Sim {
        let timing = Timing { exchange: Duration::MAX, scrub: Duration::MAX, ..Timing::default() };
        let mut sim = Sim::builder(count, 1).disk_time(disk).timing(timing).build();
        sim.run_for(Duration::from_secs(1));
        sim
    }

    fn ask(sim: &mut Sim, key: &str) -> Ticket {
        let request = Request::Get { keyspace: sim.keyspace.id(), key: key.into(), options: GetOptions::default() };
        sim.start(NodeId(1), request)
    }

    fn put(sim: &mut Sim, key: &str) -> Ticket {
        sim.start_put(NodeId(1), key, Some("value"), &Context::empty(), PutOptions::default())
    }

    /// How long after `began` each answer comes.
    fn answers(sim: &mut Sim, began: Time) -> Vec<Duration> {
        sim.run_for(Duration::from_secs(5));
        sim.replies().into_iter().map(|(_, at, _)| at.since(began)).collect()
    }

    #[test]
    fn one_sync_serves_all_that_has_come_before_it() {
        let mut sim = waiting(1, DiskTime { sync: 10 * MS, ..DiskTime::default() });
        let began = sim.now();
        put(&mut sim, "first");
        sim.run_for(MS);
        // The disk is busy with the first; these two go together.
        put(&mut sim, "second");
        put(&mut sim, "third");
        sim.run_for(MS);
        ask(&mut sim, "fourth");
        // The answer that shows nothing unsynced waits for the process, not for a sync of its own; but it shows the state,
        // which the second and the third have changed.
        assert_eq!(answers(&mut sim, began), [10 * MS, 20 * MS, 20 * MS, 20 * MS]);
        let syncs = sim.node(NodeId(1)).unwrap().latencies();
        assert_eq!(syncs.of(Phase::Sync).max(), 10 * MS, "the node is told how long it took");
    }

    #[test]
    fn a_process_that_never_rests_syncs_all_the_same() {
        let service = ServiceTime { each: MS, ..ServiceTime::default() };
        let disk = DiskTime { sync: 10 * MS, ..DiskTime::default() };
        let mut sim = Sim::builder(1, 1).service_time(service).disk_time(disk).build();
        sim.run_for(Duration::from_secs(1));
        let began = sim.now();
        (0..1_000).for_each(|key| _ = put(&mut sim, &key.to_string()));
        let answers = answers(&mut sim, began);
        // After 256 inputs of 1 ms comes the first sync, of 10 ms. The timer's are inputs, too, which take no time.
        assert!((240 * MS..=266 * MS).contains(&answers[0]), "{:?}", answers[0]);
        assert!(answers[999] <= 1_000 * MS + 50 * MS, "{:?}", answers[999]);
    }

    #[test]
    fn reads_wait_for_each_other_and_those_in_memory_do_not() {
        let answered = |disk, key| {
            let mut sim = waiting(1, disk);
            put(&mut sim, "key");
            sim.settle();
            sim.replies();
            let began = sim.now();
            (0..3).for_each(|_| _ = ask(&mut sim, key));
            answers(&mut sim, began)
        };
        assert_eq!(answered(READS, "key"), [8 * MS, 16 * MS, 24 * MS]);
        assert_eq!(answered(DiskTime { cached: 100, ..READS }, "key"), [Duration::ZERO; 3]);
        assert_eq!(answered(READS, "no key"), [Duration::ZERO; 3], "what is not there is not looked for on the disk");
    }

    #[test]
    fn who_looks_from_outside_takes_no_time_of_the_process() {
        let mut sim = waiting(1, READS);
        put(&mut sim, "key");
        sim.settle();
        sim.replies();
        (0..100).for_each(|_| assert_eq!(sim.stored(NodeId(1), "key"), ["value"]));
        let began = sim.now();
        ask(&mut sim, "key");
        assert_eq!(answers(&mut sim, began), [8 * MS]);
    }

    #[test]
    fn an_answer_that_has_not_left_goes_with_its_process() {
        let mut sim = waiting(1, READS);
        put(&mut sim, "key");
        sim.settle();
        sim.replies();
        let first = ask(&mut sim, "key");
        sim.run_for(MS);
        sim.crash(NodeId(1));
        sim.restart(NodeId(1));
        sim.run_for(MS);
        let second = ask(&mut sim, "key");
        sim.settle();
        let answered: Vec<_> = sim.replies().into_iter().map(|(ticket, ..)| ticket).collect();
        assert!(!answered.contains(&first) && answered.contains(&second));
    }

    #[test]
    fn some_syncs_stall_and_tails_are_as_long_as_they_say() {
        let disk = DiskTime { sync: MS, sync_tail: 2 * MS, stalls: 20, stall: 400 * MS, ..DiskTime::default() };
        let mut sim = waiting(1, disk);
        let mut took = Vec::new();
        for key in 0..2_000 {
            let began = sim.now();
            sim.put(NodeId(1), &key.to_string(), "value").unwrap();
            took.push(sim.now().since(began));
        }
        let stalled = took.iter().filter(|took| **took >= 200 * MS).count();
        assert!((60..140).contains(&stalled), "{stalled} of 2,000 stall, one of 20");
        let others: Vec<_> = took.iter().filter(|took| **took < 200 * MS).collect();
        let mean = others.iter().copied().sum::<Duration>() / others.len() as u32;
        assert!((MS * 27 / 10..MS * 33 / 10).contains(&mean) && others.iter().all(|took| **took >= MS), "{mean:?}");
    }

    #[test]
    fn a_run_with_a_slow_disk_is_the_same_each_time_and_heals() {
        let run = || {
            let disk = DiskTime { sync: 3 * MS, sync_tail: 2 * MS, stalls: 50, stall: 50 * MS, cached: 50, ..READS };
            let service = ServiceTime { each: MS / 4, tail: MS / 4, kib: MS / 20 };
            let mut sim = Sim::builder(5, 1).service_time(service).disk_time(disk).build();
            for key in 0..300 {
                if key == 100 {
                    sim.crash(NodeId(2));
                } else if key == 200 {
                    sim.restart(NodeId(2));
                }
                put(&mut sim, &key.to_string());
                sim.run_for(10 * MS);
            }
            sim.heal_all();
            let is_whole = |key: &String| sim.owners(key).iter().all(|owner| sim.stored(*owner, key) == ["value"]);
            assert!((0..300).map(|key: u32| key.to_string()).all(|key| is_whole(&key)));
            sim.trace()
        };
        assert_eq!(run(), run());
    }
}
