//! How long a process is busy with what it gets, and what waits meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Sim, What};
use crate::ids::NodeId;
use crate::node::Input;
use crate::request::Request;
use crate::time::Time;

/// How long a process is busy with what it gets and sends. It does one thing at a time; the rest waits, in the order in
/// which it came: so that queues form, and answers under load come as late as they do from a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServiceTime {
    /// For each message of a node and each request of a client.
    pub each: Duration,
    /// The mean of what is added to it, exponentially.
    pub tail: Duration,
    /// For each KiB of it, and for each KiB of what the process sends to other nodes. Answers to clients take none.
    pub kib: Duration,
}

/// A process as a server with one queue.
#[derive(Debug, Default)]
pub(super) struct Server {
    queue: VecDeque<What>,
    /// Whether it is busy with the first of the queue.
    pub(super) serving: bool,
    /// Until when it is busy with what it has begun, and with what it has sent.
    pub(super) free: Time,
    /// How long the sync takes that it is busy with.
    pub(super) syncing: Duration,
    /// Inputs since it last began one.
    pub(super) since_sync: u32,
    /// Answers to clients that wait for what is being read.
    pub(super) answering: usize,
}

impl ServiceTime {
    fn of(&self, bytes: usize) -> Duration {
        self.kib * u32::try_from(bytes).unwrap_or(u32::MAX) / 1_024
    }
}

impl Server {
    /// Whether nothing waits, and nothing is begun.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.answering == 0
    }

    /// Whether nothing waits.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Sim {
    /// Something has come for a process, which takes it up at once, or when it is its turn.
    pub(super) fn come(&mut self, what: What) {
        let node = what.node();
        let process = self.nodes.get_mut(&node).expect("a member");
        if self.service.is_none() || process.node.is_none() {
            return self.take_up(what);
        }
        process.server.queue.push_back(what);
        self.begin_next(node);
    }

    /// The process is through with the first of its queue: now it has its effect.
    pub(super) fn served(&mut self, node: NodeId, start: u64) {
        let process = self.nodes.get_mut(&node).expect("a member");
        if process.starts != start {
            return;
        }
        let Some(what) = process.server.queue.pop_front() else { return };
        process.server.serving = false;
        process.server.since_sync += 1;
        self.take_up(what);
        self.begin_next(node);
    }

    pub(super) fn begin_next(&mut self, node: NodeId) {
        let Some(service) = self.service else { return };
        let process = &self.nodes[&node];
        // Where the disk takes its time, the process waits for it.
        if process.server.serving || (self.disk.is_some() && process.syncing) {
            return;
        }
        let bytes = match process.server.queue.front() {
            None => return,
            Some(What::Ask { request, .. }) => Some(size_of_request(request)),
            Some(What::Arrive { bytes, .. }) => Some(*bytes),
            // A timer takes no time.
            Some(_) => None,
        };
        let took = bytes.map(|bytes| service.each + self.about(service.tail) + service.of(bytes)).unwrap_or_default();
        let process = self.nodes.get_mut(&node).expect("a member");
        let server = &mut process.server;
        server.serving = true;
        server.free = server.free.max(self.now) + took;
        let (at, start) = (server.free, process.starts);
        self.schedule(at, What::Served { node, start });
    }

    pub(super) fn take_up(&mut self, what: What) {
        match what {
            What::Arrive { to, from, message, .. } => {
                self.in_transit -= 1;
                self.step(to, Input::Message(from, *message));
            }
            What::Ask { node, start, ticket, request } if self.nodes[&node].starts == start => {
                self.step(node, Input::Request(ticket, *request));
            }
            What::Wake { node, start, due } => {
                let process = self.nodes.get_mut(&node).expect("a member");
                // One that was put off: had it an effect, each would arrange another beside the one that is due.
                if process.starts == start && process.wake == Some(due) {
                    process.wake = None;
                    self.step(node, Input::Wake);
                }
            }
            _ => {}
        }
    }

    /// How long what a process sends now takes to leave: it keeps the process busy behind all that does so already.
    pub(super) fn leaving(&mut self, node: NodeId, bytes: usize) -> Duration {
        let Some(service) = self.service else { return Duration::ZERO };
        let now = self.now;
        let server = &mut self.nodes.get_mut(&node).expect("a member").server;
        server.free = server.free.max(now) + service.of(bytes);
        server.free.since(now)
    }

    /// The process has ended: what waited in it is gone.
    pub(super) fn end_service(&mut self, node: NodeId) {
        let server = std::mem::take(&mut self.nodes.get_mut(&node).expect("a member").server);
        let arrived = server.queue.iter().filter(|what| matches!(what, What::Arrive { .. })).count();
        self.in_transit -= arrived;
        self.ledger.traffic.unheard += arrived as u64;
    }
}

fn size_of_request(request: &Request) -> usize {
    match request {
        Request::Put { key, value, .. } => key.len() + value.as_ref().map_or(0, |value| value.len()),
        Request::Get { key, .. } => key.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;
    use crate::config::Timing;
    use crate::request::{GetOptions, PutOptions, Reply};

    const BUSY: ServiceTime =
        ServiceTime { each: Duration::from_millis(2), tail: Duration::ZERO, kib: Duration::from_millis(1) };

    fn busy(count: u64, service: ServiceTime) -> Sim {
        let mut sim = Sim::builder(count, 1).service_time(service).build();
        // What nodes say when they have just started is out of the way.
        sim.run_for(Duration::from_secs(1));
        sim
    }

    fn get(sim: &Sim, key: &str) -> Request {
        Request::Get { keyspace: sim.keyspace.id(), key: key.into(), options: GetOptions::default() }
    }

    /// How long after the first of `count` gets, asked at once of a node alone, each answer comes.
    fn answered(service: ServiceTime, count: usize) -> Vec<Duration> {
        let mut sim = busy(1, service);
        let began = sim.now();
        for _ in 0..count {
            let request = get(&sim, "key");
            sim.start(NodeId(1), request);
        }
        sim.run_for(Duration::from_secs(1));
        sim.replies().into_iter().map(|(_, at, _)| at.since(began)).collect()
    }

    #[test]
    fn requests_wait_for_those_before_them() {
        let each = ServiceTime { kib: Duration::ZERO, ..BUSY };
        assert_eq!(answered(each, 4), [2, 4, 6, 8].map(Duration::from_millis));
        assert_eq!(answered(ServiceTime::default(), 4), [Duration::ZERO; 4], "what takes no time waits for nothing");
    }

    #[test]
    fn what_is_long_takes_longer_where_it_is_sent_and_where_it_comes() {
        let latency = |length: usize, kib: Duration| {
            let mut sim = busy(3, ServiceTime { kib, ..ServiceTime::default() });
            let (key, began) = ("key", sim.now());
            let owner = sim.owners(key)[0];
            let value = "x".repeat(length);
            sim.put_with(owner, key, Some(&value), &Context::empty(), PutOptions::default()).unwrap();
            sim.now().since(began)
        };
        let kib = Duration::from_millis(1);
        let (short, long) = (latency(1, kib), latency(100 << 10, kib));
        // In with the request, out to the first of the other owners, in there.
        assert!(long > 300 * kib && long < short + 450 * kib, "{short:?} and {long:?}");
        assert!(latency(100 << 10, Duration::ZERO) < short + 5 * kib, "it is the bytes that take the time");
    }

    #[test]
    fn the_queue_of_a_process_that_ends_is_gone_and_the_next_begins_without_one() {
        let mut sim = busy(3, ServiceTime { each: Duration::from_millis(50), ..ServiceTime::default() });
        let owner = sim.owners("key")[0];
        let tickets: Vec<_> = (0..20)
            .map(|_| {
                let request = get(&sim, "key");
                sim.start(owner, request)
            })
            .collect();
        sim.run_for(Duration::from_millis(120));
        sim.crash(owner);
        sim.restart(owner);
        let began = sim.now();
        let request = get(&sim, "key");
        let last = sim.start(owner, request);
        sim.run_for(Duration::from_secs(10));
        let replies = sim.replies();
        let answered = |ticket| replies.iter().find(|(its, ..)| *its == ticket);
        assert!(tickets[5..].iter().all(|&ticket| answered(ticket).is_none()), "nobody was there to answer");
        let Some((_, at, Reply::Get(Ok(_)))) = answered(last) else { panic!("{replies:?}") };
        assert!(at.since(began) < Duration::from_millis(500), "it did not wait for the queue of the process before");
        sim.settle();
    }

    #[test]
    fn a_pause_holds_the_queue_and_loses_nothing() {
        let mut sim = busy(3, BUSY);
        let owner = sim.owners("key")[0];
        let tickets: Vec<_> = (0..5)
            .map(|_| {
                let request = get(&sim, "key");
                sim.start(owner, request)
            })
            .collect();
        sim.pause(owner, Duration::from_secs(1));
        let before = sim.now();
        sim.run_for(Duration::from_secs(3));
        let replies = sim.replies();
        assert_eq!(replies.iter().map(|(ticket, ..)| *ticket).collect::<Vec<_>>(), tickets);
        assert!(
            replies
                .iter()
                .all(|(_, at, reply)| at.since(before) >= Duration::from_secs(1) && matches!(reply, Reply::Get(Ok(_))))
        );
    }

    #[test]
    fn what_repairs_is_counted_apart_from_what_clients_ask_for() {
        let timing = Timing { exchange: Duration::MAX, ..Timing::default() };
        let mut sim = Sim::builder(5, 1).timing(timing).build();
        let [a, b, ..] = sim.owners("key")[..] else { unreachable!() };
        sim.put(a, "key", &"x".repeat(10_000)).unwrap();
        let before = sim.traffic();
        assert!(before.bytes > 20_000 && before.repair_bytes == 0, "{before:?}");
        sim.crash(b);
        sim.put(a, "key", &"y".repeat(10_000)).unwrap();
        sim.settle();
        let away = sim.traffic();
        sim.restart(b);
        sim.settle();
        let after = sim.traffic();
        let moved = after.repair_bytes - away.repair_bytes;
        assert!((10_000..20_000).contains(&moved) && moved <= after.bytes - away.bytes, "the hint went home: {moved}");
    }

    #[test]
    fn a_run_under_load_is_the_same_each_time() {
        let trace = |service| {
            let mut sim = Sim::builder(3, 1).service_time(service).build();
            (0..50).for_each(|key| {
                sim.start_put(NodeId(1), &key.to_string(), Some("value"), &Context::empty(), PutOptions::default());
            });
            sim.settle();
            sim.trace()
        };
        assert_eq!(trace(BUSY), trace(BUSY));
        assert_ne!(trace(BUSY), trace(ServiceTime { kib: Duration::ZERO, ..BUSY }));
    }
}
