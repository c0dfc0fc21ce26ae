//! The library's own way: two nodes that hold the keys, could not talk for a while, and make each other equal.
//!
//! What is counted is what they send: every comparison, question, answer and repair, in a frame of its own, until each
//! has asked and neither owes the other anything, as far as both know: the last comparison, which finds them equal, is
//! counted too. Their network and clock are virtual.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use quorate::causality::{Identity, Secret};
use quorate::config::{Limits, Quorum, Timing};
use quorate::error::StorageError;
use quorate::ids::{ClusterId, KeyspaceId};
use quorate::ring::{Member, plan_first};
use quorate::storage::{Batch, MemoryStorage, Space, Storage, Visit};
use quorate::{
    Bytes, Codec, Context, GetOptions, Input, Keyspace, Message, Node, NodeId, Now, Output, PutOptions, Reply, Request,
    Setup, Start, Ticket, Time, WallTime,
};

use crate::wire::{Cost, Method};
use crate::world::{Side, VALUE, World};

/// How long a message takes.
const DELAY: Duration = Duration::from_micros(500);
/// After so long apart both know it, and whatever was in progress is given up.
const APART: Duration = Duration::from_secs(15);
/// No repair takes longer.
const LONGEST: Duration = Duration::from_secs(120);

/// Where the other owner still knows the keys of what is lacking.
pub(crate) struct Clocks(pub(crate) Rc<RefCell<Pair>>);

/// Where it doesn't know them any more: both have been started anew since they wrote.
pub(crate) struct Trees(pub(crate) Rc<RefCell<Pair>>);

impl Method for Clocks {
    fn name(&self) -> &'static str {
        "exchange of clocks"
    }

    fn cost(&mut self, world: &World) -> Cost {
        self.0.borrow_mut().repair(world, false)
    }
}

impl Method for Trees {
    fn name(&self) -> &'static str {
        "digest tree"
    }

    fn cost(&mut self, world: &World) -> Cost {
        self.0.borrow_mut().repair(world, true)
    }
}

/// Two nodes that own one partition.
pub(crate) struct Pair {
    hosts: [Host; 2],
    codec: Codec,
    keyspace: KeyspaceId,
    now: Time,
    /// When it arrives, at whom, and what.
    on_the_way: VecDeque<(Time, Side, Message)>,
    apart: bool,
    sent: Sent,
    starts: u64,
    /// How often they have been apart.
    number: u64,
}

struct Host {
    setup: Setup,
    node: Option<Node<Counting>>,
    reads: Arc<AtomicUsize>,
    reply: Option<Reply>,
}

/// What was sent to repair.
#[derive(Clone, Copy, Default)]
struct Sent {
    bytes: usize,
    messages: usize,
    /// By each side.
    questions: [usize; 2],
    repairs: usize,
}

impl Pair {
    /// Both hold `keys` keys.
    pub(crate) fn fill(keys: usize) -> Self {
        let identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
        let members = [1, 2].map(|node| Member::new(NodeId(node)));
        let layout = Arc::new(plan_first(&members, 2, 1).expect("a layout").layout);
        let keyspace = Keyspace::new("default").quorum(Quorum::new(2, 1, 1).expect("a quorum"));
        let keyspace_id = keyspace.id();
        // Without room for hints: what was missed is left to exchanges. Nothing else reads or waits meanwhile.
        let limits = Limits { hint_bytes: 1, dot_log: 16_384, ..Limits::default() };
        let timing = Timing { scrub: Duration::MAX, foreground: Duration::MAX, ..Timing::default() };
        let codec = Codec::new(identity, limits.frame);
        let host = |member: Member| {
            let setup = Setup::new(identity, member.node, Arc::clone(&layout), vec![keyspace.clone()]);
            let setup = Setup { founding: true, limits: limits.clone(), timing: timing.clone(), ..setup };
            Host { setup, node: None, reads: Arc::default(), reply: None }
        };
        let mut pair = Self {
            hosts: members.map(host),
            codec,
            keyspace: keyspace_id,
            now: Time(1_000_000),
            on_the_way: VecDeque::new(),
            apart: false,
            sent: Sent::default(),
            starts: 0,
            number: 0,
        };
        for side in Side::BOTH {
            let storage = Counting { storage: MemoryStorage::new(), reads: Arc::clone(&pair.host(side).reads) };
            pair.start(side, vec![storage]);
            pair.now = pair.now + timing.exchange / 2;
        }
        for key in 0..keys as u64 {
            pair.put(Side::BOTH[key as usize % 2], name(key, 0), Context::empty());
            // As many in progress as a node takes, at most.
            if key % 1_000 == 0 {
                pair.pass(DELAY * 4);
            }
        }
        pair.pass(APART);
        assert!(pair.is_equal(), "what was written at one has come to the other");
        pair
    }

    /// What one repair takes after each side took half of the writes that the other lacks.
    fn repair(&mut self, world: &World, anew: bool) -> Cost {
        self.number += 1;
        self.apart = true;
        let lacking: Vec<(Side, Bytes, usize)> = world
            .differing
            .iter()
            .map(|&row| {
                let ahead = world.ahead(row).expect("it differs");
                let is_new = world.dot(row, ahead.other()).is_none();
                let key = name(world.number(row), if is_new { self.number } else { 0 });
                (ahead, key, world.record(row, ahead).expect("what is newer is there"))
            })
            .collect();
        for (ahead, key, _) in &lacking {
            let context = self.get(*ahead, key.clone());
            self.put(*ahead, key.clone(), context);
        }
        if anew {
            self.start_anew();
        }
        self.pass(APART);
        (self.apart, self.sent) = (false, Sent::default());
        let (reads, records) = (self.reads(), self.exchanged());
        let (began, limit) = (Instant::now(), self.now + LONGEST);
        while !self.is_over() && self.now < limit {
            self.next();
        }
        let time = began.elapsed();
        let (sent, reads, records) = (self.sent, self.reads() - reads, self.exchanged() - records + self.sent.repairs);
        // A record more or less is as long as the others.
        let mean = lacking.iter().map(|(.., bytes)| bytes).sum::<usize>() / lacking.len().max(1);
        Cost {
            bytes: sent.bytes,
            finding: sent.bytes.saturating_sub(records * mean),
            messages: sent.messages,
            round_trips: sent.questions[0].max(sent.questions[1]),
            records,
            reads,
            time,
            healed: self.is_equal() && lacking.iter().all(|(_, key, _)| self.is_same(key)),
        }
    }

    fn host(&mut self, side: Side) -> &mut Host {
        &mut self.hosts[side as usize]
    }

    fn node(&mut self, side: Side) -> &mut Node<Counting> {
        self.host(side).node.as_mut().expect("it was started")
    }

    fn start(&mut self, side: Side, storages: Vec<Counting>) {
        self.starts += 1;
        // As long as fresh randomness is: it stands in every dot.
        let start = Start(self.starts.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (setup, now) = (self.host(side).setup.clone(), self.now());
        let node = Node::open(setup, storages, start, self.starts, now).expect("a sound storage");
        self.host(side).node = Some(node);
    }

    /// Both nodes end, and start with what they have stored; then they read it.
    fn start_anew(&mut self) {
        // Not in step with one another: who asks second finds the records there already.
        for side in Side::BOTH {
            self.pass(APART);
            let node = self.host(side).node.take().expect("it was started");
            self.start(side, node.into_storages());
            self.pass(Timing::default().exchange / 2);
        }
        while Side::BOTH.iter().any(|&side| self.node(side).backlog().records_to_read > 0) {
            self.pass(Duration::from_millis(100));
        }
    }

    const fn now(&self) -> Now {
        Now { time: self.now, wall: WallTime(1_700_000_000_000_000 + self.now.0) }
    }

    /// Each has asked, has its answer, and found nothing, or nothing more.
    fn is_over(&mut self) -> bool {
        !self.sent.questions.contains(&0) && self.on_the_way.is_empty() && self.is_equal()
    }

    /// Neither owes anything to the other, as far as both know.
    fn is_equal(&mut self) -> bool {
        let owes = |side| !self.node(side).debt().is_empty();
        !Side::BOTH.into_iter().any(owes)
    }

    fn is_same(&mut self, key: &Bytes) -> bool {
        let keyspace = self.keyspace;
        let [a, b] = Side::BOTH.map(|side| self.node(side).inspect(keyspace, key).expect("memory doesn't fail"));
        a.is_some_and(|versions| versions.len() == 1 && Some(versions) == b)
    }

    fn exchanged(&mut self) -> usize {
        Side::BOTH.iter().map(|&side| self.node(side).counters().exchanged as usize).sum()
    }

    fn reads(&self) -> usize {
        self.hosts.iter().map(|host| host.reads.load(Relaxed)).sum()
    }

    fn put(&mut self, side: Side, key: Bytes, context: Context) {
        let value = Some(Bytes::from(vec![7; VALUE]));
        let (keyspace, options) = (self.keyspace, PutOptions::default());
        match self.ask(side, Request::Put { keyspace, key, value, context, options }) {
            Reply::Put(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, side: Side, key: Bytes) -> Context {
        match self.ask(side, Request::Get { keyspace: self.keyspace, key, options: GetOptions::default() }) {
            Reply::Get(Ok(found)) => found.context,
            other => panic!("{other:?}"),
        }
    }

    /// An owner that asks for one answer gives it itself.
    fn ask(&mut self, side: Side, request: Request) -> Reply {
        self.step(side, Input::Request(Ticket(0), request));
        self.host(side).reply.take().expect("the owner's own answer is enough")
    }

    fn step(&mut self, side: Side, input: Input) {
        let now = self.now();
        self.node(side).step(now, input);
        self.leave(side);
        self.node(side).commit().expect("memory doesn't fail");
        self.leave(side);
    }

    fn leave(&mut self, side: Side) {
        while let Some(output) = self.node(side).poll() {
            match output {
                Output::Send(_, message) if !self.apart => self.send(side, message),
                Output::Done(_, reply) => self.host(side).reply = Some(reply),
                _ => {}
            }
        }
    }

    /// What repairs goes through its bytes.
    fn send(&mut self, side: Side, message: Message) {
        let kind = if let Message::Headed(headed) = &message { headed.message() } else { &message };
        let asks = matches!(kind, Message::Compare(_) | Message::Ask(_));
        let repairs = matches!(kind, Message::Repair(_));
        let names = matches!(kind, Message::NamesWanted(_) | Message::NamesKnown(_));
        let message = if asks || repairs || names || matches!(kind, Message::Compared(_) | Message::Told(_)) {
            let from = NodeId(side as u64 + 1);
            let frame = self.codec.encode(from, &[message]).swap_remove(0);
            self.sent.bytes += frame.len();
            self.sent.messages += 1;
            self.sent.questions[side as usize] += usize::from(asks);
            self.sent.repairs += usize::from(repairs);
            self.codec.decode(&frame).expect("a sound frame").1.swap_remove(0)
        } else {
            message
        };
        self.on_the_way.push_back((self.now + DELAY, side.other(), message));
    }

    /// Whatever is due next.
    fn next(&mut self) {
        let deadlines = Side::BOTH.map(|side| (self.node(side).deadline(), side));
        let wake = deadlines.into_iter().filter_map(|(due, side)| Some((due?, side))).min_by_key(|(due, _)| *due);
        let (due, side) = wake.expect("rounds never end");
        match self.on_the_way.front() {
            Some((arrives, ..)) if *arrives <= due => {
                let (arrives, to, message) = self.on_the_way.pop_front().expect("it is there");
                self.now = self.now.max(arrives);
                self.step(to, Input::Message(NodeId(to.other() as u64 + 1), message));
            }
            _ => {
                self.now = self.now.max(due);
                self.step(side, Input::Wake);
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.next();
        }
    }
}

/// A name as long as those of the models: one of the keys that both had, or one that is new in this repair.
fn name(number: u64, new: u64) -> Bytes {
    Bytes::from([number.to_be_bytes(), new.to_be_bytes()].concat())
}

/// Counts what is read of the records.
struct Counting {
    storage: MemoryStorage,
    reads: Arc<AtomicUsize>,
}

impl Storage for Counting {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.reads.fetch_add(usize::from(space == Space::Objects), Relaxed);
        self.storage.get(space, key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.storage.write(batch)
    }

    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.storage.scan(space, from, &mut |key, value| {
            self.reads.fetch_add(usize::from(space == Space::Objects), Relaxed);
            visit(key, value)
        })
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.storage.sync()
    }
}
