//! Plays a story: its clients, and what befalls the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use super::action::Action;
use super::coverage::Coverage;
use super::history::{History, Number, Outcome, Read, Write};
use super::property::{Property, Violation, broken};
use super::story::{Reconciling, Settings, Story};
use crate::bytes::Bytes;
use crate::causality::Context;
use crate::config::{Limits, Mode, Quorum, Timing};
use crate::error::{GetError, PutError};
use crate::ids::{NodeId, Ticket, WriteId};
use crate::node::{Keyspace, Node};
use crate::reconcile::{LastWriteWins, MergeBy};
use crate::request::{GetOptions, PutOptions, Reply, Request, Versions};
use crate::sim::{Clock, DiskFault, Sim};
use crate::storage::Space;
use crate::time::{Time, WallTime};

pub(super) struct Player {
    pub(super) sim: Sim,
    pub(super) settings: Settings,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
    pub(super) coverage: Coverage,
    /// A node has lost what it had made durable.
    pub(super) amnesia: bool,
    /// Bytes that a node had stored were damaged.
    pub(super) damage: bool,
    limits: Limits,
    keyspace: Keyspace,
    /// Writes that were refused at the sibling cap since a node last went down.
    turned_away: Vec<Number>,
    events: usize,
    started: Time,
}

pub(super) struct Client {
    waiting: Option<(NodeId, Ticket, Op)>,
    /// Per key: the latest context with what was read under it, and the one before.
    known: Vec<[(Context, BTreeSet<Number>); 2]>,
    /// A write whose outcome is unknown, to be sent again.
    repeat: Option<Number>,
    contexts: Vec<(Number, Context)>,
}

enum Op {
    Get { key: usize, began: Time, then: Option<Then> },
    Put(Number),
}

/// What follows a read.
#[derive(Clone, Copy)]
enum Then {
    Put,
    Delete,
}

/// How a put is meant.
struct Intent {
    knows: u64,
    delete: bool,
    conditional: bool,
}

impl Player {
    pub(super) fn new(story: &Story) -> Self {
        let settings = story.settings;
        let quorum = Quorum::new(settings.n as u8, settings.r as u8, settings.w as u8).expect("drawn from what exists");
        let mode = if settings.strict == 1 { Mode::Strict } else { Mode::Sloppy };
        let keyspace = Keyspace::new("default").quorum(quorum).mode(mode);
        let keyspace = match settings.reconciling() {
            Reconciling::Keep => keyspace,
            Reconciling::Latest => keyspace.reconciler(LastWriteWins),
            Reconciling::Union => keyspace.reconciler(MergeBy::new(union)),
        };
        let limits = Limits {
            siblings: settings.siblings as usize,
            hint_bytes: settings.hint_bytes,
            dot_log: settings.dot_log as usize,
            ..Limits::default()
        };
        let exchange = if settings.exchange == 0 { Duration::MAX } else { Duration::from_micros(settings.exchange) };
        let sim = Sim::builder(settings.nodes, story.seed)
            .keyspaces(vec![keyspace.clone()])
            .limits(limits.clone())
            .timing(timing(exchange))
            .partitions(settings.partitions as u32)
            .shards(settings.shards as usize)
            .encode(settings.encode == 1)
            .build();
        let nothing = || [(Context::empty(), BTreeSet::new()), (Context::empty(), BTreeSet::new())];
        let client = |_| Client {
            waiting: None,
            known: (0..settings.keys).map(|_| nothing()).collect(),
            repeat: None,
            contexts: Vec::new(),
        };
        Self {
            started: sim.now(),
            sim,
            settings,
            clients: (0..settings.clients).map(client).collect(),
            history: History::default(),
            coverage: Coverage::default(),
            amnesia: false,
            damage: false,
            limits,
            keyspace,
            turned_away: Vec::new(),
            events: 0,
        }
    }

    /// Lets everything happen that the story tells.
    pub(super) fn play(&mut self, actions: &[(Duration, Action)]) -> Result<(), Violation> {
        for &(at, action) in actions {
            self.sim.run_until(self.started + at);
            self.collect()?;
            self.bounds()?;
            if action.is_request() {
                self.ask(action);
            } else if self.befall(action)? {
                self.coverage.count(action.word(), 1);
            }
        }
        Ok(())
    }

    fn bounds(&self) -> Result<(), Violation> {
        for (node, target, bytes) in self.sim.hint_bytes() {
            // One hint may stand for another, larger one.
            if bytes > self.limits.hint_bytes {
                return broken(Property::Bounds, format!("{node} holds {bytes} bytes of hints for {target}"));
            }
        }
        for node in self.sim.members() {
            let in_flight = self.sim.node(node).map_or(0, Node::in_flight);
            if in_flight > self.limits.in_flight {
                return broken(Property::Bounds, format!("{node} has {in_flight} requests in progress"));
            }
        }
        Ok(())
    }

    // ---- what befalls the cluster

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
    fn befall(&mut self, action: Action) -> Result<bool, Violation> {
        let time = Duration::from_micros;
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
                self.start_forgetful(node)?;
            }
            Action::LoseData { node } => {
                self.crash(NodeId(node), 0)?;
                self.sim.lose_data(NodeId(node));
                self.start_forgetful(NodeId(node))?;
            }
            Action::Clone { node } => {
                self.sim.clone_node(NodeId(node));
                // What the second process has acknowledged goes with it.
                self.amnesia = true;
            }
            Action::EndClone { node } => return Ok(self.sim.end_clone(NodeId(node))),
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
                (self.amnesia, self.damage) = (true, true);
                return Ok(self.sim.rot(NodeId(node), shard as usize, Space::Objects, nth));
            }
            Action::Misdirect { node, shard, nth } => {
                (self.amnesia, self.damage) = (true, true);
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
            Action::Get { .. }
            | Action::Put { .. }
            | Action::Delete { .. }
            | Action::Update { .. }
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

    fn start_forgetful(&mut self, node: NodeId) -> Result<bool, Violation> {
        self.amnesia = true;
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

    // ---- what clients do

    /// An idle client does something; one that waits doesn't.
    fn ask(&mut self, action: Action) {
        let (Action::Get { client, node, .. }
        | Action::Put { client, node, .. }
        | Action::Delete { client, node, .. }
        | Action::Update { client, node, .. }
        | Action::Repeat { client, node }) = action
        else {
            unreachable!("a request")
        };
        let (at, node) = (client as usize, NodeId(node));
        if self.clients[at].waiting.is_some() || !self.sim.is_up(node) {
            return;
        }
        self.coverage.count(action.word(), 1);
        match action {
            Action::Get { key, all, .. } => self.read(at, node, key as usize, all == 1, None),
            Action::Update { key, delete, .. } => {
                let then = if delete == 1 { Then::Delete } else { Then::Put };
                self.read(at, node, key as usize, false, Some(then));
            }
            Action::Put { key, knows, conditional, .. } => {
                let intent = Intent { knows, delete: false, conditional: conditional == 1 };
                self.put(at, node, key as usize, &intent);
            }
            Action::Delete { key, knows, .. } => {
                self.put(at, node, key as usize, &Intent { knows, delete: true, conditional: false });
            }
            _ => self.repeat(at, node),
        }
    }

    fn read(&mut self, at: usize, node: NodeId, key: usize, all: bool, then: Option<Then>) {
        let began = self.sim.now();
        let options = GetOptions { all, ..GetOptions::default() };
        let request = Request::Get { keyspace: self.keyspace.id(), key: name(key).as_str().into(), options };
        let ticket = self.sim.start(node, request);
        self.clients[at].waiting = Some((node, ticket, Op::Get { key, began, then }));
    }

    fn put(&mut self, at: usize, node: NodeId, key: usize, intent: &Intent) {
        let (context, seen) = match intent.knows {
            0 => (Context::empty(), BTreeSet::new()),
            which => self.clients[at].known[key][2 - which.min(2) as usize].clone(),
        };
        let number = self.open_write(key, seen);
        let write = &mut self.history.writes[number];
        write.is_delete = intent.delete;
        write.is_sweeping = intent.delete && context.is_empty();
        self.clients[at].contexts.push((number, context.clone()));
        self.send(at, node, number, &context, intent.conditional);
    }

    /// A put that replaces what it has seen is on its way.
    pub(super) fn open_write(&mut self, key: usize, seen: BTreeSet<Number>) -> Number {
        let past = seen.iter().flat_map(|&old| self.history.writes[old].past.iter().copied().chain([old])).collect();
        self.history.writes.push(Write {
            key,
            is_delete: false,
            is_sweeping: false,
            seen,
            past,
            outcome: Outcome::Unknown,
            began: self.sim.now(),
            acked: None,
            is_repeated: false,
        });
        self.history.writes.len() - 1
    }

    /// It was acknowledged.
    pub(super) fn close_write(&mut self, number: Number) {
        let now = self.sim.now();
        let write = &mut self.history.writes[number];
        write.outcome = Outcome::Acked;
        write.acked.get_or_insert(now);
    }

    fn repeat(&mut self, at: usize, node: NodeId) {
        // A delete of whatever is there would delete something else the second time.
        let sensible = |number: &Number| !self.history.writes[*number].is_sweeping;
        let Some(number) = self.clients[at].repeat.take().filter(sensible) else { return };
        let context = self.clients[at].contexts.iter().rfind(|(of, _)| *of == number);
        let context = context.map_or(Context::empty(), |(_, context)| context.clone());
        self.history.writes[number].is_repeated = true;
        self.coverage.count("put repeated under its name", 1);
        self.send(at, node, number, &context, false);
    }

    fn send(&mut self, at: usize, node: NodeId, number: Number, context: &Context, if_unchanged: bool) {
        let write = &self.history.writes[number];
        let value = match self.settings.reconciling() {
            _ if write.is_delete => None,
            Reconciling::Union => Some(text(write.seen.iter().copied().chain([number]))),
            Reconciling::Keep | Reconciling::Latest => Some(number.to_string()),
        };
        let options = PutOptions { write_id: Some(WriteId(number as u128)), if_unchanged, ..PutOptions::default() };
        let ticket = self.sim.start_put(node, &name(write.key), value.as_deref(), context, options);
        self.clients[at].waiting = Some((node, ticket, Op::Put(number)));
    }

    /// Takes the answers in.
    pub(super) fn collect(&mut self) -> Result<(), Violation> {
        for at in 0..self.clients.len() {
            let Some((node, ticket, op)) = self.clients[at].waiting.take() else { continue };
            match self.sim.reply(ticket) {
                None => self.clients[at].waiting = Some((node, ticket, op)),
                Some(reply) => {
                    self.coverage.reply(&reply, self.settings.r);
                    self.answered(at, node, op, reply)?;
                }
            }
        }
        for (_, _, event) in &self.sim.events()[self.events..] {
            self.coverage.event(event);
        }
        self.events = self.sim.events().len();
        Ok(())
    }

    fn answered(&mut self, at: usize, node: NodeId, op: Op, reply: Reply) -> Result<(), Violation> {
        match (reply, op) {
            (Reply::Get(Ok(found)), Op::Get { key, began, then }) => {
                let values = self.was_read(Some(at), key, began, &found);
                self.learn(at, key, found.context, values);
                if let Some(then) = then.filter(|_| self.sim.is_up(node)) {
                    let delete = matches!(then, Then::Delete) && !self.clients[at].known[key][0].1.is_empty();
                    self.put(at, node, key, &Intent { knows: 2, delete, conditional: false });
                }
            }
            (Reply::Get(Err(GetError::Unavailable(_) | GetError::Stopped)), Op::Get { .. }) => {}
            (Reply::Put(Ok(written)), Op::Put(number)) => {
                self.close_write(number);
                let write = &self.history.writes[number];
                // Every other client goes on with what its write has made; a sweeping delete can't say what that is.
                if number % 2 == 0 && !write.is_sweeping {
                    let mut seen = if written.merged { BTreeSet::new() } else { write.past.clone() };
                    if !write.is_delete && !written.merged {
                        seen.insert(number);
                    }
                    let key = write.key;
                    self.learn(at, key, written.context, seen);
                }
            }
            (Reply::Put(Err(error)), Op::Put(number)) => return self.not_written(at, number, &error),
            (reply, _) => return broken(Property::NoGarbage, format!("an answer that nobody expects: {reply:?}")),
        }
        Ok(())
    }

    fn learn(&mut self, at: usize, key: usize, context: Context, seen: BTreeSet<Number>) {
        let known = &mut self.clients[at].known[key];
        known.swap(0, 1);
        known[0] = (context, seen);
    }

    pub(super) fn was_read(
        &mut self,
        client: Option<usize>,
        key: usize,
        began: Time,
        found: &Versions,
    ) -> BTreeSet<Number> {
        let values: BTreeSet<Number> = found.values.iter().flat_map(members).collect();
        let (ended, shown) = (self.sim.now(), values.iter().copied().collect());
        self.history.reads.push(Read { client, key, began, ended, values: shown });
        values
    }

    fn not_written(&mut self, at: usize, number: Number, error: &PutError) -> Result<(), Violation> {
        let write = &mut self.history.writes[number];
        match error {
            PutError::Unavailable(_) | PutError::Stopped => self.clients[at].repeat = Some(number),
            // An earlier try may have been more lucky.
            _ if write.is_repeated => {}
            PutError::TooManySiblings { .. } => {
                write.outcome = Outcome::Refused;
                self.turned_away.push(number);
            }
            PutError::Storage(_) | PutError::Read(_) | PutError::Changed => {
                write.outcome = Outcome::Refused;
            }
            other => return broken(Property::NoGarbage, format!("w{number} ended with {other}")),
        }
        Ok(())
    }
}

/// Within this a node reads everything once.
pub(super) const SCRUB: Duration = Duration::from_secs(60);

/// Owners compare themselves so often.
pub(super) fn timing(exchange: Duration) -> Timing {
    Timing { exchange, scrub: SCRUB, ..Timing::default() }
}

/// In microseconds.
fn offset(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

pub(super) fn name(key: usize) -> String {
    format!("key {key}")
}

/// The writes whose numbers a value holds; one that no client wrote stands for a number that none gave.
pub(super) fn members(value: &Bytes) -> Vec<Number> {
    let text = String::from_utf8_lossy(value);
    text.split(',').map(|number| number.parse().unwrap_or(Number::MAX)).collect()
}

fn text(numbers: impl Iterator<Item = Number>) -> String {
    let numbers: BTreeSet<Number> = numbers.collect();
    numbers.iter().map(Number::to_string).collect::<Vec<_>>().join(",")
}

fn union(a: &[u8], b: &[u8]) -> Vec<u8> {
    text([a, b].into_iter().flat_map(|value| members(&Bytes::from(value)))).into_bytes()
}
