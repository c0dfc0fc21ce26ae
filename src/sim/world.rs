//! The nodes, the queue of what happens next, and the calls of a story.

mod builder;

pub use builder::SimBuilder;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use siphasher::sip128::{Hasher128, SipHasher24};

use super::disk::{DiskFaults, SimDisk};
use super::network::Network;
use crate::bytes::Bytes;
use crate::causality::{Context, Identity};
use crate::codec::Codec;
use crate::error::{GetError, OpenError, PutError};
use crate::ids::{NodeId, Start, Ticket};
use crate::key::Key;
use crate::message::Message;
use crate::node::{Counters, Event, Input, Keyspace, Node, Output, Setup};
use crate::request::{GetOptions, PutOptions, Reply, Request, Versions, Written};
use crate::ring::Layout;
use crate::time::{Now, Time, WallTime};

/// A cluster in one thread, on a virtual clock.
#[derive(Debug)]
pub struct Sim {
    /// How messages are treated; change it at any time.
    pub network: Network,
    now: Time,
    queue: BinaryHeap<Reverse<Happening>>,
    sequence: u64,
    in_transit: usize,
    nodes: BTreeMap<NodeId, SimNode>,
    layout: Arc<Layout>,
    identity: Identity,
    codec: Option<Codec>,
    rng: Xoshiro256PlusPlus,
    next_ticket: u64,
    replies: BTreeMap<Ticket, Reply>,
    events: Vec<(Time, NodeId, Event)>,
    trace: SipHasher24,
    keyspace: Keyspace,
}

#[derive(Debug)]
struct SimNode {
    setup: Setup,
    node: Option<Node<SimDisk>>,
    /// While the node is down.
    disks: Vec<SimDisk>,
    faults: Vec<DiskFaults>,
    starts: u64,
    /// How far its wall clock is off, in microseconds.
    skew: i64,
    syncing: bool,
    wake: Option<Time>,
}

#[derive(Debug)]
struct Happening {
    at: Time,
    sequence: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Arrive { to: NodeId, from: NodeId, message: Box<Message> },
    Commit { node: NodeId, start: u64 },
    Wake { node: NodeId, start: u64 },
}

impl PartialEq for Happening {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Happening {}
impl PartialOrd for Happening {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Happening {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The time that a simulated sync takes.
const SYNC: Duration = Duration::from_micros(300);
/// No story needs longer to calm down: what does is stuck.
const CALM: Duration = Duration::from_secs(600);

impl Sim {
    /// `count` nodes named n1, n2, …, with N = 3 (or `count`, if that is less), R = W = 2, sloppy.
    ///
    /// # Panics
    /// If `count` is zero.
    #[must_use]
    pub fn new(count: u64, seed: u64) -> Self {
        Self::builder(count, seed).build()
    }

    // ---- what a client does

    /// Puts blindly through `node` and waits for the answer.
    ///
    /// # Errors
    /// Those of the put; [`PutError::Stopped`] if the node goes down before it answers.
    pub fn put(&mut self, node: NodeId, key: &str, value: &str) -> Result<Written, PutError> {
        self.put_with(node, key, Some(value), &Context::empty(), PutOptions::default())
    }

    /// Puts what replaces `context` through `node`, or deletes if there is no value, and waits for the answer.
    ///
    /// # Errors
    /// As [`Sim::put`].
    pub fn put_with(
        &mut self,
        node: NodeId,
        key: &str,
        value: Option<&str>,
        context: &Context,
        options: PutOptions,
    ) -> Result<Written, PutError> {
        let ticket = self.start_put(node, key, value, context, options);
        match self.wait(node, ticket) {
            Some(Reply::Put(result)) => result,
            _ => Err(PutError::Stopped),
        }
    }

    /// Deletes what `context` has seen through `node`; with the empty context, what a read sees.
    ///
    /// # Errors
    /// As [`Sim::put`].
    pub fn delete(&mut self, node: NodeId, key: &str, context: &Context) -> Result<Written, PutError> {
        self.put_with(node, key, None, context, PutOptions::default())
    }

    /// Gets through `node` and waits for the answer.
    ///
    /// # Errors
    /// Those of the get; [`GetError::Stopped`] if the node goes down before it answers.
    pub fn get(&mut self, node: NodeId, key: &str) -> Result<Versions, GetError> {
        self.get_with(node, key, GetOptions::default())
    }

    /// As [`Sim::get`], with options.
    ///
    /// # Errors
    /// As [`Sim::get`].
    pub fn get_with(&mut self, node: NodeId, key: &str, options: GetOptions) -> Result<Versions, GetError> {
        let (keyspace, key) = (self.keyspace.id(), Bytes::from(key));
        let ticket = self.start(node, Request::Get { keyspace, key, options });
        match self.wait(node, ticket) {
            Some(Reply::Get(result)) => result,
            _ => Err(GetError::Stopped),
        }
    }

    /// The values that a get through `node` shows, in order.
    ///
    /// # Panics
    /// If the get fails.
    pub fn values(&mut self, node: NodeId, key: &str) -> Vec<String> {
        let found = self.get(node, key).unwrap_or_else(|error| panic!("get of {key}: {error}"));
        texts(&found.values)
    }

    /// Starts a put and doesn't wait; the ticket is for [`Sim::wait`].
    pub fn start_put(
        &mut self,
        node: NodeId,
        key: &str,
        value: Option<&str>,
        context: &Context,
        options: PutOptions,
    ) -> Ticket {
        let (keyspace, key) = (self.keyspace.id(), Bytes::from(key));
        let (value, context) = (value.map(Bytes::from), context.clone());
        self.start(node, Request::Put { keyspace, key, value, context, options })
    }

    /// Starts any request at `node`. If the node is down nobody ever answers.
    pub fn start(&mut self, node: NodeId, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.step(node, Input::Request(ticket, request));
        ticket
    }

    /// Runs until the request is answered; nothing if `node` is down or goes down first.
    pub fn wait(&mut self, node: NodeId, ticket: Ticket) -> Option<Reply> {
        let start = self.nodes[&node].starts;
        loop {
            if let Some(reply) = self.replies.remove(&ticket) {
                return Some(reply);
            }
            if !self.is_up(node) || self.nodes[&node].starts != start || !self.advance() {
                return None;
            }
        }
    }

    /// The answer to a request, if it has come.
    pub fn reply(&mut self, ticket: Ticket) -> Option<Reply> {
        self.replies.remove(&ticket)
    }

    // ---- what befalls the cluster

    /// The process dies and the power fails: what was not synced is gone.
    pub fn crash(&mut self, node: NodeId) {
        let sim_node = self.nodes.get_mut(&node).expect("a member");
        if let Some(running) = sim_node.node.take() {
            sim_node.disks = running.into_storages();
            sim_node.disks.iter_mut().for_each(SimDisk::crash);
        }
    }

    /// The process ends in good order: everything is synced.
    pub fn stop(&mut self, node: NodeId) {
        let sim_node = self.nodes.get_mut(&node).expect("a member");
        if let Some(mut running) = sim_node.node.take() {
            let _ = running.commit();
            sim_node.disks = running.into_storages();
        }
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
        let sim_node = self.nodes.get_mut(&node).expect("a member");
        if sim_node.node.is_some() {
            return Ok(());
        }
        sim_node.starts += 1;
        // Unique, as fresh randomness is, and the same in every run of the seed.
        let start = Start(node.0 << 32 | sim_node.starts);
        let disks = sim_node.disks.clone();
        sim_node.node = Some(Node::open(sim_node.setup.clone(), disks, start, self.rng.random(), now)?);
        sim_node.disks.clear();
        (sim_node.syncing, sim_node.wake) = (false, None);
        self.after(node);
        Ok(())
    }

    /// The disk of a node that is down is replaced by an empty one.
    pub fn lose_data(&mut self, node: NodeId) {
        let sim_node = self.nodes.get_mut(&node).expect("a member");
        for (disk, faults) in sim_node.disks.iter_mut().zip(&mut sim_node.faults) {
            *disk = SimDisk::new();
            *faults = disk.faults();
        }
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

    /// The network is well again.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// The switches of a node's disks, shard by shard.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> &[DiskFaults] {
        &self.nodes[&node].faults
    }

    /// The node's wall clock is off by so many microseconds from now on.
    pub fn skew(&mut self, node: NodeId, micros: i64) {
        self.nodes.get_mut(&node).expect("a member").skew = micros;
    }

    /// Virtual time passes.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
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
        let limit = self.now + CALM;
        while !self.is_calm() {
            assert!(self.now < limit && self.advance(), "not calm after {CALM:?}: {:?}", self.debt());
        }
    }

    fn is_calm(&self) -> bool {
        let calm = |sim_node: &SimNode| {
            sim_node.node.as_ref().is_none_or(|node| {
                node.in_flight() == 0 && !node.is_dirty() && node.hints().iter().all(|(target, _)| !self.is_up(*target))
            })
        };
        self.in_transit == 0 && self.nodes.values().all(calm)
    }

    /// Which node holds how many hints for which.
    #[must_use]
    pub fn debt(&self) -> Vec<(NodeId, NodeId, u64)> {
        let running = self.nodes.iter().filter_map(|(&id, node)| Some((id, node.node.as_ref()?)));
        running
            .flat_map(|(id, node)| node.hints().into_iter().map(move |(target, count)| (id, target, count)))
            .collect()
    }

    // ---- what can be seen

    /// All members.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        self.layout.members().iter().map(|member| member.node).collect()
    }

    /// The owners of a key, in order.
    #[must_use]
    pub fn owners(&self, key: &str) -> Vec<NodeId> {
        let key = Key::new(&self.identity.secret, self.keyspace.id(), key.as_bytes());
        self.layout.owners(self.layout.partition_of(key.position())).to_vec()
    }

    /// The members that don't own a key, in the order in which they stand in.
    #[must_use]
    pub fn bystanders(&self, key: &str) -> Vec<NodeId> {
        let key = Key::new(&self.identity.secret, self.keyspace.id(), key.as_bytes());
        let list = self.layout.preference_list(self.layout.partition_of(key.position()));
        list.skip(usize::from(self.layout.n())).collect()
    }

    /// Whether a node runs.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes[&node].node.is_some()
    }

    /// What a running owner's disk holds of a key, in order; nothing for others.
    #[must_use]
    pub fn stored(&self, node: NodeId, key: &str) -> Vec<String> {
        let held = self.nodes[&node].node.as_ref().map(|node| node.inspect(self.keyspace.id(), key.as_bytes()));
        match held {
            Some(Ok(Some(values))) => texts(&values),
            _ => Vec::new(),
        }
    }

    /// The running nodes whose disks hold the key, as owners or as hints.
    #[must_use]
    pub fn holders(&self, key: &str) -> Vec<NodeId> {
        let holds = |(id, node): (&NodeId, &SimNode)| {
            let hints = node.node.as_ref().is_some_and(|node| !node.hints().is_empty());
            (!self.stored(*id, key).is_empty() || (hints && !self.owners(key).contains(id))).then_some(*id)
        };
        self.nodes.iter().filter_map(holds).collect()
    }

    /// A running node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Node<SimDisk>> {
        self.nodes[&node].node.as_ref()
    }

    /// What all running nodes have done, in one sum.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for node in self.nodes.values().filter_map(|node| node.node.as_ref()) {
            sum.add(&node.counters());
        }
        sum
    }

    /// What nodes have reported, and when.
    #[must_use]
    pub fn events(&self) -> &[(Time, NodeId, Event)] {
        &self.events
    }

    /// The virtual time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// A fingerprint of everything that has happened.
    #[must_use]
    pub fn trace(&self) -> u128 {
        self.trace.finish128().as_u128()
    }

    /// The layout of the cluster.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Hands a message to a node as if it came from a peer: for what no honest peer would send.
    pub fn inject(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.step(to, Input::Message(from, message));
    }

    // ---- the engine

    /// Lets the next thing happen. False if nothing is left to.
    pub fn advance(&mut self) -> bool {
        let Some(Reverse(Happening { at, what, .. })) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.trace.write_u64(self.now.0);
        match what {
            What::Arrive { to, from, message } => {
                self.in_transit -= 1;
                self.step(to, Input::Message(from, *message));
            }
            What::Wake { node, start } => {
                let sim_node = self.nodes.get_mut(&node).expect("a member");
                if sim_node.starts == start {
                    sim_node.wake = None;
                    self.step(node, Input::Wake);
                }
            }
            What::Commit { node, start } => {
                let sim_node = self.nodes.get_mut(&node).expect("a member");
                if sim_node.starts == start
                    && let Some(running) = &mut sim_node.node
                {
                    sim_node.syncing = false;
                    // A failure fences the node, which says so in an event.
                    let _ = running.commit();
                    self.after(node);
                }
            }
        }
        true
    }

    fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now_at(node);
        let Some(running) = &mut self.nodes.get_mut(&node).expect("a member").node else { return };
        running.step(now, input);
        self.after(node);
    }

    fn now_at(&self, node: NodeId) -> Now {
        const EPOCH: u64 = 1_700_000_000_000_000;
        let wall = (EPOCH + self.now.0).saturating_add_signed(self.nodes[&node].skew);
        Now { time: self.now, wall: WallTime(wall) }
    }

    /// Takes out what a node has to say, and arranges its next sync and wake-up.
    fn after(&mut self, id: NodeId) {
        let mut outputs = Vec::new();
        let now = self.now;
        let sim_node = self.nodes.get_mut(&id).expect("a member");
        let Some(node) = &mut sim_node.node else { return };
        while let Some(output) = node.poll() {
            outputs.push(output);
        }
        let start = sim_node.starts;
        let mut next = Vec::new();
        if node.is_dirty() && !std::mem::replace(&mut sim_node.syncing, true) {
            next.push((now + SYNC, What::Commit { node: id, start }));
        } else if !node.is_dirty() {
            sim_node.syncing = false;
        }
        if let Some(due) = node.deadline().map(|due| due.max(now))
            && sim_node.wake.is_none_or(|wake| due < wake)
        {
            sim_node.wake = Some(due);
            next.push((due, What::Wake { node: id, start }));
        }
        for (at, what) in next {
            self.schedule(at, what);
        }
        for output in outputs {
            self.output(id, output);
        }
    }

    fn output(&mut self, from: NodeId, output: Output) {
        match output {
            Output::Send(to, message) => self.send(from, to, message),
            Output::Done(ticket, reply) => {
                self.trace.write(format!("{ticket} {reply:?}").as_bytes());
                self.replies.insert(ticket, reply);
            }
            Output::Event(event) => {
                self.trace.write(format!("{from} {event:?}").as_bytes());
                self.events.push((self.now, from, event));
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let message = match &self.codec {
            None => message,
            Some(codec) => {
                let frames = codec.encode(from, std::slice::from_ref(&message));
                self.trace.write(&frames[0]);
                let decoded = codec.decode(&frames[0]).map(|(_, mut messages)| messages.remove(0));
                decoded.unwrap_or_else(|error| panic!("{error} in {message:?}"))
            }
        };
        for delay in self.network.fate(&mut self.rng, from, to) {
            self.in_transit += 1;
            let message = Box::new(message.clone());
            self.schedule(self.now + delay, What::Arrive { to, from, message });
        }
    }

    fn schedule(&mut self, at: Time, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Happening { at, sequence: self.sequence, what }));
    }
}

fn texts(values: &[Bytes]) -> Vec<String> {
    let mut texts: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    texts.sort();
    texts
}
