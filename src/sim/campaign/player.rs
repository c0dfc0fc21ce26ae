//! Plays a story: what its clients do and are told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::action::Action;
use super::coverage::Coverage;
use super::history::{History, Number, Outcome, Read, Write};
use super::placement::Placement;
use super::property::{Property, Violation, broken};
use super::story::{Reconciling, Settings, Story};
use super::values::{VALUE, members, name, padded, text, union};
use crate::bytes::Bytes;
use crate::causality::Context;
use crate::config::{Durability, Limits, Mode, Quorum, Spread, Timing};
use crate::error::{GetError, ListError, PutError};
use crate::ids::{NodeId, Ticket, WriteId};
use crate::node::{Counters, Keyspace, Node};
use crate::reconcile::{LastWriteWins, MergeBy};
use crate::request::{Cursor, GetOptions, Page, PutOptions, Reply, Request, Versions, Written};
use crate::ring::Member;
use crate::sim::Sim;
use crate::time::Time;

pub(super) struct Player {
    pub(super) sim: Sim,
    pub(super) settings: Settings,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
    pub(super) coverage: Coverage,
    /// A node has lost what it had made durable.
    pub(super) amnesia: bool,
    /// A node has an older state than it had once, and can't know: a backup, or a copy of another's disk.
    pub(super) set_back: bool,
    /// Bytes that a node had stored were damaged.
    pub(super) damage: bool,
    limits: Limits,
    pub(super) keyspace: Keyspace,
    /// Writes that were refused at the sibling cap since a node last went down.
    pub(super) turned_away: Vec<Number>,
    /// When which node lost what it had made durable.
    pub(super) struck: Vec<(Time, NodeId)>,
    /// When a node forgot what it had not synced.
    pub(super) forgot: Vec<Time>,
    pub(super) placement: Placement,
    events: usize,
    started: Time,
}

pub(super) struct Client {
    pub(super) waiting: Option<(NodeId, Ticket, Op)>,
    /// Per key: the latest context with what was read under it, and the one before.
    known: Vec<[(Context, BTreeSet<Number>); 2]>,
    /// A write whose outcome is unknown, to be sent again.
    pub(super) repeat: Option<Number>,
    contexts: Vec<(Number, Context)>,
}

pub(super) enum Op {
    Get { key: usize, began: Time, then: Option<Then> },
    Put(Number),
    List,
}

/// What follows a read.
#[derive(Clone, Copy)]
pub(super) enum Then {
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
    pub(super) fn new(story: &Story, record: Option<NodeId>) -> Self {
        let settings = story.settings;
        let quorum = Quorum::new(settings.n as u8, settings.r as u8, settings.w as u8).expect("drawn from what exists");
        let mode = if settings.strict == 1 { Mode::Strict } else { Mode::Sloppy };
        let keyspace = Keyspace::new("default").quorum(quorum).mode(mode);
        let keyspace = match settings.reconciling() {
            Reconciling::Keep => keyspace,
            Reconciling::Latest => keyspace.reconciler(LastWriteWins),
            Reconciling::Union => keyspace.reconciler(MergeBy::new(union)),
        };
        let mut limits = Limits {
            siblings: settings.siblings as usize,
            hint_bytes: settings.hint_bytes,
            named_rows: 1,
            dot_log: settings.dot_log as usize,
            ..Limits::default()
        };
        if settings.large == 1 {
            (limits.value, limits.object) = (VALUE, 3 * VALUE);
        }
        let member = |node| Member::new(NodeId(node)).zone(Self::zone(settings.zones, node));
        let mut coverage = Coverage::default();
        coverage.count("nodes had several shards", u64::from(settings.shards > 1));
        let exchange = if settings.exchange == 0 { Duration::MAX } else { Duration::from_micros(settings.exchange) };
        let builder = Sim::builder(settings.nodes, story.seed);
        let builder = if let Some(node) = record { builder.record(node) } else { builder };
        let builder = if settings.elastic == 1 { builder.elastic() } else { builder };
        let sim = builder
            .members((1..=settings.nodes).map(member).collect())
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
            coverage,
            amnesia: false,
            set_back: false,
            damage: false,
            limits,
            keyspace,
            turned_away: Vec::new(),
            struck: Vec::new(),
            forgot: Vec::new(),
            placement: Placement::default(),
            events: 0,
        }
    }

    /// Lets everything happen that the story tells.
    pub(super) fn play(&mut self, actions: &[(Duration, Action)]) -> Result<(), Violation> {
        for &(at, action) in actions {
            self.sim.run_until(self.started + at);
            self.collect()?;
            self.hint_ledger()?;
            self.bounds()?;
            self.placed()?;
            if action.is_request() {
                self.ask(action);
            } else if self.befall(action)? {
                self.coverage.count(action.word(), 1);
            }
        }
        Ok(())
    }

    /// No hint vanishes: each node's numbers add up, and its disk holds what they say.
    pub(super) fn hint_ledger(&self) -> Result<(), Violation> {
        for id in self.sim.members() {
            let Some(node) = self.sim.node(id) else { continue };
            let (counters, lines) = (node.counters(), self.sim.hint_lines(id));
            if !counters.hints_balance() || counters.hints_pending != lines {
                let Counters { hints_found, hints_kept, hints_joined, .. } = counters;
                let Counters { hints_delivered, hints_dropped, hints_pending, .. } = counters;
                return broken(
                    Property::HintLedger,
                    format!(
                        "{id}: found {hints_found} + kept {hints_kept} = joined {hints_joined} + delivered \
                         {hints_delivered} + dropped {hints_dropped} + pending {hints_pending}? its disk holds {lines}"
                    ),
                );
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

    /// An idle client does something; one that waits doesn't.
    fn ask(&mut self, action: Action) {
        let (Action::Get { client, node, .. }
        | Action::Put { client, node, .. }
        | Action::Delete { client, node, .. }
        | Action::Update { client, node, .. }
        | Action::List { client, node, .. }
        | Action::Repeat { client, node }) = action
        else {
            unreachable!("a request")
        };
        let (at, node) = (client as usize, NodeId(node));
        // A node that comes later in the story may have been left out of it.
        let is_up = self.sim.members().contains(&node) && self.sim.is_up(node);
        if self.clients[at].waiting.is_some() || !is_up {
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
            Action::List { partition, .. } => self.list(at, node, partition),
            _ => self.repeat(at, node),
        }
    }

    fn list(&mut self, at: usize, node: NodeId, partition: u64) {
        let cursor = Cursor { partition: partition as u32, ..Cursor::default() };
        let ticket = self.sim.start(node, Request::List { keyspace: self.keyspace.id(), cursor, limit: 2 });
        self.clients[at].waiting = Some((node, ticket, Op::List));
    }

    /// For every third write a quorum's disks are not waited for, where any is so.
    const fn durability(&self, number: Number) -> Durability {
        match (self.settings.relaxed, number % 9) {
            (1, 0 | 3 | 6) | (2, 0) => Durability::Coordinator,
            (2, 3) => Durability::One,
            (2, 6) => Durability::Memory,
            _ => Durability::Quorum,
        }
    }

    /// Every other client wants the answers that count from different zones, where there are several.
    const fn spread(&self, at: usize) -> Spread {
        if self.settings.zones > 1 && at % 2 == 1 { Spread::Zones } else { Spread::Nodes }
    }

    fn read(&mut self, at: usize, node: NodeId, key: usize, all: bool, then: Option<Then>) {
        let began = self.sim.now();
        let options = GetOptions { all, spread: self.spread(at), ..GetOptions::default() };
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
            is_relaxed: false,
            is_buffered: false,
            coordinator: None,
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
            Reconciling::Keep | Reconciling::Latest if self.settings.large == 1 => Some(padded(number)),
            Reconciling::Keep | Reconciling::Latest => Some(number.to_string()),
        };
        let durability = self.durability(number);
        let (write_id, spread) = (Some(WriteId(number as u128)), self.spread(at));
        let options = PutOptions { spread, durability, write_id, if_unchanged, ..PutOptions::default() };
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
            (Reply::Get(Err(GetError::Unavailable(_) | GetError::Stopped)), Op::Get { .. })
            | (Reply::List(Err(ListError::Unavailable(_) | ListError::Stopped)), Op::List) => {}
            (Reply::List(Ok(page)), Op::List) => return self.was_listed(&page),
            (Reply::Put(Ok(written)), Op::Put(number)) => {
                self.close_write(number);
                self.acknowledged(at, number, &written);
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

    fn acknowledged(&mut self, at: usize, number: Number, written: &Written) {
        let (durability, zones) = (self.durability(number), self.spread(at) == Spread::Zones);
        let relaxed = durability != Durability::Quorum;
        let write = &mut self.history.writes[number];
        // A delete is synced by its coordinator, whatever was asked for.
        write.is_buffered = relaxed && durability != Durability::Coordinator && !write.is_delete;
        (write.is_relaxed, write.coordinator) = (relaxed, written.context.route());
        let large = self.settings.large == 1 && self.settings.reconciling() != Reconciling::Union;
        let near = large && !write.is_delete && padded(number).len() == VALUE;
        self.coverage
            .count("put acknowledged with its coordinator's durability", u64::from(relaxed && !write.is_buffered));
        self.coverage.count("put acknowledged before anybody had synced it", u64::from(write.is_buffered));
        self.coverage.count("put acknowledged by different zones", u64::from(zones && self.settings.w > 1));
        self.coverage.count("put of a value close to its bound", u64::from(near));
    }

    fn was_listed(&self, page: &Page) -> Result<(), Violation> {
        let known: BTreeSet<Bytes> = (0..self.settings.keys as usize).map(|key| name(key).as_str().into()).collect();
        let distinct: BTreeSet<&Bytes> = page.keys.iter().collect();
        if distinct.len() < page.keys.len() || !distinct.iter().all(|key| known.contains(*key)) {
            return broken(Property::Listing, format!("{page:?} names what is not there, or names it twice"));
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
            PutError::TooManySiblings { .. } | PutError::ObjectTooLarge { .. } => {
                write.outcome = Outcome::Refused;
                self.turned_away.push(number);
            }
            PutError::Storage(_) | PutError::Read(_) | PutError::Changed | PutError::UnknownName => {
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
