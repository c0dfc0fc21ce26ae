//! The processes, and the queue of what happens next.

mod builder;
mod changes;
mod disk_time;
mod durable;
mod faults;
mod inspect;
mod ledger;
mod membership;
mod requests;
mod service;

pub use builder::SimBuilder;
pub use disk_time::DiskTime;
pub use faults::Clock;
pub use ledger::Traffic;
pub use service::ServiceTime;

use faults::{TWIN, without_twin};
use ledger::Ledger;
use service::Server;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use siphasher::sip128::SipHasher24;

use super::disk::{DiskFaults, SimDisk};
use super::network::{Delivery, Network};
use super::recording::Recording;
use crate::bytes::Bytes;
use crate::causality::Identity;
use crate::codec::Codec;
use crate::ids::{NodeId, Ticket};
use crate::message::Message;
use crate::node::{Event, Input, Keyspace, Node, Output, Setup};
use crate::request::{Reply, Request};
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
    steps: u64,
    in_transit: usize,
    /// By name; a node's twin under a name of its own.
    nodes: BTreeMap<NodeId, Process>,
    /// The latest, and all that were made before it.
    layout: Arc<Layout>,
    layouts: Vec<Arc<Layout>>,
    identity: Identity,
    codec: Codec,
    /// Whether every message goes through its bytes, or only those that are corrupted.
    encode: bool,
    service: Option<ServiceTime>,
    /// With it, there is a service time.
    disk: Option<DiskTime>,
    rng: Xoshiro256PlusPlus,
    next_ticket: u64,
    /// What was asked and not answered.
    asked: BTreeSet<Ticket>,
    replies: BTreeMap<Ticket, (Time, Reply)>,
    events: Vec<(Time, NodeId, Event)>,
    trace: SipHasher24,
    keyspace: Keyspace,
    ledger: Ledger,
    recording: Option<Recording>,
    /// Whose next start begins a recording.
    to_record: Option<NodeId>,
}

#[derive(Debug)]
struct Process {
    setup: Setup,
    node: Option<Node<SimDisk>>,
    /// While the node is down.
    disks: Vec<SimDisk>,
    faults: Vec<DiskFaults>,
    backup: Vec<SimDisk>,
    starts: u64,
    clock: Clock,
    paused: Option<Time>,
    /// What has arrived during a pause.
    held: Vec<What>,
    server: Server,
    syncing: bool,
    wake: Option<Time>,
    /// Messages and requests, in all its lives.
    handled: u64,
}

#[derive(Debug)]
struct Happening {
    at: Time,
    sequence: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Arrive {
        to: NodeId,
        from: NodeId,
        message: Box<Message>,
        bytes: usize,
    },
    Ask {
        node: NodeId,
        start: u64,
        ticket: Ticket,
        request: Box<Request>,
    },
    Served {
        node: NodeId,
        start: u64,
    },
    Commit {
        node: NodeId,
        start: u64,
    },
    Wake {
        node: NodeId,
        start: u64,
        due: Time,
    },
    Resume {
        node: NodeId,
    },
    /// It leaves when what was read for it is read.
    Answer {
        node: NodeId,
        start: u64,
        ticket: Ticket,
        reply: Box<Reply>,
    },
}

impl Process {
    fn new(setup: Setup, disks: Vec<SimDisk>) -> Self {
        Self {
            faults: disks.iter().map(SimDisk::faults).collect(),
            setup,
            node: None,
            disks,
            backup: Vec::new(),
            starts: 0,
            clock: Clock::Off(0),
            paused: None,
            held: Vec::new(),
            server: Server::default(),
            syncing: false,
            wake: None,
            handled: 0,
        }
    }
}

impl What {
    const fn node(&self) -> NodeId {
        match self {
            Self::Arrive { to: node, .. }
            | Self::Ask { node, .. }
            | Self::Served { node, .. }
            | Self::Commit { node, .. }
            | Self::Wake { node, .. }
            | Self::Answer { node, .. }
            | Self::Resume { node } => *node,
        }
    }
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

/// The time that a simulated sync takes, where no other is told ([`SimBuilder::disk_time`]): the process goes on meanwhile.
const SYNC: Duration = Duration::from_micros(300);
impl Sim {
    /// Lets the next thing happen. False if nothing is left to.
    pub fn advance(&mut self) -> bool {
        let Some(Reverse(Happening { at, what, .. })) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.trace.write_u64(self.now.0);
        self.steps += 1;
        if let Some(process) = self.nodes.get_mut(&what.node())
            && process.paused.is_some()
            && !matches!(what, What::Resume { .. })
        {
            process.held.push(what);
            return true;
        }
        match what {
            what @ (What::Arrive { .. } | What::Ask { .. }) => self.come(what),
            What::Served { node, start } => self.served(node, start),
            what @ What::Wake { .. } if self.disk.is_some() => self.come(what),
            what @ What::Wake { .. } => self.take_up(what),
            What::Answer { node, start, ticket, reply } => self.answered(node, start, ticket, *reply),
            What::Resume { node } => {
                if self.nodes[&node].paused.is_some_and(|until| until <= self.now) {
                    self.resume(node);
                }
            }
            What::Commit { node, start } => {
                let process = self.nodes.get_mut(&node).expect("a member");
                if process.starts == start
                    && let Some(running) = &mut process.node
                {
                    process.syncing = false;
                    self.recording.iter_mut().for_each(|recording| recording.commit(node));
                    // A failure fences the node, which says so in an event.
                    let _ = running.commit();
                    if self.disk.is_some() {
                        running.synced(process.server.syncing);
                    }
                    self.after(node);
                    self.begin_next(node);
                }
            }
        }
        true
    }

    fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now_at(node);
        let process = self.nodes.get_mut(&node).expect("a member");
        if process.node.is_none() {
            self.ledger.traffic.unheard += u64::from(matches!(input, Input::Message(..)));
            return;
        }
        process.handled += u64::from(!matches!(input, Input::Wake));
        self.recording.iter_mut().for_each(|recording| recording.step(node, now, &input));
        self.reading(node, |running| running.step(now, input));
        self.after(node);
    }

    fn now_at(&self, node: NodeId) -> Now {
        const EPOCH: u64 = 1_700_000_000_000_000;
        let wall = match self.nodes[&node].clock {
            Clock::Off(by) => WallTime((EPOCH + self.now.0).saturating_add_signed(by)),
            Clock::Frozen(at) => at,
        };
        Now { time: self.now, wall }
    }

    /// Takes out what a node has to say, and arranges its next sync and wake-up.
    fn after(&mut self, id: NodeId) {
        let mut outputs = Vec::new();
        let now = self.now;
        let process = self.nodes.get_mut(&id).expect("a member");
        let Some(node) = &mut process.node else { return };
        while let Some(output) = node.poll() {
            outputs.push(output);
        }
        self.recording.iter_mut().for_each(|recording| recording.said(id, &outputs));
        let start = process.starts;
        let mut next = Vec::new();
        if self.disk.is_some() {
            // A process that waits for its disk syncs when it has said what needn't wait.
        } else if node.wants_commit() && !std::mem::replace(&mut process.syncing, true) {
            next.push((now + SYNC, What::Commit { node: id, start }));
        } else if !node.wants_commit() {
            process.syncing = false;
        }
        if let Some(due) = node.deadline().map(|due| due.max(now))
            && process.wake.is_none_or(|wake| due < wake)
        {
            process.wake = Some(due);
            next.push((due, What::Wake { node: id, start, due }));
        }
        for (at, what) in next {
            self.schedule(at, what);
        }
        for output in outputs {
            self.output(id, output);
        }
        self.sync_when_drained(id);
    }

    fn output(&mut self, from: NodeId, output: Output) {
        match output {
            Output::Send(to, message) => self.send(from, to, message),
            Output::Done(ticket, reply) => {
                self.trace.write(format!("{ticket} {reply:?}").as_bytes());
                assert!(self.asked.remove(&ticket), "{from} answers {ticket} twice: {reply:?}");
                match self.answer_leaves(from) {
                    Some(at) => self.answer_later(at, from, ticket, reply),
                    None => _ = self.replies.insert(ticket, (self.now, reply)),
                }
            }
            Output::Event(event) => {
                self.trace.write(format!("{from} {event:?}").as_bytes());
                self.events.push((self.now, from, event));
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let (process, from) = (from, without_twin(from));
        let (message, bytes) = self.through_bytes(from, message);
        self.ledger.sent(&message, bytes, &self.layout);
        if !self.nodes.contains_key(&to) {
            // One that somebody made up.
            self.ledger.traffic.unheard += 1;
            return;
        }
        let leaving = self.leaving(process, bytes);
        let deliveries = self.network.fate(&mut self.rng, self.now, from, to);
        self.ledger.traffic.lost += u64::from(deliveries[0].is_none());
        self.ledger.traffic.repeated += u64::from(deliveries[1].is_some());
        let mut message = Some(Box::new(message));
        for (delivery, again) in [(deliveries[0], deliveries[1].is_some()), (deliveries[1], false)] {
            let Some(Delivery { delay, corrupted, clogged }) = delivery else { continue };
            self.ledger.traffic.clogged += u64::from(clogged);
            let copy = if again { message.clone() } else { message.take() };
            let Some(message) = copy.and_then(|copy| if corrupted { self.corrupt(from, copy) } else { Some(copy) })
            else {
                continue;
            };
            let to = self.which_process(to);
            self.in_transit += 1;
            self.schedule(self.now + leaving + delay, What::Arrive { to, from, message, bytes });
        }
    }

    /// The message as it arrives, and how many bytes it takes; zero where neither of them matters.
    fn through_bytes(&mut self, from: NodeId, message: Message) -> (Message, usize) {
        if !self.encode && self.service.is_none() {
            return (message, 0);
        }
        let frames = self.codec.encode(from, std::slice::from_ref(&message));
        let bytes = frames[0].len();
        if !self.encode {
            return (message, bytes);
        }
        self.trace.write(&frames[0]);
        let decoded = self.codec.decode(&frames[0]).map(|(_, mut messages)| messages.remove(0));
        (decoded.unwrap_or_else(|error| panic!("{error} in {message:?}")), bytes)
    }

    /// What a receiver makes of a frame in which up to eight bits have flipped: nothing, it must be.
    fn corrupt(&mut self, from: NodeId, message: Box<Message>) -> Option<Box<Message>> {
        let mut frame = self.codec.encode(from, std::slice::from_ref(&message)).swap_remove(0);
        for _ in 0..self.rng.random_range(1..=8) {
            let bit = self.rng.random_range(0..frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let taken = self.codec.decode(&frame).ok().map(|(_, mut messages)| Box::new(messages.remove(0)));
        match &taken {
            // Two flips of the same bit leave the frame as it was.
            Some(taken) if *taken == message => {}
            Some(_) => self.ledger.traffic.mistaken += 1,
            None => self.ledger.traffic.refused += 1,
        }
        taken
    }

    /// Of a node and its twin either may get what is sent to their name.
    fn which_process(&mut self, to: NodeId) -> NodeId {
        let twin = NodeId(to.0 | TWIN);
        let both = self.nodes.get(&twin).is_some_and(|twin| twin.node.is_some());
        if both && self.rng.random() { twin } else { to }
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
